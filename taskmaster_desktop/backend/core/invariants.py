"""What must hold between any two stimuli. On in tests and simulation, off in production."""

from __future__ import annotations

from taskmaster_desktop.backend.core.entities import Task
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.errors import InvariantViolation
from taskmaster_desktop.backend.model import ACTIVE_STATES, TaskState


def check(state: State) -> None:
    """Raise InvariantViolation with the story of the task at fault."""
    for task in state.tasks.values():
        _check_task(state, task)
    _check_workers(state)
    _check_counts(state)
    for batch in state.batches.values():
        inside = sum(task.batch is batch for task in state.tasks.values())
        if inside != batch.in_memory:
            raise InvariantViolation(
                f"Batch {batch.record.number} counts {batch.in_memory} tasks, has {inside}."
            )
        if batch.completed + batch.failed + batch.cancelled > batch.record.size:
            raise InvariantViolation(f"Batch {batch.record.number} has finished more tasks than it has.")


def _check_workers(state: State) -> None:
    for worker in state.workers.values():
        for fence, task in worker.tasks.items():
            if task.fence != fence or task.worker is not worker:
                _fail(state, task, f"{worker.name} holds it under fence {fence}, it has {task.fence}")
        if worker.session is not None and state.sessions.get(worker.session) is not worker:
            raise InvariantViolation(f"{worker.name} and the table of sessions disagree.")


def _check_counts(state: State) -> None:
    held = sum(len(worker.tasks) for worker in state.workers.values())
    active = state.counts[TaskState.ASSIGNED] + state.counts[TaskState.RUNNING]
    if held != active:
        raise InvariantViolation(f"{active} tasks are counted as given to workers, {held} are held.")
    if min(state.counts.values()) < 0:
        raise InvariantViolation(f"A counter is negative: {state.counts}.")
    queued = sum(task.queued for task in state.tasks.values())
    if queued > state.counts[TaskState.PENDING]:
        raise InvariantViolation(
            f"{queued} tasks are queued, only {state.counts[TaskState.PENDING]} are pending."
        )


def _check_task(state: State, task: Task) -> None:
    if (task.state in ACTIVE_STATES) != (task.worker is not None):
        _fail(state, task, "only assigned and running tasks have a worker")
    if task.queued and task.state is not TaskState.PENDING:
        _fail(state, task, "only pending tasks wait in the queue")
    if task.fence >> 32 > state.epoch:
        _fail(state, task, "its fence comes from the future")
    if task.cancelling and task.state is TaskState.PENDING:
        _fail(state, task, "a pending task is cancelled at once")


def _fail(state: State, task: Task, why: str) -> None:
    raise InvariantViolation(f"Task #{task.number} is {task.state}: {why}. Story: {state.story(task.number)}")
