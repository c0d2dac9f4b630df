"""What people ask for about tasks: submit, cancel, retry, discard, pause."""

from __future__ import annotations

from taskmaster_desktop.backend.core import attempts
from taskmaster_desktop.backend.core.instructions import NewTasks
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.core.stimuli import Cancel, Discard, Removed, Retry, SetPaused, Submit
from taskmaster_desktop.backend.core.transitions import TaskStep
from taskmaster_desktop.backend.model import BatchRecord, Level, Outcome, TaskState


def submit(state: State, request: Submit) -> None:
    """Accept a batch; replies its record."""
    now_us = state.now.wall_us
    run_at_us = request.run_at_us
    new = NewTasks(
        batch=BatchRecord(
            state.next_batch, request.batch_id, now_us, state.next_task, request.count, request.options,
            request.idempotency_key, request.body_hash, 0, 0, 0,
        ),
        ids=request.task_ids,
        works=request.works,
        run_at_us=run_at_us,
        due_us=run_at_us if run_at_us is not None and run_at_us > now_us else 0,
    )  # fmt: skip
    state.next_batch += 1
    state.next_task += request.count
    batch = state.add_batch(new)
    for index in range(request.count):
        row = new.record(index)
        window, key = (
            (state.delayed, (row.due_us, row.number)) if row.due_us else (state.ready, (row.rank, row.number))
        )
        if not window.admit(key):
            break  # keys ascend within a batch: the rest waits in the store too
        state.add_task(row, batch).queued = True
        state.trim_windows()
    if not batch.in_memory:
        del state.batches[new.batch.number]
    state.out.reply = new.batch


def cancel(state: State, request: Cancel) -> None:
    """Cancel what is not finished; replies how many that are."""
    affected = 0
    for task in state.adopt_rows(request.tasks):
        if task.state is TaskState.PENDING:
            task.queued = False
            task.outcome = Outcome.CANCELLED
            task.finished_us = state.now.wall_us
            state.step(task, TaskStep.CANCEL)
        elif task.worker is not None and not task.cancelling:
            task.cancelling = True
            state.touch(task)
            if task.worker.session is not None:
                state.sends(task.worker.session).cancel.append(task.ref())
        else:
            continue
        affected += 1
    state.out.reply = affected


def retry(state: State, request: Retry) -> None:
    """Put failed tasks back with all their retries; attempts count on. Replies how many."""
    affected = 0
    for task in state.adopt_rows(request.tasks):
        if task.state is not TaskState.FAILED:
            continue
        if task.discarded:
            task.discarded = False
            state.discarded -= 1
        task.failures = task.deaths = 0
        task.due_us = 0
        state.step(task, TaskStep.REVIVE)
        state.enqueue(task)
        affected += 1
    state.out.reply = affected


def discard(state: State, request: Discard) -> None:
    """Hide dead letters; replies how many."""
    affected = 0
    for task in state.adopt_rows(request.tasks):
        if task.state is TaskState.FAILED and not task.discarded:
            task.discarded = True
            state.discarded += 1
            state.touch(task)
            affected += 1
    state.out.reply = affected


def removed(state: State, news: Removed) -> None:
    """Count what retention has deleted no more."""
    state.counts[TaskState.COMPLETED] -= news.completed
    state.counts[TaskState.FAILED] -= news.failed
    state.counts[TaskState.CANCELLED] -= news.cancelled
    state.discarded -= news.discarded


def set_paused(state: State, request: SetPaused) -> None:
    """Hold the queue or let it go on. What has started goes on; what has not is taken back."""
    if state.paused == request.paused:
        return
    state.paused = request.paused
    state.log(Level.INFO, "queue", "The queue is paused." if request.paused else "The queue goes on.")
    if request.paused:
        recall_waiting(state)


def recall_waiting(state: State) -> None:
    """Take back everything that was given to a worker and not started."""
    for worker in state.workers.values():
        attempts.recall(state, worker)
