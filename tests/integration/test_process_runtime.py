"""The embedded runtime with real processes; the agent is a stub except at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet import launch, linux, worker_folder
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.ports import Ended
from tests.helpers.eventually import until
from tests.helpers.process_fleet import Start, fleets_in, members
from tests.helpers.watching import Watching
from tests.helpers.worker_records import STUB_KEY, stub_command, worker_record, worker_secret

SHORT_ENGINE = Path(__file__).parent.parent / "helpers" / "short_engine.py"
WORKER = worker_record("w-1")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with fleets_in(tmp_path) as start:
        yield start


# ------------------------------------------------------------ the life of one worker
async def test_launch_and_terminate(start: Start) -> None:
    fleet = await start()
    handle = await fleet.launch()
    pid = fleet.pid()
    assert handle == f"{pid}:{linux.start_time(pid)}"
    assert os.getsid(pid) == pid
    (seen,) = await fleet.runtime.observe()
    assert (seen.id, seen.handle, seen.alive) == ("w-1", handle, True)
    await fleet.runtime.terminate(WORKER)
    assert await fleet.one_end() == Ended(reason="ended by itself", clean=True)
    (seen,) = await fleet.runtime.observe()
    assert not seen.alive


async def test_kill_takes_the_commands_along(start: Start) -> None:
    fleet = await start("commands")
    await fleet.launch()
    assert members(fleet.pid()) == 3
    await fleet.runtime.kill(WORKER)
    assert await fleet.one_end() == Ended(reason="killed by SIGKILL")
    assert fleet.leftovers == [0]


async def test_an_agents_death_is_told_only_when_its_commands_are_gone(start: Start) -> None:
    fleet = await start("commands")
    await fleet.launch()
    commands = [int(pid) for pid in (fleet.data_dir / "workers/w-1/work/commands").read_text().split()]
    assert len(commands) == 2
    os.kill(fleet.pid(), signal.SIGKILL)
    assert (await fleet.one_end()).reason == "killed by SIGKILL"
    assert fleet.leftovers == [0]


async def test_an_agent_that_leaves_commands_behind(start: Start) -> None:
    fleet = await start("leave")
    await fleet.launch()
    assert (await fleet.one_end()).clean
    assert fleet.leftovers == [0]


async def test_an_exit_code_comes_with_the_last_words(start: Start) -> None:
    fleet = await start("fail")
    await fleet.launch()
    assert await fleet.one_end() == Ended(reason="ended with exit code 70: out of cheese")
    assert (await fleet.runtime.log(WORKER, tail_bytes=8)) == b"cheese\n\n"


async def test_a_frozen_agent_can_be_killed(start: Start) -> None:
    fleet = await start("commands")
    await fleet.launch()
    os.kill(fleet.pid(), signal.SIGSTOP)
    await fleet.runtime.kill(WORKER)
    assert (await fleet.one_end()).reason == "killed by SIGKILL"
    assert fleet.leftovers == [0]


async def test_the_end_is_told_once_however_often_it_is_asked_for(start: Start) -> None:
    fleet = await start("commands")
    await fleet.launch()
    await asyncio.gather(*(fleet.runtime.kill(WORKER) for _ in range(3)), fleet.runtime.terminate(WORKER))
    await fleet.one_end()
    await fleet.runtime.kill(WORKER)
    await fleet.runtime.terminate(WORKER)
    await fleet.runtime.observe()
    assert len(fleet.ended) == 1


async def test_killing_what_never_ran_is_answered_too(start: Start) -> None:
    fleet = await start()
    await fleet.runtime.terminate(WORKER)
    await fleet.runtime.kill(WORKER)
    await fleet.runtime.kill(WORKER)
    assert await fleet.one_end() == Ended(reason="it was not running")


class SlowLaunch:
    """Holds every launch on its helper thread until `go` is set."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, *arguments: object) -> object:
        self.begun.set()
        assert self.go.wait(10)
        return launch.launch_agent(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def slow_launch(monkeypatch: pytest.MonkeyPatch) -> SlowLaunch:
    slow = SlowLaunch()
    monkeypatch.setattr("taskmaster_desktop.backend.fleet.process.launch_agent", slow)
    return slow


async def test_kill_during_launch(start: Start, slow_launch: SlowLaunch) -> None:
    fleet = await start()
    launching = asyncio.create_task(fleet.runtime.launch(WORKER, worker_secret("w-1")))
    again = asyncio.create_task(fleet.runtime.launch(WORKER, worker_secret("w-1")))
    await until(slow_launch.begun.is_set)
    killing = asyncio.create_task(fleet.runtime.kill(WORKER))
    observing = asyncio.create_task(fleet.runtime.observe())
    slow_launch.go.set()
    await asyncio.gather(killing, observing)
    assert (await fleet.one_end()).reason == "killed by SIGKILL"
    assert await launching == await again


async def test_a_launch_that_nobody_waits_for_is_watched(start: Start, slow_launch: SlowLaunch) -> None:
    fleet = await start()
    launching = asyncio.create_task(fleet.runtime.launch(WORKER, worker_secret("w-1")))
    await until(slow_launch.begun.is_set)
    launching.cancel()
    slow_launch.go.set()
    await fleet.until_ready()
    await fleet.runtime.terminate(WORKER)
    assert (await fleet.one_end()).clean


async def test_closing_waits_for_a_launch(start: Start, slow_launch: SlowLaunch) -> None:
    fleet = await start()
    launching = asyncio.create_task(fleet.runtime.launch(WORKER, worker_secret("w-1")))
    await until(slow_launch.begun.is_set)
    closing = asyncio.create_task(fleet.runtime.close())
    slow_launch.go.set()
    await asyncio.gather(launching, closing)
    second = await start()
    (seen,) = await second.runtime.observe()
    assert seen.alive


async def test_launching_twice_starts_one_process(start: Start) -> None:
    fleet = await start()
    assert await fleet.launch() == await fleet.launch()


async def test_a_kernel_without_pidfds(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pidfd(_pid: int, _flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    fleet = await start("commands")
    await fleet.launch()
    os.kill(fleet.pid(), signal.SIGKILL)
    assert (await fleet.one_end()).reason == "killed by SIGKILL"
    assert fleet.leftovers == [0]


@pytest.mark.expects_logs
async def test_a_bug_in_who_listens_is_logged_and_hurts_nobody_else(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(_worker_id: str, _ended: Ended) -> None:
        raise ZeroDivisionError("bug")

    fleet = await start()
    await fleet.launch("w-0")
    fleet.runtime.watch(Watching(bug))
    await fleet.runtime.kill(worker_record("w-0"))
    await until(lambda: "ZeroDivisionError: bug" in caplog.text)
    fleet.runtime.watch(Watching(fleet._on_ended))
    await fleet.launch()
    await fleet.runtime.kill(WORKER)
    await fleet.one_end()


# ------------------------------------------------------------ secrets, files, descriptors
async def test_the_secret_is_nowhere_to_be_read(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMASTER_DESKTOP_TOKEN", "not for workers")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for workers")
    fleet = await start()
    await fleet.launch()
    secret = STUB_KEY.splitlines()[1]
    process = Path("/proc", str(fleet.pid()))
    environ = (process / "environ").read_bytes()
    assert b"not for workers" not in environ
    assert b"TASKMASTER_WORKER=w1" in environ
    for content in (environ, (process / "cmdline").read_bytes()):
        assert secret not in content
    files = [path for path in fleet.data_dir.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"agent.json", "agent.log"}
    assert not [path for path in files if secret in path.read_bytes()]
    log = fleet.data_dir / "workers/w-1/agent.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    bundle = "ca_pem cert_pem endpoints env key_pem name server_name slots work_dir worker_id"
    assert log.read_text() == f"ready {bundle}\n"


def descriptors(pid: int | str) -> set[int]:
    return {int(entry.name) for entry in Path("/proc", str(pid), "fd").iterdir()}


async def test_the_agent_inherits_no_descriptor_but_its_three(start: Start) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    fleet = await start()
    await fleet.launch()
    assert descriptors("self") > descriptors(fleet.pid())
    assert descriptors(fleet.pid()) == {0, 1, 2}
    os.close(ours)
    os.close(theirs)


async def test_no_descriptor_is_left_open(start: Start) -> None:
    fleet = await start("commands")

    async def one_life(worker_id: str) -> None:
        await fleet.launch(worker_id)
        await fleet.runtime.kill(worker_record(worker_id))
        await until(lambda: fleet.ended and fleet.ended[-1][0] == worker_id)

    await one_life("w-0")
    before = len(descriptors("self"))
    for number in range(1, 4):
        await one_life(f"w-{number}")
    await until(lambda: len(descriptors("self")) <= before)


async def test_old_folders_are_removed(start: Start) -> None:
    fleet = await start("obey", kept_folders=2)
    for number in range(4):
        await fleet.launch(f"w-{number}")
        await fleet.runtime.kill(worker_record(f"w-{number}"))
        await until(lambda: len(fleet.ended) == number + 1)  # noqa: B023 - called before the next turn
    workers = fleet.data_dir / "workers"
    await until(lambda: {path.name for path in workers.iterdir()} == {"w-2", "w-3"})


# ------------------------------------------------------------ what can go wrong
async def test_an_agent_that_cannot_be_started(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path, command=[str(tmp_path / "nowhere")])
    await runtime.start()
    with pytest.raises(EnvironmentProblem, match="could not be started"):
        await runtime.launch(WORKER, worker_secret("w-1"))
    await runtime.close()


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("a file")
    runtime = ProcessRuntime(tmp_path, command=stub_command("obey"))
    await runtime.start()
    with pytest.raises(EnvironmentProblem, match="could not be started"):
        await runtime.launch(WORKER, worker_secret("w-1"))
    await runtime.close()


async def test_without_a_trace_on_disk_nothing_is_left_running(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_folder.WorkerFolders, "write", full)
    fleet = await start()
    with pytest.raises(EnvironmentProblem, match="No space left"):
        await fleet.runtime.launch(WORKER, worker_secret("w-1"))
    assert await fleet.runtime.observe() == []


async def test_an_agent_that_dies_before_it_reads_its_secret(tmp_path: Path) -> None:
    ended: list[Ended] = []
    runtime = ProcessRuntime(tmp_path, command=[sys.executable, "-c", "import os; os.close(0); os._exit(3)"])
    runtime.watch(Watching(lambda _, end: ended.append(end)))
    await runtime.start()
    await runtime.launch(WORKER, worker_secret("w-1"))
    await until(lambda: ended)
    assert ended[0].reason == "ended with exit code 3"
    await runtime.close()


async def test_a_missing_agent_is_said_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_desktop.backend.fleet.process.AGENT_MODULE", "no_such_agent")
    with pytest.raises(EnvironmentProblem, match="not installed"):
        await ProcessRuntime(tmp_path).start()


async def test_start_and_close_may_come_twice_and_in_any_order(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path, command=stub_command("obey"))
    await runtime.close()
    with pytest.raises(RuntimeError, match="not running"):
        await runtime.observe()
    for _ in range(2):
        await runtime.start()
        await runtime.start()
        assert await runtime.observe() == []
        await runtime.close()
        await runtime.close()
