"""The tables, as SQLAlchemy sees them; the migrations must lead to exactly these (a test compares).

Columns of tasks, batches, attempts, workers, events and output stand in the order of the fields of their
records in `model.py`, because rows are bound by position. There are no foreign keys: one writer keeps the
rows consistent, and a check on every insert would cost more than the insert.

What each index costs was measured on no-op tasks (docs/decisions/0003-store.md). Hence: a batch is a range
of numbers and needs none; pending and completed tasks are found by walking the primary key; only the rare
states have an index of their own, which most tasks never touch.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite's STRICT tables know INTEGER, REAL, TEXT and BLOB only.
Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real: sa.types.TypeEngine[Any] = sa.Double().with_variant(sa.REAL(), "sqlite")
Flag = sa.Boolean().with_variant(sa.Integer(), "sqlite")

# The conditions of the partial indexes. Queries repeat them word for word, or the planner would not see
# that the index applies.
IS_READY = "state = 'pending' AND due_us = 0"
IS_DELAYED = "state = 'pending' AND due_us > 0"
IS_ACTIVE = "state IN ('assigned', 'running')"
IS_FAILED = "state = 'failed'"
IS_CANCELLED = "state = 'cancelled'"


def _column(name: str, kind: sa.types.TypeEngine[Any], *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null)


def _partial(name: str, columns: tuple[str, ...], condition: str) -> sa.Index:
    where = sa.text(condition)
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("number", Big, primary_key=True, autoincrement=False),
    _column("id", sa.LargeBinary(16)),
    _column("batch", Big),
    _column("command", sa.Text()),
    _column("is_argv", Flag),
    _column("rank", sa.Integer()),
    _column("created_us", Big),
    _column("run_at_us", Big, null=True),
    _column("state", sa.Text()),
    _column("due_us", Big),
    _column("attempt", sa.Integer()),
    _column("fence", Big),
    _column("worker", Big, null=True),
    _column("assigned_us", Big, null=True),
    _column("started_us", Big, null=True),
    _column("finished_us", Big, null=True),
    _column("outcome", sa.Text(), null=True),
    _column("exit_code", sa.Integer(), null=True),
    _column("reason", sa.Text()),
    _column("failures", sa.Integer()),
    _column("deaths", sa.Integer()),
    _column("cancelling", Flag),
    _column("discarded", Flag),
    _column("progress", Real),
    _column("progress_text", sa.Text()),
    sa.UniqueConstraint("id"),
    _partial("ix_tasks_ready", ("rank", "number"), IS_READY),
    _partial("ix_tasks_delayed", ("due_us", "number"), IS_DELAYED),
    _partial("ix_tasks_active", ("number",), IS_ACTIVE),
    _partial("ix_tasks_failed", ("number",), IS_FAILED),
    _partial("ix_tasks_cancelled", ("number",), IS_CANCELLED),
    sqlite_strict=True,
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("number", Big, primary_key=True, autoincrement=False),
    _column("id", sa.LargeBinary(16)),
    _column("created_us", Big),
    _column("first_task", Big),
    _column("size", sa.Integer()),
    _column("options", sa.Text()),
    _column("idempotency_key", sa.Text(), null=True),
    _column("body_hash", sa.LargeBinary(), null=True),
    _column("completed", sa.Integer()),
    _column("failed", sa.Integer()),
    _column("cancelled", sa.Integer()),
    sa.UniqueConstraint("id"),
    sa.UniqueConstraint("idempotency_key"),
    sqlite_strict=True,
)

batch_tags = sa.Table(
    "batch_tags",
    metadata,
    sa.Column("tag", sa.Text(), primary_key=True),
    sa.Column("batch", Big, primary_key=True),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("task", Big, primary_key=True),
    sa.Column("attempt", sa.Integer(), primary_key=True),
    _column("fence", Big),
    _column("worker", Big),
    _column("assigned_us", Big),
    _column("started_us", Big, null=True),
    _column("finished_us", Big),
    _column("duration_us", Big),
    _column("outcome", sa.Text()),
    _column("exit_code", sa.Integer(), null=True),
    _column("reason", sa.Text()),
    _column("output_bytes", Big),
    sa.Index("ix_attempts_worker", "worker", "task"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("number", Big, primary_key=True, autoincrement=False),
    _column("id", sa.Text()),
    _column("name", sa.Text()),
    _column("runtime", sa.Text()),
    _column("state", sa.Text()),
    _column("slots", sa.Integer()),
    _column("handle", sa.Text()),
    _column("boot_id", sa.Text()),
    _column("started_us", Big),
    _column("online_us", Big, null=True),
    _column("offline_us", Big, null=True),
    _column("ended", sa.Text()),
    _column("completed", Big),
    _column("failed", Big),
    sa.UniqueConstraint("id"),
    sqlite_strict=True,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", Big, primary_key=True, autoincrement=True),
    _column("at_us", Big),
    _column("level", sa.Text()),
    _column("kind", sa.Text()),
    _column("message", sa.Text()),
    _column("task", Big, null=True),
    _column("worker", Big, null=True),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

# With rowids: an entry may be large, and large rows make a B-tree of the key alone slow.
output = sa.Table(
    "output",
    metadata,
    sa.Column("task", Big, primary_key=True),
    sa.Column("attempt", sa.Integer(), primary_key=True),
    sa.Column("offset", Big, primary_key=True),
    _column("stream", sa.Text()),
    _column("data", sa.LargeBinary()),
    sqlite_strict=True,
)

# One row: who this database is, whose turn it is to write, and what is kept rather than counted.
# `output_bytes` is the store's own: the size of all that stands in `output`.
instance = sa.Table(
    "instance",
    metadata,
    sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
    _column("id", sa.Text()),
    _column("epoch", Big),
    _column("output_bytes", Big),
    _column("next_task", Big),
    _column("next_batch", Big),
    _column("next_worker", Big),
    _column("desired", sa.Integer()),
    _column("self_heal", Flag),
    _column("paused", Flag),
    _column("pending", Big),
    _column("assigned", Big),
    _column("running", Big),
    _column("completed", Big),
    _column("failed", Big),
    _column("cancelled", Big),
    _column("discarded", Big),
    _column("attempts_lost", Big),
    _column("late_answers", Big),
    sqlite_strict=True,
)
