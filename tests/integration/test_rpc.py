"""The door for workers with real gRPC and real TLS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.core.stimuli import Report
from taskmaster_desktop.backend.ports import WorkerSecret
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb
from taskmaster_desktop.backend.rpc.security import Authority
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from tests.helpers.eventually import until
from tests.helpers.rpc_peer import (
    Call,
    RecordingHandler,
    answer,
    as_somebody_else,
    assignment,
    connected,
    greeted,
    hello_message,
)
from tests.helpers.shifted_clock import ShiftedClock
from tests.helpers.worker_records import worker_record

expects_logs = pytest.mark.expects_logs


@pytest.fixture
def handler() -> RecordingHandler:
    return RecordingHandler()


@pytest.fixture
async def door(tmp_path: Path, handler: RecordingHandler) -> AsyncIterator[GrpcDoor]:
    door = GrpcDoor(tmp_path, "abc", hello_limit_s=0.3)
    await door.start(handler)
    yield door
    await door.close()


@pytest.fixture
def secret(door: GrpcDoor) -> WorkerSecret:
    return door.secret_for(worker_record("w-1"))


async def status_of(call: Call) -> tuple[grpc.StatusCode, str]:
    """How the engine ended the stream."""
    code = await asyncio.wait_for(call.code(), 10)
    return code, await call.details()


async def read_on(call: Call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


# ------------------------------------------------------------ who is let in
@pytest.mark.parametrize("which", [0, 1], ids=["socket", "loopback"])
async def test_a_worker_is_admitted_and_welcomed(
    which: int, door: GrpcDoor, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret, endpoint=secret.endpoints[which]) as call:
        welcome = await greeted(call, "w-1")
    assert welcome.session == 1
    assert welcome.welcome == pb.Welcome(
        protocol_major=1, protocol_minor=1, instance="abc", heartbeat_interval_ms=2000, self_stop_ms=60_000
    )
    assert [hello.worker_id for hello in handler.hellos] == ["w-1"]


async def test_what_was_queued_while_admitting_follows_the_welcome(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    handler.on_admit = lambda link: link.send(Sends(result_acks=[7]))
    async with connected(secret) as call:
        first = await greeted(call, "w-1")
        second = await answer(call)
    assert first.HasField("welcome")
    assert [ack.fence for ack in second.result_acks] == [7]


async def test_an_older_minor_works(handler: RecordingHandler, secret: WorkerSecret) -> None:
    async with connected(secret) as call:
        await call.write(hello_message("w-1", minor=99))
        assert (await answer(call)).HasField("welcome")


@expects_logs
async def test_another_major_is_refused_naming_both(handler: RecordingHandler, secret: WorkerSecret) -> None:
    async with connected(secret) as call:
        await call.write(hello_message("w-1", major=2, minor=7))
        refused = (await answer(call)).refused
        assert (await status_of(call))[0] is grpc.StatusCode.OK
    assert refused.permanent
    assert "2.7" in refused.reason
    assert "1.1" in refused.reason
    assert handler.hellos == []


@expects_logs
async def test_a_worker_cannot_call_itself_another(handler: RecordingHandler, secret: WorkerSecret) -> None:
    async with connected(secret) as call:
        refused = (await greeted(call, "w-2")).refused
    assert refused.permanent
    assert "'w-2'" in refused.reason
    assert handler.hellos == []


@expects_logs
async def test_the_engine_may_refuse(handler: RecordingHandler, secret: WorkerSecret) -> None:
    handler.refusal = ("the fleet is full", False)
    async with connected(secret) as call:
        assert (await greeted(call, "w-1")).refused == pb.Refused(reason="the fleet is full", permanent=False)
    assert handler.ended == []


def foreign_identity(folder: Path, secret: WorkerSecret) -> WorkerSecret:
    other = Authority.open(folder / "foreign", "abc", SystemClock()).issue("w-1")
    return replace(secret, cert_pem=other.cert_pem, key_pem=other.key_pem)


def servers_identity(folder: Path, secret: WorkerSecret) -> WorkerSecret:
    server = Authority.open(folder / "tls", "abc", SystemClock()).server
    return replace(secret, cert_pem=server.cert_pem, key_pem=server.key_pem)


async def refused_by_tls(secret: WorkerSecret, **options: bool) -> bool:
    for endpoint in secret.endpoints:
        async with connected(secret, endpoint=endpoint, **options) as call:
            try:
                await greeted(call, "w-1")
            except (grpc.aio.AioRpcError, AssertionError):
                continue
            return False
    return True


async def test_a_foreign_certificate_never_reaches_the_handler(
    tmp_path: Path, door: GrpcDoor, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    assert await refused_by_tls(foreign_identity(tmp_path, secret))
    assert await refused_by_tls(servers_identity(tmp_path, secret))
    assert await refused_by_tls(secret, with_cert=False)
    assert handler.hellos == []
    assert not await refused_by_tls(secret)


async def test_an_expired_certificate_never_reaches_the_handler(
    tmp_path: Path, handler: RecordingHandler
) -> None:
    then = Authority.open(tmp_path / "tls", "abc", ShiftedClock(days=-500))
    old = then.issue("w-1")
    door = GrpcDoor(tmp_path, "abc")
    await door.start(handler)
    try:
        secret = door.secret_for(worker_record("w-1"))
        assert secret.ca_pem == then.ca_pem
        assert await refused_by_tls(replace(secret, cert_pem=old.cert_pem, key_pem=old.key_pem))
        assert handler.hellos == []
        assert not await refused_by_tls(secret)
    finally:
        await door.close()


async def test_a_worker_does_not_talk_to_another_instance(
    tmp_path: Path, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    other = GrpcDoor(tmp_path / "other", "xyz")
    await other.start(handler)
    try:
        astray = replace(secret, endpoints=other.endpoints)
        assert await refused_by_tls(astray)
        # Even with the identity of the other instance's worker it insists on its own engine's name.
        disguised = as_somebody_else(astray, other.secret_for(worker_record("w-1")))
        assert await refused_by_tls(disguised)
    finally:
        await other.close()
    assert handler.hellos == []


@expects_logs
@pytest.mark.parametrize("first", ["nothing", "end", "report", "no slots"])
async def test_a_wrong_beginning_ends_the_stream(
    first: str, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        if first == "end":
            await call.done_writing()
        elif first == "report":
            await call.write(pb.WorkerMessage(session=1, draining=True))
        elif first == "no slots":
            await call.write(hello_message("w-1", slots=0))
        else:
            await call.wait_for_connection()
        code, _ = await status_of(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert handler.hellos == []


# ------------------------------------------------------------ traffic
async def test_big_batches_in_both_directions(handler: RecordingHandler, secret: WorkerSecret) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        handler.links[1].send(Sends(assign=[assignment(number) for number in range(600)], drain=True))
        received: list[pb.EngineMessage] = []
        while not received or not received[-1].drain:
            received.append(await answer(call))
        assert [len(message.assign) for message in received] == [256, 256, 88]
        fences = [item.fence for message in received for item in message.assign]
        assert fences == list(range(1000, 1600))
        started = [pb.Started(task=n, attempt=1, fence=1000 + n, at_us=5) for n in range(128)]
        finished = [
            pb.Finished(task=n, attempt=1, fence=1000 + n, outcome=pb.OUTCOME_COMPLETED, at_us=6)
            for n in range(128)
        ]
        await call.write(pb.WorkerMessage(session=1, started=started, finished=finished))
        await until(lambda: handler.reports)
    (report,) = handler.reports
    assert [item.fence for item in report.started] == list(range(1000, 1128))
    assert [item.fence for item in report.finished] == list(range(1000, 1128))


async def test_large_tasks_are_spread_over_messages(handler: RecordingHandler, secret: WorkerSecret) -> None:
    command = "é" * 32_768  # 64 KiB each, 16 MiB together
    async with connected(secret) as call:
        await greeted(call, "w-1")
        handler.links[1].send(Sends(assign=[assignment(n, command) for n in range(256)], drain=True))
        count = 0
        while True:
            message = await answer(call)
            assert message.ByteSize() < 1.2 * 2**20
            count += len(message.assign)
            if message.drain:
                break
    assert count == 256


async def test_what_collects_during_a_write_leaves_together(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        for fence in range(50):
            handler.links[1].send(Sends(result_acks=[fence], heartbeat_ack=fence))
        message = await answer(call)
    assert [ack.fence for ack in message.result_acks] == list(range(50))
    assert message.heartbeat_ack == 49


# ------------------------------------------------------------ ends
async def test_closed_is_called_once_when_the_worker_goes(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        await call.done_writing()
        code, _ = await status_of(call)
    assert code is grpc.StatusCode.OK
    async with connected(secret) as call:
        await greeted(call, "w-1")  # and is cancelled
    await until(lambda: len(handler.ended) == 2)
    assert handler.ended == [1, 2]


async def test_the_engine_closes_a_session_after_what_was_queued(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        link = handler.links[1]
        link.send(Sends(drain=True))
        link.close("a newer session")
        link.close("again")
        link.send(Sends(result_acks=[1]))
        last = await answer(call)
        assert await status_of(call) == (grpc.StatusCode.ABORTED, "a newer session")
    assert last.drain
    assert not last.result_acks
    assert handler.ended == [1]


async def test_a_link_closed_while_admitting_ends_after_the_welcome(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    handler.on_admit = lambda link: link.close("not now")
    async with connected(secret) as call:
        await greeted(call, "w-1")
        assert await status_of(call) == (grpc.StatusCode.ABORTED, "not now")
    assert handler.ended == [1]


async def test_a_worker_that_takes_nothing_is_let_go_all_the_same(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        big = "x" * 30_000
        handler.links[1].send(Sends(assign=[assignment(n, big) for n in range(2000)]))  # 60 MB, never read
        handler.links[1].close("gone silent")
        await until(lambda: handler.ended == [1])
        with pytest.raises(grpc.aio.AioRpcError, match="gone silent"):
            await read_on(call)  # awake again


async def test_a_stream_that_breaks_while_admitting_is_closed_after_all(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    handler.gate.clear()
    async with connected(secret) as call:
        await call.write(hello_message("w-1"))
        await until(lambda: handler.hellos)
    assert handler.ended == []
    handler.gate.set()
    await until(lambda: handler.ended)
    assert handler.ended == [1]


@expects_logs
@pytest.mark.parametrize("outcome", ["refused", "bug"])
async def test_what_was_never_admitted_is_never_closed(
    outcome: str, handler: RecordingHandler, secret: WorkerSecret, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream breaks first, then its admission fails."""
    handler.gate.clear()
    async with connected(secret) as call:
        await call.write(hello_message("w-1"))
        await until(lambda: handler.hellos)
    if outcome == "refused":
        handler.refusal = ("no", True)
    else:
        handler.on_admit = division_by_zero
    handler.gate.set()
    async with connected(secret) as call:  # one more turn for all that could follow
        await call.write(hello_message("w-1"))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await read_on(call)
    assert handler.ended == []
    assert ("could not be admitted" in caplog.text) == (outcome == "bug")
    caplog.clear()


