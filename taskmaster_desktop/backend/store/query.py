"""The reading side: `SqlQuery`, for any thread. Connections of a pool, each borrowed for one short read.

A reader that lingers keeps the write-ahead log from being emptied, so everything is fetched and the
connection given back before a row is turned into anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    OutputChunk,
    TaskFilter,
    TaskPage,
    TaskRecord,
    Totals,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.store import codec, reading, tables
from taskmaster_desktop.backend.store.dialect import Dialect
from taskmaster_desktop.backend.store.selecting import Selection

_EVENT_COLUMNS = [tables.events.c[name] for name in EventRecord._fields]


class SqlQuery:
    """Implements `ports.Query`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        try:
            with self._dialect.readers.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            meaning = self._dialect.translate(error)
            if meaning is None:
                raise
            raise meaning from error

    def task(self, number: int) -> TaskRecord | None:
        tasks = tables.tasks
        with self._connection() as connection:
            row = connection.execute(sa.select(tasks).where(tasks.c.number == number)).one_or_none()
        return None if row is None else codec.task(row)

    def number_of(self, task_id: bytes) -> int | None:
        tasks = tables.tasks
        with self._connection() as connection:
            return connection.execute(
                sa.select(tasks.c.number).where(tasks.c.id == task_id)
            ).scalar_one_or_none()

    def tasks(self, chosen: TaskFilter, *, after: int | None, limit: int, newest_first: bool) -> TaskPage:
        with self._connection() as connection:
            selection = Selection(
                connection=connection, chosen=chosen, newest_first=newest_first, columns=tuple(tables.tasks.c)
            )
            found = selection.page(after, limit)
        return TaskPage(tasks=tuple(codec.task(row) for row in found.rows), next_after=found.stop)

    def attempts(self, number: int) -> Sequence[AttemptRecord]:
        attempts = tables.attempts
        query = sa.select(attempts).where(attempts.c.task == number).order_by(attempts.c.attempt)
        with self._connection() as connection:
            rows = connection.execute(query).fetchall()
        return [codec.attempt(row) for row in rows]

    def output(self, number: int, attempt: int) -> Sequence[OutputChunk]:
        output = tables.output
        query = sa.select(output).where(output.c.task == number, output.c.attempt == attempt)
        with self._connection() as connection:
            rows = connection.execute(query.order_by(output.c.offset)).fetchall()
        return [codec.chunk(row) for row in rows]

    def batch(self, number: int) -> BatchRecord | None:
        with self._connection() as connection:
            return reading.batch_where(connection, tables.batches.c.number == number)

    def batch_by_id(self, batch_id: bytes) -> BatchRecord | None:
        with self._connection() as connection:
            return reading.batch_where(connection, tables.batches.c.id == batch_id)

    def totals(self) -> Totals:
        with self._connection() as connection:
            return reading.totals(connection)

    def workers(self, *, living_only: bool) -> Sequence[WorkerRecord]:
        workers = tables.workers
        query = sa.select(workers).order_by(workers.c.number)
        if living_only:
            query = query.where(workers.c.state != WorkerState.OFFLINE.value)
        with self._connection() as connection:
            rows = connection.execute(query).fetchall()
        return [codec.worker(row) for row in rows]

    def events(self, *, limit: int) -> Sequence[EventRecord]:
        query = sa.select(*_EVENT_COLUMNS).order_by(tables.events.c.seq.desc()).limit(limit)
        with self._connection() as connection:
            rows = connection.execute(query).fetchall()
        return [codec.event(row) for row in reversed(rows)]
