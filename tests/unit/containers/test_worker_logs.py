"""The last words of ended workers: the newest are kept, cut to their end; a full disk stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskmaster_desktop.backend.containers import worker_logs
from taskmaster_desktop.backend.containers.worker_logs import WorkerLogs


def test_what_was_kept_is_read_and_what_was_not_is_empty(tmp_path: Path) -> None:
    logs = WorkerLogs(tmp_path / "logs")
    logs.keep("w1", b"last words")
    assert (logs.read("w1"), logs.read("w2")) == (b"last words", b"")
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_only_the_end_of_a_long_log_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_logs, "MAX_BYTES", 4)
    logs = WorkerLogs(tmp_path)
    logs.keep("w1", b"123456789")
    assert logs.read("w1") == b"6789"


def test_only_the_newest_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_logs, "KEPT_LOGS", 2)
    logs = WorkerLogs(tmp_path)
    for number in range(4):
        logs.keep(f"w{number}", b"x")
        os.utime(tmp_path / f"w{number}.log", ns=(number, number))
    logs.keep("w9", b"x")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["w3.log", "w9.log"]


@pytest.mark.expects_logs
def test_a_log_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    logs = WorkerLogs(tmp_path / "file")
    logs.keep("w1", b"x")
    assert logs.read("w1") == b""