def division_by_zero(_link: object) -> None:
    raise ZeroDivisionError("bug")


async def test_closing_the_door_while_a_worker_is_admitted(
    door: GrpcDoor, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    handler.gate.clear()
    async with connected(secret) as call:
        await call.write(hello_message("w-1"))
        await until(lambda: handler.hellos)
        closing = asyncio.create_task(door.close())
        assert (await status_of(call))[0] is not grpc.StatusCode.OK
        handler.gate.set()
        await closing
    assert handler.ended == [1]


@expects_logs
async def test_bytes_that_are_no_message_end_the_session(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    credentials = grpc.ssl_channel_credentials(secret.ca_pem, secret.key_pem, secret.cert_pem)
    options = [("grpc.ssl_target_name_override", secret.server_name)]
    async with grpc.aio.secure_channel(secret.endpoints[0], credentials, options) as channel:
        connect: Any = channel.stream_stream("/taskmaster.v1.WorkerService/Connect")
        call = connect()
        await call.write(hello_message("w-1").SerializeToString())
        await call.read()
        await call.write(b"\xff\xff\xff")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert handler.ended == [1]


async def test_closing_the_door_closes_every_session_once(
    door: GrpcDoor, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as one, connected(secret) as two:
        await greeted(one, "w-1")
        await greeted(two, "w-1")
        await door.close()
        assert await status_of(one) == (grpc.StatusCode.UNAVAILABLE, "the engine stops")
        assert (await status_of(two))[0] is grpc.StatusCode.UNAVAILABLE
    assert sorted(handler.ended) == [1, 2]
    await door.close()
    assert sorted(handler.ended) == [1, 2]


@expects_logs
@pytest.mark.parametrize(
    "message",
    [
        pb.WorkerMessage(session=2, draining=True),
        pb.WorkerMessage(session=1, finished=[pb.Finished(task=1, fence=1, outcome=99)]),  # type: ignore[arg-type]
        pb.WorkerMessage(session=1, hello=pb.Hello(worker_id="w-1")),
    ],
    ids=["other session", "unknown outcome", "hello again"],
)
async def test_a_protocol_error_closes_that_session_only(
    message: pb.WorkerMessage, handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as other, connected(secret) as call:
        await greeted(call, "w-1")
        await greeted(other, "w-1")
        await call.write(message)
        assert (await status_of(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert handler.ended == [1]
        await other.write(pb.WorkerMessage(session=2, draining=True))
        await until(lambda: handler.reports)
    assert handler.reports == [Report(session=2, draining=True)]


@expects_logs
async def test_a_bug_in_the_engine_closes_that_session_only(
    handler: RecordingHandler, secret: WorkerSecret, caplog: pytest.LogCaptureFixture
) -> None:
    handler.report_error = ZeroDivisionError("bug")
    async with connected(secret) as call:
        await greeted(call, "w-1")
        await call.write(pb.WorkerMessage(session=1, draining=True))
        code, details = await status_of(call)
    assert code is grpc.StatusCode.INTERNAL
    assert "bug" not in details
    assert "ZeroDivisionError: bug" in caplog.text
    caplog.clear()  # the logged traceback holds the stream, and so gRPC's thread
    assert handler.ended == [1]
    handler.report_error = None
    async with connected(secret) as call:
        await greeted(call, "w-1")


@expects_logs
async def test_a_bug_while_admitting_ends_the_stream(
    handler: RecordingHandler, secret: WorkerSecret, caplog: pytest.LogCaptureFixture
) -> None:
    handler.on_admit = division_by_zero
    async with connected(secret) as call:
        await call.write(hello_message("w-1"))
        assert (await status_of(call))[0] is grpc.StatusCode.INTERNAL
    assert "ZeroDivisionError: bug" in caplog.text
    caplog.clear()  # the logged traceback holds the stream, and so gRPC's thread
    assert handler.ended == []


@expects_logs
async def test_a_task_that_cannot_be_sent_ends_the_session(
    handler: RecordingHandler, secret: WorkerSecret
) -> None:
    async with connected(secret) as call:
        await greeted(call, "w-1")
        handler.links[1].send(Sends(assign=[assignment(1, "lone surrogate \udcff")]))
        assert (await status_of(call))[0] is grpc.StatusCode.INTERNAL
    assert handler.ended == [1]
