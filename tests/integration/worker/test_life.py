"""How a real agent starts and how it ends."""

from __future__ import annotations

import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from taskmaster_worker._pb import worker_pb2 as pb
from tests.helpers.eventually import until
from tests.helpers.fake_engine import bundle_fields, encode_bundle, session_members, start_raw_agent

if TYPE_CHECKING:
    from tests.integration.worker.conftest import Rig

STUBBORN = "trap '' TERM; echo up; while :; do /bin/sleep 0.05; done"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "ended before a whole"),
        (b"\0\0", "ended before a whole"),
        (b"\0\0\0\7{}", "ended before a whole"),
        (b"\xff\xff\xff\xff{}", "claims 4294967295 bytes"),
        (b"\0\0\0\2{}", "`slots`"),
        (b"\0\0\0\3abc", "not JSON"),
    ],
)
async def test_without_a_whole_bundle(tmp_path: Path, sent: bytes, said: str) -> None:
    agent = start_raw_agent(sent, tmp_path)
    agent.end_input()
    assert await agent.exit_code() == 78
    await agent.close()
    assert said in agent.log
    assert len(agent.log.splitlines()) == 1


async def test_the_end_of_input_is_not_waited_for(rig: Rig) -> None:
    await rig.engine.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rig.engine.stop)
        agent = start_raw_agent(encode_bundle(bundle_fields(rig.engine.address)), rig.folder)
        stack.push_async_callback(agent.close)
        await rig.engine.connected()


async def test_it_makes_itself_the_leader_of_its_session(rig: Rig) -> None:
    await rig.engine.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rig.engine.stop)
        bundle = encode_bundle(bundle_fields(rig.engine.address))
        agent = start_raw_agent(bundle, rig.folder, new_session=False)
        stack.push_async_callback(agent.close)
        await rig.engine.connected()
        rig.engine.assign("/bin/sleep 60")
        await until(lambda: len(session_members(agent.pid)) >= 2)
        assert agent.pid in session_members(agent.pid)


async def test_without_a_folder_for_temporary_files(tmp_path: Path) -> None:
    fields = bundle_fields("127.0.0.1:1") | {"work_dir": str(tmp_path / "nowhere")}
    agent = start_raw_agent(encode_bundle(fields), tmp_path)
    assert await agent.exit_code() == 73
    assert "no folder for temporary files" in agent.log
    assert "Traceback" not in agent.log
    await agent.close()


async def test_sigterm_drains(rig: Rig, tmp_path: Path) -> None:
    rig.engine.acknowledge = False
    agent = await rig.agent()
    go = tmp_path / "go"
    running = rig.engine.assign(f"echo up; while [ ! -e {go} ]; do /bin/sleep 0.01; done; exit 5")
    waiting = rig.engine.assign("noop")
    await rig.engine.until(lambda: rig.engine.output(running))
    agent.signal(signal.SIGTERM)
    await rig.engine.until(lambda: rig.engine.draining and waiting in rig.engine.recalls)
    late = rig.engine.assign("noop")
    await rig.engine.until(lambda: late in rig.engine.recalls)
    assert set(rig.engine.recalls.values()) == {pb.RECALL_RESULT_RECALLED}
    go.touch()
    assert (await rig.engine.result(running)).exit_code == 5
    # It stays until its last result is acknowledged.
    beats = len(rig.engine.heartbeats)
    await rig.engine.until(lambda: len(rig.engine.heartbeats) > beats + 1)
    rig.engine.acknowledge_results([running])
    assert await agent.exit_code() == 0
    assert waiting not in rig.engine.started
    assert list((rig.folder / "work").iterdir()) == []


async def test_an_idle_worker_needs_no_further_word_to_leave(rig: Rig) -> None:
    rig.engine.welcome.heartbeat_interval_ms = 60_000
    rig.engine.answer_heartbeats = False  # no message of the engine wakes it
    agent = await rig.agent()
    agent.signal(signal.SIGTERM)
    assert await agent.exit_code() == 0
    assert rig.engine.draining


