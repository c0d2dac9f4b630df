"""What a test may not leave behind: running threads and processes."""

from __future__ import annotations

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.eventually import eventually

# Set for the whole run and inherited by everything it starts, so that an orphan is still recognised.
RUN_MARK = "TASKMASTER_TEST_RUN"
_FOREIGN_THREADS = (
    "pytest_timeout",  # its timer outlives the test's own teardown
    "_poll_wrapper",  # grpc.aio's one thread per process; it ends when the last grpc object is collected
)
_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Running:
    """What ran at one moment: threads of this process and process ids of the whole system."""

    threads: frozenset[threading.Thread]
    pids: frozenset[int]


def running_now() -> Running:
    """A snapshot to compare with later. Without /proc (not Linux) processes are not watched."""
    return Running(threads=frozenset(threading.enumerate()), pids=_all_pids())


def leaked_since(before: Running, *, timeout_s: float = 2.0) -> list[str]:
    """Names of our threads and processes that are new since `before` and do not end within `timeout_s`."""
    if not (_new_threads(before) or _new_processes(before)):
        return []
    gc.collect()  # some objects end their threads and reap their processes when they are collected
    try:
        eventually(lambda: not (_new_threads(before) or _new_processes(before)), timeout_s=timeout_s)
    except AssertionError:
        threads = [f"thread {thread.name}" for thread in _new_threads(before)]
        return threads + [f"process {pid}: {_command_line(pid)}" for pid in _new_processes(before)]
    return []


def _new_threads(before: Running) -> list[threading.Thread]:
    new = frozenset(threading.enumerate()) - before.threads
    return [thread for thread in new if not any(name in thread.name for name in _FOREIGN_THREADS)]


def _new_processes(before: Running) -> list[int]:
    return sorted(pid for pid in _all_pids() - before.pids if _is_ours(pid))


def _all_pids() -> frozenset[int]:
    if not _PROC.is_dir():
        return frozenset()
    return frozenset(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _is_ours(pid: int) -> bool:
    mark = f"{RUN_MARK}={os.environ[RUN_MARK]}\0".encode()
    # A child that has ended and was not waited for has no environment any more, but still a parent.
    return _parent(pid) == os.getpid() or mark in _read(pid, "environ")


def _parent(pid: int) -> int | None:
    # The command name stands in brackets and may hold spaces and brackets itself.
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else None


def _command_line(pid: int) -> str:
    return (
        _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
        or "(ended, not waited for)"
    )


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:  # it has just ended, or belongs to another user
        return b""
