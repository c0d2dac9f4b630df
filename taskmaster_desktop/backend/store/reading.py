"""Reads that the writing side and the queries share. Each takes a connection inside a transaction.

Tasks are always read in order of number, from an index that is in that order: the primary key, or the index
of a rare state. What no index answers (text, discarded) is judged on a bounded number of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from taskmaster_desktop.backend.model import BatchRecord, LoadedTasks, TaskRecord, Totals
from taskmaster_desktop.backend.store import codec, tables

Rows = Sequence[sa.Row[Any]]

# Well below the number of parameters any database takes.
MANY = 500
BATCH = TaskRecord._fields.index("batch")

TOTALS = sa.select(*(tables.instance.c[name] for name in Totals._fields))


def totals(connection: sa.Connection) -> Totals:
    return codec.totals(connection.execute(TOTALS).one())


def tasks_by_number(connection: sa.Connection, numbers: Iterable[int]) -> Rows:
    """Those that exist, in order of number."""
    return _by_number(connection, tables.tasks, numbers)


def with_batches(connection: sa.Connection, rows: Rows) -> LoadedTasks:
    """The tasks of `rows`, complete with the batches they belong to."""
    batches = _by_number(connection, tables.batches, {row[BATCH] for row in rows})
    return LoadedTasks(
        tasks=tuple(codec.task(row) for row in rows),
        batches=tuple(codec.batch(row) for row in batches),
    )


def batch_where(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> BatchRecord | None:
    row = connection.execute(sa.select(tables.batches).where(condition)).one_or_none()
    return None if row is None else codec.batch(row)


def waiting_since(connection: sa.Connection, now_us: int) -> int | None:
    """See `ports.Query`. Leaps through the index of the ready ones, a seek for each priority in use."""
    tasks = tables.tasks
    ready = sa.text(tables.IS_READY)
    first = sa.select(tasks.c.rank, tasks.c.created_us).where(ready)
    first = first.order_by(tasks.c.rank, tasks.c.number).limit(1)
    moments: list[int] = []
    row = connection.execute(first).one_or_none()
    while row is not None:
        moments.append(row.created_us)
        row = connection.execute(first.where(tasks.c.rank > row.rank)).one_or_none()
    due = sa.select(tasks.c.due_us).where(sa.text(tables.IS_DELAYED), tasks.c.due_us <= now_us)
    overdue = connection.execute(due.order_by(tasks.c.due_us, tasks.c.number).limit(1)).scalar_one_or_none()
    if overdue is not None:
        moments.append(overdue)
    return min(moments, default=None)


def _by_number(connection: sa.Connection, table: sa.Table, numbers: Iterable[int]) -> Rows:
    wanted = sorted(set(numbers))
    query = sa.select(table).order_by(table.c.number)
    found: list[sa.Row[Any]] = []
    for start in range(0, len(wanted), MANY):
        found += connection.execute(query.where(table.c.number.in_(wanted[start : start + MANY]))).fetchall()
    return found
