"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Real: sa.types.TypeEngine[Any] = sa.Double().with_variant(sa.REAL(), "sqlite")
Flag = sa.Boolean().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_attempts()
    create_batch_tags()
    create_batches()
    create_events()
    create_instance()
    create_output()
    create_tasks()
    create_workers()


def downgrade() -> None:
    raise NotImplementedError("a database is never taken back to an older schema; restore a backup")


def create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("task", Big, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", Big, nullable=False),
        sa.Column("worker", Big, nullable=False),
        sa.Column("assigned_us", Big, nullable=False),
        sa.Column("started_us", Big, nullable=True),
        sa.Column("finished_us", Big, nullable=False),
        sa.Column("duration_us", Big, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("output_bytes", Big, nullable=False),
        sa.PrimaryKeyConstraint("task", "attempt", name="pk_attempts"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_attempts_worker", "attempts", ["worker", "task"], unique=False)


def create_batch_tags() -> None:
    op.create_table(
        "batch_tags",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("batch", Big, nullable=False),
        sa.PrimaryKeyConstraint("tag", "batch", name="pk_batch_tags"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("number", Big, autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("created_us", Big, nullable=False),
        sa.Column("first_task", Big, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_hash", sa.LargeBinary(), nullable=True),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_batches"),
        sa.UniqueConstraint("id", name="uq_batches_id"),
        sa.UniqueConstraint("idempotency_key", name="uq_batches_idempotency_key"),
        sqlite_strict=True,
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", Big, autoincrement=True, nullable=False),
        sa.Column("at_us", Big, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("task", Big, nullable=True),
        sa.Column("worker", Big, nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )


def create_instance() -> None:
    op.create_table(
        "instance",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("epoch", Big, nullable=False),
        sa.Column("output_bytes", Big, nullable=False),
        sa.Column("next_task", Big, nullable=False),
        sa.Column("next_batch", Big, nullable=False),
        sa.Column("next_worker", Big, nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.Column("self_heal", Flag, nullable=False),
        sa.Column("paused", Flag, nullable=False),
        sa.Column("pending", Big, nullable=False),
        sa.Column("assigned", Big, nullable=False),
        sa.Column("running", Big, nullable=False),
        sa.Column("completed", Big, nullable=False),
        sa.Column("failed", Big, nullable=False),
        sa.Column("cancelled", Big, nullable=False),
        sa.Column("discarded", Big, nullable=False),
        sa.Column("attempts_lost", Big, nullable=False),
        sa.Column("late_answers", Big, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_instance"),
        sqlite_strict=True,
    )


def create_output() -> None:
    op.create_table(
        "output",
        sa.Column("task", Big, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("offset", Big, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task", "attempt", "offset", name="pk_output"),
        sqlite_strict=True,
    )


def create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("number", Big, autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("batch", Big, nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("is_argv", Flag, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("created_us", Big, nullable=False),
        sa.Column("run_at_us", Big, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_us", Big, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", Big, nullable=False),
        sa.Column("worker", Big, nullable=True),
        sa.Column("assigned_us", Big, nullable=True),
        sa.Column("started_us", Big, nullable=True),
        sa.Column("finished_us", Big, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("cancelling", Flag, nullable=False),
        sa.Column("discarded", Flag, nullable=False),
        sa.Column("progress", Real, nullable=False),
        sa.Column("progress_text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_tasks"),
        sa.UniqueConstraint("id", name="uq_tasks_id"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_tasks_active",
        "tasks",
        ["number"],
        unique=False,
        sqlite_where=sa.text("state IN ('assigned', 'running')"),
        postgresql_where=sa.text("state IN ('assigned', 'running')"),
    )
    op.create_index(
        "ix_tasks_cancelled",
        "tasks",
        ["number"],
        unique=False,
        sqlite_where=sa.text("state = 'cancelled'"),
        postgresql_where=sa.text("state = 'cancelled'"),
    )
    op.create_index(
        "ix_tasks_delayed",
        "tasks",
        ["due_us", "number"],
        unique=False,
        sqlite_where=sa.text("state = 'pending' AND due_us > 0"),
        postgresql_where=sa.text("state = 'pending' AND due_us > 0"),
    )
    op.create_index(
        "ix_tasks_failed",
        "tasks",
        ["number"],
        unique=False,
        sqlite_where=sa.text("state = 'failed'"),
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_index(
        "ix_tasks_ready",
        "tasks",
        ["rank", "number"],
        unique=False,
        sqlite_where=sa.text("state = 'pending' AND due_us = 0"),
        postgresql_where=sa.text("state = 'pending' AND due_us = 0"),
    )


def create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("number", Big, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("started_us", Big, nullable=False),
        sa.Column("online_us", Big, nullable=True),
        sa.Column("offline_us", Big, nullable=True),
        sa.Column("ended", sa.Text(), nullable=False),
        sa.Column("completed", Big, nullable=False),
        sa.Column("failed", Big, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_workers"),
        sa.UniqueConstraint("id", name="uq_workers_id"),
        sqlite_strict=True,
    )
