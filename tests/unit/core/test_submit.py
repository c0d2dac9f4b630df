"""Submission, order and delay."""

from __future__ import annotations

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.model import TaskState
from tests.helpers import builders
from tests.helpers.sim_coordinator import Coordinator


def test_a_submission_is_stored_as_it_was_asked_for(coordinator: Coordinator) -> None:
    numbers = coordinator.submit(3, command="echo hello", priority=4, tags=("a",))
    assert numbers == [1, 2, 3]
    rows = [coordinator.row(number) for number in numbers]
    assert {row.state for row in rows} == {TaskState.PENDING}
    assert {row.command for row in rows} == {"echo hello"}
    assert {row.rank for row in rows} == {-4}
    assert len({row.id for row in rows}) == 3
    assert coordinator.totals.pending == 3
    assert coordinator.store.batches[1].size == 3


def test_a_batch_of_several_commands(coordinator: Coordinator) -> None:
    coordinator.feed(builders.submission(works=[("a", False), ('["b"]', True)]))
    assert [(row.command, row.is_argv) for row in coordinator.store.tasks.values()] == [
        ("a", False),
        ('["b"]', True),
    ]


def test_a_task_waits_for_a_worker_and_runs_once_one_is_there(coordinator: Coordinator) -> None:
    (number,) = coordinator.submit()
    (peer,) = coordinator.fleet(1)
    assert peer.tasks == [number]
    assert coordinator.state(number) is TaskState.ASSIGNED
    peer.run()
    assert coordinator.state(number) is TaskState.COMPLETED
    assert coordinator.totals.completed == 1


def test_started_and_finished_in_one_message_or_finished_alone(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    first, second = coordinator.submit(2)
    ref = peer.take()
    now_us = coordinator.now.wall_us
    peer.report(started=[builders.started(ref, now_us)], finished=[builders.finished(ref, now_us)])
    coordinator.advance(2)
    peer.finish(peer.take(), duration_us=1_500_000)
    assert coordinator.states([first, second]) == [TaskState.COMPLETED] * 2
    row = coordinator.row(second)
    assert row.finished_us is not None
    assert row.started_us == row.finished_us - 1_500_000


def test_first_in_first_out_within_a_priority_high_priority_first(coordinator: Coordinator) -> None:
    low = coordinator.submit(2, priority=-10)
    middle = coordinator.submit(2)
    high = coordinator.submit(2, priority=10)
    (peer,) = coordinator.fleet(1)
    for _ in range(6):
        peer.run()
    assert peer.tasks == high + middle + low


def test_an_urgent_task_does_not_interrupt_but_comes_next(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    first, second = coordinator.submit(2)
    (urgent,) = coordinator.submit(1, priority=1)
    peer.run()
    peer.run()
    peer.run()
    assert peer.tasks == [first, urgent, second]


def test_a_delay_is_never_early_and_exact(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(delay_s=3.0)
    due_us = coordinator.now.wall_us + 3 * SECOND_US
    assert coordinator.row(number).due_us == coordinator.row(number).run_at_us == due_us
    while not peer.assigned:
        peer.beat()
        coordinator.advance(0.01)
    assigned_us = coordinator.row(number).assigned_us
    assert assigned_us is not None
    assert due_us <= assigned_us <= due_us + 50_000


def test_a_delay_follows_the_wall_clock(coordinator: Coordinator) -> None:
    """A moment was asked for, so a clock that jumps past it makes the task due, one that is set back does not."""
    (peer,) = coordinator.fleet(1)
    coordinator.submit(delay_s=3600)
    coordinator.turn_wall_clock(-7200)
    coordinator.advance(5)
    peer.beat()
    assert not peer.assigned
    coordinator.turn_wall_clock(3600 + 7200)
    peer.beat()
    assert len(peer.assigned) == 1


def test_a_moment_in_the_past_is_at_once(coordinator: Coordinator) -> None:
    (number,) = coordinator.submit(delay_s=-5)
    assert coordinator.row(number).due_us == 0
    assert coordinator.row(number).run_at_us == coordinator.now.wall_us - 5 * SECOND_US


def test_due_tasks_keep_priority_and_order(coordinator: Coordinator) -> None:
    late_low = coordinator.submit(2, delay_s=1.0, priority=-1)
    late_high = coordinator.submit(2, delay_s=2.0, priority=1)
    at_once = coordinator.submit(1)
    coordinator.advance(2.0)
    coordinator.tick()
    (peer,) = coordinator.fleet(1)
    for _ in range(5):
        peer.run()
    assert peer.tasks == late_high + at_once + late_low


def test_more_due_tasks_than_one_step_takes(coordinator: Coordinator) -> None:
    numbers = coordinator.submit(2_000, delay_s=1.0)
    coordinator.advance(1.5)
    assert {coordinator.row(number).due_us for number in numbers} == {0}


def test_the_mark_of_a_batch(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    coordinator.submit(3)
    peer.run()
    peer.run()
    coordinator.cancel(3)
    peer.finish(peer.take(), builders.Outcome.CANCELLED)
    batch = coordinator.store.batches[1]
    assert (batch.completed, batch.failed, batch.cancelled) == (2, 0, 1)


def test_the_story_of_a_task(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=1)
    peer.run(outcome=builders.Outcome.FAILED)
    coordinator.advance(2)
    peer.run()
    story = coordinator.machine.story(number)
    assert [line.step for line in story] == ["assign", "start", "retry", "assign", "start", "complete"]
    assert [line.attempt for line in story] == [1, 1, 1, 2, 2, 2]
    assert [line.stimulus for line in story] == sorted(line.stimulus for line in story)
