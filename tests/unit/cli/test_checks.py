"""What `doctor` finds in a sound and in a broken place."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from taskmaster_desktop.backend.store import open_store
from taskmaster_desktop.cli.checks import machine, storage


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (machine.python_finding((3, 11, 0)), "ok"),
        (machine.python_finding((3, 10, 9)), "fail"),
        (machine.sqlite_finding((3, 40, 1)), "ok"),
        (machine.sqlite_finding((3, 31, 0)), "fail"),
        (machine.system_finding("linux"), "ok"),
        (machine.system_finding("darwin"), "warn"),
        (machine.pidfd_finding(), "ok"),
        (machine.files_finding(-1), "ok"),
        (machine.files_finding(65_536), "ok"),
        (machine.files_finding(512), "warn"),
        (machine.files_finding(64), "fail"),
    ],
)
def test_machine(finding: machine.Finding, status: str) -> None:
    assert finding.status == status
    assert bool(finding.fix) == (status != "ok")


def test_pidfd_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_pid: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.pidfd_open", denied)
    assert machine.pidfd_finding().status == "warn"


def test_folders(tmp_path: Path) -> None:
    assert storage.folder_finding("x", tmp_path, "Choose another").status == "ok"
    assert "not there yet" in storage.folder_finding("x", tmp_path / "a" / "b", "Choose another").text
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert storage.folder_finding("x", tmp_path / "file", "Choose another").status == "fail"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_space(tmp_path: Path) -> None:
    assert [storage.space_finding(tmp_path, mib << 20).status for mib in (4096, 500, 10)] == [
        "ok",
        "warn",
        "fail",
    ]


def test_socket_path() -> None:
    assert storage.socket_finding(Path("/tmp/short")).status == "ok"
    assert storage.socket_finding(Path("/tmp") / ("long" * 30)).status == "warn"


def test_database(tmp_path: Path) -> None:
    assert storage.database_finding(tmp_path).text == "none yet"
    open_store(tmp_path).close()
    assert storage.database_finding(tmp_path).text.startswith("sound")
    with FileLock(tmp_path / storage.LOCK):
        assert "in use" in storage.database_finding(tmp_path).text
    (tmp_path / storage.DATABASE).write_bytes(b"something else" * 1000)
    found = storage.database_finding(tmp_path)
    assert found.status == "fail"
    assert found.fix
