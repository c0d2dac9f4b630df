"""Every promise's verdict is kept on sound evidence and turns on each seeded violation, and on no other's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskmaster_desktop.demo.evidence import Evidence, LedgerLine
from taskmaster_desktop.demo.verdicts import judge
from tests.helpers import demo_evidence as built
from tests.helpers.demo_evidence import FOREIGN, SECOND, sound

PROMISES = {"durable", "one_terminal_state", "fenced", "no_overlap", "lost_not_failed", "nothing_foreign"}
BASE = sound()


def with_task(number: int, /, **changes: Any) -> tuple[Any, ...]:
    return tuple(task._replace(**changes) if task.number == number else task for task in BASE.tasks)


def with_attempt(of_fence: int, /, **changes: Any) -> tuple[Any, ...]:
    return tuple(a._replace(**changes) if a.fence == of_fence else a for a in BASE.attempts)


def without_line(event: str, fence: int) -> tuple[LedgerLine, ...]:
    return tuple(line for line in BASE.ledger if (line.event, line.fence) != (event, fence))


VIOLATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("durable", "an acknowledged task is missing", {"acknowledged": (1, 2, 3)}),
    (
        "durable",
        "a task was left running",
        {"tasks": with_task(1, state="running"), "attempts": BASE.attempts[1:]},
    ),
    ("durable", "no end in the ledger", {"ledger": without_line("end", 103)}),
    ("one_terminal_state", "a row twice", {"tasks": (*BASE.tasks, BASE.tasks[0])}),
    (
        "one_terminal_state",
        "two completing attempts",
        {"attempts": (*BASE.attempts, built.attempt(1, 20, count=2, fence=101))},
    ),
    ("one_terminal_state", "no completing attempt", {"attempts": with_attempt(101, outcome="failed")}),
    ("one_terminal_state", "two ends in the ledger", {"ledger": (*BASE.ledger, BASE.ledger[1])}),
    ("one_terminal_state", "announced twice", {"heard_finished": {1: 2, 2: 1}}),
    ("one_terminal_state", "never announced", {"heard_finished": {1: 1}}),
    ("fenced", "completed under an old fence", {"attempts": with_attempt(103, fence=100)}),
    ("fenced", "fences fall in the database", {"attempts": with_attempt(102, fence=200)}),
    (
        "fenced",
        "fences fall in the ledger",
        {"ledger": tuple(line._replace(fence=90) if line.fence == 103 else line for line in BASE.ledger)},
    ),
    ("fenced", "a stale answer was not counted", {"late_answers": 0}),
    (
        "no_overlap",
        "the second attempt began before the worker of the first was dead",
        {"workers": (BASE.workers[0], BASE.workers[1]._replace(offline_us=round(12.5 * SECOND)))},
    ),
    (
        "no_overlap",
        "the worker was never confirmed dead",
        {"workers": (BASE.workers[0], BASE.workers[1]._replace(offline_us=None))},
    ),
    (
        "no_overlap",
        "two whole attempts overlap",
        {"ledger": (*BASE.ledger, *built.lines(1, 10.5, count=2, fence=104))},
    ),
    ("no_overlap", "the ledger is torn", {"torn_lines": 1}),
    ("lost_not_failed", "nobody was killed", {"killed": ()}),
    (
        "lost_not_failed",
        "the killed attempt counts as failed",
        {"attempts": with_attempt(102, outcome="failed")},
    ),
    ("lost_not_failed", "the killed task failed", {"tasks": with_task(2, state="failed")}),
    ("lost_not_failed", "it was charged", {"tasks": with_task(2, failures=1)}),
    ("lost_not_failed", "its worker's death was blamed on it", {"tasks": with_task(2, deaths=1)}),
    (
        "nothing_foreign",
        "the stranger was killed",
        {"foreign_after": {**FOREIGN, "process 1": "ended with -9"}},
    ),
    ("nothing_foreign", "a file was removed", {"foreign_after": {"process 1": "running"}}),
    ("nothing_foreign", "a file was changed", {"foreign_after": {**FOREIGN, "file notes.txt": "abc of 2"}}),
    ("nothing_foreign", "a file was added", {"foreign_after": {**FOREIGN, "file new": "x"}}),
    ("nothing_foreign", "nobody stood beside", {"foreign_before": {}, "foreign_after": {}}),
    ("nothing_foreign", "a worker was left running", {"left_running": ("worker process 7",)}),
]
CONSEQUENCES = {
    "no completing attempt": {"fenced"},
    "two completing attempts": {"fenced"},
    "a task was left running": {"one_terminal_state"},
    "no end in the ledger": {"one_terminal_state", "no_overlap"},
    "completed under an old fence": {"lost_not_failed"},
    "fences fall in the database": {"lost_not_failed"},
    "fences fall in the ledger": {"durable", "one_terminal_state"},
    "the killed task failed": {"one_terminal_state"},
    "two ends in the ledger": set(),
    "two whole attempts overlap": set(),
}


def test_sound_evidence_keeps_every_promise() -> None:
    verdicts = judge(BASE)
    assert set(verdicts) == PROMISES
    assert {name: verdict.text for name, verdict in verdicts.items() if not verdict.ok} == {}


@pytest.mark.parametrize(("promise", "what", "changes"), VIOLATIONS, ids=[what for _, what, _ in VIOLATIONS])
def test_a_violation_breaks_its_promise(promise: str, what: str, changes: dict[str, Any]) -> None:
    evidence: Evidence = replace(BASE, **changes)
    broken = {name for name, verdict in judge(evidence).items() if not verdict.ok}
    assert promise in broken
    assert broken <= {promise} | CONSEQUENCES.get(what, set())


def test_every_promise_has_a_violation() -> None:
    assert {promise for promise, _, _ in VIOLATIONS} == PROMISES
