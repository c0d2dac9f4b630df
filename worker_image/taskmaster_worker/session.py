"""One gRPC connection to the engine after another.

Owns the channel, the stream with its one reader and one writer, the heartbeat and the pauses between
connections. All on one asyncio loop. The end of a connection stops no command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from taskmaster_worker import __version__
from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.attempts import AttemptTable
from taskmaster_worker.outbox import Outbox
from taskmaster_worker.secret import Bundle
from taskmaster_worker.usage import OomCounter, UsageMeter
from taskmaster_worker.ways import FailedWays

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 1
METHOD = "/taskmaster.v1.WorkerService/Connect"
CONNECT_FIRST_S = 1.0
"""How long the first try of an endpoint may take: what a firewall drops gets no answer. Doubled after each round."""
CONNECT_LONGEST_S = 4.0
WELCOME_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 2.0
BACKOFF_FIRST_S = 0.1
BACKOFF_LONGEST_S = 5.0
STEADY_SESSION_S = 5.0
DEFAULT_HEARTBEAT_MS = 2000
SHORTEST_HEARTBEAT_MS = 50
MAX_MESSAGE_BYTES = 4 << 20

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    # Without this a frozen engine is noticed only after a minute, whatever the two above say.
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A proxy of the user's is for other addresses than ours.
    ("grpc.enable_http_proxy", 0),
    # A new channel must try at once, not wait out the back-off of the one before it.
    ("grpc.use_local_subchannel_pool", 1),
)

logger = logging.getLogger(__name__)

Stream = Any  # grpc.aio.StreamStreamCall, whose type parameters the stubs do not agree on


class RefusedForEver(Exception):
    """The engine will never take this worker; the message is its reason."""


class Garbled(Exception):
    """What arrived is not a message of this protocol; the connection is given up."""


# Besides AioRpcError: a write on a stream that has just ended.
_CONNECTION_LOST = (asyncio.InvalidStateError, grpc.aio.UsageError, Garbled)


class Session:
    """Keeps a connection until the table is drained.

    `heard` is called for everything that arrives, `told` with the self-stop time of each welcome.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        boot_id: str,
        table: AttemptTable,
        outbox: Outbox,
        usage: UsageMeter,
        oom: OomCounter,
        heard: Callable[[], None],
        told: Callable[[float], None],
    ) -> None:
        self._bundle = bundle
        self._boot_id = boot_id
        self._table = table
        self._outbox = outbox
        self._usage = usage
        self._oom = oom
        self._heard = heard
        self._told = told
        self._ways = FailedWays()
        self._beats = 0
        self._heartbeat_s = DEFAULT_HEARTBEAT_MS / 1000
        self._number = 0
        self._beating: asyncio.TimerHandle

    async def run(self) -> None:
        """Connects, serves and connects again; returns when the table is drained.

        Raises:
            RefusedForEver: as it says.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._table.drained:
            began = loop.time()
            await self._try_endpoints(min(CONNECT_LONGEST_S, CONNECT_FIRST_S * 2 ** min(failures, 10)))
            if self._table.drained:
                return
            failures = 0 if loop.time() - began > STEADY_SESSION_S else failures + 1
            await self._rest(
                random.uniform(0, min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))
            )

    async def _rest(self, pause_s: float) -> None:
        """Waits, but not when there is nothing left to stay for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + pause_s
        while not self._table.drained and (left := deadline - loop.time()) > 0:
            self._outbox.wake.clear()
            try:
                await asyncio.wait_for(self._outbox.wake.wait(), left)
            except TimeoutError:
                return

    async def _try_endpoints(self, patience_s: float) -> None:
        """Serves at the first endpoint that welcomes us, and logs why the others did not."""
        ways = self._ways
        ways.forget()
        for endpoint in self._bundle.endpoints:
            async with self._open_channel(endpoint) as channel:
                stream: Stream = channel.stream_stream(
                    METHOD,
                    request_serializer=pb.WorkerMessage.SerializeToString,
                    response_deserializer=pb.EngineMessage.FromString,
                )()
                try:
                    welcome = await self._introduce(stream, endpoint, patience_s)
                    if welcome is None:
                        ways.refused(endpoint)
                        continue
                    logger.info("session %d at %s", welcome.session, endpoint)
                    await self._serve(stream, welcome)
                    logger.info("session %d has ended", welcome.session)
                    return
                except TimeoutError:
                    ways.silent(endpoint)
                except grpc.aio.AioRpcError as error:
                    ways.broken(endpoint, error)
                except _CONNECTION_LOST as error:
                    ways.ended(endpoint, error)
                finally:
                    stream.cancel()

    @asynccontextmanager
    async def _open_channel(self, endpoint: str) -> AsyncIterator[grpc.aio.Channel]:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self._bundle.ca_pem,
            private_key=self._bundle.key_pem,
            certificate_chain=self._bundle.cert_pem,
        )
        options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", self._bundle.server_name))
        channel = grpc.aio.secure_channel(endpoint, credentials, options=options)
        try:
            yield channel
        finally:
            await channel.close()

    # ------------------------------------------------------------------ hello

    async def _introduce(self, stream: Stream, endpoint: str, patience_s: float) -> pb.EngineMessage | None:
        """The message with the welcome; None when refused for now. `patience_s`: for the connection alone.

        Raises:
            RefusedForEver: as it says.
        """
        # From here on whatever happens is news to this session.
        self._outbox.restart()
        hello = self._hello(endpoint)
        await asyncio.wait_for(stream.write(hello), patience_s)
        answer = await asyncio.wait_for(_next_message(stream), WELCOME_TIMEOUT_S)
        if answer is None:
            logger.warning("the engine ended the stream without a welcome (%s)", await _why_ended(stream))
            return None
        if answer.HasField("refused"):
            logger.warning("refused by the engine: %s", answer.refused.reason)
            if answer.refused.permanent:
                raise RefusedForEver(answer.refused.reason)
            return None
        if not answer.HasField("welcome"):
            logger.warning("the engine's first message was no welcome")
            return None
        if answer.welcome.protocol_major != PROTOCOL_MAJOR:
            raise RefusedForEver(
                f"the engine speaks protocol {answer.welcome.protocol_major}, this worker {PROTOCOL_MAJOR}"
            )
        return answer

    def _hello(self, endpoint: str) -> pb.WorkerMessage:
        return pb.WorkerMessage(
            hello=pb.Hello(
                protocol_major=PROTOCOL_MAJOR,
                protocol_minor=PROTOCOL_MINOR,
                worker_id=self._bundle.worker_id,
                boot_id=self._boot_id,
                agent_version=__version__,
                slots=self._bundle.slots,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                open_attempts=self._table.open_attempts(),
                endpoint=endpoint,
                failed_ways=self._ways.told(),
            )
        )

    # ------------------------------------------------------------------ serving

    async def _serve(self, stream: Stream, first: pb.EngineMessage) -> None:
        """Until the stream ends or, when drained, we end it."""
        welcome = first.welcome
        self._number = first.session
        self._heartbeat_s = (
            max(SHORTEST_HEARTBEAT_MS, welcome.heartbeat_interval_ms or DEFAULT_HEARTBEAT_MS) / 1000
        )
        if welcome.self_stop_ms:
            self._told(welcome.self_stop_ms / 1000)
        self._heard()
        self._table.handle(first)
        self._table.session_began()
        reader = asyncio.create_task(self._read(stream))
        writer = asyncio.create_task(self._write(stream))
        self._beat(asyncio.get_running_loop().time())
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and writer.exception() is None:
                await stream.done_writing()
                await asyncio.wait({reader}, timeout=GOODBYE_TIMEOUT_S)
        finally:
            self._table.session_ended()
            self._beating.cancel()
            for task in (reader, writer):
                task.cancel()
            endings = await asyncio.gather(reader, writer, return_exceptions=True)
        _raise_first(endings)

    async def _read(self, stream: Stream) -> None:
        """Hands every message to the table; returns at the end of the stream."""
        table, wake = self._table, self._outbox.wake
        while (message := await _next_message(stream)) is not None:
            self._heard()
            table.handle(message)
            if table.draining:
                # The writer may be waiting for the last acknowledgement.
                wake.set()

    async def _write(self, stream: Stream) -> None:
        """Writes whatever has collected as one message; returns when all is said and the table is drained."""
        outbox = self._outbox
        while True:
            await outbox.wake.wait()
            message, on_written = outbox.take(self._number)
            if message is None:
                if self._table.drained:
                    return
                continue
            await stream.write(message)
            for call in on_written:
                call()
            if self._table.draining:
                outbox.wake.set()  # this may have been the last word

    def _beat(self, due: float) -> None:
        """One heartbeat; it comes from the loop itself, so it shows that the loop runs."""
        self._beats += 1
        cpu_us, memory_bytes = self._usage.read(busy=self._table.running > 0)
        self._outbox.set_heartbeat(
            pb.Heartbeat(
                sequence=self._beats,
                cpu_us=cpu_us,
                memory_bytes=memory_bytes,
                running=self._table.running,
                waiting=self._table.waiting,
                oom_kills=self._oom.read(),
            )
        )
        loop = asyncio.get_running_loop()
        due = max(due + self._heartbeat_s, loop.time())
        self._beating = loop.call_at(due, self._beat, due)


async def _next_message(stream: Stream) -> pb.EngineMessage | None:
    """The next message, None at the end of the stream."""
    message = await stream.read()
    if message is grpc.aio.EOF:
        return None
    # What cannot be parsed comes out of grpc as None, whatever its types say.
    if not isinstance(message, pb.EngineMessage):
        raise Garbled("an unreadable message arrived")
    return message


def _raise_first(endings: Iterable[BaseException | None]) -> None:
    """What ended a session: our own bug before a lost connection, nothing when it just ended."""
    errors = [e for e in endings if isinstance(e, Exception)]
    errors.sort(key=lambda e: isinstance(e, (grpc.RpcError, *_CONNECTION_LOST)))
    if errors:
        raise errors[0]


async def _why_ended(stream: Stream) -> str:
    code = await stream.code()
    return f"{code.name}: {await stream.details()}"
