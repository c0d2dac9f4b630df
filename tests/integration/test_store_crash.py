"""The store against real trouble: SIGKILL in mid-write, a second process, a full disk, a folder it may not use."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.store import OpenedStore, open_store
from tests.helpers import store_crasher
from tests.helpers.store_rows import Book

ROUNDS = 12


@contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_was_acknowledged_survives_sigkill_and_nothing_is_half_there(tmp_path: Path) -> None:
    chance = random.Random(20_261_123)
    acknowledged = 0
    for _ in range(ROUNDS):
        with child("tests.helpers.store_crasher", str(tmp_path), str(chance.random())) as process:
            assert process.stdout is not None
            # Lines are acknowledgements; after one of them the child dies in whatever it is doing.
            for _line in range(chance.randrange(1, 60)):
                acknowledged = int(process.stdout.readline())
            for _spin in range(chance.randrange(20_000)):
                pass
            os.kill(process.pid, signal.SIGKILL)
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged = int(line)
        assert store_crasher.verify(tmp_path) in (acknowledged, acknowledged + 1)
    assert acknowledged > ROUNDS


def test_a_second_process_is_refused_in_one_sentence(tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    command = [sys.executable, "-m", "tests.helpers.store_crasher", str(tmp_path), "0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 3
    assert str(tmp_path) in answer.stdout
    assert "already running" in answer.stdout
    assert answer.stdout.count("\n") == 1
    opened.close()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    with child("tests.helpers.store_crasher", str(tmp_path), "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(EnvironmentProblem, match="already running"):
            open_store(tmp_path)
    open_store(tmp_path).close()


# ------------------------------------------------------------ the disk
@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenedStore]:
    opened = open_store(tmp_path)
    opened.store.begin_epoch()
    yield opened
    opened.close()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk without room: writing beyond fails instead of killing the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_a_write_that_fails_is_told_and_work_goes_on_afterwards(opened: OpenedStore, tmp_path: Path) -> None:
    book = Book(opened)
    book.submit(10)
    log_size = (tmp_path / "taskmaster.db-wal").stat().st_size
    with no_file_larger_than(log_size + 8192), pytest.raises(EnvironmentProblem) as caught:
        book.submit(5000)
    assert caught.value.fix
    assert str(tmp_path) in str(caught.value)
    assert caught.value.__cause__ is not None
    assert opened.query.batch(2) is None
    book.submit(5)
    assert opened.query.batch(3) == book.batches[3]


def test_a_full_disk_is_told_and_work_goes_on_when_room_is_made(opened: OpenedStore) -> None:
    book = Book(opened)
    book.submit(10)
    connection = opened.store._connection
    assert connection is not None
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.execute("PRAGMA max_page_count = 60").fetchall()  # as if the disk ended there; until reconnected
    with pytest.raises(EnvironmentProblem, match="is full") as caught:
        book.submit(5000)
    assert "Free some space" in caught.value.fix
    assert opened.query.batch(2) is None
    book.submit(5)
    assert opened.query.batch(3) == book.batches[3]


def test_a_database_locked_by_another_program_is_told(
    opened: OpenedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(opened)
    connection = opened.store._connection
    assert connection is not None
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.execute("PRAGMA busy_timeout = 1").fetchall()
    other = sqlite3.connect(tmp_path / "taskmaster.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EnvironmentProblem, match="locked by another program"):
        book.submit(1)
    other.execute("ROLLBACK")
    other.close()
    book.submit(1)
    assert opened.query.batch(2) == book.batches[2]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "taskmaster.db").write_bytes(b"this was never a database" * 1000)
    with pytest.raises(EnvironmentProblem, match="not a TaskMaster database"):
        open_store(tmp_path)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be used"):
        open_store(tmp_path / "file" / "folder")


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    open_store(tmp_path / "new" / "folder").close()
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700
