"""Finding again the worker processes of an earlier engine. Blocking; called on the helper threads."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster_desktop.backend.fleet.launch import MARK
from taskmaster_desktop.backend.fleet.linux import (
    ProcessRef,
    boot_id,
    has_mark,
    session_members,
    start_time,
)
from taskmaster_desktop.backend.fleet.worker_folder import Trace


@dataclass(frozen=True, slots=True)
class Found:
    """What is left of a worker.

    Attributes:
        ref: its agent, running or a zombie; None where the agent is gone.
        remains: something of it may still run.
    """

    ref: ProcessRef | None
    remains: bool


def find(trace: Trace) -> Found:
    """Looks at the process a trace names, and never takes a foreign one for it."""
    if trace.ended is not None or trace.boot_id != boot_id():
        return Found(None, remains=False)
    ref = ProcessRef.open(trace.pid, trace.started)
    if ref is not None:
        remains = ref.alive() or _has_members(trace.pid)
        if not remains:
            ref.reap()
        return Found(ref, remains=remains)
    if start_time(trace.pid) is not None:
        # The id was given out again, which the kernel does only when the whole session is gone.
        return Found(None, remains=False)
    return Found(None, remains=_session_is_ours(trace))


def _has_members(session: int) -> bool:
    found = list(session_members(session))
    for member in found:
        member.close()
    return bool(found)


def _session_is_ours(trace: Trace) -> bool:
    """A session whose leader is gone is ours if any member carries our mark: it may be a later, foreign
    one with the same number, but never a mixture. A command that cleared its environment is not known
    again, unless another one of its session kept it."""
    mark = f"{MARK}={trace.name}".encode()
    ours = False
    for member in session_members(trace.pid):
        ours = ours or has_mark(member.pid, mark)
        member.close()
    return ours
