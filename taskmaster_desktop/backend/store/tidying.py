"""Retention: what is too old or too much goes, oldest first, in short slices. Run by the store-writer thread.

A pass walks three stages: finished tasks by age (with their attempts, output, batches and tags), output by
total size, then events and workers by age. Between slices only the place in the walk is remembered; a place
lost to a rollback or a restart costs nothing but a later visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.model import TERMINAL_STATES, TaskState
from taskmaster_desktop.backend.ports import Tidied
from taskmaster_desktop.backend.store import codec, tables
from taskmaster_desktop.backend.store.outputs import TAIL_BYTES
from taskmaster_desktop.backend.store.statements import HEAD_BYTES

# One slice stays below 50 ms with these (benchmarks in docs/decisions/0003-store.md).
SLICE_ROWS = 500
SLICE_ATTEMPTS = 50
SLICE_BYTES = 8 * 1024 * 1024

_TERMINAL = {state.value for state in TERMINAL_STATES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished tasks are kept, and how much output of all tasks together."""

    max_age_s: float = 30 * 86400.0
    max_output_bytes: int = 2 * 1024**3


class Tidier:
    """One pass after the other; `slice` does the next piece."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._stages: tuple[Callable[[sa.Connection, int], Tidied], ...] = (
            self._old_tasks, self._much_output, self._old_events, self._old_workers,
        )  # fmt: skip
        self._stage = 0
        self._last_task = 0
        self._last_output = (0, 0)

    def slice(self, connection: sa.Connection, now_us: int) -> Tidied:
        """Does one slice inside the caller's transaction; `more` is False once the pass is complete."""
        cutoff_us = now_us - int(self._retention.max_age_s * SECOND_US)
        tidied = self._stages[self._stage](connection, cutoff_us)
        if tidied.more:
            return tidied
        self._stage = (self._stage + 1) % len(self._stages)
        return tidied._replace(more=self._stage != 0)

    # ------------------------------------------------------------ tasks
    def _old_tasks(self, connection: sa.Connection, cutoff_us: int) -> Tidied:
        tasks = tables.tasks
        columns = ("number", "batch", "created_us", "state", "finished_us", "discarded")
        rows = connection.execute(
            sa.select(*(tasks.c[name] for name in columns))
            .where(tasks.c.number > self._last_task)
            .order_by(tasks.c.number)
            .limit(SLICE_ROWS)
        ).fetchall()
        # Tasks are numbered as they are created, and none ends before that: behind the first young one all are.
        old = [row for row in rows if row.created_us < cutoff_us]
        gone = [
            row for row in old if row.state in _TERMINAL and (row.finished_us or row.created_us) < cutoff_us
        ]
        affordable = self._affordable(connection, gone)
        if len(affordable) < len(gone):
            last = gone[len(affordable)].number - 1
        else:
            last = old[-1].number if len(old) == SLICE_ROWS else 0
        self._last_task = last
        tidied = _remove_tasks(connection, affordable) if affordable else Tidied()
        return tidied._replace(more=last > 0)

    def _affordable(self, connection: sa.Connection, gone: Sequence[sa.Row[Any]]) -> Sequence[sa.Row[Any]]:
        """As many of them, from the first on, as have little enough output to delete at once; at least one."""
        attempts = tables.attempts
        sizes: dict[int, int] = {}
        query = sa.select(attempts.c.task, attempts.c.output_bytes).where(attempts.c.output_bytes > 0)
        for task, size in connection.execute(query.where(attempts.c.task.in_([row.number for row in gone]))):
            sizes[task] = sizes.get(task, 0) + min(size, HEAD_BYTES + TAIL_BYTES)
        total = 0
        for index, row in enumerate(gone):
            total += sizes.get(row.number, 0)
            if total > SLICE_BYTES and index:
                return gone[:index]
        return gone

    # ------------------------------------------------------------ output
    def _much_output(self, connection: sa.Connection, _cutoff_us: int) -> Tidied:
        output, attempts = tables.output, tables.attempts
        stored: int = connection.execute(sa.select(tables.instance.c.output_bytes)).scalar_one()
        excess = stored - self._retention.max_output_bytes
        key = sa.tuple_(output.c.task, output.c.attempt)
        freed = 0
        for _ in range(SLICE_ATTEMPTS):
            if freed >= min(excess, SLICE_BYTES):
                break
            after = sa.select(output.c.task, output.c.attempt).where(key > self._last_output)
            row = connection.execute(after.order_by(output.c.task, output.c.attempt).limit(1)).one_or_none()
            if row is None:
                excess = freed  # what is left belongs to attempts that still run
                break
            self._last_output = (row.task, row.attempt)
            ended = sa.select(attempts.c.task).where(
                attempts.c.task == row.task, attempts.c.attempt == row.attempt
            )
            if connection.execute(ended).one_or_none() is not None:
                freed += _remove_output(
                    connection, (output.c.task == row.task) & (output.c.attempt == row.attempt)
                )
        _count_output(connection, -freed)
        if freed < excess:
            return Tidied(more=True)
        self._last_output = (0, 0)
        return Tidied()

    # ------------------------------------------------------------ the rest
    def _old_events(self, connection: sa.Connection, cutoff_us: int) -> Tidied:
        events = tables.events
        query = sa.select(events.c.seq, events.c.at_us).order_by(events.c.seq).limit(SLICE_ROWS)
        old = [seq for seq, at_us in connection.execute(query).fetchall() if at_us < cutoff_us]
        if old:
            connection.execute(sa.delete(events).where(events.c.seq <= old[-1]))
        return Tidied(more=len(old) == SLICE_ROWS)

    def _old_workers(self, connection: sa.Connection, cutoff_us: int) -> Tidied:
        """Workers that nothing names any more."""
        workers, attempts = tables.workers, tables.attempts
        named = sa.select(attempts.c.task).where(attempts.c.worker == workers.c.number).exists()
        query = sa.select(workers.c.number).where(workers.c.offline_us < cutoff_us, ~named)
        numbers = connection.execute(query.limit(SLICE_ROWS)).scalars().fetchall()
        if numbers:
            connection.execute(sa.delete(workers).where(workers.c.number.in_(numbers)))
        return Tidied(more=len(numbers) == SLICE_ROWS)


