"""The door for workers: where they connect, and who is let in.

Listens with mutual TLS on a Unix socket in a folder that can be mounted into a container, and on the
loopback. Runs on the engine's loop, the only one of the process that may touch grpc.aio.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import grpc

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import WorkerRecord
from taskmaster_desktop.backend.ports import (
    Admission,
    Clock,
    Hello,
    SessionHandler,
    SessionRefused,
    WorkerSecret,
)
from taskmaster_desktop.backend.rpc import convert
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb
from taskmaster_desktop.backend.rpc._pb import worker_pb2_grpc
from taskmaster_desktop.backend.rpc.convert import PROTOCOL_MAJOR, PROTOCOL_MINOR, ProtocolError
from taskmaster_desktop.backend.rpc.security import Authority
from taskmaster_desktop.backend.rpc.session import Context, Session, StreamEnd

log = logging.getLogger(__name__)

KILL_GRACE_MS = 5000
"""Between TERM and KILL of a command on timeout and cancel."""
HELLO_LIMIT_S = 10.0
LOOPBACK = "127.0.0.1"
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path that the system has room for."""

KEEPALIVE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),  # without it a frozen peer is noticed only after a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    *KEEPALIVE_OPTIONS,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.so_reuseport", 0),  # or two instances would share a port and steal each other's workers
)


