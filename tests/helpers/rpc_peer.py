"""A worker's end of the protocol, and an engine's handler, for tests of the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import grpc

from taskmaster_desktop.backend.core.instructions import Assignment, AttemptRef
from taskmaster_desktop.backend.core.stimuli import Report
from taskmaster_desktop.backend.model import BatchRecord, TaskOptions
from taskmaster_desktop.backend.ports import Admission, Hello, Link, SessionRefused, WorkerSecret
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb
from taskmaster_desktop.backend.rpc._pb import worker_pb2_grpc
from taskmaster_desktop.backend.rpc.server import KEEPALIVE_OPTIONS

Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.WorkerMessage, pb.EngineMessage]"


def hello_message(worker_id: str, *, major: int = 1, minor: int = 0, slots: int = 1) -> pb.WorkerMessage:
    return pb.WorkerMessage(
        hello=pb.Hello(
            protocol_major=major, protocol_minor=minor, worker_id=worker_id, boot_id="boot-1",
            agent_version="1.2.3", slots=slots, hostname="here", pid=42,
        )
    )  # fmt: skip


@asynccontextmanager
async def connected(
    secret: WorkerSecret, *, endpoint: str | None = None, with_cert: bool = True
) -> AsyncIterator[Call]:
    """An open stream on which nothing has been said yet."""
    credentials = grpc.ssl_channel_credentials(
        secret.ca_pem, secret.key_pem if with_cert else None, secret.cert_pem if with_cert else None
    )
    options = [*KEEPALIVE_OPTIONS, ("grpc.ssl_target_name_override", secret.server_name)]
    async with grpc.aio.secure_channel(endpoint or secret.endpoints[0], credentials, options) as channel:
        call = worker_pb2_grpc.WorkerServiceStub(channel).Connect()
        try:
            yield call
        finally:
            call.cancel()


async def greeted(call: Call, worker_id: str) -> pb.EngineMessage:
    """Says hello and returns the answer."""
    await call.write(hello_message(worker_id))
    return await answer(call)


async def answer(call: Call) -> pb.EngineMessage:
    message = await asyncio.wait_for(call.read(), 10)
    assert isinstance(message, pb.EngineMessage), "the stream ended"
    return message


def assignment(number: int, command: str = "noop", options: TaskOptions | None = None) -> Assignment:
    """A task as the engine sends it; its fence is 1000 + `number`."""
    batch = BatchRecord(
        1, bytes(16), 0, 1, 1, options or TaskOptions(), None, None, 0, 0, 0
    )  # fmt: skip
    return Assignment(AttemptRef(number, 1, 1000 + number), number.to_bytes(16, "big"), command, False, batch)


class RecordingHandler:
    """Implements `SessionHandler`: admits everybody unless told otherwise, and remembers.

    Attributes:
        refusal: (reason, permanent) of `SessionRefused`, raised instead of admitting.
        on_admit: called with the link before the admission is answered.
        gate: admissions wait for it.
        report_error: raised by `report`.
    """

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.links: dict[int, Link] = {}
        self.reports: list[Report] = []
        self.ended: list[int] = []
        self.refusal: tuple[str, bool] | None = None
        self.on_admit: Callable[[Link], None] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.report_error: Exception | None = None

    async def admit(self, hello: Hello, link: Link) -> Admission:
        self.hellos.append(hello)
        session = len(self.hellos)
        await self.gate.wait()
        if self.refusal is not None:
            reason, permanent = self.refusal
            raise SessionRefused(reason, permanent=permanent)
        self.links[session] = link
        if self.on_admit is not None:
            self.on_admit(link)
        return Admission(session=session, instance="abc", heartbeat_interval_s=2.0, self_stop_s=60.0)

    def report(self, report: Report) -> None:
        if self.report_error is not None:
            raise self.report_error
        self.reports.append(report)

    def closed(self, session: int) -> None:
        self.ended.append(session)


def as_somebody_else(secret: WorkerSecret, other: WorkerSecret) -> WorkerSecret:
    """The way to the engine of `secret` with the identity of `other`."""
    return replace(secret, cert_pem=other.cert_pem, key_pem=other.key_pem)
