"""What every store must do, whatever database it stands on: writing, guards, epochs, reads for the core."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.instructions import (
    BatchCounts,
    Changes,
    Guard,
    ReadDelayed,
    ReadReady,
    TaskPut,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import (
    EventRecord,
    Level,
    Outcome,
    TaskFilter,
    TaskOptions,
    TaskState,
    Totals,
    WorkerState,
)
from taskmaster_desktop.backend.ports import StaleEpoch, StaleWrite
from taskmaster_desktop.backend.store import OpenedStore, open_store
from tests.helpers.store_rows import NOW_US, Book, worker

FULL_OPTIONS = TaskOptions(
    cwd="/tmp/a b", env=(("A", "1"), ("Ü", "é")), priority=-3, retries=2, retry_delay_s=0.5, timeout_s=1.25,
    tags=("x", "ü"), lossless_output=True,
)  # fmt: skip


def snapshot(book: Book) -> list[object]:
    """Everything that a failed group must leave untouched."""
    everything = TaskFilter()
    numbers = book.store.find_numbers(everything, 0, 1000)
    query = book.query
    return [
        query.tasks(everything, after=None, limit=1000, newest_first=False),
        [query.attempts(number) for number in numbers],
        [query.output(number, 1) for number in numbers],
        [query.batch(number) for number in range(1, 10)],
        query.totals(), query.workers(living_only=False), query.events(limit=100),
    ]  # fmt: skip


# ------------------------------------------------------------ life of a row
def test_a_batch_comes_back_as_it_was_submitted(book: Book) -> None:
    works = [("echo ü", False), ('["echo", "a b"]', True), ("x" * 1000, False)]
    new = book.new(3, FULL_OPTIONS, works=works, due_us=NOW_US + 5, key="my key")
    book.store.apply(Changes(new=[new]))

    assert book.query.batch(1) == new.batch
    assert book.query.batch_by_id(new.batch.id) == new.batch
    assert book.store.find_by_key("my key") == new.batch
    assert book.store.find_by_key("another") is None
    loaded = book.store.load_tasks([3, 1, 2, 99])
    assert loaded.tasks == tuple(new.records())
    assert loaded.batches == (new.batch,)
    assert [book.query.task(number) for number in (1, 2, 3, 4)] == [*new.records(), None]
    assert book.query.number_of(loaded.tasks[1].id) == 2
    assert book.query.number_of(b"?" * 16) is None


def test_types_survive_the_database(book: Book) -> None:
    book.submit(1)
    book.apply(book.assigned(1))
    put = book.put(
        1, state=TaskState.FAILED, outcome=Outcome.OOM, exit_code=-9, reason="killed", failures=2, deaths=1,
        cancelling=True, discarded=True, progress=42.1, progress_text="hälfte", finished_us=NOW_US, started_us=NOW_US,
    )  # fmt: skip
    book.apply(put)
    row = book.query.task(1)
    assert row == put.record
    assert row is not None
    for stored, given in zip(row, put.record, strict=True):
        assert type(stored) is type(given)


def test_a_whole_life(book: Book) -> None:
    book.submit(2)
    book.live(1, output=[b"one", b"two"])
    book.live(2, TaskState.FAILED)
    book.apply(batches={1: BatchCounts(1, 1, 0)}, totals=book.totals())

    assert book.query.task(1) == book.rows[1]
    assert list(book.query.attempts(2)) == [book.attempt(2)]
    assert [piece.data for piece in book.query.output(1, 1)] == [b"one", b"two"]
    batch = book.query.batch(1)
    assert batch is not None
    assert (batch.completed, batch.failed, batch.cancelled) == (1, 1, 0)
    assert book.query.totals() == book.totals()


def test_a_task_that_moved_on_within_its_first_group_is_inserted_as_it_is(book: Book) -> None:
    new = book.new(3)
    started = book.assigned(1)
    cancelled = book.put(3, state=TaskState.CANCELLED, finished_us=NOW_US)
    # The core guards with None where it knows that the row is new, else with what the row would say.
    book.apply(TaskPut(started.record, None), cancelled, new=[new])
    assert book.store.load_tasks([1, 2, 3]).tasks == tuple(book.rows.values())


def test_merged_changes_keep_the_newest_row_and_the_oldest_guard(book: Book) -> None:
    book.submit(1)
    first, second = book.assigned(1), book.ended(1)
    group = Changes(tasks={1: first}, totals=Totals(assigned=1))
    group.merge(Changes(tasks={1: second}, attempts=[book.attempt(1)], totals=Totals(completed=1)))
    book.store.apply(group)
    assert book.query.task(1) == second.record
    assert book.query.totals().completed == 1


def test_a_large_batch_is_inserted_whole(book: Book) -> None:
    numbers = book.submit(2503)
    found = book.store.find_numbers(TaskFilter(), 0, 10_000)
    assert list(found) == list(numbers)
    assert book.store.load_tasks(list(numbers)[1700:1710]).tasks == tuple(
        book.rows[number] for number in numbers[1700:1710]
    )


def test_workers_are_put_by_number(book: Book) -> None:
    book.apply(workers={1: worker(1), 2: worker(2, WorkerState.STARTING)})
    gone = worker(1, WorkerState.OFFLINE, offline_us=NOW_US)
    book.apply(workers={1: gone, 3: worker(3, WorkerState.DRAINING)})
    assert list(book.query.workers(living_only=False)) == [
        gone, worker(2, WorkerState.STARTING), worker(3, WorkerState.DRAINING),
    ]  # fmt: skip
    assert [row.number for row in book.query.workers(living_only=True)] == [2, 3]


def test_events_come_newest_last(book: Book) -> None:
    lines = [EventRecord(NOW_US, Level.WARNING, "scale", f"line {n}", None, n) for n in range(5)]
    book.apply(events=lines[:3])
    book.apply(events=lines[3:])
    assert list(book.query.events(limit=3)) == lines[2:]
    assert list(book.query.events(limit=10)) == lines


def test_totals_come_back_with_their_switches(book: Book) -> None:
    totals = Totals(*range(100, 104), self_heal=False, paused=True, pending=7, late_answers=2**40)
    book.apply(totals=totals)
    assert book.query.totals() == totals
    assert book.query.totals().paused is True


# ------------------------------------------------------------ guards
@pytest.mark.parametrize("guard", [Guard(TaskState.RUNNING, 1), Guard(TaskState.ASSIGNED, 2)])
def test_a_stale_guard_rolls_the_whole_group_back(book: Book, guard: Guard) -> None:
    book.submit(3)
    book.apply(book.assigned(1), book.assigned(2))
    before = snapshot(book)
    bad = TaskPut(book.rows[1]._replace(state=TaskState.COMPLETED), guard)
    good = book.ended(2)
    new = book.new(2, FULL_OPTIONS)
    with pytest.raises(StaleWrite):
        book.apply(
            good, bad, new=[new], attempts=[book.attempt(2)], workers={1: worker(1)}, totals=Totals(completed=5),
            events=[EventRecord(NOW_US, Level.INFO, "k", "m", None, None)], batches={1: BatchCounts(1, 0, 0)},
        )  # fmt: skip
    assert snapshot(book) == before
    book.apply(good, attempts=[book.attempt(2)])  # the store goes on
    assert book.query.task(2) == good.record


def test_a_row_that_does_not_exist_is_stale(book: Book) -> None:
    put = book.new(1).record(0)
    with pytest.raises(StaleWrite):
        book.apply(TaskPut(put, Guard(TaskState.PENDING, 0)))
    with pytest.raises(StaleWrite):
        book.apply(TaskPut(put, None))
    with pytest.raises(StaleWrite):
        book.apply(batches={9: BatchCounts(1, 0, 0)})


def test_a_new_task_expected_in_another_state_is_stale(book: Book) -> None:
    new = book.new(1)
    put = book.assigned(1)
    with pytest.raises(StaleWrite):
        book.apply(TaskPut(put.record, Guard(TaskState.ASSIGNED, 7)), new=[new])
    assert book.query.batch(1) is None


def test_an_idempotency_key_is_unique(book: Book) -> None:
    book.submit(1, key="once")
    before = snapshot(book)
    with pytest.raises(StaleWrite) as caught:
        book.submit(1, key="once")
    assert caught.value.__cause__ is not None
    assert snapshot(book) == before
    book.submit(1, key=None)
    book.submit(1, key=None)


def test_an_attempt_ends_once(book: Book) -> None:
    book.submit(1)
    book.live(1)
    with pytest.raises(StaleWrite):
        book.apply(attempts=[book.attempt(1)])


# ------------------------------------------------------------ epochs
def test_each_epoch_is_greater_and_tells_what_was_left_behind(database: str) -> None:
    opened = open_store(database)
    assert opened.store.begin_epoch().epoch == 1
    book = Book(opened)
    book.submit(4, FULL_OPTIONS)
    book.submit(1)
    book.live(1)
    book.apply(book.assigned(2), book.assigned(3), workers={1: worker(1), 2: worker(2, WorkerState.OFFLINE)})
    book.apply(
        book.put(3, state=TaskState.RUNNING, started_us=NOW_US), totals=book.totals(desired=3, paused=True)
    )
    opened.close()

    again = open_store(database)
    recovery = again.store.begin_epoch()
    assert recovery.epoch == 2
    assert recovery.totals == book.totals(desired=3, paused=True)
    assert recovery.active.tasks == (book.rows[2], book.rows[3])
    assert recovery.active.batches == (book.batches[1],)
    assert recovery.workers == (worker(1),)
    assert again.instance_id == opened.instance_id
    again.close()


@pytest.mark.parametrize("totals", [None, Totals(completed=1)])
def test_an_overtaken_epoch_writes_nothing(book: Book, totals: Totals | None) -> None:
    book.submit(1)
    before = snapshot(book)
    assert book.store.begin_epoch().epoch == 2
    book.store.epoch = 1  # as if another engine had begun the second one
    with pytest.raises(StaleEpoch):
        book.apply(book.assigned(1), totals=totals)
    with pytest.raises(StaleEpoch):
        book.store.tidy(NOW_US)
    assert snapshot(book) == before


def test_nothing_is_written_before_an_epoch_begins(database: str) -> None:
    opened = open_store(database)
    with pytest.raises(StaleEpoch):
        opened.store.apply(Changes(totals=Totals()))
    opened.close()


def test_a_second_opening_is_refused(database: str, opened: OpenedStore) -> None:
    with pytest.raises(EnvironmentProblem, match="already running") as caught:
        open_store(database)
    assert "--data-dir" in caught.value.fix
    opened.close()
    opened.close()
    open_store(database).close()


# ------------------------------------------------------------ reads for the core
def test_ready_tasks_come_by_priority_then_number(book: Book) -> None:
    book.submit(3, TaskOptions(priority=0))
    book.submit(2, TaskOptions(priority=5))
    book.submit(2, TaskOptions(priority=-5))
    book.submit(2, due_us=NOW_US)  # delayed: not ready
    book.apply(book.assigned(2))
    expected = [4, 5, 1, 3, 6, 7]

    everything = book.store.read_ready(ReadReady(after=None, limit=100))
    assert [task.number for task in everything.tasks] == expected
    assert [batch.number for batch in everything.batches] == [1, 2, 3]
    found: list[int] = []
    after: tuple[int, int] | None = None
    while page := book.store.read_ready(ReadReady(after=after, limit=2)).tasks:
        found += [task.number for task in page]
        after = (page[-1].rank, page[-1].number)
    assert found == expected


def test_delayed_tasks_come_by_due_time_then_number(book: Book) -> None:
    book.submit(2, due_us=NOW_US + 9)
    book.submit(2, due_us=NOW_US + 5)
    book.submit(1)
    book.submit(1, due_us=NOW_US + 9)
    expected = [3, 4, 1, 2, 6]
    assert [t.number for t in book.store.read_delayed(ReadDelayed(after=None, limit=9)).tasks] == expected
    rest = book.store.read_delayed(ReadDelayed(after=(NOW_US + 9, 1), limit=9))
    assert [task.number for task in rest.tasks] == [2, 6]
    book.apply(book.put(3, due_us=0))
    assert [t.number for t in book.store.read_ready(ReadReady(after=None, limit=9)).tasks] == [3, 5]


def test_readers_see_committed_rows_only(book: Book) -> None:
    before = snapshot(book)
    with pytest.raises(StaleWrite):
        book.apply(new=[book.new(1)], batches={99: BatchCounts(0, 0, 0)})
    assert snapshot(book) == before
