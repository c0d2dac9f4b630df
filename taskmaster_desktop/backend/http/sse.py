"""Server-sent events: bounded streams to clients that may be slow, silent or gone. All on the engine's loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

MAX_STREAMS = 64
HEARTBEAT_S = 15.0
STALL_LIMIT_S = 60.0
QUEUE_BYTES = 128 * 1024
CHUNK_BYTES = 16 * 1024
RETRY_AFTER_S = 5
RECONNECT = b"retry: 2000\n\n"
HEARTBEAT = b": still here\n\n"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Unsubscribe = Callable[[], None]


def message(data: str, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002
    """One event as it goes over the wire. `event` and `id` must be a single line."""
    lines = []
    if id is not None:
        lines.append(f"id: {id}")
    if event is not None:
        lines.append(f"event: {event}")
    lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class Stream:
    """What one client has still to be sent.

    Args:
        lost: makes the message that takes the place of this many messages which the client was too slow for.
    """

    def __init__(self, lost: Callable[[int], bytes], *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._lost = lost
        self._queue_bytes = queue_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._ended = False
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def ended(self) -> bool:
        return self._ended

    def put(self, sent: bytes) -> None:
        """Never waits. Where the client is too far behind, the oldest messages go."""
        if self._ended:
            return
        self._waiting.append(sent)
        self._bytes += len(sent)
        while self._bytes > self._queue_bytes and len(self._waiting) > 1:
            self._bytes -= len(self._waiting.popleft())
            self._dropped += 1
        if 2 * self._bytes > self._queue_bytes:
            self._drained.clear()
        self._news.set()

    async def room(self) -> None:
        """Returns when less than half of the room is taken: for who would rather wait than have messages lost."""
        await self._drained.wait()

    def end(self) -> None:
        """What waits is still sent, then the stream is over."""
        self._ended = True
        self._news.set()

    async def next(self, patience_s: float) -> bytes | None:
        """What is to be sent, some messages together; a comment where nothing comes; None at the end."""
        if not self._waiting and not self._ended:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._news.wait()
        if not self._waiting:
            return None if self._ended else HEARTBEAT
        return b"".join(self._take())

    def _take(self) -> list[bytes]:
        taken = []
        size = 0
        if self._dropped:
            taken.append(self._lost(self._dropped))
            self._dropped = 0
        while self._waiting and size < CHUNK_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
            self._bytes -= len(taken[-1])
        if 2 * self._bytes <= self._queue_bytes:
            self._drained.set()
        return taken


Begin = Callable[[Stream], Awaitable[Unsubscribe]]


class Streams:
    """All that are open. Their number is bounded, and so is what each may hold back."""

    def __init__(
        self,
        *,
        limit: int = MAX_STREAMS,
        heartbeat_s: float = HEARTBEAT_S,
        stall_limit_s: float = STALL_LIMIT_S,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.heartbeat_s = heartbeat_s
        self.stall_limit_s = stall_limit_s
        self.queue_bytes = queue_bytes
        self._limit = limit
        self._open: set[Stream] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def respond(self, begin: Begin, *, lost: Callable[[int], bytes]) -> Response:
        """The answer to a request for a stream.

        Args:
            begin: called once there is room: subscribes the stream to what it shall carry, puts into it what
                comes first, and returns how to stop.
            lost: see `Stream`.
        """
        return _EventStream(self, begin, lost)

    def admit(self, stream: Stream) -> bool:
        if self._closed or len(self._open) >= self._limit:
            return False
        self._open.add(stream)
        return True

    def release(self, stream: Stream) -> None:
        self._open.discard(stream)

    def close(self) -> None:
        """End all; nothing is admitted any more."""
        self._closed = True
        for stream in self._open:
            stream.end()


class _EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, streams: Streams, begin: Begin, lost: Callable[[int], bytes]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]  # it has no end that would be known
        self._streams = streams
        self._begin = begin
        self._lost = lost

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = Stream(self._lost, queue_bytes=self._streams.queue_bytes)
        if not self._streams.admit(stream):
            await _no_room()(scope, receive, send)
            return
        left = asyncio.create_task(_until_left(receive, stream))
        try:
            unsubscribe = await self._begin(stream)
            try:
                await self._run(stream, scope, send, left)
            finally:
                unsubscribe()
        finally:
            self._streams.release(stream)
            left.cancel()

    async def _run(self, stream: Stream, scope: Scope, send: Send, left: asyncio.Task[None]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        chunk: bytes | None = RECONNECT
        while chunk is not None:
            try:
                async with asyncio.timeout(self._streams.stall_limit_s):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                cut = scope.get("state", {}).get("cut")
                if cut is None:
                    raise
                cut()  # it does not read, and would keep its place for ever
                await asyncio.wait([left])
                return
            chunk = await stream.next(self._streams.heartbeat_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_left(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()


def _no_room() -> Response:
    detail = "Too many live streams are open; close some of them."
    return JSONResponse(
        {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail},
        status_code=503,
        media_type="application/problem+json",
        headers={"retry-after": str(RETRY_AFTER_S)},
    )
