"""docs/state_machine.md shows exactly the transitions that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskmaster_desktop.backend.core.transitions import (
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    TaskStep,
    WorkerStep,
)
from taskmaster_desktop.backend.model import TERMINAL_STATES, TaskState, WorkerState

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "state_machine.md"
ARROW = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (\w+))?$")

Arrow = tuple[str, str, str | None]


def diagrams() -> list[set[Arrow]]:
    blocks = re.findall(
        r"```mermaid\nstateDiagram-v2\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    return [{_arrow(line) for line in block.strip().splitlines()} for block in blocks]


def _arrow(line: str) -> Arrow:
    match = ARROW.match(line)
    assert match is not None, f"not an arrow: {line!r}"
    return match[1], match[2], match[3]


def inner(arrows: set[Arrow]) -> set[Arrow]:
    return {arrow for arrow in arrows if "[*]" not in arrow}


def test_there_are_two_diagrams() -> None:
    assert len(diagrams()) == 2


def test_tasks() -> None:
    drawn = inner(diagrams()[0])
    coded = {(before.value, after.value, step.value) for (before, step), after in TASK_TRANSITIONS.items()}
    assert drawn == coded


def test_workers() -> None:
    drawn = inner(diagrams()[1])
    coded = {(before.value, after.value, step.value) for (before, step), after in WORKER_TRANSITIONS.items()}
    assert drawn == coded


def test_begin_and_end() -> None:
    tasks, workers = (arrows - inner(arrows) for arrows in diagrams())
    assert tasks == {("[*]", "pending", None)} | {(state.value, "[*]", None) for state in TERMINAL_STATES}
    assert workers == {("[*]", "starting", None), ("offline", "[*]", None)}


@pytest.mark.parametrize("step", TaskStep)
def test_each_step_of_a_task_is_explained(step: TaskStep) -> None:
    assert f"\n| {step} |" in DOCUMENT.read_text(encoding="utf-8")


def test_every_state_and_step_is_used() -> None:
    assert {step for _, step in TASK_TRANSITIONS} == set(TaskStep)
    assert {state for state, _ in TASK_TRANSITIONS} | set(TASK_TRANSITIONS.values()) == set(TaskState)
    assert {step for _, step in WORKER_TRANSITIONS} == set(WorkerStep)
    assert {state for state, _ in WORKER_TRANSITIONS} | set(WORKER_TRANSITIONS.values()) == set(WorkerState)


def test_only_a_dead_letter_ever_leaves_a_terminal_state() -> None:
    assert [key for key in TASK_TRANSITIONS if key[0] in TERMINAL_STATES] == [
        (TaskState.FAILED, TaskStep.REVIVE)
    ]
