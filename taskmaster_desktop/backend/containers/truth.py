"""What the engine says of a container, and what it means. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskmaster_desktop.backend.containers.profile import WORKER_LABEL
from taskmaster_desktop.backend.ports import Ended

SIGNALLED = 128
"""An exit code above it names a signal."""
KILLED = SIGNALLED + signal.SIGKILL
LIVING = frozenset({"running", "paused", "restarting"})
LOSS_MARGIN_S = 1.0
"""An engine that goes down and takes containers along may be noticed a little later than their ends."""
NO_TIME = "0001-01-01T00:00:00Z"
EXIT_REASONS = {
    70: "its agent met a bug of its own",
    73: "it had no folder for temporary files",
    75: "it was alone for too long and stopped by itself",
    76: "the engine refused it for good",
    78: "it was not handed its start-up secret",
    126: "its image cannot run the agent",
    127: "the agent was not found in its image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One container as `GET /containers/{id}/json` shows it.

    Attributes:
        started_s, finished_s: UTC seconds since 1970; 0 where not yet.
    """

    id: str
    name: str
    worker_id: str
    state: str
    exit_code: int
    oom: bool
    error: str
    started_s: float
    finished_s: float

    @property
    def alive(self) -> bool:
        return self.state in LIVING

    @property
    def paused(self) -> bool:
        return self.state == "paused"


def seen(inspected: Mapping[str, Any]) -> Seen:
    state = inspected["State"]
    return Seen(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        worker_id=inspected["Config"]["Labels"].get(WORKER_LABEL, ""),
        state=state["Status"],
        exit_code=state["ExitCode"],
        oom=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        started_s=moment_s(state.get("StartedAt", NO_TIME)),
        finished_s=moment_s(state.get("FinishedAt", NO_TIME)),
    )


def moment_s(text: str) -> float:
    """The engine's RFC 3339 with up to nanoseconds, as UTC seconds since 1970; 0 for its zero."""
    return 0.0 if text.startswith("0001-") else datetime.fromisoformat(text).timestamp()


def judge(last: Seen, *, ordered: bool, lost_s: float | None) -> Ended:
    """How a container ended.

    Exit code 137 alone says SIGKILL, not why: in this order it was our order, the engine's own word on
    memory, an engine that went down with it, somebody else. The engine's word on memory counts with that code
    only: it also says so when a command was killed for memory and the agent ended much later.

    `ordered`: we sent it SIGKILL. `lost_s`: since when the engine had not been answering before it told of
    this end, in UTC seconds since 1970; None where it was answering all the time.
    """
    if last.exit_code == 0 and not last.error:
        return Ended(reason="ended by itself", clean=True)
    if ordered:
        return Ended(reason="killed by order")
    if last.oom and last.exit_code == KILLED:
        return Ended(reason="killed by the system for want of memory", oom=True)
    if lost_s is not None and last.finished_s >= lost_s - LOSS_MARGIN_S:
        return Ended(reason="the Docker Engine went down and took it along", excused=True)
    return Ended(reason=_reason(last))


def _reason(last: Seen) -> str:
    if last.error:
        return f"the Docker Engine says: {last.error}"
    if last.exit_code in EXIT_REASONS:
        return EXIT_REASONS[last.exit_code]
    if last.exit_code > SIGNALLED:
        try:
            return f"killed by {signal.Signals(last.exit_code - SIGNALLED).name}"
        except ValueError:
            pass
    return f"ended with exit code {last.exit_code}"
