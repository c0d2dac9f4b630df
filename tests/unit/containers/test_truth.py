"""What the engine says of a container, and how an end is judged."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_desktop.backend.containers.profile import WORKER_LABEL
from taskmaster_desktop.backend.containers.truth import NO_TIME, Seen, judge, moment_s, seen
from taskmaster_desktop.backend.ports import Ended

CLEAN = Ended(reason="ended by itself", clean=True)
ORDERED = Ended(reason="killed by order")
OOM = Ended(reason="killed by the system for want of memory", oom=True)
ENGINE = Ended(reason="the Docker Engine went down and took it along", excused=True)
KILLED = Ended(reason="killed by SIGKILL")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (NO_TIME, 0.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T00:00:10.5Z", 10.5),
        ("1970-01-01T00:00:10.123456789Z", 10.123456789),
        ("1970-01-01T01:00:10.25+01:00", 10.25),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1969-12-31T19:00:10.000000001-05:00", 10.000000001),
        ("2026-11-25T04:06:45.000000000Z", 1795579605.0),
    ],
)
def test_the_engines_moments(text: str, moment: float) -> None:
    assert moment_s(text) == pytest.approx(moment, abs=1e-6)


def inspected(**state: Any) -> dict[str, Any]:
    usual = {"Status": "running", "ExitCode": 0, "OOMKilled": False, "Error": "", "StartedAt": NO_TIME}
    return {
        "Id": "c1",
        "Name": "/tm-1",
        "Config": {"Labels": {WORKER_LABEL: "w1-e1"}},
        "State": usual | {"FinishedAt": NO_TIME} | state,
    }


@pytest.mark.parametrize(
    ("status", "alive", "paused"),
    [
        ("created", False, False),
        ("running", True, False),
        ("paused", True, True),
        ("restarting", True, False),
        ("removing", False, False),
        ("exited", False, False),
        ("dead", False, False),
    ],
)
def test_the_states_of_a_container(status: str, alive: bool, paused: bool) -> None:
    found = seen(inspected(Status=status, StartedAt="1970-01-01T00:00:10Z"))
    assert (found.alive, found.paused, found.started_s, found.finished_s) == (alive, paused, 10.0, 0.0)
    assert (found.id, found.name, found.worker_id) == ("c1", "tm-1", "w1-e1")


def test_older_and_other_engines_may_leave_fields_out() -> None:
    bare = inspected()
    bare["State"] = {"Status": "exited", "ExitCode": 3}
    found = seen(bare)
    assert (found.oom, found.error, found.started_s, found.exit_code) == (False, "", 0.0, 3)


def ended(exit_code: int, *, oom: bool = False, error: str = "", finished_s: float = 100.0) -> Seen:
    return Seen(
        id="c1", name="tm-1", worker_id="w1", state="exited", exit_code=exit_code, oom=oom, error=error,
        started_s=1.0, finished_s=finished_s,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("last", "ordered", "lost_s", "verdict"),
    [
        (ended(0), False, None, CLEAN),
        (ended(0), True, None, CLEAN),
        (ended(0), False, 90.0, CLEAN),
        (ended(137), True, None, ORDERED),
        (ended(137, oom=True), True, None, ORDERED),
        (ended(137, oom=True), False, None, OOM),
        (ended(137, oom=True), False, 90.0, OOM),
        (ended(137), False, None, KILLED),
        (ended(137), False, 90.0, ENGINE),
        (ended(137), False, 100.5, ENGINE),  # the loss was noticed a moment later
        (ended(137), False, 110.0, KILLED),  # it had ended long before the engine was lost
        (ended(143), False, 90.0, ENGINE),
        (ended(255), False, 90.0, ENGINE),
        # A command had been killed for memory; the agent ended for a reason of its own.
        (ended(75, oom=True), False, None, Ended(reason="it was alone for too long and stopped by itself")),
    ],
)
def test_who_is_to_blame_for_an_end(last: Seen, ordered: bool, lost_s: float | None, verdict: Ended) -> None:
    assert judge(last, ordered=ordered, lost_s=lost_s) == verdict


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "ended with exit code 1"),
        (70, "its agent met a bug of its own"),
        (75, "it was alone for too long and stopped by itself"),
        (76, "the engine refused it for good"),
        (78, "it was not handed its start-up secret"),
        (126, "its image cannot run the agent"),
        (127, "the agent was not found in its image"),
        (137, "killed by SIGKILL"),
        (139, "killed by SIGSEGV"),
        (143, "killed by SIGTERM"),
        (250, "ended with exit code 250"),
    ],
)
def test_an_exit_code_in_words(code: int, reason: str) -> None:
    assert judge(ended(code), ordered=False, lost_s=None) == Ended(reason=reason)


def test_the_engines_own_error_is_passed_on() -> None:
    failed = judge(ended(0, error="no such device"), ordered=False, lost_s=None)
    assert failed == Ended(reason="the Docker Engine says: no such device")
