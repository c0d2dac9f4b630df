"""Processor time and memory of the agent and its commands, and which processes are theirs.

Owns what it remembers between two readings. Called from the one asyncio loop; a reading of /proc costs some
milliseconds on a busy desktop, so its own share of the processor is bounded.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# A scan may use this share of the time since the last one.
SCAN_SHARE = 0.005

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


class Process(NamedTuple):
    """What /proc says about one process."""

    pid: int
    group: int
    session: int
    zombie: bool
    ticks: int
    resident_pages: int


def living_processes() -> Iterator[Process]:
    """All processes that /proc shows; nothing where there is no /proc."""
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 - thousands of Path objects every two seconds are not free
    except OSError:
        return
    for name in names:
        if name.isdigit():
            process = _read_process(name)
            if process is not None and not process.zombie:
                yield process


def _read_process(name: str) -> Process | None:
    try:
        fd = os.open(f"/proc/{name}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(fd, 2048)
    except OSError:
        return None
    finally:
        os.close(fd)
    # The name of the program stands in brackets and may hold anything, brackets too.
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 22:
        return None
    # Its own time and that of its children it has waited for.
    ticks = sum(map(int, fields[11:15]))
    return Process(int(name), int(fields[2]), int(fields[3]), fields[0] in b"ZX", ticks, int(fields[21]))


def group_is_alive(group: int) -> bool:
    """Whether a process group has a member that is not a zombie."""
    if _PROC.joinpath("self/stat").exists():
        return any(process.group == group for process in living_processes())
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


class UsageMeter:
    """Figures for the heartbeat. `session` is the session the agent leads, None where it leads none."""

    def __init__(self, session: int | None) -> None:
        self._session = session
        self._pid = os.getpid()
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._next_scan = 0.0
        self._commands_us = 0
        self._commands_bytes = 0
        self._most_us = 0

    def read(self, *, busy: bool) -> tuple[int, int]:
        """Processor time so far in microseconds (never less than before) and resident bytes.

        `busy`: commands are running, so other processes than the agent itself count.
        """
        if not busy:
            self._commands_us = self._commands_bytes = 0
        elif time.monotonic() >= self._next_scan:
            self._scan()
        # Children that were waited for, and the agent itself.
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own_us = time.process_time_ns() // 1000
        cpu_us = own_us + int((ended.ru_utime + ended.ru_stime) * 1e6) + self._commands_us
        self._most_us = max(self._most_us, cpu_us)
        return self._most_us, self._own_bytes() + self._commands_bytes

    def _scan(self) -> None:
        began = time.monotonic()
        ticks = pages = 0
        for process in living_processes():
            if process.session == self._session and process.pid != self._pid:
                ticks += process.ticks
                pages += process.resident_pages
        self._commands_us = ticks * 1_000_000 // self._ticks_per_s
        self._commands_bytes = pages * self._page_bytes
        ended = time.monotonic()
        self._next_scan = ended + (ended - began) / SCAN_SHARE

    def _own_bytes(self) -> int:
        own = _read_process(str(self._pid))
        if own is not None:
            return own.resident_pages * self._page_bytes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class OomCounter:
    """How often the kernel killed something in our control group for want of memory."""

    def __init__(self) -> None:
        self._fd = _open_oom_file()

    def read(self) -> int:
        """The counter, 0 where it is not known."""
        if self._fd is None:
            return 0
        try:
            text = os.pread(self._fd, 4096, 0)
        except OSError:
            return 0
        for line in text.splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _open_oom_file() -> int | None:
    for path in _oom_files():
        try:
            return os.open(path, os.O_RDONLY)
        except OSError:
            continue
    return None


def _oom_files() -> Iterator[Path]:
    """Where the counter may be: by our own line of /proc/self/cgroup, or at the top inside a container."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if not controllers:
            yield _CGROUPS / inside / "memory.events"
            yield _CGROUPS / "memory.events"
        elif "memory" in controllers.split(","):
            yield _CGROUPS / "memory" / inside / "memory.oom_control"
            yield _CGROUPS / "memory" / "memory.oom_control"
