"""What the kernel knows about processes: start times, pidfds, sessions, out-of-memory kills.

Functions and one small class, without threads of their own; cheap enough for the engine's loop except
`session_members`, which walks /proc.

A bare process id is never trusted: the kernel gives it out again. A process is named by its id, the
moment of its start and the boot of the machine; signals go through a pidfd, which cannot hit another one.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")

_START_TIME_FIELD = 22  # of /proc/<pid>/stat, counted from 1, in clock ticks since the machine's start
_DEAD_STATES = frozenset("ZXx")


def boot_id() -> str:
    """Which boot of the machine this is; empty where the kernel does not tell."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """When the process started, in ticks since boot; None where there is none. A zombie still has one."""
    fields = _stat(pid)
    return int(fields[_START_TIME_FIELD - 3]) if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on: the second may hold blanks and brackets."""
    try:
        content = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return content.rpartition(")")[2].split()


class ProcessRef:
    """One process, never its successor under the same id.

    Attributes:
        fd: its pidfd, readable once it has ended; None on a kernel without pidfds.
    """

    def __init__(self, pid: int, started: int) -> None:
        self.pid = pid
        self.started = started
        self.fd: int | None = None

    @classmethod
    def open(cls, pid: int, started: int | None = None) -> ProcessRef | None:
        """None where no such process exists, or it is not the one that started at `started`."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return None
        except (OSError, AttributeError):  # an old kernel, a seccomp filter, another system
            fd = None
        # Read after opening: from here on the pidfd and the id mean the same process if this agrees.
        found = start_time(pid)
        if found is None or (started is not None and found != started):
            if fd is not None:
                os.close(fd)
            return None
        ref = cls(pid, found)
        ref.fd = fd
        return ref

    def alive(self) -> bool:
        """Whether anything of it still runs; a zombie does not."""
        if self.fd is not None:
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            return not poll.poll(0)
        fields = _stat(self.pid)
        return bool(fields) and fields[0] not in _DEAD_STATES and start_time(self.pid) == self.started

    def send_signal(self, number: signal.Signals) -> None:
        """Without effect where it has ended."""
        try:
            if self.fd is not None:
                signal.pidfd_send_signal(self.fd, number)
            elif self.alive():
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def reap(self) -> os.waitid_result | None:
        """How it ended, if it is our child and has ended; None otherwise. Ends its being a zombie."""
        if self.fd is None and start_time(self.pid) != self.started:
            return None
        which = (os.P_PID, self.pid) if self.fd is None else (os.P_PIDFD, self.fd)
        try:
            return os.waitid(*which, os.WEXITED | os.WNOHANG)
        except OSError:  # not our child
            return None

    def close(self) -> None:
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


def session_members(session: int) -> Iterator[ProcessRef]:
    """The running processes of a session; the caller closes each. Walks all of /proc: one system call per
    process of the machine, some ten milliseconds for ten thousand."""
    for name in os.listdir(PROC):  # noqa: PTH208 - pathlib would build an object for each process
        if not name.isdigit() or _session_of(pid := int(name)) != session:
            continue
        ref = ProcessRef.open(pid)
        if ref is None:
            continue
        if ref.alive() and _session_of(pid) == session:  # looked at again: the id may have changed hands
            yield ref
        else:
            ref.close()


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def has_mark(pid: int, mark: bytes) -> bool:
    """Whether the process was started with `mark` ("NAME=value") in its environment; False if unreadable."""
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return mark in environ.split(b"\0")


def oom_kills() -> int | None:
    """How many processes were killed for want of memory: of our control group where that is counted
    (cgroup v2), else of the whole machine since boot; None where the kernel does not say."""
    own = _own_cgroup()
    for path in (own / "memory.events" if own else None, PROC / "vmstat"):
        try:
            lines = path.read_text(encoding="ascii").splitlines() if path else []
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _own_cgroup() -> Path | None:
    try:
        lines = (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("0::/"):
            return Path("/sys/fs/cgroup", line.removeprefix("0::/"))
    return None
