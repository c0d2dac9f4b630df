"""What the kernel says about processes; here about this test's own children."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.fleet import adoption, linux
from taskmaster_desktop.backend.fleet.linux import ProcessRef
from taskmaster_desktop.backend.fleet.session_reaper import kill_members
from taskmaster_desktop.backend.fleet.worker_folder import Trace
from tests.helpers.eventually import eventually


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own and carries a worker's mark."""
    with subprocess.Popen(
        ["sleep", "300"], start_new_session=True, env={**os.environ, "TASKMASTER_WORKER": "w1"}
    ) as process:
        eventually(lambda: linux.has_mark(process.pid, b"TASKMASTER_WORKER=w1"))  # after its exec
        yield process
        process.kill()


def opened(pid: int, started: int | None = None) -> ProcessRef:
    ref = ProcessRef.open(pid, started)
    assert ref is not None
    return ref


def no_pidfd(_pid: int, _flags: int = 0) -> int:
    raise OSError(38, "Function not implemented")


@pytest.fixture(params=["pidfd", "no pidfd"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of kernel."""
    if request.param == "no pidfd":
        monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    return str(request.param)


def test_life_and_end_of_a_process(kernel: str, child: subprocess.Popen[bytes]) -> None:
    ref = opened(child.pid)
    assert (ref.fd is not None) == (kernel == "pidfd")
    assert ref.alive()
    assert ref.reap() is None
    ref.send_signal(signal.SIGKILL)
    eventually(lambda: not ref.alive())
    assert linux.start_time(child.pid) == ref.started  # a zombie, and still the same process
    status = ref.reap()
    assert status is not None
    assert (status.si_code, status.si_status) == (os.CLD_KILLED, signal.SIGKILL)
    child.returncode = -9
    assert ref.reap() is None
    ref.send_signal(signal.SIGKILL)
    ref.close()
    ref.close()
    assert ProcessRef.open(child.pid) is None


def test_a_process_that_started_at_another_time_is_another(
    kernel: str, child: subprocess.Popen[bytes]
) -> None:
    started = linux.start_time(child.pid)
    assert started is not None
    assert ProcessRef.open(child.pid, started - 1) is None
    opened(child.pid, started).close()


def test_a_name_with_brackets_and_blanks(tmp_path: Path) -> None:
    """The second field of /proc/<pid>/stat is the program's name as it likes to call itself."""
    program = tmp_path / "a) Z (b c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "300"]) as process:
        ref = opened(process.pid)
        assert ref.started > 0
        assert ref.alive()
        ref.close()
        process.kill()


def test_a_session_is_killed_to_the_last_member(kernel: str) -> None:
    script = "sleep 300 & (sleep 300 & sleep 300) & exec sleep 300"
    with subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True) as leader:
        eventually(lambda: members(leader.pid) >= 4)
        eventually(lambda: kill_members(leader.pid) == 0)
        assert members(leader.pid) == 0


def members(session: int) -> int:
    found = list(linux.session_members(session))
    for ref in found:
        ref.close()
    return len(found)


def test_an_empty_session_has_nothing_to_kill() -> None:
    assert kill_members(2**22 + 1) == 0


def test_another_users_or_no_environment_carries_no_mark() -> None:
    assert not linux.has_mark(2**22 + 1, b"A=1")
    assert not linux.has_mark(os.getpid(), b"TASKMASTER_WORKER=nobody")


def test_counting_out_of_memory_kills(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(linux.oom_kills(), int)
    monkeypatch.setattr(linux, "PROC", tmp_path)
    assert linux.oom_kills() is None
    (tmp_path / "vmstat").write_text("oom_kill_x 9\noom_kill 3\n")
    assert linux.oom_kills() == 3
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(f"0::/{os.path.relpath(tmp_path, '/sys/fs/cgroup')}\n")
    (tmp_path / "memory.events").write_text("oom 5\noom_kill 7\n")
    assert linux.oom_kills() == 7
    assert linux.boot_id() == ""


# ------------------------------------------------------------ finding a worker again
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, True),
        ({"started": 5}, False),
        ({"boot_id": "another"}, False),
        ({"ended": "killed"}, False),
        ({"pid": 2**22 + 1}, False),
    ],
)
def test_a_foreign_process_under_a_workers_id_is_not_taken_for_it(
    change: dict[str, Any], found: bool, child: subprocess.Popen[bytes]
) -> None:
    started = linux.start_time(child.pid)
    assert started is not None
    trace = Trace(worker_id="w-1", name="w1", pid=child.pid, started=started, boot_id=linux.boot_id())
    result = adoption.find(replace(trace, **change))
    assert result.remains is found
    assert (result.ref is not None) is found
    if result.ref is not None:
        result.ref.close()


@pytest.mark.parametrize(("name", "ours"), [("w1", True), ("w2", False)])
def test_what_outlived_its_agent_is_ours_by_its_mark(name: str, ours: bool, tmp_path: Path) -> None:
    """The leader is dead and gone, a member of its session lives."""
    pid_file = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid_file}"
    env = {**os.environ, "TASKMASTER_WORKER": "w1"}
    with subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, env=env) as leader:
        started = linux.start_time(leader.pid) or 1
    member = int(pid_file.read_text())
    eventually(lambda: linux.has_mark(member, b"TASKMASTER_WORKER=w1"))
    trace = Trace(worker_id="w-1", name=name, pid=leader.pid, started=started, boot_id=linux.boot_id())
    assert adoption.find(trace) == adoption.Found(None, remains=ours)
    eventually(lambda: kill_members(leader.pid) == 0)
