"""Which worker gets what: fairness, slots, prefetch, recall, balance, pause."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.stimuli import OrderKill, RecallResult, SetPaused
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers import builders
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt

SHORT_US = 1_000


def make_tasks_short(coordinator: Coordinator, peer: Peer, *, duration_us: int = SHORT_US) -> None:
    coordinator.submit(command="short")
    peer.run(peer.assigned[-1], duration_us=duration_us)
    peer.seen = len(peer.assigned)


def stuck_and_idle(coordinator: Coordinator) -> tuple[Peer, Peer]:
    """A worker that holds more than it runs, and one that has nothing: the first got all when it was alone."""
    (stuck,) = coordinator.fleet(1)
    make_tasks_short(coordinator, stuck)
    coordinator.submit(4)
    assert len(stuck.assigned) == 5
    stuck.start(stuck.take())
    (idle,) = coordinator.fleet(2)
    assert not idle.assigned
    return stuck, idle


# === slots
def test_one_task_each_in_turn(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(3)
    coordinator.submit(2)
    assert [len(peer.assigned) for peer in peers] == [1, 1, 0]
    coordinator.submit(1)
    assert [len(peer.assigned) for peer in peers] == [1, 1, 1]
    coordinator.submit(9)
    assert [len(peer.assigned) for peer in peers] == [1, 1, 1]


def test_the_turn_goes_on_where_it_stopped(coordinator: Coordinator) -> None:
    """Otherwise a trickle of short tasks would all go to the first worker."""
    peers = coordinator.fleet(3)
    for _ in range(9):
        (number,) = coordinator.submit()
        (busy,) = [peer for peer in peers if number in peer.tasks]
        busy.run(duration_us=500_000)
    assert [len(peer.assigned) for peer in peers] == [3, 3, 3]


def test_slots_are_filled_evenly(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(2, slots=3)
    coordinator.submit(4)
    assert [len(peer.assigned) for peer in peers] == [2, 2]
    coordinator.submit(4)
    assert [len(peer.assigned) for peer in peers] == [3, 3]


def test_more_slots_take_more(coordinator: Coordinator) -> None:
    (small,) = coordinator.fleet(1, slots=1)
    (large,) = coordinator.fleet(2, slots=4)
    coordinator.submit(5)
    assert (len(small.assigned), len(large.assigned)) == (1, 4)


def test_nothing_goes_to_a_worker_that_is_away_or_leaving(coordinator: Coordinator) -> None:
    away, leaving, killed, present = coordinator.fleet(4)
    away.disconnect()
    leaving.report(draining=True)
    coordinator.feed(OrderKill(worker=killed.number))
    coordinator.submit(5)
    assert [len(peer.assigned) for peer in (away, leaving, killed, present)] == [0, 0, 0, 1]


# === prefetch
def test_no_prefetch_before_anything_is_known(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.submit(10)
    assert len(peer.assigned) == 1


def test_short_tasks_are_given_ahead_up_to_the_depth(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    make_tasks_short(coordinator, peer)
    coordinator.submit(1_000)
    assert len(peer.assigned) - peer.seen == 1 + coordinator.policy.prefetch_depth


@pytest.mark.parametrize(("duration_us", "ahead"), [(20_000, True), (20_001, False)])
def test_the_limit_of_short(coordinator: Coordinator, duration_us: int, ahead: bool) -> None:
    (peer,) = coordinator.fleet(1)
    make_tasks_short(coordinator, peer, duration_us=duration_us)
    coordinator.submit(10)
    assert (len(peer.assigned) - peer.seen > 1) is ahead


def test_the_mean_moves_both_ways(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    make_tasks_short(coordinator, peer, duration_us=1_000_000)
    for _ in range(60):
        make_tasks_short(coordinator, peer)
    coordinator.submit(3)
    assert len(peer.assigned) - peer.seen == 3
    while peer.seen < len(peer.assigned):
        peer.run(duration_us=1_000_000)
    coordinator.submit(3)
    assert len(peer.assigned) - peer.seen == 1


def test_free_slots_everywhere_come_before_prefetch_anywhere(coordinator: Coordinator) -> None:
    first, second = coordinator.fleet(2)
    make_tasks_short(coordinator, first)
    coordinator.submit(2)
    assert len(first.assigned) - first.seen == len(second.assigned) == 1


def test_what_never_ran_does_not_count_into_the_mean(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.cancel(number)
    peer.finish(peer.take(), Outcome.CANCELLED, never_started=True)
    coordinator.submit(10)
    assert len(peer.assigned) - peer.seen == 1


# === balance
def test_tasks_given_ahead_are_taken_back_after_50_ms_without_progress(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    waiting = stuck.assigned[2:]
    coordinator.advance(0.049)
    coordinator.tick()
    assert not stuck.told.recall
    coordinator.advance(0.002)
    assert stuck.told.recall == waiting
    coordinator.advance(1)
    assert stuck.told.recall == waiting, "asked once"
    assert not idle.assigned, "not before the answer"
    stuck.report(recall_answers=[builders.answer(ref) for ref in waiting])
    assert idle.tasks == [ref.task for ref in waiting], "and none of it back to where it was stuck"
    assert coordinator.row(idle.tasks[0]).attempt == 2
    assert coordinator.outcomes(idle.tasks[0]) == [Outcome.RECALLED]


def test_progress_puts_the_recall_off(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    for _ in range(3):
        coordinator.advance(0.04)
        stuck.finish(stuck.assigned[stuck.seen - 1], duration_us=SHORT_US)
        stuck.start(stuck.take())
    assert not stuck.told.recall
    assert not idle.assigned


def test_already_started_stays_where_it_is(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    coordinator.advance(0.1)
    ref = stuck.told.recall[0]
    stuck.start(ref)
    stuck.answer(ref, RecallResult.ALREADY_STARTED)
    assert coordinator.state(ref.task) is TaskState.RUNNING
    assert ref.task not in idle.tasks
    stuck.finish(ref)
    assert coordinator.state(ref.task) is TaskState.COMPLETED


def test_already_started_before_the_start_is_told(coordinator: Coordinator) -> None:
    """Its `started` is on the way; until then the task stays where it is."""
    stuck, _ = stuck_and_idle(coordinator)
    coordinator.advance(0.1)
    ref = stuck.told.recall[0]
    stuck.answer(ref, RecallResult.ALREADY_STARTED)
    assert coordinator.row(ref.task).worker == stuck.number
    assert coordinator.outcomes(ref.task) == []


def test_unknown_means_that_it_will_not_run_there(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    coordinator.advance(0.1)
    ref = stuck.told.recall[0]
    stuck.answer(ref, RecallResult.UNKNOWN)
    assert ref.task in idle.tasks


def test_an_answer_about_an_old_attempt_changes_nothing(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    coordinator.advance(0.1)
    ref = stuck.told.recall[0]
    stuck.answer(ref)
    before = coordinator.row(ref.task)
    stuck.answer(ref)
    idle.answer(ref)
    assert coordinator.row(ref.task) == before


def test_a_recall_of_what_runs_by_the_engines_books_is_ignored(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    ref = peer.take()
    peer.start(ref)
    peer.answer(ref, RecallResult.RECALLED)
    assert coordinator.state(number) is TaskState.RUNNING


def test_no_recall_while_nobody_is_idle(coordinator: Coordinator) -> None:
    stuck, idle = stuck_and_idle(coordinator)
    coordinator.submit(1)
    idle.start(idle.take())
    coordinator.advance(0.2)
    assert not stuck.told.recall


def test_an_idle_worker_gets_work_that_comes_back(coordinator: Coordinator) -> None:
    """All is done in the end, however often tasks go back and forth."""
    stuck, idle = stuck_and_idle(coordinator)
    for _ in range(10):
        coordinator.advance(0.06)
        for ref in list(stuck.told.recall):
            stuck.answer(ref)
        stuck.told.recall.clear()
        while idle.seen < len(idle.assigned):
            idle.run(duration_us=SHORT_US)
    assert coordinator.totals.unfinished == 1


# === pause
def test_pause_takes_back_what_waits_and_lets_run_what_runs(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    make_tasks_short(coordinator, peer)
    running, *waiting = coordinator.submit(3)
    peer.start(peer.take())
    coordinator.feed(SetPaused(paused=True))
    assert [ref.task for ref in peer.told.recall] == waiting
    for ref in list(peer.told.recall):
        peer.answer(ref)
    assert coordinator.states(waiting) == [TaskState.PENDING] * 2
    peer.finish(peer.assigned[peer.seen - 1], duration_us=SHORT_US)
    assert coordinator.state(running) is TaskState.COMPLETED
    (late,) = coordinator.submit()
    assert coordinator.state(late) is TaskState.PENDING
    coordinator.feed(SetPaused(paused=False))
    assert coordinator.states([*waiting, late]) == [TaskState.ASSIGNED] * 3


def test_pause_reaches_a_worker_that_was_away(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    make_tasks_short(coordinator, peer)
    coordinator.submit(2)
    held = peer.assigned[peer.seen :]
    peer.disconnect()
    coordinator.feed(SetPaused(paused=True))
    peer.connect(*(open_attempt(ref) for ref in held))
    assert peer.told.recall == held


def test_pause_is_remembered(coordinator: Coordinator) -> None:
    coordinator.feed(SetPaused(paused=True))
    coordinator.feed(SetPaused(paused=True))
    assert coordinator.kinds().count("queue") == 1
    coordinator.restart()
    coordinator.submit(1)
    (peer,) = coordinator.fleet(1)
    assert not peer.assigned


def test_a_retry_back_off_ends_during_a_pause(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=1)
    peer.run(outcome=Outcome.FAILED)
    coordinator.feed(SetPaused(paused=True))
    coordinator.advance(5)
    assert (coordinator.state(number), coordinator.row(number).due_us) == (TaskState.PENDING, 0)
    coordinator.feed(SetPaused(paused=False))
    assert coordinator.state(number) is TaskState.ASSIGNED
