"""What worker processes leave on disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from taskmaster_desktop.backend.fleet.worker_folder import Trace, WorkerFolders


@pytest.fixture
def folders(tmp_path: Path) -> WorkerFolders:
    return WorkerFolders(tmp_path / "workers")


def trace(worker_id: str = "w-1", ended: str | None = None) -> Trace:
    return Trace(worker_id=worker_id, name="w1", pid=42, started=1000, boot_id="boot", ended=ended)


def test_a_trace_comes_back_as_it_was_written(folders: WorkerFolders) -> None:
    folders.create("w-1")
    folders.write(trace())
    assert folders.read("w-1") == trace()
    assert trace().handle == "42:1000"
    folders.mark_ended(trace(), "killed")
    assert folders.traces() == [trace(ended="killed")]
    assert not (folders.folder("w-1") / "work").exists()


def test_folders_are_private(folders: WorkerFolders) -> None:
    folder = folders.create("w-1")
    for path in (folders.root, folder, folder / "work"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_nothing_there(folders: WorkerFolders) -> None:
    assert folders.traces() == []
    assert folders.read("w-1") is None
    assert folders.log_tail("w-1", 10) == b""
    assert folders.last_log_line("w-1") == ""
    folders.prune(keep=0, in_use=())


@pytest.mark.expects_logs
@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"a": 1}', "\xff"])
def test_an_unusable_trace_is_none(text: str, folders: WorkerFolders) -> None:
    (folders.create("w-1") / "agent.json").write_text(text, encoding="latin-1")
    assert folders.traces() == []


@pytest.mark.parametrize("worker_id", ["", "..", ".", "a/b", "/etc", "-x", "x" * 65, "a\n"])
def test_a_worker_id_cannot_lead_elsewhere(worker_id: str, folders: WorkerFolders) -> None:
    with pytest.raises(ValueError, match="not a worker id"):
        folders.create(worker_id)


def test_log_tail_and_last_line(folders: WorkerFolders) -> None:
    (folders.create("w-1") / "agent.log").write_bytes(b"one\ntwo \xff\n\n  \n")
    assert folders.log_tail("w-1", 5) == b"\n\n  \n"
    assert folders.log_tail("w-1", 1000) == b"one\ntwo \xff\n\n  \n"
    assert folders.last_log_line("w-1") == "two \ufffd"
    (folders.folder("w-1") / "agent.log").write_bytes(b"x" * 5000)
    assert folders.last_log_line("w-1") == "x" * 300


def test_prune_keeps_the_newest_and_the_living(folders: WorkerFolders) -> None:
    for number, worker_id in enumerate(["old", "living", "cut-short", "middle", "new"]):
        folder = folders.create(worker_id)
        if worker_id != "cut-short":
            folders.write(trace(worker_id, ended=None if worker_id == "living" else "killed"))
            os.utime(folder / "agent.json", (number, number))
        os.utime(folder, (number, number))
    folders.create("launching")
    (folders.root / "foreign file").write_text("mine")
    (folders.root / ".hidden").mkdir()
    folders.prune(keep=2, in_use={"launching"})
    left = {path.name for path in folders.root.iterdir()}
    assert left == {"living", "launching", "middle", "new", "foreign file", ".hidden"}


def test_removing_a_folder_does_not_follow_links(folders: WorkerFolders, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep me")
    folder = folders.create("w-1")
    (folder / "work" / "link").symlink_to(tmp_path)
    folders.write(trace())
    folders.mark_ended(trace(), "killed")
    folders.prune(keep=0, in_use=())
    assert not folder.exists()
    assert (tmp_path / "precious").read_text() == "keep me"