def _remove_tasks(connection: sa.Connection, gone: Sequence[sa.Row[Any]]) -> Tidied:
    """Delete these tasks and all that hangs on them, and take them out of the kept counters."""
    tasks, attempts, instance = tables.tasks, tables.attempts, tables.instance
    numbers = [row.number for row in gone]
    freed = _remove_output(connection, tables.output.c.task.in_(numbers))
    connection.execute(sa.delete(attempts).where(attempts.c.task.in_(numbers)))
    connection.execute(sa.delete(tasks).where(tasks.c.number.in_(numbers)))
    _remove_batches(connection, {row.batch for row in gone})
    states = [row.state for row in gone]
    removed = Tidied(
        completed=states.count(TaskState.COMPLETED.value),
        failed=states.count(TaskState.FAILED.value),
        cancelled=states.count(TaskState.CANCELLED.value),
        discarded=sum(bool(row.discarded) for row in gone),
    )
    lower = {name: instance.c[name] - number for name, number in removed._asdict().items() if name != "more"}
    connection.execute(sa.update(instance).values(lower))
    _count_output(connection, -freed)
    return removed


def _remove_batches(connection: sa.Connection, numbers: set[int]) -> None:
    """Delete those of the batches that have no task left, and their tags."""
    batches, tags, tasks = tables.batches, tables.batch_tags, tables.tasks
    last = batches.c.first_task + batches.c.size - 1
    left = sa.select(tasks.c.number).where(tasks.c.number.between(batches.c.first_task, last)).exists()
    gone = connection.execute(
        sa.delete(batches)
        .where(batches.c.number.in_(numbers), ~left)
        .returning(batches.c.number, batches.c.options)
    ).fetchall()
    tagged = [
        {"gone_tag": tag, "gone_batch": number}
        for number, options in gone
        for tag in codec.options_from_json(options).tags
    ]
    if tagged:
        one = sa.delete(tags).where(
            tags.c.tag == sa.bindparam("gone_tag"), tags.c.batch == sa.bindparam("gone_batch")
        )
        connection.execute(one, tagged)


def _remove_output(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    length = sa.func.length(tables.output.c.data)
    return sum(connection.execute(sa.delete(tables.output).where(which).returning(length)).scalars())


def _count_output(connection: sa.Connection, grown: int) -> None:
    if grown:
        instance = tables.instance
        connection.execute(sa.update(instance).values(output_bytes=instance.c.output_bytes + grown))
