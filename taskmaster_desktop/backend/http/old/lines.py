"""The lines of the old log. The steps of tasks are not stored: they are told from the times in the tasks' rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.events import Event, Logged, TaskChange, TasksAdded, TasksChanged
from taskmaster_desktop.backend.http.old.answers import iso
from taskmaster_desktop.backend.model import (
    TERMINAL_STATES,
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Level,
    Outcome,
    TaskRecord,
    TaskState,
)

COMMAND_CHARS = 80
INFO, SUCCESS, ERROR = "info", "success", "error"
_LEVELS = {Level.INFO: INFO, Level.SUCCESS: SUCCESS, Level.WARNING: INFO, Level.ERROR: ERROR}
_BACK = (Outcome.LOST, Outcome.RECALLED)


class Line(NamedTuple):
    at_us: int
    level: str
    text: str

    def view(self) -> dict[str, str]:
        return {"ts": iso(self.at_us), "level": self.level, "msg": self.text}


def of_event(event: Event, now_us: int) -> list[Line]:
    """What an event of the engine's is worth telling, in order of time."""
    if isinstance(event, Logged):
        return [of_record(event.line)]
    if isinstance(event, TasksAdded):
        return list(of_batch(event.batch, event.first))
    if isinstance(event, TasksChanged):
        return in_order(line for change in event.changes for line in of_change(change, now_us))
    return []


def in_order(lines: Iterable[Line]) -> list[Line]:
    """By time; those of the same moment as they come."""
    return sorted(lines, key=lambda line: line.at_us)


def of_record(record: EventRecord) -> Line:
    return Line(record.at_us, _LEVELS[record.level], record.message)


def of_batch(batch: BatchRecord, first: TaskRecord) -> Iterator[Line]:
    many = batch.size > 1
    tasks = f"{batch.size:,} tasks" if many else "1 task"
    yield Line(batch.created_us, INFO, f"Batch #{batch.number} created: {tasks}, {_short(first.command)}")
    last = batch.first_task + batch.size - 1
    which = f"Tasks #{batch.first_task} to #{last}" if many else f"Task #{batch.first_task}"
    when = "to start at once" if first.run_at_us is None else f"for {iso(first.run_at_us)}"
    yield Line(batch.created_us, INFO, f"{which} scheduled {when}.")


def of_change(change: TaskChange, now_us: int) -> Iterator[Line]:
    """The steps between what a row said before and what it says now."""
    before, task = change
    if before in TERMINAL_STATES:
        yield Line(now_us, INFO, f"Task #{task.number} is to be tried again.")
        if task.state is TaskState.PENDING:
            return
        before = TaskState.PENDING
    if task.state is TaskState.PENDING:
        yield from _end_of(task)
        return
    if task.state is TaskState.CANCELLED and before is TaskState.PENDING:
        yield _cancelled(task)
        return
    if before is TaskState.PENDING or task.state is TaskState.ASSIGNED or before is task.state:
        yield _assigned(task)
    if before is not TaskState.RUNNING or task.state is TaskState.RUNNING:
        yield from _started(task)
    yield from _end_of(task)


def of_task(task: TaskRecord, ended: Iterable[AttemptRecord]) -> Iterator[Line]:
    """All steps that a row can tell, its earlier attempts' included."""
    for attempt in ended:
        if attempt.attempt != task.attempt or task.state not in TERMINAL_STATES:
            yield from of_attempt(task, attempt)
    if task.state is TaskState.PENDING:
        return
    if task.attempt > 0 and (task.state is not TaskState.CANCELLED or task.outcome is not None):
        yield _assigned(task)
        yield from _started(task)
    yield from _end_of(task)


def of_attempt(task: TaskRecord, attempt: AttemptRecord) -> Iterator[Line]:
    """An attempt that was not the last word."""
    shown = task._replace(
        state=TaskState.PENDING,
        worker=attempt.worker,
        assigned_us=attempt.assigned_us,
        started_us=attempt.started_us,
        finished_us=attempt.finished_us,
        outcome=attempt.outcome,
        exit_code=attempt.exit_code,
        reason=attempt.reason,
    )
    yield _assigned(shown)
    yield from _started(shown)
    yield from _end_of(shown)


def _assigned(task: TaskRecord) -> Line:
    return Line(task.assigned_us or 0, INFO, f"Task #{task.number} assigned to {_worker(task)}.")


def _started(task: TaskRecord) -> Iterator[Line]:
    if task.started_us is not None:
        yield Line(task.started_us, INFO, f"Task #{task.number} started on {_worker(task)}.")


def _end_of(task: TaskRecord) -> Iterator[Line]:
    at_us = task.finished_us
    if at_us is None:
        return
    if task.state is TaskState.COMPLETED:
        took_s = (at_us - task.started_us) / SECOND_US if task.started_us is not None else 0.0
        text = f"Task #{task.number} completed on {_worker(task)} in {took_s:.2f} s."
        yield Line(at_us, SUCCESS, text)
    elif task.state is TaskState.FAILED:
        yield Line(at_us, ERROR, f"Task #{task.number} failed on {_worker(task)}: {_why(task)}.")
    elif task.state is TaskState.CANCELLED:
        yield _cancelled(task)
    elif task.state is TaskState.PENDING:
        level = INFO if task.outcome in _BACK else ERROR
        text = f"Task #{task.number} goes back into the queue from {_worker(task)}: {_why(task)}."
        yield Line(at_us, level, text)


def _cancelled(task: TaskRecord) -> Line:
    return Line(task.finished_us or task.created_us, INFO, f"Task #{task.number} cancelled.")


def _worker(task: TaskRecord) -> str:
    return f"worker-{task.worker}"


def _why(task: TaskRecord) -> str:
    if task.reason:
        return task.reason.rstrip(".")
    if task.exit_code is not None:
        return f"exit code {task.exit_code}"
    return str(task.outcome or "no reason is known")


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= COMMAND_CHARS else line[: COMMAND_CHARS - 1] + "…"
