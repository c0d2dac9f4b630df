"""Long queues: memory holds a window of them, and reads race with everything else."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.stimuli import Cancel, SetPaused
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers import builders
from tests.helpers.sim_coordinator import Coordinator, Peer

WINDOW = 8


@pytest.fixture
def small() -> Coordinator:
    """A coordinator with a window that is soon full."""
    return Coordinator(Policy(window=WINDOW, prefetch_depth=3))


def in_memory(coordinator: Coordinator) -> int:
    return len(coordinator.machine._state.tasks)


def run_all(coordinator: Coordinator, peer: Peer) -> list[int]:
    """Run whatever comes; returns the order."""
    order = []
    while peer.seen < len(peer.assigned):
        order.append(peer.run().task)
    return order


def test_a_hundred_thousand_tasks_need_two_windows_of_memory() -> None:
    coordinator = Coordinator(Policy(window=1024))
    coordinator.recount = False
    numbers = coordinator.submit(100_000)
    assert in_memory(coordinator) <= 2 * 1024
    (peer,) = coordinator.fleet(1, slots=500)
    ran = 0
    while peer.seen < 3_000:
        batch = peer.assigned[peer.seen :]
        peer.seen += len(batch)
        ran += len(batch)
        peer.report(finished=[builders.finished(ref, coordinator.now.wall_us) for ref in batch])
        assert in_memory(coordinator) <= 3 * 1024
    assert peer.tasks[:ran] == numbers[:ran]
    assert coordinator.store.recount() == coordinator.totals
    assert len(coordinator.machine._state.batches) == 1


def test_many_batches_drain_in_order(small: Coordinator) -> None:
    numbers = [number for _ in range(20) for number in small.submit(5)]
    (peer,) = small.fleet(1)
    assert run_all(small, peer) == numbers
    assert in_memory(small) == 0
    assert not small.machine._state.batches


def test_urgent_tasks_push_into_a_full_window(small: Coordinator) -> None:
    low = small.submit(30)
    high = small.submit(30, priority=5)
    assert in_memory(small) <= 2 * WINDOW
    middle = small.submit(30, priority=1)
    (peer,) = small.fleet(1)
    assert run_all(small, peer) == high + middle + low


def test_delayed_backlog(small: Coordinator) -> None:
    later = small.submit(30, delay_s=20)
    sooner = small.submit(30, delay_s=10)
    assert in_memory(small) <= 2 * WINDOW
    (peer,) = small.fleet(1)
    for _ in range(12):
        small.advance(1)
        peer.beat()
    assert run_all(small, peer) == sooner
    for _ in range(9):
        small.advance(1)
        peer.beat()
    assert run_all(small, peer) == later


def test_retries_and_losses_find_their_place_in_a_long_queue(small: Coordinator) -> None:
    (peer,) = small.fleet(1)
    numbers = small.submit(40, retries=1, retry_delay_s=0.0)
    assert peer.run(outcome=Outcome.FAILED).task == numbers[0]
    small.tick()
    peer.run()
    assert run_all(small, peer)[0] in numbers[:3]
    assert small.totals.completed == 40


def test_cancelled_entries_do_not_stand_in_the_way(small: Coordinator) -> None:
    numbers = small.submit(40)
    assert small.cancel(*numbers[:35]) == 35
    (peer,) = small.fleet(1)
    assert run_all(small, peer) == numbers[35:]
    assert in_memory(small) == 0


def test_everything_cancelled_and_submitted_again_and_again(small: Coordinator) -> None:
    for _ in range(20):
        small.cancel(*small.submit(WINDOW))
        small.cancel(*small.submit(WINDOW, delay_s=100))
        assert in_memory(small) == 0
        assert len(small.machine._state.ready) <= 2 * WINDOW
        assert len(small.machine._state.delayed) <= 2 * WINDOW
    last = small.submit(1)
    (peer,) = small.fleet(1)
    assert run_all(small, peer) == last


# === reads that are under way
def read_under_way(coordinator: Coordinator) -> tuple[Peer, list[int]]:
    """A long queue of which so much was done that the next page is being read."""
    numbers = coordinator.submit(40)
    (peer,) = coordinator.fleet(1)
    coordinator.hold_reads = True
    while not coordinator.held:
        peer.run()
    return peer, numbers


def finish_reads(coordinator: Coordinator) -> None:
    coordinator.hold_reads = False
    coordinator.answer_reads()


def test_a_submission_during_a_read_keeps_its_place(small: Coordinator) -> None:
    peer, numbers = read_under_way(small)
    urgent = small.submit(20, priority=1)
    late = small.submit(20)
    finish_reads(small)
    rest = run_all(small, peer)
    done = peer.tasks[: -len(rest)]
    expected = [number for number in [*numbers, *late] if number not in done]
    assert [number for number in rest if number not in urgent] == expected
    assert set(urgent) <= set(rest)


def test_a_cancel_during_a_read_is_not_undone_by_the_older_page(small: Coordinator) -> None:
    peer, _numbers = read_under_way(small)
    page = [row.number for row in small.held[0][1].tasks]
    small.cancel(*page)
    finish_reads(small)
    ran = run_all(small, peer)
    assert not set(ran) & set(page)
    assert small.totals.cancelled == len(page)
    assert small.totals.completed == 40 - len(page)


def test_a_loss_during_a_read_comes_back_once(small: Coordinator) -> None:
    peer, _numbers = read_under_way(small)
    ref = peer.take()
    peer.start(ref)
    small.end(peer)
    small.submit(20, priority=-1)
    finish_reads(small)
    successor = Peer(small, small.launches[-1])
    successor.connect()
    assert run_all(small, successor)[0] == ref.task
    assert small.totals.completed == 60


def test_nothing_leaves_memory_while_a_read_is_under_way(small: Coordinator) -> None:
    peer, _ = read_under_way(small)
    ref = peer.take()
    peer.run(ref)
    assert ref.task in small.machine._state.tasks
    finish_reads(small)
    small.tick()
    assert ref.task not in small.machine._state.tasks


def test_a_load_for_a_bulk_action_races_with_completion(small: Coordinator) -> None:
    """The rows were read while the tasks ran; by the time the cancel is heard they are done."""
    (peer,) = small.fleet(1)
    numbers = small.submit(3)
    small.machine.load_begins()
    rows = small.store.load_tasks(numbers)
    run_all(small, peer)
    assert small.feed(Cancel(tasks=rows)).reply == 0
    assert small.states(numbers) == [TaskState.COMPLETED] * 3
    assert in_memory(small) == 0


def test_a_restart_reads_the_queue_again(small: Coordinator) -> None:
    numbers = small.submit(40, priority=1)
    delayed = small.submit(20, delay_s=1)
    small.restart()
    small.advance(2)
    (peer,) = small.fleet(1)
    assert run_all(small, peer) == numbers + delayed


def test_pause_with_a_long_queue(small: Coordinator) -> None:
    numbers = small.submit(40)
    (peer,) = small.fleet(1)
    small.feed(SetPaused(paused=True))
    peer.answer(peer.take())
    small.feed(SetPaused(paused=False))
    assert run_all(small, peer) == numbers
