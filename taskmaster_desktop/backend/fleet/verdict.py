"""How an agent's process ended, in words for people. Pure."""

from __future__ import annotations

import os
import signal

from taskmaster_desktop.backend.ports import Ended

OOM_REASON = "killed by the system, which had run out of memory"


def judge(status: os.waitid_result | None, *, ordered: bool, oom_kills: int, last_line: str) -> Ended:
    """
    Args:
        status: as `waitid` told it; None where the process was not our child.
        ordered: we had sent the SIGKILL ourselves.
        oom_kills: by how much the count of out-of-memory kills grew while the agent lived. It counts
            more than this agent, so it matters only for a SIGKILL that nobody here ordered.
        last_line: of its log.
    """
    said = f": {last_line}" if last_line else ""
    if status is None:
        return Ended(reason="killed by SIGKILL" if ordered else f"ended{said}")
    number = status.si_status
    if status.si_code == os.CLD_EXITED:
        return Ended(reason="ended by itself", clean=True) if number == 0 else Ended(
            reason=f"ended with exit code {number}{said}"
        )  # fmt: skip
    if number == signal.SIGKILL and not ordered and oom_kills > 0:
        return Ended(reason=OOM_REASON, oom=True)
    return Ended(reason=f"killed by {_name(number)}")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
