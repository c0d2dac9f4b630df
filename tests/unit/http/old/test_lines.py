"""What the old log tells of a task's row: every step once, in its order, whatever was written together."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from taskmaster_desktop.backend.events import Logged, OutputArrived, TaskChange, TasksAdded, TasksChanged
from taskmaster_desktop.backend.http.old import lines
from taskmaster_desktop.backend.http.old.lines import Line
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Level,
    Outcome,
    Stream,
    TaskOptions,
    TaskRecord,
    TaskState,
)

NOW = 900
PENDING, ASSIGNED, RUNNING = TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING
COMPLETED, FAILED, CANCELLED = TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED
FRESH = TaskRecord(
    number=7, id=UUID(int=7).bytes, batch=1, command="true", is_argv=False, rank=0, created_us=100, run_at_us=None,
    state=PENDING, due_us=0, attempt=0, fence=0, worker=None, assigned_us=None, started_us=None, finished_us=None,
    outcome=None, exit_code=None, reason="", failures=0, deaths=0, cancelling=False, discarded=False, progress=0.0,
    progress_text="",
)  # fmt: skip
AS_ASSIGNED = FRESH._replace(state=ASSIGNED, attempt=1, fence=1, worker=2, assigned_us=200)
AS_RUNNING = AS_ASSIGNED._replace(state=RUNNING, started_us=300)
AS_COMPLETED = AS_RUNNING._replace(state=COMPLETED, finished_us=1_500_300, outcome=Outcome.COMPLETED)
AS_FAILED = AS_RUNNING._replace(state=FAILED, finished_us=400, outcome=Outcome.FAILED, exit_code=3)
AS_LOST = AS_RUNNING._replace(
    state=PENDING, finished_us=400, outcome=Outcome.LOST, reason="worker-2 is gone."
)
AS_RETRIED = AS_FAILED._replace(state=PENDING, failures=1)
AS_CANCELLED = FRESH._replace(state=CANCELLED, finished_us=400)

assigned = Line(200, "info", "Task #7 assigned to worker-2.")
started = Line(300, "info", "Task #7 started on worker-2.")
completed = Line(1_500_300, "success", "Task #7 completed on worker-2 in 1.50 s.")
failed = Line(400, "error", "Task #7 failed on worker-2: exit code 3.")
lost = Line(400, "info", "Task #7 goes back into the queue from worker-2: worker-2 is gone.")
back = Line(400, "error", "Task #7 goes back into the queue from worker-2: exit code 3.")
cancelled = Line(400, "info", "Task #7 cancelled.")
again = Line(NOW, "info", "Task #7 is to be tried again.")

STEPS: dict[str, tuple[TaskState, TaskRecord, list[Line]]] = {
    "assigned": (PENDING, AS_ASSIGNED, [assigned]),
    "started": (ASSIGNED, AS_RUNNING, [started]),
    "completed": (RUNNING, AS_COMPLETED, [completed]),
    "failed": (RUNNING, AS_FAILED, [failed]),
    "lost": (RUNNING, AS_LOST, [lost]),
    "retried": (RUNNING, AS_RETRIED, [back]),
    "cancelled before it began": (PENDING, AS_CANCELLED, [cancelled]),
    "cancelled as it ran": (
        RUNNING, AS_RUNNING._replace(state=CANCELLED, finished_us=400, outcome=Outcome.CANCELLED), [cancelled],
    ),
    "revived": (FAILED, AS_FAILED._replace(state=PENDING), [again]),
    # Several steps in one commit.
    "assigned and started": (PENDING, AS_RUNNING, [assigned, started]),
    "all at once": (PENDING, AS_COMPLETED, [assigned, started, completed]),
    "started and failed": (ASSIGNED, AS_FAILED, [started, failed]),
    "revived and assigned": (FAILED, AS_ASSIGNED, [again, assigned]),
    "assigned anew": (ASSIGNED, AS_ASSIGNED, [assigned]),
    "lost and assigned": (RUNNING, AS_ASSIGNED, [assigned]),
    "lost and running again": (RUNNING, AS_RUNNING, [assigned, started]),
}  # fmt: skip


@pytest.mark.parametrize(("before", "task", "told"), STEPS.values(), ids=STEPS.keys())
def test_what_a_change_tells(before: TaskState, task: TaskRecord, told: list[Line]) -> None:
    assert list(lines.of_change(TaskChange(before, task), NOW)) == told


ROWS: dict[str, tuple[TaskRecord, list[Line]]] = {
    "pending": (FRESH, []),
    "assigned": (AS_ASSIGNED, [assigned]),
    "running": (AS_RUNNING, [assigned, started]),
    "completed": (AS_COMPLETED, [assigned, started, completed]),
    "failed": (AS_FAILED, [assigned, started, failed]),
    "cancelled": (AS_CANCELLED, [cancelled]),
}


@pytest.mark.parametrize(("task", "told"), ROWS.values(), ids=ROWS.keys())
def test_what_a_row_tells(task: TaskRecord, told: list[Line]) -> None:
    assert list(lines.of_task(task, ())) == told


def attempt(number: int, **more: Any) -> AttemptRecord:
    told: dict[str, Any] = {
        "task": 7, "attempt": number, "fence": number, "worker": 2, "assigned_us": 200, "started_us": 300,
        "finished_us": 400, "duration_us": 100, "outcome": Outcome.FAILED, "exit_code": 3, "reason": "",
        "output_bytes": 0,
    }  # fmt: skip
    return AttemptRecord(**told | more)


def test_earlier_attempts_are_told_before_the_last() -> None:
    second = AS_FAILED._replace(attempt=2, assigned_us=500, started_us=600, finished_us=700)
    told = list(lines.of_task(second, (attempt(1), attempt(2))))
    assert told[:3] == [assigned, started, back]
    assert [line.at_us for line in told] == [200, 300, 400, 500, 600, 700]
    assert list(lines.of_task(AS_RETRIED, (attempt(1),))) == [assigned, started, back]


def test_a_batch_is_created_and_scheduled() -> None:
    batch = BatchRecord(3, bytes(16), 100, 7, 1, TaskOptions(), None, None, 0, 0, 0)
    assert lines.of_event(TasksAdded(batch=batch, first=FRESH), NOW) == [
        Line(100, "info", "Batch #3 created: 1 task, true"),
        Line(100, "info", "Task #7 scheduled to start at once."),
    ]
    long = FRESH._replace(command="echo  " + "x" * 100 + "\nnever shown", run_at_us=1_000_000)
    created, scheduled = lines.of_event(TasksAdded(batch=batch._replace(size=1500), first=long), NOW)
    assert created.text == "Batch #3 created: 1,500 tasks, echo " + "x" * 74 + "…"
    assert scheduled.text == "Tasks #7 to #1506 scheduled for 1970-01-01T00:00:01.000Z."


def test_the_steps_of_several_tasks_come_in_order_of_time() -> None:
    later = AS_RUNNING._replace(number=8, assigned_us=250, started_us=350)
    changes = (TaskChange(PENDING, AS_RUNNING), TaskChange(PENDING, later))
    told = lines.of_event(TasksChanged(changes=changes), NOW)
    assert [line.at_us for line in told] == [200, 250, 300, 350]


@pytest.mark.parametrize(
    ("level", "old"),
    [(Level.INFO, "info"), (Level.SUCCESS, "success"), (Level.WARNING, "info"), (Level.ERROR, "error")],
)
def test_the_old_log_knows_three_levels(level: Level, old: str) -> None:
    record = EventRecord(1_500_000, level, "scale", "The fleet is scaled.", None, None)
    (line,) = lines.of_event(Logged(line=record), NOW)
    assert line.view() == {"ts": "1970-01-01T00:00:01.500Z", "level": old, "msg": "The fleet is scaled."}


def test_output_is_no_line() -> None:
    assert (
        lines.of_event(OutputArrived(task=7, attempt=1, stream=Stream.STDOUT, offset=0, data=b"x"), NOW) == []
    )
