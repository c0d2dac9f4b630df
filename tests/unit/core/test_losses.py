"""Workers that die or fall silent: lost is not failed, and only unexplained deaths are held against a task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskmaster_desktop.backend.core.stimuli import OrderKill, Shutdown, StopWorker, WorkerEnded
from taskmaster_desktop.backend.model import Level, Outcome, TaskState, WorkerState
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt, unsure

Order = Callable[[Coordinator, Peer], object]


def running_task(coordinator: Coordinator, **options: int) -> tuple[Peer, int]:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(**options)
    peer.start(peer.take())
    return peer, number


def replacement(coordinator: Coordinator) -> Peer:
    """The worker that was launched last, online."""
    peer = Peer(coordinator, coordinator.launches[-1])
    peer.connect()
    return peer


# === lost is not failed
def test_a_started_task_is_lost_and_not_charged(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator, retries=0)
    coordinator.end(peer, reason="killed by signal 9")
    row = coordinator.row(number)
    assert (row.state, row.failures, row.deaths, row.outcome) == (TaskState.PENDING, 0, 1, Outcome.LOST)
    assert row.due_us == 0, "at once"
    assert "killed by signal 9" in row.reason
    assert coordinator.totals.attempts_lost == 1
    second = replacement(coordinator)
    second.run()
    assert coordinator.state(number) is TaskState.COMPLETED
    assert coordinator.outcomes(number) == [Outcome.LOST, Outcome.COMPLETED]


def test_an_unstarted_task_is_recalled_and_never_blamed(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit()
    coordinator.end(peer)
    row = coordinator.row(number)
    assert (row.state, row.failures, row.deaths, row.outcome) == (TaskState.PENDING, 0, 0, Outcome.RECALLED)
    assert coordinator.totals.attempts_lost == 0


def test_what_the_dead_worker_finished_before_counts(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    peer.finish(peer.assigned[0])
    coordinator.end(peer)
    assert coordinator.state(number) is TaskState.COMPLETED
    assert coordinator.outcomes(number) == [Outcome.COMPLETED]


def test_fences_strictly_increase_over_attempts_workers_and_lives(coordinator: Coordinator) -> None:
    fences = []
    coordinator.submit(retries=10, retry_delay_s=0.0)
    peers = coordinator.fleet(1)
    for _ in range(3):
        peer = peers[0]
        fences += [peer.run(outcome=Outcome.FAILED).fence for _ in range(2)]
        coordinator.restart()
        coordinator.end(peer)
        peers = [replacement(coordinator)]
    assert fences == sorted(set(fences))
    assert len({fence >> 32 for fence in fences}) == 3


# === blame
def order_kill(coordinator: Coordinator, peer: Peer) -> object:
    return coordinator.feed(OrderKill(worker=peer.number))


def stop(coordinator: Coordinator, peer: Peer) -> object:
    return coordinator.feed(StopWorker(worker=peer.number))


def scale_down(coordinator: Coordinator, peer: Peer) -> object:
    return coordinator.scale(0)


def shut_down(coordinator: Coordinator, peer: Peer) -> object:
    return coordinator.feed(Shutdown())


def stopped_by_its_system(coordinator: Coordinator, peer: Peer) -> object:
    return peer.report(draining=True)


def restarted_engine(coordinator: Coordinator, peer: Peer) -> object:
    return coordinator.restart()


@pytest.mark.parametrize(
    "order", [order_kill, stop, scale_down, shut_down, stopped_by_its_system, restarted_engine]
)
def test_deaths_that_somebody_ordered_are_not_blamed(coordinator: Coordinator, order: Order) -> None:
    peer, number = running_task(coordinator)
    order(coordinator, peer)
    coordinator.end(peer)
    row = coordinator.row(number)
    assert (row.state, row.deaths, row.failures, row.outcome) == (TaskState.PENDING, 0, 0, Outcome.LOST)


def test_a_clean_end_is_not_blamed(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    coordinator.end(peer, reason="it ended by itself", clean=True)
    assert coordinator.row(number).deaths == 0


def test_a_worker_that_went_down_with_its_engine_is_not_blamed(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    coordinator.feed(WorkerEnded(worker=peer.number, reason="the engine went down", excused=True))
    row = coordinator.row(number)
    assert (row.state, row.failures, row.deaths, row.outcome) == (TaskState.PENDING, 0, 0, Outcome.LOST)


def test_an_adopted_worker_that_has_reconnected_is_blamed_again(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    coordinator.restart()
    peer.connect(open_attempt(peer.coordinator_ref(number), started=True))
    coordinator.end(peer)
    assert coordinator.row(number).deaths == 1


@pytest.mark.parametrize("oom", [False, True])
def test_quarantine_on_the_third_unordered_death(coordinator: Coordinator, oom: bool) -> None:
    peer, number = running_task(coordinator, retries=10)
    for deaths in (1, 2, 3):
        coordinator.end(peer, oom=oom)
        assert coordinator.row(number).deaths == deaths
        if deaths < 3:
            assert coordinator.state(number) is TaskState.PENDING
            peer = replacement(coordinator)
            peer.start(peer.take())
    row = coordinator.row(number)
    assert (row.state, row.failures) == (TaskState.FAILED, 0)
    assert "Quarantined" in row.reason
    assert row.outcome is (Outcome.OOM if oom else Outcome.LOST)
    assert coordinator.outcomes(number) == [row.outcome] * 3
    assert "task_quarantined" in coordinator.kinds()
    assert coordinator.retry(number) == 1
    assert coordinator.row(number).deaths == 0


def test_ordered_deaths_between_do_not_lead_to_quarantine(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    for _ in range(5):
        coordinator.feed(OrderKill(worker=peer.number))
        coordinator.end(peer)
        peer = replacement(coordinator)
        peer.start(peer.take())
    assert coordinator.row(number).deaths == 0
    assert coordinator.totals.attempts_lost == 5


def test_a_command_killed_for_want_of_memory_is_a_failure_of_its_own(coordinator: Coordinator) -> None:
    peer, number = running_task(coordinator)
    peer.finish(peer.assigned[0], Outcome.OOM)
    row = coordinator.row(number)
    assert (row.state, row.failures, row.deaths, row.outcome) == (TaskState.FAILED, 1, 0, Outcome.OOM)


# === leases
def test_a_silent_worker_is_killed_and_its_tasks_wait_for_its_confirmed_death(
    coordinator: Coordinator,
) -> None:
    peer, number = running_task(coordinator)
    coordinator.advance(9.9)
    assert not coordinator.kills
    coordinator.advance(0.2)
    assert coordinator.kills == [peer.number]
    coordinator.advance(3600)
    assert coordinator.kills == [peer.number]
    assert coordinator.state(number) is TaskState.RUNNING, "nobody knows that it is dead"
    coordinator.end(peer)
    assert coordinator.state(number) is TaskState.PENDING
    assert coordinator.row(number).deaths == 1


def test_whatever_a_worker_says_keeps_it_alive(coordinator: Coordinator) -> None:
    peer, _ = running_task(coordinator)
    for _ in range(5):
        coordinator.advance(8)
        peer.beat()
    assert not coordinator.kills
    assert peer.told.heartbeat_ack == 1


def test_a_worker_that_is_being_killed_gets_nothing_more(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.advance(11)
    peer.beat()
    coordinator.submit()
    assert not peer.assigned


def test_the_wall_clock_has_no_say_in_leases(coordinator: Coordinator) -> None:
    running_task(coordinator)
    coordinator.turn_wall_clock(7200)
    coordinator.tick()
    coordinator.turn_wall_clock(-9999)
    coordinator.advance(9)
    assert not coordinator.kills


def test_a_worker_that_never_connects_is_killed_later(coordinator: Coordinator) -> None:
    coordinator.scale(1)
    (number,) = coordinator.launches
    coordinator.advance(59.9)
    assert not coordinator.kills
    coordinator.advance(0.2)
    assert coordinator.kills == [number]


# === where a death cannot be seen
@pytest.fixture
def blind() -> Coordinator:
    return Coordinator(unsure())


def test_unseen_deaths_are_waited_out(blind: Coordinator) -> None:
    peer, number = running_task(blind)
    blind.advance(9.9)
    assert blind.state(number) is TaskState.RUNNING
    blind.advance(0.2)
    assert blind.kills == [peer.number]
    assert blind.worker(peer.number).state is WorkerState.OFFLINE
    assert blind.state(number) is TaskState.PENDING
    assert blind.row(number).deaths == 1


def test_a_late_word_of_a_worker_that_was_given_up(blind: Coordinator) -> None:
    peer, number = running_task(blind)
    ref = peer.assigned[0]
    blind.advance(11)
    peer.finish(ref)
    assert blind.state(number) is TaskState.PENDING
    assert blind.totals.late_answers == 1
    reply = peer.connect(open_attempt(ref, started=True)).reply
    assert getattr(reply, "permanent", None) is True
    peer_session_known = blind.machine.worker_of(peer.session)
    assert peer_session_known is None


def test_a_slow_start_is_no_death(blind: Coordinator) -> None:
    """Pulling an image may take longer than a worker may be silent."""
    blind.scale(1)
    blind.advance(30)
    assert blind.living() == blind.launches
    assert len(blind.launches) == 1
    blind.advance(31)
    assert blind.worker(1).state is WorkerState.OFFLINE


def test_an_order_to_kill_still_waits(blind: Coordinator) -> None:
    peer, number = running_task(blind)
    blind.feed(OrderKill(worker=peer.number))
    blind.advance(9)
    assert blind.state(number) is TaskState.RUNNING
    blind.advance(2)
    assert blind.state(number) is TaskState.PENDING


def test_a_confirmed_end_needs_no_waiting(blind: Coordinator) -> None:
    peer, number = running_task(blind)
    blind.end(peer)
    assert blind.state(number) is TaskState.PENDING


def test_ends_are_logged_by_their_weight(coordinator: Coordinator) -> None:
    bad, good = coordinator.fleet(2)
    coordinator.end(bad)
    coordinator.scale(0)
    coordinator.end(good, clean=True)
    levels = [event.level for event in coordinator.store.events if event.kind == "worker_offline"]
    assert levels == [Level.ERROR, Level.INFO]
    assert coordinator.worker(good.number).ended == "the fleet was scaled down"
