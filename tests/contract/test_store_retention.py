"""Retention: what is too old or too much goes, oldest first, in slices, and the counters agree throughout."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.model import (
    EventRecord,
    Level,
    TaskFilter,
    TaskOptions,
    TaskState,
    WorkerState,
)
from taskmaster_desktop.backend.ports import Tidied
from taskmaster_desktop.backend.store import Retention, tidying
from tests.helpers.store_rows import NOW_US, Book, chunk, worker

DAY_US = 86400 * SECOND_US
LATER_US = NOW_US + 31 * DAY_US


def tidy_up(book: Book, now_us: int) -> Tidied:
    """A complete pass; the sum of what it removed, without what may be left to do."""
    total = Tidied()
    for _ in range(1000):
        part = book.store.tidy(now_us)
        total = Tidied(*(a + b for a, b in zip(total[:4], part[:4], strict=True)))
        if not part.more:
            return total
    raise AssertionError("retention never finishes")


def numbers(book: Book) -> list[int]:
    return list(book.store.find_numbers(TaskFilter(), 0, 100_000))


def test_old_finished_tasks_go_with_all_that_hangs_on_them(book: Book) -> None:
    book.submit(4, TaskOptions(tags=("old",)), key="k")
    mixed = book.submit(3, TaskOptions(tags=("mixed",)))
    book.live(1, output=[b"abc", b"def"])
    book.live(2, TaskState.FAILED)
    book.apply(book.put(2, discarded=True))
    book.live(3, TaskState.FAILED)
    book.apply(book.put(4, state=TaskState.CANCELLED, finished_us=NOW_US))
    book.live(mixed[0])
    book.live(mixed[1], finished_us=LATER_US - 1)  # old, but finished lately
    book.apply(totals=book.totals())

    assert tidy_up(book, NOW_US + 29 * DAY_US) == Tidied()
    assert tidy_up(book, LATER_US) == Tidied(completed=2, failed=2, cancelled=1, discarded=1)

    assert numbers(book) == [mixed[1], mixed[2]]
    assert book.query.batch(1) is None
    assert book.query.batch(2) is not None
    assert book.store.find_by_key("k") is None
    assert [list(book.query.attempts(number)) for number in (1, 2, 3)] == [[], [], []]
    assert list(book.query.output(1, 1)) == []
    for tag, left in (("old", 0), ("mixed", 2)):
        page = book.query.tasks(TaskFilter(tag=tag), after=None, limit=9, newest_first=False)
        assert len(page.tasks) == left
    totals = book.query.totals()
    assert (totals.completed, totals.failed, totals.cancelled, totals.discarded, totals.pending) == (
        1,
        0,
        0,
        0,
        1,
    )
    assert tidy_up(book, LATER_US) == Tidied()


def test_unfinished_tasks_stay_however_old(book: Book) -> None:
    book.submit(3)
    book.apply(book.assigned(2))
    assert tidy_up(book, NOW_US + 1000 * DAY_US) == Tidied()
    assert numbers(book) == [1, 2, 3]


def test_many_old_tasks_go_in_slices(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "SLICE_ROWS", 7)
    monkeypatch.setattr(tidying, "SLICE_BYTES", 10)
    book.submit(50)
    for number in range(1, 51):
        if number % 5:
            book.live(number, output=[b"four"] if number % 2 else [])
    book.apply(totals=book.totals())
    first = book.store.tidy(LATER_US)
    assert first.more
    assert 1 <= first.completed <= 7
    rest = tidy_up(book, LATER_US)
    assert first.completed + rest.completed == 40
    assert numbers(book) == list(range(5, 51, 5))
    assert book.query.totals().completed == 0


def test_a_young_task_ends_the_walk(book: Book) -> None:
    book.submit(2)
    book.submit(1, created_us=LATER_US - DAY_US)
    for number in (1, 2, 3):
        book.live(number, finished_us=NOW_US)
    assert tidy_up(book, LATER_US).completed == 2
    assert numbers(book) == [3]


@pytest.mark.parametrize("retention", [Retention(max_output_bytes=1000)])
def test_the_oldest_output_beyond_the_limit_goes(book: Book) -> None:
    book.submit(6)
    for number in range(1, 6):
        book.live(number, output=[b"x" * 150] * 2)
    book.apply(book.assigned(6), output=[])
    assert tidy_up(book, NOW_US) == Tidied()
    left = [len(book.query.output(number, 1)) for number in range(1, 6)]
    assert left == [0, 0, 2, 2, 2]
    assert len(numbers(book)) == 6
    assert len(book.query.attempts(1)) == 1


@pytest.mark.parametrize("retention", [Retention(max_output_bytes=100)])
def test_output_of_a_running_attempt_is_left_alone(book: Book) -> None:
    book.submit(2)
    book.apply(book.assigned(1), output=[chunk(1, 1, 0, b"y" * 500)])
    book.live(2, output=[b"z" * 50])
    assert tidy_up(book, NOW_US) == Tidied()
    assert len(book.query.output(1, 1)) == 1
    assert len(book.query.output(2, 1)) == 0


def test_old_events_and_forgotten_workers_go(book: Book) -> None:
    lines = [EventRecord(NOW_US + day * DAY_US, Level.INFO, "k", f"{day}", None, None) for day in range(10)]
    workers = {
        1: worker(1, WorkerState.OFFLINE, NOW_US),
        2: worker(2, WorkerState.OFFLINE, NOW_US),
        3: worker(3, WorkerState.OFFLINE, LATER_US),
        4: worker(4),
    }
    book.submit(1)
    book.live(1, worker=2, finished_us=LATER_US)
    book.apply(events=lines, workers=workers)
    tidy_up(book, LATER_US + 2 * DAY_US)
    assert [line.message for line in book.query.events(limit=99)] == ["3", "4", "5", "6", "7", "8", "9"]
    assert [row.number for row in book.query.workers(living_only=False)] == [2, 3, 4]


def test_space_is_given_back_and_the_log_emptied_when_idle(book: Book) -> None:
    if book.opened.dialect.writer.dialect.name != "sqlite":
        pytest.skip("how space is given back is the database's own business")
    file = Path(str(book.opened.dialect.writer.url.database))
    log = file.with_name(file.name + "-wal")
    numbers = book.submit(3000, works=[("x" * 900, False)])
    book.apply(*(book.put(number, state=TaskState.CANCELLED, finished_us=NOW_US) for number in numbers))
    tidy_up(book, NOW_US)
    assert log.stat().st_size > 0, "not idle: something was written since the last time"
    tidy_up(book, NOW_US)
    assert log.stat().st_size == 0
    assert file.stat().st_size > 3000 * 900
    assert tidy_up(book, LATER_US).cancelled == 3000
    tidy_up(book, LATER_US)
    assert log.stat().st_size == 0
    assert file.stat().st_size < 300_000
