"""A new life begins from what the store remembers."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.stimuli import OrderKill, SetSelfHeal, StopWorker, WorkerEnded
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt


def everything(coordinator: Coordinator) -> tuple[list[Peer], dict[str, int]]:
    """One task in each state; the workers hold the running and the assigned one."""
    peers = coordinator.fleet(2)
    completed, failed, running, assigned, pending, cancelled = coordinator.submit(6)
    coordinator.cancel(cancelled)
    first, second = peers
    first.run()
    second.run(outcome=Outcome.FAILED)
    first.start(first.take())
    numbers = {
        "completed": completed,
        "failed": failed,
        "running": running,
        "assigned": assigned,
        "pending": pending,
        "cancelled": cancelled,
    }
    assert {name: coordinator.state(number) for name, number in numbers.items()} == {
        name: TaskState(name) for name in numbers
    }
    return peers, numbers


def test_nothing_changes_by_itself(coordinator: Coordinator) -> None:
    everything(coordinator)
    before = dict(coordinator.store.tasks)
    totals = coordinator.totals
    coordinator.restart()
    assert coordinator.totals == totals
    assert coordinator.store.tasks == before
    assert coordinator.launches == [1, 2]


def test_living_workers_are_adopted_with_what_they_run(coordinator: Coordinator) -> None:
    (first, second), numbers = everything(coordinator)
    running, assigned = first.coordinator_ref(numbers["running"]), first.coordinator_ref(numbers["assigned"])
    coordinator.restart()
    first.connect(open_attempt(running, started=True))
    second.connect(open_attempt(assigned))
    assert not first.assigned
    assert not second.assigned
    first.finish(running)
    second.run(assigned)
    assert coordinator.row(numbers["running"]).attempt == 1
    assert coordinator.row(numbers["assigned"]).attempt == 1
    assert coordinator.totals.completed == 3
    assert sum("adopted" in event.message for event in coordinator.store.events) == 2
    assert first.tasks == [numbers["pending"]]


def test_results_that_came_while_the_engine_was_away(coordinator: Coordinator) -> None:
    (first, _), numbers = everything(coordinator)
    ref = first.coordinator_ref(numbers["running"])
    coordinator.restart()
    first.connect(open_attempt(ref, started=True, finished=True))
    first.finish(ref)
    assert coordinator.state(numbers["running"]) is TaskState.COMPLETED


def test_an_assignment_that_was_stored_and_never_sent(coordinator: Coordinator) -> None:
    (_, second), numbers = everything(coordinator)
    coordinator.restart()
    second.connect()
    again = second.take()
    assert again.task == numbers["assigned"]
    assert again.attempt == 2


def test_workers_that_died_with_the_engine_are_not_held_against_tasks(coordinator: Coordinator) -> None:
    (first, second), numbers = everything(coordinator)
    coordinator.restart()
    coordinator.end(first, reason="gone")
    coordinator.end(second, reason="gone")
    running, assigned = coordinator.row(numbers["running"]), coordinator.row(numbers["assigned"])
    assert (running.state, running.outcome, running.deaths) == (TaskState.PENDING, Outcome.LOST, 0)
    assert (assigned.state, assigned.outcome, assigned.deaths) == (TaskState.PENDING, Outcome.RECALLED, 0)
    assert coordinator.launches == [1, 2, 3, 4]


def test_workers_have_their_whole_lease_to_come_back(coordinator: Coordinator) -> None:
    everything(coordinator)
    coordinator.advance(9)
    coordinator.restart()
    coordinator.advance(9)
    assert not coordinator.kills
    coordinator.advance(2)
    assert sorted(coordinator.kills) == [1, 2]


def test_a_cancel_under_way_is_remembered(coordinator: Coordinator) -> None:
    (first, _), numbers = everything(coordinator)
    coordinator.cancel(numbers["running"])
    ref = first.coordinator_ref(numbers["running"])
    coordinator.restart()
    first.connect(open_attempt(ref, started=True))
    assert first.told.cancel == [ref]
    first.finish(ref, Outcome.CANCELLED)
    assert coordinator.state(numbers["running"]) is TaskState.CANCELLED


def test_starts_that_the_old_engine_did_not_see_through_are_made_up_for_at_once(
    coordinator: Coordinator,
) -> None:
    """They were not failed starts: nobody tried."""
    coordinator.scale(3)
    coordinator.restart()
    for number in (1, 2, 3):
        coordinator.feed(WorkerEnded(worker=number, reason="it was gone"))
    assert coordinator.launches == [1, 2, 3, 4, 5, 6]


def test_numbers_go_on(coordinator: Coordinator) -> None:
    everything(coordinator)
    coordinator.restart()
    assert coordinator.submit(1) == [7]
    assert max(coordinator.store.batches) == 2


def test_delays_and_back_offs_survive(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (retried,) = coordinator.submit(retries=1)
    (delayed,) = coordinator.submit(delay_s=5)
    peer.run(outcome=Outcome.FAILED)
    due_us = coordinator.row(retried).due_us
    coordinator.restart()
    peer.connect(slots=2)
    assert not peer.assigned
    coordinator.advance((due_us - coordinator.now.wall_us) / 1e6 + 0.001)
    assert peer.tasks == [retried]
    coordinator.advance(5)
    assert peer.tasks == [retried, delayed]


def test_figures_survive(coordinator: Coordinator) -> None:
    (first, _), numbers = everything(coordinator)
    coordinator.discard(numbers["failed"])
    coordinator.end(first)
    before = coordinator.totals
    assert (before.discarded, before.attempts_lost) == (1, 1)
    coordinator.restart()
    assert coordinator.totals == before


@pytest.mark.parametrize("self_heal", [True, False])
def test_switches_survive(coordinator: Coordinator, self_heal: bool) -> None:
    coordinator.feed(SetSelfHeal(self_heal=self_heal))
    coordinator.scale(2)
    coordinator.restart()
    assert coordinator.totals.self_heal is self_heal
    assert coordinator.totals.desired == 2


def test_many_lives_in_a_row(coordinator: Coordinator) -> None:
    (number,) = coordinator.submit()
    for _ in range(5):
        coordinator.restart()
    (peer,) = coordinator.fleet(1)
    ref = peer.take()
    assert ref.fence >> 32 == coordinator.store.epoch == 6
    for _ in range(3):
        coordinator.restart()
        peer.connect(open_attempt(ref, started=True))
    peer.finish(ref)
    assert coordinator.state(number) is TaskState.COMPLETED


def test_an_order_to_kill_is_carried_out_by_the_next_life_and_not_blamed(coordinator: Coordinator) -> None:
    """The order was durable, the signal may have gone down with the engine; or it comes late."""
    (first, _), numbers = everything(coordinator)
    ref = first.coordinator_ref(numbers["running"])
    coordinator.feed(OrderKill(worker=first.number))
    assert coordinator.kills == [first.number]
    coordinator.restart()
    assert coordinator.kills == [first.number] * 2
    first.connect(open_attempt(ref, started=True))
    assert not first.assigned
    coordinator.end(first)
    assert coordinator.row(numbers["running"]).deaths == 0
    assert coordinator.worker(first.number).ended == "it was killed by order"


def test_a_worker_that_was_leaving_goes_on_leaving_and_its_death_is_not_blamed(
    coordinator: Coordinator,
) -> None:
    (first, _), numbers = everything(coordinator)
    ref = first.coordinator_ref(numbers["running"])
    coordinator.feed(StopWorker(worker=first.number))
    coordinator.restart()
    first.connect(open_attempt(ref, started=True))
    assert first.told.drain
    assert not coordinator.kills
    coordinator.end(first)
    assert coordinator.row(numbers["running"]).deaths == 0
    assert coordinator.launches == [1, 2]
