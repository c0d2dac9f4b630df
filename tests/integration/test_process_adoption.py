"""Worker processes that outlive their engine, and the real agent with a real door."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.fleet import linux
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.ports import Ended
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from tests.helpers.eventually import eventually, until
from tests.helpers.leaks import RUN_MARK
from tests.helpers.process_fleet import Start, fleets_in, members
from tests.helpers.rpc_peer import RecordingHandler, assignment
from tests.helpers.watching import Watching
from tests.helpers.worker_records import worker_record

SHORT_ENGINE = Path(__file__).parent.parent / "helpers" / "short_engine.py"
WORKER = worker_record("w-1")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with fleets_in(tmp_path) as start:
        yield start


# ------------------------------------------------------------ after another engine
async def test_closing_ends_no_worker_and_the_next_runtime_adopts_it(start: Start) -> None:
    first = await start("commands")
    handle = await first.launch()
    await first.runtime.close()
    assert members(first.pid()) == 3
    second = await start()
    for _ in range(2):
        (seen,) = await second.runtime.observe()
        assert (seen.handle, seen.alive) == (handle, True)
    os.kill(second.pid(), signal.SIGKILL)
    await second.one_end()
    assert second.leftovers == [0]
    assert first.ended == []


@contextmanager
def short_engine(data_dir: Path, mode: str) -> Iterator[int]:
    """Another engine's process; yields its worker's process id, and SIGKILLs the engine at the end."""
    command = [sys.executable, str(SHORT_ENGINE), str(data_dir), "w-1", mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        handle = engine.stdout.readline()
        log = data_dir / "workers/w-1/agent.log"
        eventually(lambda: b"ready" in log.read_bytes())
        yield int(handle.partition(":")[0])
        engine.kill()


async def test_a_killed_engines_worker_is_adopted_and_its_death_heard_of(
    tmp_path: Path, start: Start
) -> None:
    with short_engine(tmp_path, "commands") as pid:
        pass
    assert members(pid) == 3
    fleet = await start()
    (seen,) = await fleet.runtime.observe()
    assert seen.alive
    os.kill(pid, signal.SIGKILL)
    ended = await fleet.one_end()
    assert ended.reason.startswith("ended: ready")  # how it ended is told to its parent only
    assert fleet.leftovers == [0]


async def test_an_adopted_worker_can_be_killed_without_observing_first(tmp_path: Path, start: Start) -> None:
    with short_engine(tmp_path, "commands"):
        pass
    fleet = await start()
    await fleet.runtime.kill(WORKER)
    assert (await fleet.one_end()).reason == "killed by SIGKILL"
    assert fleet.leftovers == [0]


async def test_a_worker_that_died_between_two_engines(tmp_path: Path, start: Start) -> None:
    """Its commands live on, unseen by any engine; the next one must not call it dead before they are."""
    with short_engine(tmp_path, "commands") as pid:
        pass
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: members(pid) == 2)
    fleet = await start()
    (seen,) = await fleet.runtime.observe()
    assert seen.alive
    await fleet.one_end()
    assert fleet.leftovers == [0]


async def test_a_worker_that_ended_between_two_engines_is_just_not_alive(
    tmp_path: Path, start: Start
) -> None:
    with short_engine(tmp_path, "obey") as pid:
        pass
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: members(pid) == 0)
    fleet = await start()
    for _ in range(2):
        (seen,) = await fleet.runtime.observe()
        assert not seen.alive
    assert fleet.ended == []
    await fleet.runtime.kill(WORKER)
    assert (await fleet.one_end()).reason == "it was not running"


# ------------------------------------------------------------ with the real agent and a real door
async def test_the_real_agent_comes_online_and_takes_its_command_along(tmp_path: Path) -> None:
    handler = RecordingHandler()
    door = GrpcDoor(tmp_path, "abc")
    runtime = ProcessRuntime(tmp_path, extra_env={RUN_MARK: os.environ[RUN_MARK]})
    await door.start(handler)
    await runtime.start()
    try:
        await kill_the_real_agent(runtime, door, handler)
    finally:
        await runtime.kill(WORKER)
        await runtime.close()
        await door.close()


async def kill_the_real_agent(runtime: ProcessRuntime, door: GrpcDoor, handler: RecordingHandler) -> None:
    handle = await runtime.launch(WORKER, door.secret_for(WORKER))
    pid = int(handle.partition(":")[0])
    ended: list[tuple[Ended, int]] = []
    runtime.watch(Watching(lambda _, end: ended.append((end, members(pid)))))
    await until(lambda: handler.links, timeout_s=20)
    assert handler.hellos[0].worker_id == "w-1"
    assert linux.has_mark(pid, b"TASKMASTER_WORKER=w1")
    handler.links[1].send(Sends(assign=[assignment(1, "echo up; sleep 300")]))
    await until(lambda: any(report.output for report in handler.reports))
    assert members(pid) >= 2
    os.kill(pid, signal.SIGKILL)
    await until(lambda: ended)
    assert ended == [(Ended(reason="killed by SIGKILL"), 0)]
    await until(lambda: handler.ended == [1])
    log = await runtime.log(WORKER, tail_bytes=10_000)
    assert b"w1" in log
    assert b"PRIVATE KEY" not in log
