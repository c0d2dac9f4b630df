"""Cancel, in every state and against every kind of rival."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.stimuli import RecallResult, SetPaused
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt


def is_cancelled(coordinator: Coordinator, number: int) -> bool:
    row = coordinator.row(number)
    assert not row.cancelling
    return (row.state, row.outcome) == (TaskState.CANCELLED, Outcome.CANCELLED)


def running_task(coordinator: Coordinator, **options: int) -> tuple[Peer, int]:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(**options)
    peer.start(peer.take())
    return peer, number


def test_pending(coordinator: Coordinator) -> None:
    first, second = coordinator.submit(2)
    assert coordinator.cancel(first) == 1
    assert is_cancelled(coordinator, first)
    (peer,) = coordinator.fleet(1)
    assert peer.tasks == [second]


def test_delayed(coordinator: Coordinator) -> None:
    (number,) = coordinator.submit(delay_s=5)
    coordinator.cancel(number)
    coordinator.fleet(1)
    coordinator.advance(4)
    coordinator.advance(4)
    assert is_cancelled(coordinator, number)


def test_waiting_for_a_retry(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=1)
    peer.run(outcome=Outcome.FAILED)
    coordinator.cancel(number)
    assert is_cancelled(coordinator, number)
    assert coordinator.outcomes(number) == [Outcome.FAILED]


def test_assigned(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    ref = peer.take()
    coordinator.cancel(number)
    assert peer.told.cancel == [ref]
    assert coordinator.row(number).cancelling
    assert coordinator.state(number) is TaskState.ASSIGNED
    peer.finish(ref, Outcome.CANCELLED, never_started=True)
    assert is_cancelled(coordinator, number)
    (attempt,) = coordinator.attempts(number)
    assert (attempt.outcome, attempt.started_us, attempt.exit_code) == (Outcome.CANCELLED, None, None)


def test_running(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator, retries=3)
    coordinator.cancel(number)
    peer.finish(peer.assigned[0], Outcome.CANCELLED)
    assert is_cancelled(coordinator, number)
    assert coordinator.row(number).failures == 0


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_finished_tasks_stay_as_they_are(coordinator: Coordinator, state: str) -> None:
    if state == "cancelled":
        (number,) = coordinator.submit()
        coordinator.cancel(number)
    else:
        peer, number = running_task(coordinator)
        peer.finish(peer.assigned[0], Outcome(state))
    before = coordinator.row(number)
    assert coordinator.cancel(number) == 0
    assert coordinator.row(number) == before


def test_twice_is_once(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    assert coordinator.cancel(number) == 1
    assert coordinator.cancel(number) == 0
    assert len(peer.told.cancel) == 1


def test_completion_wins_the_race(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    coordinator.cancel(number)
    peer.finish(peer.assigned[0], Outcome.COMPLETED)
    assert coordinator.state(number) is TaskState.COMPLETED
    assert not coordinator.row(number).cancelling


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMEOUT, Outcome.OOM])
def test_a_failure_during_a_cancel_is_not_retried(coordinator: Coordinator, outcome: Outcome) -> None:
    peer, number = running_task(coordinator, retries=3)
    coordinator.cancel(number)
    peer.finish(peer.assigned[0], outcome)
    assert is_cancelled(coordinator, number)
    assert coordinator.outcomes(number) == [outcome]


def test_while_disconnected_it_is_sent_after_the_reconnect(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    ref = peer.assigned[0]
    peer.disconnect()
    assert coordinator.cancel(number) == 1
    peer.connect(open_attempt(ref, started=True))
    assert peer.told.cancel == [ref]
    peer.finish(ref, Outcome.CANCELLED)
    assert is_cancelled(coordinator, number)


def test_while_disconnected_and_finished_meanwhile(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    ref = peer.assigned[0]
    peer.disconnect()
    coordinator.cancel(number)
    peer.connect(open_attempt(ref, started=True, finished=True))
    assert not peer.told.cancel
    peer.finish(ref)
    assert coordinator.state(number) is TaskState.COMPLETED


def test_sent_but_lost_with_the_connection_it_is_sent_again(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    ref = peer.assigned[0]
    coordinator.cancel(number)
    peer.disconnect()
    peer.connect(open_attempt(ref, started=True))
    assert peer.told.cancel == [ref]


@pytest.mark.parametrize("started", [False, True])
def test_while_its_worker_dies(coordinator: Coordinator, started: bool) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    if started:
        peer.start(peer.take())
    coordinator.cancel(number)
    coordinator.end(peer)
    assert is_cancelled(coordinator, number)
    assert coordinator.outcomes(number) == [Outcome.LOST if started else Outcome.CANCELLED]


def test_of_a_task_that_the_worker_gives_back(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.feed(SetPaused(paused=True))
    assert peer.told.recall == peer.assigned
    coordinator.cancel(number)
    peer.answer(peer.take(), RecallResult.RECALLED)
    assert is_cancelled(coordinator, number)
    assert coordinator.outcomes(number) == [Outcome.CANCELLED]


def test_is_not_recalled_as_well(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.cancel(number)
    coordinator.feed(SetPaused(paused=True))
    assert not peer.told.recall


def test_of_an_assignment_that_never_arrived(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.cancel(number)
    peer.disconnect()
    peer.connect()
    assert is_cancelled(coordinator, number)


def test_a_cancel_that_nobody_asked_for_is_not_the_tasks_fault(coordinator: Coordinator) -> None:
    """An agent that is stopped by its system cancels what runs."""
    peer, number = running_task(coordinator)
    peer.finish(peer.assigned[0], Outcome.CANCELLED)
    row = coordinator.row(number)
    assert (row.state, row.failures, row.deaths, row.attempt) == (TaskState.ASSIGNED, 0, 0, 2)
