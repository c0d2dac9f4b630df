"""Which command lines are built-in jobs, and what their arguments mean."""

from __future__ import annotations

import uuid

import pytest

from taskmaster_worker.attempts import WorkError
from taskmaster_worker.jobs import JobPlan, demo_duration_ms, demo_fails, parse_job


@pytest.mark.parametrize(
    ("command", "plan"),
    [
        ("noop", JobPlan(name="noop", duration_ms=0)),
        ("  noop\n", JobPlan(name="noop", duration_ms=0)),
        ("sleep 5", JobPlan(name="sleep", duration_ms=5000)),
        ("sleep 0.25", JobPlan(name="sleep", duration_ms=250)),
        ("sleep 0", JobPlan(name="sleep", duration_ms=0)),
        ("demo-job", JobPlan(name="demo-job")),
        ("demo-job --ms 20", JobPlan(name="demo-job", duration_ms=20)),
        ("demo-job --ms=20", JobPlan(name="demo-job", duration_ms=20)),
        ("demo-job --fail-rate 0.5", JobPlan(name="demo-job", fail_rate=0.5)),
        ("demo-job --fail-rate=1 --ms 0", JobPlan(name="demo-job", duration_ms=0, fail_rate=1)),
        ("", None),
        ("noops", None),
        ("/bin/sleep 5", None),
        ("echo noop", None),
        ("demo-job;ls", None),
    ],
)
def test_command_lines(command: str, plan: JobPlan | None) -> None:
    assert parse_job(command) == plan


@pytest.mark.parametrize(
    "command",
    [
        "noop now",
        "sleep",
        "sleep 1 2",
        "sleep -1",
        "sleep nan",
        "sleep inf",
        "sleep 604801",
        "sleep 5; echo",
        "demo-job 5",
        "demo-job --ms",
        "demo-job --ms x",
        "demo-job --ms -1",
        "demo-job --fail-rate 1.1",
        "demo-job --speed 2",
    ],
)
def test_wrong_arguments(command: str) -> None:
    with pytest.raises(WorkError, match="wrong arguments") as caught:
        parse_job(command)
    assert caught.value.exit_code == 2
    assert command.split(maxsplit=1)[0] in str(caught.value)


def test_durations_are_drawn_once_per_task_from_the_whole_range() -> None:
    ids = [uuid.UUID(int=n).bytes for n in range(3000)]
    drawn = [demo_duration_ms(i) for i in ids]
    assert drawn == [demo_duration_ms(i) for i in ids]
    assert (min(drawn), max(drawn)) == (500, 800)
    assert 640 < sum(drawn) / len(drawn) < 660


def test_failures_are_drawn_once_per_attempt_at_the_given_rate() -> None:
    ids = [uuid.UUID(int=n).bytes for n in range(3000)]
    assert not any(demo_fails(i, 1, 0) for i in ids)
    assert all(demo_fails(i, 1, 1) for i in ids)
    failed = [demo_fails(i, 1, 0.3) for i in ids]
    assert failed == [demo_fails(i, 1, 0.3) for i in ids]
    assert failed != [demo_fails(i, 2, 0.3) for i in ids]
    assert 800 < sum(failed) < 1000
