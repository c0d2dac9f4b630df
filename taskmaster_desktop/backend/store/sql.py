"""The writing side: `SqlStore`, one connection, run by the store-writer thread alone.

A group of changes is one transaction. Whatever goes wrong inside rolls all of it back, drops the connection
where its state is in doubt, and forgets what was remembered of it, so that the next call starts clean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import sqlalchemy as sa

from taskmaster_desktop.backend.core.instructions import (
    Changes,
    Guard,
    NewTasks,
    ReadDelayed,
    ReadReady,
    TaskPut,
)
from taskmaster_desktop.backend.model import (
    IMMUTABLE_FIELDS,
    BatchRecord,
    LoadedTasks,
    Recovery,
    TaskFilter,
    TaskState,
    Totals,
    WorkerState,
)
from taskmaster_desktop.backend.ports import StaleEpoch, StaleWrite, Tidied
from taskmaster_desktop.backend.store import codec, reading, tables
from taskmaster_desktop.backend.store.dialect import Dialect
from taskmaster_desktop.backend.store.outputs import OutputKeeper
from taskmaster_desktop.backend.store.prepared import Cursor
from taskmaster_desktop.backend.store.selecting import find_numbers
from taskmaster_desktop.backend.store.statements import Statements
from taskmaster_desktop.backend.store.tidying import Retention, Tidier

INSERT_SLICE = 1000
NO_EPOCH = -1
FRESH = Guard(TaskState.PENDING, 0)
NONE: frozenset[int] = frozenset()


class SqlStore:
    """Implements `ports.Store`. May be made on any thread; from then on one thread calls it.

    Attributes:
        epoch: the life that this store writes for; before `begin_epoch` one that no database is in.
    """

    def __init__(self, dialect: Dialect, retention: Retention) -> None:
        self._dialect = dialect
        self._sql = Statements(dialect)
        self._output = OutputKeeper(self._sql)
        self._tidier = Tidier(retention)
        self._idle = False
        self._connection: sa.Connection | None = None
        self.epoch = NO_EPOCH

    # ------------------------------------------------------------ transactions
    @contextmanager
    def _guarded(self) -> Iterator[sa.Connection]:
        try:
            if self._connection is None:
                self._connection = self._dialect.writer.connect()
            yield self._connection
        except (sa.exc.DBAPIError, self._dialect.driver_error) as error:
            self._give_up()
            meaning = self._dialect.translate(error)
            if meaning is None:
                raise
            raise meaning from error
        except BaseException:
            self._output.forget()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """For what is done now and then."""
        with self._guarded() as connection, connection.begin():
            yield connection

    @contextmanager
    def _quick_transaction(self) -> Iterator[Cursor]:
        """For prepared statements: the driver's own cursor on the same connection."""
        with self._guarded() as connection:
            driver = connection.connection
            cursor = driver.cursor()
            try:
                self._dialect.begin(cursor)
                yield cursor
                driver.commit()
            except BaseException:
                driver.rollback()
                raise
            finally:
                cursor.close()

    def _give_up(self) -> None:
        """After an error of the database: what the connection knows is in doubt, the next call makes a new one."""
        self._output.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def close(self) -> None:
        """Close the connection; may come twice. The dialect belongs to whoever made it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ------------------------------------------------------------ writing
    def begin_epoch(self) -> Recovery:
        instance, tasks, workers = tables.instance, tables.tasks, tables.workers
        running = sa.select(tasks).where(sa.text(tables.IS_ACTIVE)).order_by(tasks.c.number)
        living = (
            sa.select(workers).where(workers.c.state != WorkerState.OFFLINE.value).order_by(workers.c.number)
        )
        with self._transaction() as connection:
            connection.execute(sa.update(instance).values(epoch=instance.c.epoch + 1))
            recovery = Recovery(
                epoch=connection.execute(sa.select(instance.c.epoch)).scalar_one(),
                totals=reading.totals(connection),
                active=reading.with_batches(connection, connection.execute(running).fetchall()),
                workers=tuple(codec.worker(row) for row in connection.execute(living).fetchall()),
            )
        self.epoch = recovery.epoch
        return recovery

    def apply(self, changes: Changes) -> None:
        self._idle = False
        with self._quick_transaction() as cursor:
            self._claim(cursor, changes.totals)
            inserted = self._insert_new(cursor, changes) if changes.new else NONE
            if len(changes.tasks) > len(inserted):
                self._update_tasks(cursor, changes.tasks, inserted)
            self._write_rest(cursor, changes)

    def _claim(self, cursor: Cursor, totals: Totals | None) -> None:
        if totals is None:
            ours = bool(self._sql.check_epoch.values(cursor, (self.epoch,)))
        else:
            ours = self._sql.write_totals.run(cursor, (*totals, self.epoch)) == 1
        if not ours:
            raise StaleEpoch(f"epoch {self.epoch} is over: another engine has taken over this database")

    def _insert_new(self, cursor: Cursor, changes: Changes) -> frozenset[int]:
        """Insert batches, tags and tasks; returns which of `changes.tasks` were inserted on the way."""
        sql = self._sql
        sql.insert_batch.run_many(cursor, [codec.batch_row(new.batch) for new in changes.new])
        tags = [
            (tag, new.batch.number) for new in changes.new for tag in dict.fromkeys(new.batch.options.tags)
        ]
        if tags:
            sql.insert_tag.run_many(cursor, tags)
        moved: set[int] = set()
        pending = (row for new in changes.new for row in _pending_rows(new, changes.tasks, moved))
        while rows := list(islice(pending, INSERT_SLICE)):
            sql.insert_pending.run_many(cursor, rows)
        if moved:
            puts = [changes.tasks[number] for number in sorted(moved)]
            if any(put.guard is not None and put.guard != FRESH for put in puts):
                raise StaleWrite("a task of a new batch was expected in another state than pending")
            sql.insert_task.run_many(cursor, [put.record for put in puts])
        return frozenset(moved)

    def _update_tasks(self, cursor: Cursor, puts: dict[int, TaskPut], skip: frozenset[int]) -> None:
        rows: list[tuple[Any, ...]] = []
        for number, (record, guard) in puts.items():
            if number in skip:
                continue
            if guard is None:
                raise StaleWrite(f"task {number} was to be new, but its batch is not in this group")
            rows.append((*record[IMMUTABLE_FIELDS:], number, *guard))
        touched = self._sql.update_task.run_many(cursor, rows)
        if touched != len(rows):
            raise StaleWrite(
                f"{len(rows) - touched} of {len(rows)} tasks did not say what was expected of them"
            )

    def _write_rest(self, cursor: Cursor, changes: Changes) -> None:
        sql = self._sql
        if changes.batches:
            counts = [(*counts, number) for number, counts in changes.batches.items()]
            if sql.update_batch.run_many(cursor, counts) != len(counts):
                raise StaleWrite("a batch that was to be counted does not exist")
        if changes.workers:
            sql.put_worker.run_many(cursor, list(changes.workers.values()))
        if changes.events:
            sql.insert_event.run_many(cursor, changes.events)
        grown = self._output.write(cursor, changes.output) if changes.output else 0
        if changes.attempts:
            sql.insert_attempt.run_many(cursor, changes.attempts)
            grown += self._output.finish(cursor, changes.attempts)
        if grown:
            sql.count_output.run(cursor, (grown,))

    # ------------------------------------------------------------ reading for the core
    def read_ready(self, request: ReadReady) -> LoadedTasks:
        tasks = tables.tasks
        return self._window(tables.IS_READY, tasks.c.rank, request.after, request.limit)

    def read_delayed(self, request: ReadDelayed) -> LoadedTasks:
        tasks = tables.tasks
        return self._window(tables.IS_DELAYED, tasks.c.due_us, request.after, request.limit)

    def _window(
        self, condition: str, first: sa.Column[Any], after: tuple[int, int] | None, limit: int
    ) -> LoadedTasks:
        number = tables.tasks.c.number
        query = sa.select(tables.tasks).where(sa.text(condition)).order_by(first, number)
        if after is None:
            parts = [query]
        else:
            # Not as one comparison of pairs: SQLite would look up only the first of the two in its index and
            # walk over everything with the same priority, 70 ms in the middle of a million tasks.
            parts = [query.where(first == after[0], number > after[1]), query.where(first > after[0])]
        rows: list[sa.Row[Any]] = []
        with self._transaction() as connection:
            for part in parts:
                if len(rows) < limit:
                    rows += connection.execute(part.limit(limit - len(rows))).fetchall()
            return reading.with_batches(connection, rows)

    def load_tasks(self, numbers: Sequence[int]) -> LoadedTasks:
        with self._transaction() as connection:
            return reading.with_batches(connection, reading.tasks_by_number(connection, numbers))

    def find_numbers(self, chosen: TaskFilter, after: int, limit: int) -> Sequence[int]:
        with self._transaction() as connection:
            return find_numbers(connection, chosen, after, limit)

    def find_by_key(self, idempotency_key: str) -> BatchRecord | None:
        with self._transaction() as connection:
            return reading.batch_where(connection, tables.batches.c.idempotency_key == idempotency_key)

    def batch(self, number: int) -> BatchRecord | None:
        with self._transaction() as connection:
            return reading.batch_where(connection, tables.batches.c.number == number)

    # ------------------------------------------------------------ upkeep
    def tidy(self, now_us: int) -> Tidied:
        instance = tables.instance
        ours = sa.select(instance.c.epoch).where(instance.c.epoch == self.epoch).with_for_update()
        with self._transaction() as connection:
            if connection.execute(ours).one_or_none() is None:
                raise StaleEpoch(f"epoch {self.epoch} is over: another engine has taken over this database")
            tidied = self._tidier.slice(connection, now_us)
        if tidied.more:
            return tidied
        with self._guarded() as connection:
            if self._dialect.reclaim(connection):
                return tidied._replace(more=True)
            # Idle is when nothing was written from the end of one pass to the end of the next.
            idle, self._idle = self._idle, True
            if idle:
                self._dialect.settle(connection)
        return tidied


def _pending_rows(new: NewTasks, puts: dict[int, TaskPut], moved: set[int]) -> Iterator[tuple[Any, ...]]:
    """Rows of `statements.PENDING_FIELDS` for the tasks of a batch that are still as they were submitted;
    the numbers of the others, which stand in `puts`, are added to `moved`."""
    batch = new.batch
    ids, works, single = new.ids, new.works, len(new.works) == 1
    rest = (-batch.options.priority, batch.created_us, new.run_at_us, new.due_us)
    command, is_argv = works[0]
    for index, number in enumerate(range(batch.first_task, batch.first_task + batch.size)):
        if number in puts:
            moved.add(number)
            continue
        if not single:
            command, is_argv = works[index]
        yield (number, ids[16 * index : 16 * index + 16], batch.number, command, is_argv, *rest)
