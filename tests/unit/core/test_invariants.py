"""The core notices when its own state contradicts itself, and says whose story it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskmaster_desktop.backend.core import attempts
from taskmaster_desktop.backend.core.entities import Task, Worker
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.core.transitions import (
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    TaskStep,
    WorkerStep,
)
from taskmaster_desktop.backend.errors import InvariantViolation
from taskmaster_desktop.backend.model import TaskState, WorkerState
from tests.helpers.sim_coordinator import Coordinator

Damage = Callable[[State, Task, Worker], None]


@pytest.fixture
def parts() -> tuple[Coordinator, State, Task, Worker]:
    """One running task on one worker, and one that waits."""
    coordinator = Coordinator()
    (peer,) = coordinator.fleet(1)
    running, _ = coordinator.submit(2)
    peer.start(peer.take())
    state = coordinator.machine._state
    return coordinator, state, state.tasks[running], state.workers[peer.number]


Parts = tuple[Coordinator, State, Task, Worker]


@pytest.mark.parametrize("before", TaskState)
@pytest.mark.parametrize("step", TaskStep)
def test_every_step_that_is_not_in_the_table_is_refused(
    parts: Parts, before: TaskState, step: TaskStep
) -> None:
    _, state, task, _ = parts
    task.state = before
    if (before, step) in TASK_TRANSITIONS:
        state.step(task, step)
        assert task.state is TASK_TRANSITIONS[before, step]
        return
    with pytest.raises(InvariantViolation, match=r"Task #1 cannot \w+ while \w+\. Story: .*start"):
        state.step(task, step)
    assert task.state is before


@pytest.mark.parametrize("before", WorkerState)
@pytest.mark.parametrize("step", WorkerStep)
def test_the_same_for_workers(parts: Parts, before: WorkerState, step: WorkerStep) -> None:
    _, state, _, worker = parts
    worker.state = before
    if (before, step) in WORKER_TRANSITIONS:
        state.step_worker(worker, step)
        assert worker.state is WORKER_TRANSITIONS[before, step]
        return
    with pytest.raises(InvariantViolation, match=r"worker-1 cannot \w+ while \w+"):
        state.step_worker(worker, step)


def forget_worker(state: State, task: Task, worker: Worker) -> None:
    task.worker = None


def forget_task(state: State, task: Task, worker: Worker) -> None:
    worker.tasks.clear()


def swap_fence(state: State, task: Task, worker: Worker) -> None:
    task.fence += 1


def come_from_the_future(state: State, task: Task, worker: Worker) -> None:
    waiting = next(other for other in state.tasks.values() if other is not task)
    waiting.fence = 9 << 32


def queue_a_running_task(state: State, task: Task, worker: Worker) -> None:
    task.queued = True


def cancel_a_pending_task_slowly(state: State, task: Task, worker: Worker) -> None:
    waiting = next(other for other in state.tasks.values() if other is not task)
    waiting.cancelling = True


def miscount(state: State, task: Task, worker: Worker) -> None:
    state.counts[TaskState.RUNNING] += 1


def count_below_zero(state: State, task: Task, worker: Worker) -> None:
    state.counts[TaskState.CANCELLED] = -1


def count_nobody_pending(state: State, task: Task, worker: Worker) -> None:
    state.counts[TaskState.PENDING] = 0


def miscount_batch(state: State, task: Task, worker: Worker) -> None:
    task.batch.in_memory += 1


def finish_too_many(state: State, task: Task, worker: Worker) -> None:
    task.batch.completed = 3


def confuse_sessions(state: State, task: Task, worker: Worker) -> None:
    state.sessions.clear()


@pytest.mark.parametrize(
    "damage",
    [
        forget_worker,
        forget_task,
        swap_fence,
        come_from_the_future,
        queue_a_running_task,
        cancel_a_pending_task_slowly,
        miscount,
        count_below_zero,
        count_nobody_pending,
        miscount_batch,
        finish_too_many,
        confuse_sessions,
    ],
)
def test_damage_is_noticed(parts: Parts, damage: Damage) -> None:
    coordinator, state, task, worker = parts
    coordinator.machine.validate()
    damage(state, task, worker)
    with pytest.raises(InvariantViolation):
        coordinator.machine.validate()


def test_an_attempt_cannot_end_twice(parts: Parts) -> None:
    _, state, task, _ = parts
    attempts.lose(state, task, reason="gone", blamed=False)
    with pytest.raises((InvariantViolation, AssertionError)):
        attempts.lose(state, task, reason="gone", blamed=False)
