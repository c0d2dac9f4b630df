"""The life of an attempt: given to a worker, started, ended one way or another."""

from __future__ import annotations

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.core.entities import Task, Worker
from taskmaster_desktop.backend.core.instructions import Assignment
from taskmaster_desktop.backend.core.retry import backoff_s
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.core.stimuli import Finished
from taskmaster_desktop.backend.core.transitions import TaskStep
from taskmaster_desktop.backend.model import AttemptRecord, Level, Outcome, TaskState

MEAN_WEIGHT = 0.1


def assign(state: State, task: Task, worker: Worker) -> None:
    """Give a pending task to a worker under a new fence."""
    task.attempt += 1
    task.fence = state.next_fence()
    task.queued = False
    task.clear_attempt()
    task.assigned_us = state.now.wall_us
    task.last_worker = worker.number
    task.worker = worker
    if not worker.tasks:
        worker.progressed_s = state.now.mono_s
    worker.tasks[task.fence] = task
    state.step(task, TaskStep.ASSIGN)
    assert worker.session is not None, "only connected workers accept tasks"
    state.sends(worker.session).assign.append(
        Assignment(task.ref(), task.id, task.command, task.is_argv, task.batch.record)
    )


def start(state: State, task: Task, worker: Worker, at_us: int) -> None:
    """The worker begins with it."""
    assert task.assigned_us is not None
    task.started_us = max(task.assigned_us, min(at_us, state.now.wall_us))
    task.recalling = False
    worker.progressed_s = state.now.mono_s
    state.step(task, TaskStep.START)


def finish(state: State, task: Task, worker: Worker, told: Finished) -> None:
    """The worker says how it ended; `told.fence` is the current one."""
    if told.never_started and told.outcome is not Outcome.CANCELLED:
        told = told._replace(never_started=False)  # what has another outcome did run, whatever is claimed
    if task.state is TaskState.ASSIGNED and not told.never_started:
        start(state, task, worker, told.at_us - told.duration_us)
    worker.progressed_s = state.now.mono_s
    cancelling = _end(state, task, told.outcome, told.reason, told=told)
    _observe_duration(state, told)
    if told.outcome is Outcome.COMPLETED:
        worker.completed += 1
        task.progress = 100.0
        state.step(task, TaskStep.COMPLETE)
    elif cancelling:
        _cancelled(state, task)
    elif told.never_started or told.outcome is Outcome.CANCELLED:
        # Nobody asked for this cancel: the worker is being stopped by its system. Not the task's fault.
        _requeue(state, task, TaskStep.RECALL if task.state is TaskState.ASSIGNED else TaskStep.LOSE)
    else:
        worker.failed += 1
        _failed(state, task)


def _failed(state: State, task: Task) -> None:
    """A failure or timeout that counts: try again later, or give up."""
    task.failures += 1
    options = task.batch.record.options
    if task.failures > options.retries:
        state.step(task, TaskStep.FAIL)
        return
    wait_s = backoff_s(options.retry_delay_s, task.failures, seed=task.fence)
    _requeue(state, task, TaskStep.RETRY, due_us=state.now.wall_us + round(wait_s * SECOND_US))


def lose(state: State, task: Task, *, reason: str, blamed: bool, oom: bool = False) -> None:
    """Its worker is gone, confirmed. `blamed`: nobody ordered that, so the task may be what kills workers."""
    if task.state is TaskState.ASSIGNED:
        give_back(state, task, reason=reason)
        return
    state.attempts_lost += 1
    cancelling = _end(state, task, Outcome.OOM if oom else Outcome.LOST, reason)
    if blamed:
        task.deaths += 1
    if cancelling:
        _cancelled(state, task)
    elif task.deaths >= state.policy.quarantine_deaths:
        task.reason = f"Quarantined: its worker died {task.deaths} times while it ran (last: {reason})."
        state.step(task, TaskStep.QUARANTINE)
        state.log(Level.ERROR, "task_quarantined", f"Task #{task.number}: {task.reason}", task=task.number)
    else:
        _requeue(state, task, TaskStep.LOSE)


def give_back(state: State, task: Task, *, reason: str) -> None:
    """It never started there, confirmed: back into the queue, or cancelled if that was asked for."""
    if _end(state, task, Outcome.CANCELLED if task.cancelling else Outcome.RECALLED, reason):
        _cancelled(state, task)
    else:
        _requeue(state, task, TaskStep.RECALL)


def recall(state: State, worker: Worker) -> None:
    """Ask a worker for everything back that it has not started; it goes elsewhere once that is confirmed."""
    if worker.session is None:
        return
    for task in worker.tasks.values():
        if task.waiting and not task.recalling and not task.cancelling:
            task.recalling = True
            state.sends(worker.session).recall.append(task.ref())


def _cancelled(state: State, task: Task) -> None:
    task.outcome = Outcome.CANCELLED
    state.step(task, TaskStep.CANCEL)


def _requeue(state: State, task: Task, step: TaskStep, *, due_us: int = 0) -> None:
    task.due_us = due_us
    state.step(task, step)
    state.enqueue(task)


def _end(state: State, task: Task, outcome: Outcome, reason: str, *, told: Finished | None = None) -> bool:
    """Close the current attempt: take it from its worker and write down how it went.

    Returns whether somebody had asked to cancel the task.
    """
    worker = task.worker
    assert worker is not None
    assert task.assigned_us is not None
    del worker.tasks[task.fence]
    task.worker = None
    task.recalling = False
    cancelling, task.cancelling = task.cancelling, False
    task.finished_us = max(task.started_us or task.assigned_us, state.now.wall_us)
    task.outcome = outcome
    task.reason = reason
    task.exit_code = told.exit_code if told is not None and not told.never_started else None
    if told is not None and task.started_us is not None:
        task.finished_us = min(task.finished_us, max(task.started_us, told.at_us))
        duration_us = told.duration_us
    else:
        duration_us = task.finished_us - task.started_us if task.started_us is not None else 0
    state.out.changes.attempts.append(
        AttemptRecord(
            task.number, task.attempt, task.fence, worker.number, task.assigned_us, task.started_us,
            task.finished_us, duration_us, outcome, task.exit_code, reason,
            told.output_bytes if told is not None else 0,
        )
    )  # fmt: skip
    return cancelling


def _observe_duration(state: State, told: Finished) -> None:
    if told.never_started:
        return
    mean = state.mean_us
    state.mean_us = told.duration_us if mean is None else mean + MEAN_WEIGHT * (told.duration_us - mean)
