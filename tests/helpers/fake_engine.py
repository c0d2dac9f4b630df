"""A small engine of one stream for tests of the agent: a real grpc.aio server with mutual TLS, and the
agent as a real process. It decides nothing by itself but acknowledges, if told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from taskmaster_worker._pb import worker_pb2 as pb
from tests.helpers.eventually import until

WORKER_IMAGE = Path(__file__).resolve().parents[2] / "worker_image"
SERVER_NAME = "engine.test"
TIMEOUT_S = 20.0

# As the engine's side of the real protocol has them.
SERVER_OPTIONS = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.max_receive_message_length", 4 << 20),
)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes


class Authority:
    """Makes certificates for one test run."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        self.cert = self._sign(self._name, self._key, ca=True).public_bytes(serialization.Encoding.PEM)

    def issue(self, common_name: str) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(_name(common_name), key, ca=False)
        return Identity(
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = [
            x509.DNSName(str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value).replace(" ", "-"))
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


AUTHORITY = Authority()
SERVER = AUTHORITY.issue(SERVER_NAME)
WORKER = AUTHORITY.issue("worker-1")


class FakeSession:
    """One stream: what came up in it, and what to send down."""

    def __init__(self, number: int, context: Any) -> None:
        self.number = number
        self.context = context
        self.hello = pb.Hello()
        self.messages: list[pb.WorkerMessage] = []
        self.ended = asyncio.Event()
        self.outgoing: asyncio.Queue[pb.EngineMessage | bytes | None] = asyncio.Queue()

    def send(self, message: pb.EngineMessage) -> None:
        message.session = self.number
        self.outgoing.put_nowait(message)

    def send_raw(self, message: bytes) -> None:
        self.outgoing.put_nowait(message)

    def close(self) -> None:
        """Ends the stream from our side."""
        self.outgoing.put_nowait(None)


def _as_bytes(message: pb.EngineMessage | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


@dataclass
class FakeEngine:
    """Keeps everything it hears, in order, over all sessions; `until` waits for it."""

    welcome: pb.Welcome = field(
        default_factory=lambda: pb.Welcome(
            protocol_major=1,
            protocol_minor=0,
            instance="test",
            heartbeat_interval_ms=200,
            self_stop_ms=60_000,
        )
    )
    refused: pb.Refused | None = None
    acknowledge: bool = True
    answer_heartbeats: bool = True

    def __post_init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.started: dict[int, pb.Started] = {}
        self.finished: dict[int, pb.Finished] = {}
        self.finished_times: dict[int, int] = {}
        self.progress: dict[int, list[pb.Progress]] = {}
        self.chunks: dict[int, dict[int, pb.Output]] = {}
        self.recalls: dict[int, int] = {}
        self.heartbeats: list[pb.Heartbeat] = []
        self.draining = False
        self.address = ""
        self._server: grpc.aio.Server | None = None
        self._changed = asyncio.Condition()
        self._fences = itertools.count(1)

    # ------------------------------------------------------------------ life

    async def start(self, address: str = "127.0.0.1:0") -> str:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect,
            request_deserializer=pb.WorkerMessage.FromString,
            response_serializer=_as_bytes,
        )
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("taskmaster.v1.WorkerService", {"Connect": handler})]
        )
        credentials = grpc.ssl_server_credentials(
            [(SERVER.key, SERVER.cert)], root_certificates=AUTHORITY.cert, require_client_auth=True
        )
        port = self._server.add_secure_port(address, credentials)
        await self._server.start()
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        return self.address

    async def stop(self) -> None:
        """Ends all streams, then the server."""
        if self._server is None:
            return
        for session in self.sessions:
            session.close()
        for session in self.sessions:
            await session.ended.wait()
        server, self._server = self._server, None
        await server.stop(1)

    async def _connect(self, requests: AsyncIterator[pb.WorkerMessage], context: Any) -> None:
        session = FakeSession(len(self.sessions) + 1, context)
        self.sessions.append(session)
        try:
            session.hello = (await anext(requests)).hello
            await self._serve(session, requests)
        finally:
            session.ended.set()

    async def _serve(self, session: FakeSession, requests: AsyncIterator[pb.WorkerMessage]) -> None:
        if self.refused is not None:
            await session.context.write(pb.EngineMessage(refused=self.refused))
            await self._notify()
            return
        session.outgoing.put_nowait(pb.EngineMessage(session=session.number, welcome=self.welcome))
        sender = asyncio.create_task(self._send(session, session.context))
        listener = asyncio.create_task(self._listen(session, requests))
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            listener.cancel()
            await asyncio.gather(sender, listener, return_exceptions=True)

    async def _send(self, session: FakeSession, context: Any) -> None:
        while (message := await session.outgoing.get()) is not None:
            await context.write(message)

    async def _listen(self, session: FakeSession, requests: AsyncIterator[pb.WorkerMessage]) -> None:
        await self._notify()
        async for message in requests:
            session.messages.append(message)
            self._keep(session, message)
            await self._notify()

    def _keep(self, session: FakeSession, message: pb.WorkerMessage) -> None:
        for started in message.started:
            self.started[started.fence] = started
        for progress in message.progress:
            self.progress.setdefault(progress.fence, []).append(progress)
        for output in message.output:
            self.chunks.setdefault(output.fence, {})[output.offset] = output
        for finished in message.finished:
            self.finished[finished.fence] = finished
            self.finished_times[finished.fence] = self.finished_times.get(finished.fence, 0) + 1
        for recall in message.recall_answers:
            self.recalls[recall.fence] = recall.result
        if message.HasField("heartbeat"):
            self.heartbeats.append(message.heartbeat)
        self.draining = self.draining or message.draining
        self._answer(session, message)

    def _answer(self, session: FakeSession, message: pb.WorkerMessage) -> None:
        answer = pb.EngineMessage()
        if self.acknowledge:
            for output in message.output:
                answer.output_acks.add(fence=output.fence, offset=output.offset + len(output.data))
            for finished in message.finished:
                answer.result_acks.add(fence=finished.fence)
        if self.answer_heartbeats and message.HasField("heartbeat"):
            answer.heartbeat_ack = message.heartbeat.sequence
        if answer.ByteSize():
            session.send(answer)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------ for tests

    @property
    def session(self) -> FakeSession:
        """The newest."""
        return self.sessions[-1]

    async def until(self, ready: Callable[[], Any]) -> Any:
        """Waits until `ready()` is true, looked at after every message; returns what it returned."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(ready)
        return ready()

    async def connected(self, sessions: int = 1) -> FakeSession:
        await self.until(lambda: len(self.sessions) >= sessions and self.session.hello.worker_id)
        return self.session

    def assign(self, work: str | list[str], **fields: Any) -> int:
        """Sends one assignment; its fence."""
        assign = make_assign(next(self._fences), work, **fields)
        self.session.send(pb.EngineMessage(assign=[assign]))
        return assign.fence

    def cancel(self, *fences: int) -> None:
        self.session.send(pb.EngineMessage(cancel=[pb.Cancel(task=f, attempt=1, fence=f) for f in fences]))

    def recall(self, *fences: int) -> None:
        self.session.send(pb.EngineMessage(recall=[pb.Recall(task=f, attempt=1, fence=f) for f in fences]))

    def acknowledge_results(self, fences: Iterable[int]) -> None:
        self.session.send(pb.EngineMessage(result_acks=[pb.ResultAck(fence=f) for f in fences]))

    async def result(self, fence: int) -> pb.Finished:
        await self.until(lambda: fence in self.finished)
        return self.finished[fence]

    async def run(self, work: str | list[str], **fields: Any) -> pb.Finished:
        return await self.result(self.assign(work, **fields))

    def output(self, fence: int, stream: int | None = None) -> bytes:
        chunks = self.chunks.get(fence, {})
        return b"".join(chunks[o].data for o in sorted(chunks) if stream in (None, chunks[o].stream))


def make_assign(fence: int, work: str | list[str], **fields: Any) -> pb.Assign:
    """An assignment whose task number is its fence."""
    fields.setdefault("kill_grace_ms", 2000)
    fields.setdefault("task_id", fence.to_bytes(16, "big"))
    if isinstance(work, str):
        return pb.Assign(task=fence, attempt=1, fence=fence, command=work, **fields)
    return pb.Assign(task=fence, attempt=1, fence=fence, argv=pb.Argv(items=work), **fields)


def bundle_fields(*endpoints: str, slots: int = 1, work_dir: str | None = None) -> dict[str, Any]:
    return {
        "worker_id": "worker-1",
        "name": "w1",
        "slots": slots,
        "endpoints": list(endpoints),
        "server_name": SERVER_NAME,
        "ca_pem": AUTHORITY.cert.decode(),
        "cert_pem": WORKER.cert.decode(),
        "key_pem": WORKER.key.decode(),
        "work_dir": work_dir,
    }


def encode_bundle(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields).encode()
    return len(text).to_bytes(4, "big") + text


class AgentProcess:
    """A real agent in its own session, its log in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        await until(lambda: self.process.poll() is not None, timeout_s=TIMEOUT_S, what=self.log)
        assert self.process.returncode is not None
        return self.process.returncode

    async def close(self) -> None:
        """Kills the whole session, and waits for the agent."""
        for pid in session_members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.exit_code()
        self.end_input()

    def end_input(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


def start_agent(fields: dict[str, Any], folder: Path, env: dict[str, str] | None = None) -> AgentProcess:
    agent = start_raw_agent(encode_bundle(fields), folder, env)
    agent.end_input()
    return agent


def start_raw_agent(
    stdin: bytes,
    folder: Path,
    env: dict[str, str] | None = None,
    *,
    new_session: bool = True,
    program: Sequence[str] = ("-m", "taskmaster_worker"),
) -> AgentProcess:
    """Starts an agent and writes these bytes to its standard input, which stays open."""
    log = folder / "agent.log"
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=log_file,
            start_new_session=new_session,
            env={**os.environ, "PYTHONPATH": str(WORKER_IMAGE), **(env or {})},
        )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.flush()
    return AgentProcess(process, log)


def session_members(session: int) -> list[int]:
    """Living processes of a session, from /proc."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                members.append(int(stat.parent.name))
    return members
