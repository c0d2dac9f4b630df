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

COUNT_ROWS = 20_000
"""How many matches are counted in one read."""

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

    def count(self, chosen: TaskFilter) -> int:
        found = 0
        after: int | None = 0
        while after is not None:
            with self._connection() as connection:
                page = Selection(connection=connection, chosen=chosen).page(after, COUNT_ROWS)
            found += len(page.rows)
            after = page.stop
        return found

    def waiting_since(self, now_us: int) -> int | None:
        with self._connection() as connection:
            return reading.waiting_since(connection, now_us)

    def output(self, number: int, attempt: int, *, start: int = 0) -> Sequence[OutputChunk]:
        output = tables.output
        query = sa.select(output).where(output.c.task == number, output.c.attempt == attempt)
        if start:
            holding = sa.select(sa.func.max(output.c.offset)).where(
                output.c.task == number, output.c.attempt == attempt, output.c.offset <= start
            )
            query = query.where(output.c.offset >= sa.func.coalesce(holding.scalar_subquery(), 0))
        with self._connection() as connection:
            rows = connection.execute(query.order_by(output.c.offset)).fetchall()
        return [codec.chunk(row) for row in rows]

    def batch(self, number: int) -> BatchRecord | None:
        with self._connection() as connection:
            return reading.batch_where(connection, tables.batches.c.number == number)

    def batch_by_id(self, batch_id: bytes) -> BatchRecord | None:
        with self._connection() as connection:
            return reading.batch_where(connection, tables.batches.c.id == batch_id)

    def batches(self, *, after: int | None, limit: int, newest_first: bool) -> Sequence[BatchRecord]:
        number = tables.batches.c.number
        query = sa.select(tables.batches).order_by(number.desc() if newest_first else number).limit(limit)
        if after is not None:
            query = query.where(number < after if newest_first else number > after)
        with self._connection() as connection:
            rows = connection.execute(query).fetchall()
        return [codec.batch(row) for row in rows]

    def totals(self) -> Totals:
        with self._connection() as connection:
            return reading.totals(connection)

    def worker(self, number: int) -> WorkerRecord | None:
        return self._worker_where(tables.workers.c.number == number)

    def worker_by_name(self, name: str) -> WorkerRecord | None:
        return self._worker_where(tables.workers.c.name == name)

    def _worker_where(self, condition: sa.ColumnElement[bool]) -> WorkerRecord | None:
        workers = tables.workers
        newest = sa.select(workers).where(condition).order_by(workers.c.number.desc()).limit(1)
        with self._connection() as connection:
            row = connection.execute(newest).one_or_none()
        return None if row is None else codec.worker(row)

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
