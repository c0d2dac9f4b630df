"""Short reads for those who look from outside: counts, the oldest that waits, batches, workers, ranges of output."""

from __future__ import annotations

from taskmaster_desktop.backend.model import TaskFilter, TaskOptions, TaskState, WorkerState
from tests.helpers.store_rows import NOW_US, Book, chunk, worker


def test_count_is_what_the_pages_hold(book: Book) -> None:
    book.submit(5, TaskOptions(tags=("a",)))
    book.submit(3)
    book.live(2, TaskState.FAILED)
    assert book.query.count(TaskFilter()) == 8
    assert book.query.count(TaskFilter(tag="a")) == 5
    assert book.query.count(TaskFilter(states=frozenset({TaskState.FAILED}))) == 1
    assert book.query.count(TaskFilter(tag="a", states=frozenset({TaskState.PENDING}))) == 4
    assert book.query.count(TaskFilter(text="nothing")) == 0


def test_nothing_waits(book: Book) -> None:
    assert book.query.waiting_since(NOW_US) is None
    book.submit(1)
    book.live(1)
    assert book.query.waiting_since(NOW_US) is None


def test_the_oldest_waits_in_any_priority(book: Book) -> None:
    book.submit(2, TaskOptions(priority=5), created_us=NOW_US + 7)
    assert book.query.waiting_since(NOW_US) == NOW_US + 7
    book.submit(2, TaskOptions(priority=-3), created_us=NOW_US + 3)
    book.submit(2, created_us=NOW_US + 5)
    assert book.query.waiting_since(NOW_US) == NOW_US + 3


def test_what_must_not_start_yet_does_not_wait(book: Book) -> None:
    book.submit(1, due_us=NOW_US + 100)
    assert book.query.waiting_since(NOW_US + 99) is None
    assert book.query.waiting_since(NOW_US + 150) == NOW_US + 100


def test_batches_in_both_directions(book: Book) -> None:
    for _ in range(5):
        book.submit(1)

    def numbers(after: int | None, limit: int, *, newest_first: bool) -> list[int]:
        found = book.query.batches(after=after, limit=limit, newest_first=newest_first)
        return [batch.number for batch in found]

    assert numbers(None, 3, newest_first=False) == [1, 2, 3]
    assert numbers(3, 3, newest_first=False) == [4, 5]
    assert numbers(None, 2, newest_first=True) == [5, 4]
    assert numbers(4, 9, newest_first=True) == [3, 2, 1]


def test_a_worker_by_number_and_by_name(book: Book) -> None:
    gone = worker(1, WorkerState.OFFLINE, NOW_US)
    book.apply(workers={1: gone, 2: worker(2), 3: worker(3)._replace(name="worker-1")})
    assert book.query.worker(1) == gone
    assert book.query.worker(4) is None
    assert book.query.worker_by_name("worker-2") == worker(2)
    found = book.query.worker_by_name("worker-1")
    assert found is not None
    assert found.number == 3  # the newest
    assert book.query.worker_by_name("nobody") is None


def test_output_from_the_chunk_that_holds_a_place(book: Book) -> None:
    pieces = [
        chunk(1, 1, 0, b"abc"),
        chunk(1, 1, 3, b"def"),
        chunk(1, 1, 10, b"xyz"),
        chunk(1, 2, 0, b"other"),
    ]
    book.apply(output=pieces)

    def offsets(start: int) -> list[int]:
        return [piece.offset for piece in book.query.output(1, 1, start=start)]

    assert offsets(0) == offsets(2) == [0, 3, 10]
    assert offsets(3) == offsets(9) == [3, 10]
    assert offsets(99) == [10]
    assert list(book.query.output(7, 1, start=5)) == []
