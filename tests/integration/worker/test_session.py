"""Hello, welcome, refusal, reconnecting and what is sent again."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from taskmaster_worker._pb import worker_pb2 as pb
from tests.helpers.eventually import until
from tests.helpers.fake_engine import Authority, FakeEngine, bundle_fields

if TYPE_CHECKING:
    from tests.integration.worker.conftest import Rig

WAITING, STARTED, FINISHED = (
    pb.ATTEMPT_PHASE_WAITING,
    pb.ATTEMPT_PHASE_STARTED,
    pb.ATTEMPT_PHASE_FINISHED,
)


async def reconnected(engine: FakeEngine) -> None:
    """Ends the session and waits for the next one."""
    sessions = len(engine.sessions)
    engine.session.close()
    await until(engine.session.ended.is_set)
    await engine.connected(sessions + 1)


def open_attempts(engine: FakeEngine) -> dict[int, int]:
    return {a.fence: a.phase for a in engine.session.hello.open_attempts}


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def test_hello_names_the_worker(rig: Rig) -> None:
    agent = await rig.agent(slots=3)
    hello = rig.engine.session.hello
    assert (hello.worker_id, hello.slots, hello.pid) == ("worker-1", 3, agent.pid)
    assert (hello.protocol_major, list(hello.open_attempts)) == (1, [])
    assert hello.boot_id
    assert hello.agent_version
    assert hello.hostname


async def test_heartbeats_carry_figures(rig: Rig) -> None:
    await rig.agent(slots=2)
    burner = ["python3", "-c", "x = bytearray(30 << 20)\nprint('up', flush=True)\nwhile True: pass"]
    fences = [rig.engine.assign(burner), rig.engine.assign("sleep 60"), rig.engine.assign("sleep 60")]
    await rig.engine.until(lambda: rig.engine.output(fences[0]))
    await rig.engine.until(lambda: (rig.engine.heartbeats or [pb.Heartbeat()])[-1].memory_bytes > 60 << 20)
    beat = rig.engine.heartbeats[-1]
    assert (beat.running, beat.waiting) == (2, 1)
    assert [b.sequence for b in rig.engine.heartbeats] == list(range(1, len(rig.engine.heartbeats) + 1))
    used = [b.cpu_us for b in rig.engine.heartbeats]
    assert used == sorted(used)
    await rig.engine.until(lambda: rig.engine.heartbeats[-1].cpu_us > used[-1] + 100_000)


async def test_a_unix_socket_after_an_endpoint_that_fails(rig: Rig) -> None:
    address = f"unix:{rig.folder}/worker.sock"
    await rig.engine.start(address)
    try:
        agent = rig.start(bundle_fields("127.0.0.1:1", address))
        await rig.engine.connected()
        await until(lambda: "127.0.0.1:1 failed" in agent.log and f"session 1 at {address}" in agent.log)
        hello = rig.engine.session.hello
        assert [(way.endpoint, way.reason) for way in hello.failed_ways] == [
            ("127.0.0.1:1", "Connection refused")
        ]
        assert (await rig.engine.run("true")).exit_code == 0
    finally:
        await rig.engine.stop()


async def test_an_endpoint_that_never_answers_costs_a_second(rig: Rig) -> None:
    address = f"unix:{rig.folder}/worker.sock"
    await rig.engine.start(address)
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began_s = asyncio.get_running_loop().time()
            agent = rig.start(bundle_fields(f"127.0.0.1:{silent.getsockname()[1]}", address))
            await rig.engine.connected()
            assert asyncio.get_running_loop().time() - began_s < 2.5
            await until(lambda: "in time" in agent.log)
            (failed,) = rig.engine.session.hello.failed_ways
            assert (rig.engine.session.hello.endpoint, failed.reason) == (address, "no answer in time")
    finally:
        await rig.engine.stop()


async def test_an_engine_with_a_foreign_certificate_is_not_spoken_to(rig: Rig) -> None:
    await rig.engine.start()
    try:
        fields = bundle_fields(rig.engine.address) | {"ca_pem": Authority().cert.decode()}
        agent = rig.start(fields)
        await until(lambda: agent.log.count("failed") >= 3, timeout_s=15)
        assert rig.engine.sessions == []
    finally:
        await rig.engine.stop()


async def test_no_key_is_logged_or_left_in_the_environment(rig: Rig) -> None:
    agent = await rig.agent()
    await rig.engine.run("true")
    for text in (agent.log, proc(agent.pid, "environ"), proc(agent.pid, "cmdline")):
        assert "PRIVATE KEY" not in text


async def test_results_are_sent_again_until_acknowledged(rig: Rig) -> None:
    rig.engine.acknowledge = False
    await rig.agent()
    fences = [(await rig.engine.run(work)).fence for work in ("noop", "true", "exit 2")]
    for times in (2, 3):
        await reconnected(rig.engine)
        assert open_attempts(rig.engine) == dict.fromkeys(fences, FINISHED)
        await rig.engine.until(lambda times=times: set(rig.engine.finished_times.values()) == {times})
    assert rig.engine.finished[fences[2]].exit_code == 2
    rig.engine.acknowledge_results(fences[:2])
    assert (await rig.engine.run("noop")).exit_code == 0
    await reconnected(rig.engine)
    assert fences[0] not in open_attempts(rig.engine)
    assert open_attempts(rig.engine)[fences[2]] == FINISHED


async def test_commands_outlive_the_connection(rig: Rig, tmp_path: Path) -> None:
    agent = await rig.agent(slots=1)
    go, runs = tmp_path / "go", tmp_path / "runs"
    running = rig.engine.assign(f"echo x >> {runs}; while [ ! -e {go} ]; do /bin/sleep 0.01; done; exit 7")
    waiting = rig.engine.assign("noop")
    await until(runs.exists)
    boot_id = rig.engine.session.hello.boot_id
    await reconnected(rig.engine)
    assert rig.engine.session.hello.boot_id == boot_id
    assert open_attempts(rig.engine) == {running: STARTED, waiting: WAITING}
    go.touch()
    assert (await rig.engine.result(running)).exit_code == 7
    assert (await rig.engine.result(waiting)).exit_code == 0
    assert runs.read_text() == "x\n"
    assert "bug" not in agent.log


async def test_the_end_of_a_command_while_nobody_listens_is_told_later(rig: Rig, tmp_path: Path) -> None:
    await rig.agent()
    await rig.engine.run("true")
    address, done = rig.engine.address, tmp_path / "done"
    fence = rig.engine.assign(f"echo up; /bin/sleep 0.2; echo over; touch {done}")
    await rig.engine.until(lambda: rig.engine.output(fence))
    await rig.engine.stop()
    await until(done.exists, timeout_s=10)
    assert fence not in rig.engine.finished
    await rig.engine.start(address)
    assert (await rig.engine.result(fence)).exit_code == 0
    assert rig.engine.output(fence) == b"up\nover\n"


async def test_refused_for_ever(rig: Rig) -> None:
    rig.engine.refused = pb.Refused(reason="no such worker here", permanent=True)
    agent = await rig.agent()
    assert await agent.exit_code() == 76
    assert "no such worker here" in agent.log


async def test_refused_for_now(rig: Rig) -> None:
    rig.engine.refused = pb.Refused(reason="too early")
    agent = await rig.agent()
    await rig.engine.connected(2)
    rig.engine.refused = None
    sessions = len(rig.engine.sessions)
    await rig.engine.connected(sessions + 1)
    assert (await rig.engine.run("noop")).exit_code == 0
    assert "too early" in agent.log


async def test_another_protocol_major_is_the_end(rig: Rig) -> None:
    rig.engine.welcome.protocol_major = 2
    agent = await rig.agent()
    assert await agent.exit_code() == 76
    assert "protocol 2" in agent.log


async def test_an_unreadable_message_costs_the_connection_only(rig: Rig, tmp_path: Path) -> None:
    agent = await rig.agent()
    go = tmp_path / "go"
    fence = rig.engine.assign(f"echo up; while [ ! -e {go} ]; do /bin/sleep 0.01; done")
    await rig.engine.until(lambda: rig.engine.output(fence))
    rig.engine.session.send_raw(b"\xff\xff\xff")
    await rig.engine.connected(2)
    assert open_attempts(rig.engine) == {fence: STARTED}
    go.touch()
    assert (await rig.engine.result(fence)).exit_code == 0
    assert "unreadable message" in agent.log


async def test_a_command_that_kills_its_worker_was_reported_as_started(rig: Rig) -> None:
    for _ in range(5):
        agent = await rig.agent()
        fence = rig.engine.assign("kill -KILL $PPID")
        assert await agent.exit_code() == -9
        await until(rig.engine.session.ended.is_set)
        assert fence in rig.engine.started
        assert fence not in rig.engine.finished