async def test_a_drain_from_the_engine(rig: Rig) -> None:
    agent = await rig.agent()
    running, waiting = rig.engine.assign("sleep 0.2"), rig.engine.assign("noop")
    await rig.engine.until(lambda: running in rig.engine.started)
    rig.engine.session.send(pb.EngineMessage(drain=True))
    assert await agent.exit_code() == 0
    assert rig.engine.recalls == {waiting: pb.RECALL_RESULT_RECALLED}
    assert rig.engine.finished[running].outcome == pb.OUTCOME_COMPLETED
    assert not rig.engine.draining


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]])
async def test_told_to_stop_at_once(rig: Rig, signals: list[signal.Signals]) -> None:
    agent = await rig.agent()
    fence = rig.engine.assign(STUBBORN)
    await rig.engine.until(lambda: rig.engine.output(fence))
    for number in signals:
        agent.signal(number)
        if number is signal.SIGTERM:
            await rig.engine.until(lambda: rig.engine.draining)
    assert await agent.exit_code() == 143
    await until(lambda: session_members(agent.pid) == [])


async def test_it_stops_by_itself_when_the_engine_is_silent(rig: Rig) -> None:
    rig.engine.welcome.self_stop_ms = 600
    rig.engine.answer_heartbeats = rig.engine.acknowledge = False
    agent = await rig.agent()
    fence = rig.engine.assign(STUBBORN)
    await rig.engine.until(lambda: rig.engine.output(fence))
    assert await agent.exit_code() == 75
    assert "nothing heard from the engine for 0.6 s" in agent.log
    assert fence not in rig.engine.finished
    await until(lambda: session_members(agent.pid) == [])


async def test_answered_heartbeats_keep_it_alive(rig: Rig) -> None:
    rig.engine.welcome.self_stop_ms = 1000
    rig.engine.welcome.heartbeat_interval_ms = 100
    agent = await rig.agent()
    await rig.engine.until(lambda: len(rig.engine.heartbeats) > 25)
    assert agent.process.poll() is None
    assert (await rig.engine.run("true")).exit_code == 0


async def test_an_engine_that_is_gone_ends_it_too(rig: Rig) -> None:
    rig.engine.welcome.self_stop_ms = 500
    agent = await rig.agent()
    fence = rig.engine.assign(STUBBORN)
    await rig.engine.until(lambda: rig.engine.output(fence))
    await rig.engine.stop()
    assert await agent.exit_code() == 75
    await until(lambda: session_members(agent.pid) == [])


async def test_sigterm_before_any_engine_answers(rig: Rig) -> None:
    agent = rig.start(bundle_fields("127.0.0.1:1"))
    await until(lambda: "127.0.0.1:1 failed" in agent.log, timeout_s=10)
    agent.signal(signal.SIGTERM)
    assert await agent.exit_code() == 0


async def test_the_bundle_may_carry_fields_of_later_versions(rig: Rig) -> None:
    await rig.engine.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rig.engine.stop)
        fields = bundle_fields(rig.engine.address) | {"colour": "blue"}
        assert json.loads(encode_bundle(fields)[4:])["colour"] == "blue"
        rig.start(fields)
        await rig.engine.connected()


@pytest.mark.parametrize(
    "broken",
    ["attempts.AttemptTable.handle", "runner.CommandExecution._deliver", "usage.UsageMeter.read"],
)
async def test_a_bug_anywhere_kills_the_commands_and_ends_it(rig: Rig, broken: str) -> None:
    """The method works until a file says otherwise."""
    trigger = rig.folder / "break"
    module, cls, method = broken.split(".")
    program = f"""
import os, runpy
from taskmaster_worker import {module}
good = {module}.{cls}.{method}
def bad(*args, **kwargs):
    if os.path.exists({str(trigger)!r}):
        raise ZeroDivisionError("seeded")
    return good(*args, **kwargs)
{module}.{cls}.{method} = bad
runpy.run_module("taskmaster_worker", run_name="__main__")
"""
    await rig.engine.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rig.engine.stop)
        bundle = encode_bundle(bundle_fields(rig.engine.address))
        agent = start_raw_agent(bundle, rig.folder, program=["-c", program])
        stack.push_async_callback(agent.close)
        await rig.engine.connected()
        fence = rig.engine.assign("trap '' TERM; while :; do echo up; /bin/sleep 0.05; done")
        await rig.engine.until(lambda: rig.engine.output(fence))
        trigger.touch()
        assert await agent.exit_code() == 70
        assert "ZeroDivisionError: seeded" in agent.log
        await until(lambda: session_members(agent.pid) == [])
