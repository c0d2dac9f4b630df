"""Checks of the machine itself: Python, SQLite, processes, open files."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from taskmaster_desktop.cli.checks.finding import Finding, fail, ok, warn

OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 37, 0)
FEW_FILES, TOO_FEW_FILES = 1024, 256


def machine_findings() -> Iterator[Finding]:
    yield python_finding(sys.version_info[:3])
    yield sqlite_finding(sqlite3.sqlite_version_info)
    yield system_finding(sys.platform)
    yield pidfd_finding()
    yield files_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def python_finding(version: tuple[int, ...]) -> Finding:
    text = f"Python {'.'.join(map(str, version))}"
    if version < OLDEST_PYTHON:
        return fail("python", f"{text} is too old.", "Install Python 3.11 or newer.")
    return ok("python", text)


def sqlite_finding(version: tuple[int, ...]) -> Finding:
    text = f"SQLite {'.'.join(map(str, version))}"
    if version < OLDEST_SQLITE:
        return fail("sqlite", f"{text} is too old.", "Use a Python that is built with SQLite 3.37 or newer.")
    return ok("sqlite", text)


def system_finding(name: str) -> Finding:
    if name != "linux":
        return warn("system", f"{platform.system()} is untested.", "Use Linux where it matters.")
    if not Path("/proc/self/stat").exists():
        return fail(
            "system", "There is no /proc, so the end of a worker cannot be confirmed.", "Mount /proc."
        )
    return ok("system", f"{platform.system()} {platform.release()}")


def pidfd_finding() -> Finding:
    """Through a pidfd the end of a process is noticed at once, and never mistaken for another's."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        why = getattr(error, "strerror", None) or "not offered by this Python"
        return warn(
            "pidfd",
            f"Not to be had ({why}); the end of a worker is noticed a little later.",
            "Use a kernel from 5.3 on and allow pidfd_open where a sandbox filters system calls.",
        )
    return ok("pidfd", "the end of a process is noticed at once")


def files_finding(limit: int) -> Finding:
    if limit == resource.RLIM_INFINITY or limit >= FEW_FILES:
        return ok("open files", "no limit" if limit == resource.RLIM_INFINITY else f"up to {limit:,}")
    text, fix = f"Only {limit} files may be open at once.", f"Raise it: ulimit -n {FEW_FILES}."
    return fail("open files", text, fix) if limit < TOO_FEW_FILES else warn("open files", text, fix)
