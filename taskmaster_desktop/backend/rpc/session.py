"""One worker's stream after its welcome: a reader that reports, a writer that merges what is queued.

Runs on the engine's loop only.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError

from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.ports import SessionHandler
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb
from taskmaster_desktop.backend.rpc.convert import ProtocolError, engine_messages, report_from

log = logging.getLogger(__name__)

Context: TypeAlias = "grpc.aio.ServicerContext[pb.WorkerMessage, pb.EngineMessage]"

FLUSH_LIMIT_S = 1.0
"""How long a closing session may take to send what was queued before."""


class StreamEnd(Exception):
    """The stream ends now; `code` and `str()` of it are what the worker is told."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Session:
    """Implements `Link`. Usable at once; `run` starts the traffic after the welcome was sent.

    Attributes:
        worker_id: for the log.
    """

    def __init__(self, worker_id: str, *, kill_grace_ms: int) -> None:
        self.worker_id = worker_id
        self._kill_grace_ms = kill_grace_ms
        self._queued: Sends | None = None
        self._wake = asyncio.Event()
        self._end: StreamEnd | None = None
        self._over = False
        self._reader: asyncio.Task[StreamEnd] | None = None
        self._writer: asyncio.Task[StreamEnd] | None = None

    # -------------------------------------------------------- Link
    def send(self, sends: Sends) -> None:
        if self._over or self._end is not None:
            return
        if self._queued is None:
            self._queued = sends
            self._wake.set()
        else:
            self._queued.merge(sends)

    def close(self, reason: str) -> None:
        """Sends what was queued before, for a second at most, then ends the stream. Safe to call twice."""
        self.end(StreamEnd(grpc.StatusCode.ABORTED, reason))

    def end(self, end: StreamEnd) -> None:
        """`close` with a status of its own."""
        if self._over or self._end is not None:
            return
        self._end = end
        self._wake.set()
        self._limit_flush()

    # -------------------------------------------------------- traffic
    async def run(
        self, context: Context, handler: SessionHandler, number: int, welcome: pb.EngineMessage
    ) -> StreamEnd:
        """Sends the welcome, then carries messages until the stream ends; at last, and in every case,
        calls `handler.closed(number)`. Keeps nothing of gRPC afterwards, however long the link is kept."""
        try:
            await context.write(welcome)
            end = await self._carry(context, handler, number)
        except grpc.aio.BaseError as error:
            end = _broken(error)
        finally:
            self._over = True
            self._queued = None
            self._wake.set()
            handler.closed(number)
            writer, self._writer = self._writer, None
        if writer is not None:
            await writer  # no status can be sent as long as a message is on its way
        return end

    async def _carry(self, context: Context, handler: SessionHandler, number: int) -> StreamEnd:
        loop = asyncio.get_running_loop()
        reader = loop.create_task(self._read(context, handler, number), name=f"read-session-{number}")
        writer = loop.create_task(self._write(context, number), name=f"write-session-{number}")
        self._reader, self._writer = reader, writer
        if self._end is not None:
            self._limit_flush()
        try:
            done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            writer.cancel()
            raise
        finally:
            self._reader = None
            reader.cancel()
        ended = writer if writer in done else reader
        if not ended.cancelled():
            return ended.result()
        return self._end or StreamEnd(grpc.StatusCode.CANCELLED, "the stream was cancelled")

    def _limit_flush(self) -> None:
        """Ends the session soon even where its peer does not take what is being sent."""
        if self._reader is not None:
            asyncio.get_running_loop().call_later(FLUSH_LIMIT_S, self._reader.cancel)

    async def _read(self, context: Context, handler: SessionHandler, number: int) -> StreamEnd:
        try:
            while True:
                message = await context.read()
                if not isinstance(message, pb.WorkerMessage):  # grpc.aio.EOF
                    return StreamEnd(grpc.StatusCode.OK, "the worker ended its stream")
                if self._end is not None:
                    continue  # closed by the engine, which wants to hear no more
                if message.session != number:
                    raise ProtocolError(f"A message of session {message.session} came in session {number}.")
                handler.report(report_from(message))
        except ProtocolError as error:
            log.warning("Worker %s broke the protocol: %s", self.worker_id, str(error))
            return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DecodeError:
            log.warning("Worker %s sent what is no message", self.worker_id)
            return StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, "that was no message")
        except grpc.aio.BaseError as error:
            return _broken(error)
        except Exception:
            log.exception("A report of worker %s could not be handled; its session is closed", self.worker_id)
            return StreamEnd(grpc.StatusCode.INTERNAL, "the engine could not handle a report")

    async def _write(self, context: Context, number: int) -> StreamEnd:
        wake = self._wake
        try:
            while True:
                await wake.wait()
                wake.clear()
                sends, self._queued = self._queued, None
                if sends is not None:
                    for message in engine_messages(number, sends, kill_grace_ms=self._kill_grace_ms):
                        await context.write(message)
                        if self._over:
                            break
                if self._end is not None or self._over:
                    return self._end or StreamEnd(grpc.StatusCode.OK, "the session is over")
        except grpc.aio.BaseError as error:
            return _broken(error)
        except Exception:
            log.exception("Messages for worker %s could not be sent; its session is closed", self.worker_id)
            return StreamEnd(grpc.StatusCode.INTERNAL, "the engine could not send a message")


def _broken(error: Exception) -> StreamEnd:
    return StreamEnd(grpc.StatusCode.UNAVAILABLE, f"the stream broke: {error}")