class GrpcDoor:
    """Implements `WorkerDoor`. All methods belong to the engine's loop.

    Args:
        data_dir: certificates are kept in `tls`, the socket and the port's number in `run`.
        instance: id of this instance, part of the server's name.
    """

    def __init__(
        self,
        data_dir: Path,
        instance: str,
        *,
        clock: Clock | None = None,
        kill_grace_ms: int = KILL_GRACE_MS,
        hello_limit_s: float = HELLO_LIMIT_S,
    ) -> None:
        self.endpoints: tuple[str, ...] = ()
        self.socket_folder = data_dir / "run" / "rpc"  # what a container gets mounted
        self._data_dir = data_dir
        self._instance = instance
        self._clock = clock or SystemClock()
        self._kill_grace_ms = kill_grace_ms
        self._hello_limit_s = hello_limit_s
        self._authority: Authority | None = None
        self._server: grpc.aio.Server | None = None
        self._sessions: set[Session] = set()
        self._admissions: set[asyncio.Future[Admission]] = set()

    async def start(self, handler: SessionHandler, hosts: Sequence[str] = ()) -> None:
        if self._server is not None:
            return
        self._authority = Authority.open(self._data_dir / "tls", self._instance, self._clock)
        server = grpc.aio.server(options=SERVER_OPTIONS)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(_Servicer(self._connect, handler), server)
        credentials = _credentials(self._authority)
        socket = self._open_socket(server, credentials)
        ports = self._open_ports(server, credentials, hosts)
        self.endpoints = (*((socket,) if socket is not None else ()), *ports)
        if not self.endpoints:
            raise EnvironmentProblem(
                "Workers cannot connect: neither a Unix socket nor a port of the loopback could be opened.",
                fix="Choose a writable data folder with --data-dir and check that 127.0.0.1 is up.",
            )
        await server.start()
        self._server = server
        path = self._socket_path()
        if path.exists():
            path.chmod(0o666)  # its folder's parent lets nobody else in; in a container the user differs
        log.info("Workers connect to %s", ", ".join(self.endpoints))

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        for session in tuple(self._sessions):
            session.end(StreamEnd(grpc.StatusCode.UNAVAILABLE, "the engine stops"))
        await server.stop(2.0)
        if self._admissions:
            await asyncio.wait(self._admissions)
        with contextlib.suppress(OSError):  # a stale one is removed at the next start
            self._socket_path().unlink()

    def secret_for(self, worker: WorkerRecord) -> WorkerSecret:
        if self._authority is None or not self.endpoints:
            raise RuntimeError("the door is not open")
        identity = self._authority.issue(worker.id)
        return WorkerSecret(
            worker_id=worker.id,
            name=worker.name,
            slots=worker.slots,
            endpoints=self.endpoints,
            server_name=self._authority.server_name,
            ca_pem=self._authority.ca_pem,
            cert_pem=identity.cert_pem,
            key_pem=identity.key_pem,
        )

    # -------------------------------------------------------- endpoints
    def _socket_path(self) -> Path:
        return self.socket_folder / "worker.sock"

    def _open_socket(self, server: grpc.aio.Server, credentials: grpc.ServerCredentials) -> str | None:
        path = self._socket_path().absolute()
        length = len(os.fsencode(path))
        if length > MAX_SOCKET_PATH:
            log.warning(
                "The data folder's path is too long for a Unix socket (%d of %d bytes): "
                "workers connect over the loopback alone",
                length,
                MAX_SOCKET_PATH,
            )
            return None
        try:
            for folder, mode in ((path.parent.parent, 0o700), (path.parent, 0o711)):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(mode)
            path.unlink(missing_ok=True)  # left by an engine that was killed
            endpoint = f"unix:{quote(str(path))}"
            server.add_secure_port(endpoint, credentials)
        except (OSError, RuntimeError) as error:
            log.warning("No Unix socket for workers at %s: %s", path, error)
            return None
        return endpoint

    def _open_ports(
        self, server: grpc.aio.Server, credentials: grpc.ServerCredentials, hosts: Sequence[str]
    ) -> list[str]:
        """One port for all: that of the last life if it is free, so that living workers find this one."""
        kept = self._data_dir / "run" / "port"
        wanted = _read_port(kept)
        opened = _open_port(server, credentials, LOOPBACK, wanted) if wanted is not None else None
        opened = opened or _open_port(server, credentials, LOOPBACK, 0)
        if opened is None:
            log.warning("No port of the loopback could be opened for workers")
            return []
        _write_port(kept, opened)
        reached = [host for host in hosts if _open_port(server, credentials, host, opened) is not None]
        return [f"{host}:{opened}" for host in (LOOPBACK, *reached)]

    # -------------------------------------------------------- one stream
    async def _connect(self, handler: SessionHandler, context: Context) -> None:
        """From the first message to the last. Refusals and ends leave as statuses of the stream."""
        try:
            hello = await self._hello(context)
            session = Session(hello.worker_id, kill_grace_ms=self._kill_grace_ms)
            admission = await self._admit(handler, hello, session)
        except ProtocolError as error:
            log.warning("A worker from %s broke the protocol: %s", context.peer(), str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except SessionRefused as refusal:
            # As text: a logged exception would keep its frames, and with them the stream, as long as the log.
            log.warning("Refused a worker from %s: %s", context.peer(), str(refusal))
            await context.write(convert.refused(str(refusal), permanent=refusal.permanent))
            return
        except grpc.aio.BaseError as error:
            log.info("A stream broke before its worker was admitted: %s", str(error))
            return
        except Exception:
            log.exception("A worker from %s could not be admitted", context.peer())
            await context.abort(grpc.StatusCode.INTERNAL, "the engine could not admit the worker")
        self._sessions.add(session)
        try:
            end = await session.run(context, handler, admission.session, convert.welcome(admission))
        finally:
            self._sessions.discard(session)
        log.info("Session %d of worker %s ended: %s", admission.session, hello.worker_id, str(end))
        if end.code is not grpc.StatusCode.OK:
            await context.abort(end.code, str(end))

    async def _hello(self, context: Context) -> Hello:
        try:
            message = await asyncio.wait_for(context.read(), self._hello_limit_s)
        except TimeoutError as error:
            raise ProtocolError(f"No hello came within {self._hello_limit_s:g} seconds.") from error
        if not isinstance(message, pb.WorkerMessage):  # grpc.aio.EOF
            raise ProtocolError("The stream ended before its hello.")
        hello = convert.hello_from(message)
        said = message.hello
        if said.protocol_major != PROTOCOL_MAJOR:
            raise SessionRefused(
                f"the worker speaks protocol {said.protocol_major}.{said.protocol_minor}, "
                f"this engine speaks {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}",
                permanent=True,
            )
        names = [name.decode(errors="replace") for name in context.auth_context().get("x509_common_name", ())]
        if names != [hello.worker_id]:
            raise SessionRefused(
                f"the worker calls itself {hello.worker_id!r}, its certificate says {', '.join(names)!r}",
                permanent=True,
            )
        return hello

    async def _admit(self, handler: SessionHandler, hello: Hello, session: Session) -> Admission:
        """A stream may break while the engine admits it; then the admission still runs to its end, so
        that what was admitted is closed."""
        admitting = asyncio.ensure_future(handler.admit(hello, session))
        self._admissions.add(admitting)
        admitting.add_done_callback(self._admissions.discard)
        try:
            return await asyncio.shield(admitting)
        except asyncio.CancelledError:
            admitting.add_done_callback(functools.partial(_close_unwanted, handler))
            raise


class _Servicer(worker_pb2_grpc.WorkerServiceServicer):
    """What gRPC calls; nothing of the door's own is on its surface."""

    def __init__(
        self, connect: Callable[[SessionHandler, Context], Awaitable[None]], handler: SessionHandler
    ) -> None:
        self._connect = connect
        self._handler = handler

    async def Connect(self, _requests: object, context: Context) -> None:  # noqa: N802 - the protocol's name
        await self._connect(self._handler, context)


def _close_unwanted(handler: SessionHandler, admitting: asyncio.Future[Admission]) -> None:
    if admitting.cancelled():
        return
    error = admitting.exception()
    if error is None:
        handler.closed(admitting.result().session)
    elif not isinstance(error, SessionRefused):
        log.error("A worker whose stream broke could not be admitted", exc_info=error)


def _credentials(authority: Authority) -> grpc.ServerCredentials:
    server = authority.server
    return grpc.ssl_server_credentials(
        [(server.key_pem, server.cert_pem)], root_certificates=authority.ca_pem, require_client_auth=True
    )


def _open_port(
    server: grpc.aio.Server, credentials: grpc.ServerCredentials, host: str, port: int
) -> int | None:
    try:
        return server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError as error:
        log.info("%s:%d is not to be had: %s", host, port, error)
        return None


def _read_port(path: Path) -> int | None:
    try:
        port = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return port if 1024 <= port <= 65535 else None


def _write_port(path: Path, port: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{port}\n", encoding="ascii")
    except OSError as error:
        log.warning("The port for workers cannot be kept for the next start: %s", error)
