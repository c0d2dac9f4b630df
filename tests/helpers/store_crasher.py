"""Run as a process to be killed: writes groups for ever and prints the number of each once it is acknowledged.

Group n is one transaction of a batch of its own size, an attempt for each of its tasks, output, an event and
the totals, so that `verify` can tell a whole group from half of one.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
import sys
from pathlib import Path

from taskmaster_desktop.backend.core.instructions import BatchCounts, TaskPut
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import EventRecord, Level
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
    """How many groups are there; raises AssertionError where one is not whole. Opens the database as a start does."""
    open_store(folder).close()
    connection = sqlite3.connect(folder / "taskmaster.db")
    try:
        return _verified(connection)
    finally:
        connection.close()


def _verified(connection: sqlite3.Connection) -> int:
    def rows(sql: str) -> list[tuple[int, ...]]:
        return connection.execute(sql).fetchall()

    assert rows("PRAGMA integrity_check") == [("ok",)]
    ((next_batch, next_task, completed, output_bytes),) = rows(
        "SELECT next_batch, next_task, completed, output_bytes FROM instance"
    )
    groups = range(1, next_batch)
    sizes = [size_of(group) for group in groups]
    firsts = [1 + sum(sizes[:index]) for index in range(len(sizes))]
    done = [f"FROM {table} GROUP BY 1, 2 ORDER BY 1" for table in ("attempts", "output")]
    numbers = range(1, 1 + sum(sizes))
    assert rows("SELECT number, first_task, size, completed FROM batches ORDER BY number") == [
        (group, first, size, size) for group, first, size in zip(groups, firsts, sizes, strict=True)
    ]
    assert rows("SELECT number FROM tasks WHERE state = 'completed' ORDER BY number") == [
        (n,) for n in numbers
    ]
    assert rows("SELECT count(*) FROM tasks") == [(len(numbers),)]
    assert rows(f"SELECT task, attempt, count(*) {done[0]}") == [(n, 1, 1) for n in numbers]
    assert rows(f"SELECT task, attempt, sum(length(data)) {done[1]}") == [(n, 1, 3000) for n in numbers]
    assert rows("SELECT count(*) FROM events") == [(len(groups),)]
    assert (next_task, completed, output_bytes) == (len(numbers) + 1, len(numbers), 3000 * len(numbers))
    return len(groups)


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
