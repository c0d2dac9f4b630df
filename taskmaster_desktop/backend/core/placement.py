"""Which worker gets which task: round-robin over free slots, then ahead of need where tasks are short."""

from __future__ import annotations

from collections.abc import Callable

from taskmaster_desktop.backend.core import attempts
from taskmaster_desktop.backend.core.entities import Task, Worker
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.model import TaskState


def dispatch(state: State) -> None:
    """Give out ready tasks while somebody can take one."""
    if state.paused or state.shutting_down or not len(state.ready):
        return
    _deal(state, lambda worker: worker.slots - len(worker.tasks))
    if len(state.ready) and _tasks_are_short(state):
        depth = state.policy.prefetch_depth
        _deal(state, lambda w: 0 if _is_stuck(state, w) else w.slots + depth - len(w.tasks))


def _tasks_are_short(state: State) -> bool:
    return state.mean_us is not None and state.mean_us <= state.policy.prefetch_below_us


def _is_stuck(state: State, worker: Worker) -> bool:
    """It would only be asked to give back what it got ahead of need."""
    return bool(worker.tasks) and state.now.mono_s >= worker.progressed_s + state.policy.recall_after_s


def _deal(state: State, room: Callable[[Worker], int]) -> None:
    """One task to each worker with room, in turn, beginning after the one that was served last."""
    takers = [(worker, free) for worker in _ring(state) if (free := room(worker)) > 0]
    while takers:
        left: list[tuple[Worker, int]] = []
        for worker, free in takers:
            task = _next_ready(state)
            if task is None:
                return
            attempts.assign(state, task, worker)
            state.ring_after = worker.number
            if free > 1:
                left.append((worker, free - 1))
        takers = left


def _ring(state: State) -> list[Worker]:
    accepting = sorted((w for w in state.workers.values() if w.accepts), key=lambda w: w.number)
    after = state.ring_after
    return [w for w in accepting if w.number > after] + [w for w in accepting if w.number <= after]


def _next_ready(state: State) -> Task | None:
    while len(state.ready):
        _, number = state.ready.pop()
        task = state.tasks.get(number)
        if task is not None and task.queued and task.state is TaskState.PENDING and not task.due_us:
            return task
    return None


def promote_due(state: State) -> None:
    """Make delayed tasks ready whose moment has come, a slice at a time."""
    for _ in range(state.policy.due_slice):
        head = state.delayed.head()
        if head is None or head[0] > state.now.wall_us:
            return
        due_us, number = state.delayed.pop()
        task = state.tasks.get(number)
        if task is None or not task.queued or task.due_us != due_us:
            continue  # cancelled while it waited
        task.due_us = 0
        state.touch(task)
        state.enqueue(task)


def balance(state: State) -> float | None:
    """Take tasks back from workers that got stuck while another one idles.

    Returns the monotonic moment at which to look again, None where there is nothing to look for.
    """
    if len(state.ready) or state.paused or not any(w.accepts and not w.tasks for w in state.workers.values()):
        return None
    look_again: float | None = None
    for worker in state.workers.values():
        if worker.session is None or len(worker.tasks) <= worker.slots:
            continue
        if _is_stuck(state, worker):
            attempts.recall(state, worker)
        elif any(task.waiting for task in worker.tasks.values()):
            due_s = worker.progressed_s + state.policy.recall_after_s
            look_again = due_s if look_again is None else min(look_again, due_s)
    return look_again
