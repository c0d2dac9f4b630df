"""Run as a process to be killed: writes groups for ever and prints the number of each once it is acknowledged.

Group n is one transaction of a batch of its own size, an attempt for each of its tasks, output, an event and
the totals, so that `verify` can tell a whole group from half of one.
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

from taskmaster_desktop.backend.core.instructions import BatchCounts, TaskPut
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import EventRecord, Level, TaskFilter, TaskState
from taskmaster_desktop.backend.store import OpenedStore, open_store
from tests.helpers.store_rows import NOW_US, Book, chunk


def size_of(group: int) -> int:
    return 1 + group * 7 % 40


def write_group(book: Book, group: int) -> None:
    new = book.new(size_of(group))
    numbers = range(new.batch.first_task, new.batch.first_task + new.batch.size)
    puts, attempts, output = [], [], []
    for number in numbers:
        book.assigned(number)
        puts.append(TaskPut(book.ended(number).record, None))
        attempts.append(book.attempt(number, 3000))
        output.append(chunk(number, 1, 0, b"o" * 3000))
    counts = {new.batch.number: BatchCounts(len(puts), 0, 0)}
    event = EventRecord(NOW_US, Level.INFO, "group", str(group), None, None)
    totals = book.query.totals()
    totals = totals._replace(
        next_task=book.next_task, next_batch=book.next_batch, completed=totals.completed + len(puts)
    )
    book.apply(
        *puts, new=[new], attempts=attempts, output=output, batches=counts, events=[event], totals=totals
    )


def resume(opened: OpenedStore) -> Book:
    totals = opened.store.begin_epoch().totals
    book = Book(opened)
    book.next_task, book.next_batch = totals.next_task, totals.next_batch
    return book


def verify(folder: Path) -> int:
    """How many groups are there; raises AssertionError where one is not whole."""
    opened = open_store(folder)
    try:
        query, totals = opened.query, opened.query.totals()
        groups = totals.next_batch - 1
        expected = 1
        for group in range(1, groups + 1):
            batch = query.batch(group)
            assert batch is not None
            assert (batch.first_task, batch.size, batch.completed) == (
                expected,
                size_of(group),
                size_of(group),
            )
            page = query.tasks(TaskFilter(batch=group), after=None, limit=100, newest_first=False)
            assert [task.number for task in page.tasks] == list(range(expected, expected + batch.size))
            assert {task.state for task in page.tasks} == {TaskState.COMPLETED}
            for task in page.tasks:
                assert len(query.attempts(task.number)) == 1
                assert [len(piece.data) for piece in query.output(task.number, 1)] == [3000]
            expected += batch.size
        assert query.batch(groups + 1) is None
        assert query.task(expected) is None
        assert totals.completed == expected - 1
        assert len(query.events(limit=groups + 10)) == groups
        return groups
    finally:
        opened.close()


def main(folder: str, seed: str) -> int:
    chance = random.Random(seed)
    try:
        opened = open_store(folder)
    except EnvironmentProblem as problem:
        sys.stdout.write(f"{problem}\n")
        return 3
    book = resume(opened)
    for group in itertools.count(book.next_batch):
        write_group(book, group)
        sys.stdout.write(f"{group}\n")
        sys.stdout.flush()
        if chance.random() < 0.1:
            opened.store.tidy(NOW_US)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
