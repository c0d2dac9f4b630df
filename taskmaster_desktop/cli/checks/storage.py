"""Checks of folders, disk space and the database. Nothing is created that stays."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

from taskmaster_desktop.backend.store.opening import DATABASE, LOCK
from taskmaster_desktop.cli.checks.finding import Finding, fail, ok, warn
from taskmaster_desktop.paths import default_log_dir

MIB = 1 << 20
LITTLE_BYTES, TOO_LITTLE_BYTES = 1024 * MIB, 64 * MIB
LONGEST_SOCKET = 107
SOCKET_PLACE = "run/rpc/worker.sock"


def storage_findings(data_dir: Path) -> Iterator[Finding]:
    yield folder_finding("data folder", data_dir, "Choose another with --data-dir")
    yield folder_finding("log folder", default_log_dir(), "Set XDG_STATE_HOME to another")
    yield folder_finding("temporary", Path(tempfile.gettempdir()), "Set TMPDIR to another")
    yield space_finding(data_dir, shutil.disk_usage(_existing(data_dir)).free)
    yield socket_finding(data_dir)
    yield database_finding(data_dir)


def folder_finding(name: str, folder: Path, otherwise: str) -> Finding:
    """Whether we can make files there."""
    fix = f"{otherwise}, or give this user the right to write there."
    place = _existing(folder)
    if not place.is_dir():
        return fail(name, f"{place} is not a folder.", fix)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".taskmaster-"):
            pass
    except OSError as error:
        return fail(name, f"{place} cannot be written ({error.strerror}).", fix)
    return ok(name, str(folder) if folder == place else f"{folder} (not there yet, can be made)")


def space_finding(folder: Path, free_bytes: int) -> Finding:
    text = f"{free_bytes / (1024 * MIB):.1f} GiB free for {folder}"
    fix = "Free some space, or choose a folder on another disk with --data-dir."
    if free_bytes < TOO_LITTLE_BYTES:
        return fail("disk space", f"Only {text}.", fix)
    return warn("disk space", f"Only {text}.", fix) if free_bytes < LITTLE_BYTES else ok("disk space", text)


def socket_finding(data_dir: Path) -> Finding:
    length = len(os.fsencode(data_dir / SOCKET_PLACE))
    if length > LONGEST_SOCKET:
        return warn(
            "socket path",
            f"The data folder's path is {length - LONGEST_SOCKET} bytes too long for a Unix socket; "
            "workers connect over the loopback alone.",
            "Choose a shorter path with --data-dir.",
        )
    return ok("socket path", f"{length} of {LONGEST_SOCKET} bytes")


def database_finding(data_dir: Path) -> Finding:
    """Whether it is free and sound. One that is in use is left alone."""
    file = data_dir / DATABASE
    if not file.exists():
        return ok("database", "none yet")
    if _is_locked(data_dir / LOCK):
        return ok("database", "in use by a running TaskMaster")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            tasks = connection.execute("SELECT count(*) FROM batches").fetchone()[0]
    except sqlite3.Error as error:
        return fail(
            "database", f"{file} cannot be read ({error}).", "Put a backup in its place, or move it away."
        )
    if answer != "ok":
        return fail(
            "database", f"{file} is damaged ({answer}).", "Put a backup in its place, or move it away."
        )
    return ok("database", f"sound, {tasks} batch(es), {file.stat().st_size / MIB:.1f} MiB")


def _is_locked(file: Path) -> bool:
    if not file.exists():
        return False
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
