"""Sessions: hello, reconnects, stale messages, refusals."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.core.instructions import AttemptRef
from taskmaster_desktop.backend.core.sessions import Refusal
from taskmaster_desktop.backend.core.stimuli import (
    Finished,
    OpenAttempt,
    Report,
    SessionClosed,
    SessionOpened,
)
from taskmaster_desktop.backend.model import Outcome, TaskState, WorkerState
from tests.helpers import builders
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt


def holding(coordinator: Coordinator) -> tuple[Peer, AttemptRef]:
    (peer,) = coordinator.fleet(1)
    coordinator.submit()
    return peer, peer.take()


# === who may come in
def test_the_first_hello(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1, slots=3)
    worker = coordinator.worker(peer.number)
    assert (worker.state, worker.slots, worker.boot_id) == (WorkerState.ONLINE, 3, peer.boot_id)
    assert worker.online_us == coordinator.now.wall_us
    assert worker.handle == f"process {peer.number}"
    assert coordinator.machine.worker_of(peer.session) == peer.number
    assert coordinator.machine.worker_number(worker.id) == peer.number


def test_an_unknown_worker_is_refused_for_good(coordinator: Coordinator) -> None:
    hello = SessionOpened(session=5, worker_id="stranger", boot_id="b", slots=1)
    reply = coordinator.feed(hello).reply
    assert isinstance(reply, Refusal)
    assert reply.permanent
    assert coordinator.machine.worker_of(5) is None
    assert coordinator.machine.worker_number("stranger") is None


def test_a_dead_worker_is_refused_for_good(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.end(peer)
    assert isinstance(peer.connect().reply, Refusal)


def test_a_second_agent_with_the_same_identity_is_refused(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    session = peer.session
    reply = peer.connect(boot_id="another start").reply
    assert isinstance(reply, Refusal)
    assert reply.permanent
    assert coordinator.machine.worker_of(session) == peer.number, "the first one is not disturbed"
    assert coordinator.state(ref.task) is TaskState.ASSIGNED


def test_the_boot_id_outlives_the_engine(coordinator: Coordinator) -> None:
    peer, _ = holding(coordinator)
    coordinator.restart()
    assert isinstance(peer.connect(boot_id="another start").reply, Refusal)
    assert peer.connect().reply is None


# === old sessions
def test_a_new_session_replaces_the_old_one(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    old = peer.session
    peer.connect(open_attempt(ref))
    assert coordinator.closed == [old]
    assert coordinator.machine.worker_of(old) is None
    coordinator.feed(SessionClosed(session=old))
    assert coordinator.machine.worker_of(peer.session) == peer.number, "the end of an old one is nothing"
    assert coordinator.state(ref.task) is TaskState.ASSIGNED


def test_words_of_an_old_session_change_nothing_and_are_not_acknowledged(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    old = peer.session
    peer.connect(open_attempt(ref, started=True))
    coordinator.sent.clear()
    coordinator.feed(Report(session=old, finished=[builders.finished(ref, coordinator.now.wall_us)]))
    assert coordinator.state(ref.task) is TaskState.RUNNING
    assert old not in coordinator.sent
    assert coordinator.totals.late_answers == 1


def test_a_lost_connection_leaves_everything_where_it_is(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.start(ref)
    peer.disconnect()
    coordinator.advance(5)
    assert coordinator.state(ref.task) is TaskState.RUNNING
    peer.connect(open_attempt(ref, started=True))
    peer.finish(ref)
    assert coordinator.state(ref.task) is TaskState.COMPLETED
    assert coordinator.row(ref.task).attempt == 1


# === the two sides compare
def test_an_assignment_lost_on_the_way_is_given_again(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.disconnect()
    peer.connect()
    again = peer.take()
    assert again.task == ref.task
    assert again.attempt == 2
    assert again.fence > ref.fence
    assert coordinator.outcomes(ref.task) == [Outcome.RECALLED]


def test_a_start_lost_on_the_way_is_learnt_from_the_hello(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    coordinator.advance(3)
    peer.connect(open_attempt(ref, started=True, started_us=coordinator.now.wall_us - 1_000_000))
    row = coordinator.row(ref.task)
    assert row.state is TaskState.RUNNING
    assert row.started_us == coordinator.now.wall_us - 1_000_000


@pytest.mark.parametrize("claimed_us", [0, 2**62])
def test_absurd_times_of_a_worker_are_bounded(coordinator: Coordinator, claimed_us: int) -> None:
    peer, ref = holding(coordinator)
    coordinator.advance(3)
    now_us = coordinator.now.wall_us
    peer.report(started=[builders.started(ref, claimed_us)])
    row = coordinator.row(ref.task)
    assert row.assigned_us is not None
    assert row.started_us is not None
    assert row.assigned_us <= row.started_us <= now_us
    peer.report(finished=[builders.finished(ref, claimed_us)])
    row = coordinator.row(ref.task)
    assert row.started_us is not None
    assert row.finished_us is not None
    assert row.started_us <= row.finished_us <= now_us


def test_a_result_lost_on_the_way_is_sent_again(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.connect(open_attempt(ref, started=True, finished=True))
    assert not peer.told.cancel
    assert coordinator.state(ref.task) is TaskState.RUNNING
    peer.finish(ref)
    assert coordinator.state(ref.task) is TaskState.COMPLETED
    assert peer.told.result_acks == [ref.fence]


def test_an_acknowledgement_lost_on_the_way_is_given_again(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.run(ref)
    before = coordinator.row(ref.task)
    peer.connect(open_attempt(ref, started=True, finished=True))
    peer.finish(ref)
    assert coordinator.row(ref.task) == before
    assert coordinator.outcomes(ref.task) == [Outcome.COMPLETED]
    assert peer.told.result_acks == [ref.fence]
    assert coordinator.totals.late_answers == 1


def test_attempts_that_are_not_its_own_are_cancelled(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    peer.connect(
        OpenAttempt(77, True, False, 0), OpenAttempt(78, False, False, 0), OpenAttempt(79, True, True, 0)
    )
    assert [ref.fence for ref in peer.told.cancel] == [77, 78]


def test_a_cancelled_foreign_attempt_is_acknowledged_without_effect(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    ref = AttemptRef(1, 1, 77)
    peer.connect(open_attempt(ref, started=True))
    peer.finish(ref, Outcome.CANCELLED)
    assert peer.told.result_acks == [77]


def test_nobody_can_finish_what_another_worker_holds(coordinator: Coordinator) -> None:
    owner, other = coordinator.fleet(2)
    (number,) = coordinator.submit()
    ref = owner.take()
    owner.start(ref)
    other.finish(ref)
    assert coordinator.state(number) is TaskState.RUNNING
    assert coordinator.machine.holds(owner.session, ref.fence)
    assert not coordinator.machine.holds(other.session, ref.fence)


def test_an_old_fence_changes_nothing(coordinator: Coordinator) -> None:
    """The paused worker that wakes up after its task went elsewhere."""
    first, second = coordinator.fleet(2)
    (number,) = coordinator.submit()
    ref = first.take()
    first.disconnect()
    first.connect()
    new = (first.assigned + second.assigned)[-1]
    assert new.fence > ref.fence
    before = coordinator.row(number)
    first.report(started=[builders.started(ref, 0)], finished=[builders.finished(ref, 0)])
    assert coordinator.row(number) == before
    assert first.told.result_acks == [ref.fence]


def test_the_same_result_twice_in_one_message(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    told = builders.finished(ref, coordinator.now.wall_us)
    peer.report(finished=[told, told])
    assert coordinator.outcomes(ref.task) == [Outcome.COMPLETED]
    assert coordinator.worker(peer.number).completed == 1


# === odd messages
def test_progress_is_kept_and_ends_at_100(coordinator: Coordinator) -> None:
    from taskmaster_desktop.backend.core.stimuli import Progress

    peer, ref = holding(coordinator)
    peer.start(ref)
    peer.report(progress=[Progress(ref.task, ref.fence, 42.0, "some text"), Progress(9, 9, 1.0, "")])
    row = coordinator.row(ref.task)
    assert (row.progress, row.progress_text) == (42.0, "some text")
    peer.finish(ref)
    assert coordinator.row(ref.task).progress == 100.0


@pytest.mark.parametrize("outcome", [*set(Outcome) - {Outcome.LOST, Outcome.RECALLED}])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("cancelling", [False, True])
def test_no_claim_of_never_started_breaks_the_core(
    coordinator: Coordinator, outcome: Outcome, running: bool, cancelling: bool
) -> None:
    """Only a cancelled attempt can sensibly say so, but the core must not fall over a muddled agent."""
    peer, ref = holding(coordinator)
    if running:
        peer.start(ref)
    if cancelling:
        coordinator.cancel(ref.task)
    told = Finished(ref.task, ref.fence, outcome, 0, "", coordinator.now.wall_us, 0, 0, True)
    peer.report(finished=[told])
    assert peer.told.result_acks == [ref.fence]
    assert len(coordinator.attempts(ref.task)) == 1


def test_a_worker_told_to_stop_by_its_system_gives_back_and_is_replaced(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.report(recall_answers=[builders.answer(ref)], draining=True)
    assert coordinator.worker(peer.number).state is WorkerState.DRAINING
    assert coordinator.state(ref.task) is TaskState.PENDING
    assert len(coordinator.living()) == 1
    peer.report(draining=True)
    assert coordinator.kinds().count("worker_draining") == 1


def test_a_draining_worker_is_told_so_again_after_a_reconnect(coordinator: Coordinator) -> None:
    peer, ref = holding(coordinator)
    peer.start(ref)
    coordinator.scale(0)
    peer.connect(open_attempt(ref, started=True))
    assert peer.told.drain
    assert coordinator.worker(peer.number).state is WorkerState.DRAINING
