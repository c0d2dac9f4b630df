"""What the engine tells of tasks on their way, after it is durable and only where somebody listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.group import Group
from taskmaster_desktop.backend.model import TaskOptions, TaskState
from tests.helpers.engines import running_engine

PENDING, ASSIGNED, RUNNING = TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING


def test_tasks_are_told_as_they_are_added_and_change(tmp_path: Path) -> None:
    heard: list[events.Event] = []
    with running_engine(tmp_path, workers=2) as engine:
        stop = engine.engine.subscribe(heard.append)
        batch = engine.submit("echo '::progress 50'; sleep 0.05; exit 1", count=4, options=TaskOptions(retries=1,
                              retry_delay_s=0.01))  # fmt: skip
        engine.done(batch)
        stop()
    (added,) = [event for event in heard if isinstance(event, events.TasksAdded)]
    assert (added.batch.size, added.first.number, added.first.state) == (4, 1, PENDING)
    changes = [c for event in heard if isinstance(event, events.TasksChanged) for c in event.changes]
    for number in batch.task_numbers:
        mine = [change for change in changes if change.task.number == number]
        state, fence = PENDING, 0
        for before, task in mine:  # each begins where the last one ended, and is a change
            assert before is state
            assert (task.state, task.fence) != (state, fence)
            state, fence = task.state, task.fence
        assert state is TaskState.FAILED
        assert {change.task.attempt for change in mine} == {1, 2}
    finished = [task for event in heard if isinstance(event, events.TasksFinished) for task in event.tasks]
    assert sorted(finished) == sorted(c.task for c in changes if c.task.state is TaskState.FAILED)


def test_nothing_is_made_ready_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Group) -> tuple[events.TaskChange, ...]:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(Group, "changed_tasks", fails)
    with running_engine(tmp_path, workers=1) as engine:
        assert engine.done(engine.submit("noop", count=3)).completed == 3
