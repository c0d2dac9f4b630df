"""The size of the fleet: desired, requested, observed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from taskmaster_desktop.backend.core.instructions import StartWorker, TerminateWorker
from taskmaster_desktop.backend.core.scaling import Candidate, Decision, decide, start_pause_s
from taskmaster_desktop.backend.core.stimuli import (
    LaunchFailed,
    OrderKill,
    RuntimeNews,
    RuntimeReady,
    SetSelfHeal,
    Shutdown,
    StopWorker,
    WorkerEnded,
    WorkerLaunched,
)
from taskmaster_desktop.backend.errors import NotFound
from taskmaster_desktop.backend.model import Level, TaskState, WorkerState
from tests.helpers import builders
from tests.helpers.sim_coordinator import Coordinator, Peer


# === the pure decision
def candidate(number: int, load: int = 0) -> Candidate:
    return Candidate(number=number, online=True, load=load)


@pytest.mark.parametrize(
    ("target", "workers", "decision"),
    [
        (0, [], Decision()),
        (3, [], Decision(start=3)),
        (2, [candidate(1), candidate(2)], Decision()),
        (1, [candidate(1), candidate(2)], Decision(stop=(2,))),
        (1, [candidate(1), candidate(2, load=1)], Decision(stop=(1,))),
        (1, [candidate(1, 1), candidate(2, 1), candidate(3, 1)], Decision(stop=(3, 2))),
        (1, [candidate(1), candidate(2, 1), candidate(3), candidate(4, 9)], Decision(stop=(3, 1, 4))),
        (0, [candidate(1, 1), candidate(2)], Decision(stop=(2, 1))),
    ],
)
def test_decide(target: int, workers: list[Candidate], decision: Decision) -> None:
    assert decide(target, workers) == decision


def test_start_pauses_grow_to_a_limit() -> None:
    pauses = [start_pause_s(failures) for failures in range(20)]
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert pauses[-1] == 30.0
    assert all(a <= b for a, b in pairwise(pauses))


# === scaling
def test_scale_up_starts_what_is_missing(coordinator: Coordinator) -> None:
    coordinator.scale(3)
    assert coordinator.launches == [1, 2, 3]
    assert {coordinator.worker(number).state for number in (1, 2, 3)} == {WorkerState.STARTING}
    coordinator.scale(3)
    coordinator.scale(3)
    assert coordinator.launches == [1, 2, 3], "requested counts as much as observed"
    coordinator.scale(5)
    assert coordinator.launches == [1, 2, 3, 4, 5]
    names = [coordinator.worker(number).name for number in coordinator.launches]
    assert names == [f"worker-{number}" for number in range(1, 6)]


def test_identities_are_never_used_twice(coordinator: Coordinator) -> None:
    coordinator.fleet(2)
    coordinator.restart()
    coordinator.scale(4)
    ids = [worker.id for worker in coordinator.store.workers.values()]
    assert len(set(ids)) == 4


def test_scale_down_takes_idle_workers_first_then_the_newest(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(4)
    coordinator.submit(2)
    coordinator.scale(1)
    leaving = [
        peer.number for peer in peers if peer.coordinator.worker(peer.number).state is WorkerState.DRAINING
    ]
    assert leaving == [2, 3, 4]
    assert all(peer.told.drain for peer in peers[1:])
    assert not peers[0].told.drain


def test_a_draining_worker_finishes_what_it_runs(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    ref = peer.take()
    peer.start(ref)
    coordinator.scale(0)
    coordinator.submit()
    assert len(peer.assigned) == 1
    peer.finish(ref)
    assert coordinator.state(number) is TaskState.COMPLETED
    coordinator.end(peer, reason="it ended by itself", clean=True)
    assert coordinator.living() == []
    assert len(coordinator.launches) == 1


def test_scaled_down_and_up_again_at_once(coordinator: Coordinator) -> None:
    """A draining worker does not come back; another one is started beside it."""
    coordinator.fleet(2)
    coordinator.scale(1)
    coordinator.scale(2)
    assert coordinator.launches == [1, 2, 3]


def test_a_worker_that_is_away_is_asked_through_its_runtime(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    peer.disconnect()
    coordinator.scale(0)
    assert coordinator.done(TerminateWorker) == [peer.number]


def test_a_worker_that_is_not_even_running_is_asked_once_it_is(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    coordinator.scale(0)
    assert coordinator.done(TerminateWorker) == [1]
    coordinator.feed(WorkerLaunched(worker=1, handle="h"))
    assert coordinator.done(TerminateWorker) == [1, 1]
    assert coordinator.worker(1).handle == "h"


# === kill and stop
def test_kill_keeps_the_desired_size(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(2)
    coordinator.feed(OrderKill(worker=1))
    assert coordinator.kills == [1]
    assert coordinator.totals.desired == 2
    assert coordinator.launches == [1, 2, 3], "its replacement does not wait for its end"
    coordinator.feed(OrderKill(worker=1))
    assert coordinator.kills == [1]
    coordinator.end(peers[0])
    assert coordinator.launches == [1, 2, 3]
    assert coordinator.worker(1).ended == "it was killed by order"


def test_a_draining_worker_may_be_killed(coordinator: Coordinator) -> None:
    coordinator.fleet(1)
    coordinator.scale(0)
    coordinator.feed(OrderKill(worker=1))
    assert coordinator.kills == [1]
    assert coordinator.launches == [1]


def test_a_kill_reaches_a_worker_whose_launch_is_under_way(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    coordinator.feed(OrderKill(worker=1))
    coordinator.feed(WorkerLaunched(worker=1, handle="h"))
    assert coordinator.kills == [1, 1]
    last = [action for action in coordinator.actions if not isinstance(action, StartWorker)][-1]
    assert last.worker.handle == "h"


def test_stop_lowers_the_desired_size(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(3)
    coordinator.feed(StopWorker(worker=2))
    assert coordinator.totals.desired == 2
    assert peers[1].told.drain
    coordinator.feed(StopWorker(worker=2))
    assert coordinator.totals.desired == 2, "it leaves already"
    coordinator.end(peers[1], clean=True)
    assert coordinator.launches == [1, 2, 3]


@pytest.mark.parametrize("order", [StopWorker, OrderKill])
@pytest.mark.parametrize("number", [0, 99])
def test_workers_that_do_not_exist(coordinator: Coordinator, order: type, number: int) -> None:
    before = coordinator.totals
    with pytest.raises(NotFound):
        coordinator.machine.handle(order(worker=number), coordinator.now)
    assert coordinator.totals == before


def test_a_dead_worker_is_not_found(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.scale(0)
    coordinator.end(peer)
    with pytest.raises(NotFound):
        coordinator.machine.handle(OrderKill(worker=peer.number), coordinator.now)


# === self-heal
def test_a_dead_worker_is_replaced_at_once(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.end(peer)
    assert coordinator.launches == [1, 2]


def test_without_self_heal_it_is_not(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(3)
    coordinator.feed(SetSelfHeal(self_heal=False))
    coordinator.feed(OrderKill(worker=1))
    coordinator.end(peers[0])
    coordinator.end(peers[1])
    assert coordinator.launches == [1, 2, 3]
    assert coordinator.totals.desired == 3
    coordinator.scale(3)
    assert coordinator.launches == [1, 2, 3, 4, 5], "the same number restores it"


def test_self_heal_switched_on_again_heals(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(2)
    coordinator.feed(SetSelfHeal(self_heal=False))
    coordinator.feed(SetSelfHeal(self_heal=False))
    coordinator.end(peers[0])
    assert coordinator.living() == [2]
    coordinator.feed(SetSelfHeal(self_heal=True))
    assert len(coordinator.living()) == 2
    assert coordinator.kinds().count("self_heal") == 2


def test_without_self_heal_a_stop_counts_once(coordinator: Coordinator) -> None:
    peers = coordinator.fleet(2)
    coordinator.feed(SetSelfHeal(self_heal=False))
    coordinator.feed(StopWorker(worker=1))
    coordinator.end(peers[0], clean=True)
    assert coordinator.living() == [2]
    assert coordinator.totals.desired == 1
    assert not peers[1].told.drain


# === starts that fail
def test_failed_starts_back_off(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    moments = [coordinator.now.mono_s]
    for _ in range(9):
        count = len(coordinator.launches)
        coordinator.feed(LaunchFailed(worker=coordinator.launches[-1], reason="no memory"))
        while len(coordinator.launches) == count:
            coordinator.advance(0.1)
        moments.append(coordinator.now.mono_s)
    gaps = [b - a for a, b in pairwise(moments)]
    assert gaps == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30], abs=0.11)
    assert coordinator.worker(1).ended == "no memory"


def test_a_whole_fleet_that_fails_backs_off_like_one_worker(coordinator: Coordinator) -> None:
    coordinator.scale(5)
    for number in coordinator.launches[:5]:
        coordinator.feed(LaunchFailed(worker=number, reason="no memory"))
    assert len(coordinator.launches) == 5
    coordinator.advance(0.51)
    assert len(coordinator.launches) == 10


def test_an_agent_that_dies_before_it_connects_is_a_failed_start(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    coordinator.feed(WorkerLaunched(worker=1, handle="h"))
    coordinator.feed(WorkerEnded(worker=1, reason="exit code 78"))
    assert coordinator.launches == [1]
    coordinator.advance(0.6)
    assert coordinator.launches == [1, 2]


def test_success_and_scaling_end_the_back_off(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    for _ in range(5):
        coordinator.feed(LaunchFailed(worker=coordinator.launches[-1], reason="no memory"))
        coordinator.advance(30)
    coordinator.feed(LaunchFailed(worker=coordinator.launches[-1], reason="no memory"))
    count = len(coordinator.launches)
    coordinator.scale(1)
    assert len(coordinator.launches) == count + 1
    Peer(coordinator, coordinator.launches[-1]).connect()
    coordinator.feed(WorkerEnded(worker=coordinator.launches[-1], reason="killed"))
    assert len(coordinator.launches) == count + 2, "it had been online"


def test_a_runtime_that_answers_again_ends_the_back_off(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    for _ in range(5):
        coordinator.feed(LaunchFailed(worker=coordinator.launches[-1], reason="no engine"))
        coordinator.advance(30)
    coordinator.feed(LaunchFailed(worker=coordinator.launches[-1], reason="no engine"))
    count = len(coordinator.launches)
    coordinator.feed(RuntimeReady())
    assert len(coordinator.launches) == count + 1


def test_news_of_the_runtime_is_logged(coordinator: Coordinator) -> None:
    coordinator.feed(RuntimeNews(level=Level.ERROR, message="No engine answers."))
    line = coordinator.store.events[-1]
    assert (line.level, line.kind, line.message) == (Level.ERROR, "runtime", "No engine answers.")


def test_news_of_unknown_workers_is_nothing(coordinator: Coordinator) -> None:
    coordinator.feed(WorkerLaunched(worker=9, handle="h"))
    coordinator.feed(LaunchFailed(worker=9, reason="r"))
    coordinator.feed(WorkerEnded(worker=9, reason="r"))
    assert not coordinator.store.workers


# === shutdown
def test_shutdown_takes_back_drains_and_starts_nothing(coordinator: Coordinator) -> None:
    busy, away = coordinator.fleet(2)
    running, assigned, waiting = coordinator.submit(3)
    ref = busy.take()
    busy.start(ref)
    away.disconnect()
    coordinator.feed(Shutdown())
    assert busy.told.drain
    assert not busy.told.recall
    assert coordinator.done(TerminateWorker) == [away.number]
    assert coordinator.states([running, assigned, waiting]) == [
        TaskState.RUNNING,
        TaskState.ASSIGNED,
        TaskState.PENDING,
    ]
    busy.finish(ref)
    coordinator.end(busy, clean=True)
    coordinator.end(away, clean=True)
    assert coordinator.states([running, assigned, waiting]) == [
        TaskState.COMPLETED,
        TaskState.PENDING,
        TaskState.PENDING,
    ]
    assert coordinator.machine.worker_numbers == []
    assert coordinator.launches == [1, 2]
    assert coordinator.totals.desired == 2, "the next start brings them back"


def test_shutdown_recalls_what_has_not_started(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.feed(Shutdown())
    assert peer.told.recall == peer.assigned
    peer.report(recall_answers=[builders.answer(peer.take())])
    assert coordinator.state(number) is TaskState.PENDING
    coordinator.submit()
    coordinator.advance(1)
    assert len(peer.assigned) == 1


def test_a_worker_that_connects_during_shutdown_is_sent_home(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    coordinator.feed(Shutdown())
    peer = Peer(coordinator, 1)
    peer.connect()
    assert peer.told.drain
