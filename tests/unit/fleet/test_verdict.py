"""How the end of an agent is told."""

from __future__ import annotations

import os
import signal

import pytest

from taskmaster_desktop.backend.fleet.verdict import OOM_REASON, judge
from taskmaster_desktop.backend.ports import Ended


def status(code: int, number: int) -> os.waitid_result:
    """As `os.waitid` returns it: pid, uid, signo, status, code."""
    return os.waitid_result((42, 0, int(signal.SIGCHLD), number, code))


EXITED, KILLED, DUMPED = os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (status(EXITED, 0), Ended(reason="ended by itself", clean=True)),
        (status(EXITED, 70), Ended(reason="ended with exit code 70: last words")),
        (status(EXITED, 137), Ended(reason="ended with exit code 137: last words")),  # no proof of anything
        (status(KILLED, signal.SIGTERM), Ended(reason="killed by SIGTERM")),
        (status(DUMPED, signal.SIGSEGV), Ended(reason="killed by SIGSEGV")),
        (status(KILLED, 60), Ended(reason="killed by signal 60")),
        (None, Ended(reason="ended: last words")),
    ],
)
def test_ends(end: os.waitid_result | None, expected: Ended) -> None:
    assert judge(end, ordered=False, oom_kills=1, last_line="last words") == expected


@pytest.mark.parametrize(
    ("ordered", "oom_kills", "oom"), [(False, 0, False), (False, 1, True), (True, 1, False), (True, 0, False)]
)
def test_out_of_memory_needs_the_kernels_word(ordered: bool, oom_kills: int, oom: bool) -> None:
    ended = judge(status(KILLED, signal.SIGKILL), ordered=ordered, oom_kills=oom_kills, last_line="")
    assert ended == Ended(reason=OOM_REASON if oom else "killed by SIGKILL", oom=oom)


def test_an_end_that_nobody_could_see() -> None:
    assert judge(None, ordered=True, oom_kills=0, last_line="x") == Ended(reason="killed by SIGKILL")
    assert judge(None, ordered=False, oom_kills=0, last_line="") == Ended(reason="ended")


def test_a_silent_exit() -> None:
    assert (
        judge(status(EXITED, 3), ordered=False, oom_kills=0, last_line="").reason == "ended with exit code 3"
    )
