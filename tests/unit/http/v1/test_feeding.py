"""Streams that are written at the pace of their readers, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.http.sse import Stream, Streams
from taskmaster_desktop.backend.http.v1.feeding import respond
from tests.helpers.eventually import until

Send = Callable[[Message], Awaitable[None]]


class Client:
    """One who asked for a stream; leaves when told to."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.heard += message.get("body", b"")
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)


async def ask(feed: Callable[[Stream], Awaitable[None]], client: Client) -> asyncio.Task[None]:
    answer = respond(Streams(), feed)  # type: ignore[arg-type]
    return asyncio.create_task(answer({"type": "http"}, client.receive, client.send))


async def test_a_feed_that_returns_ends_the_stream() -> None:
    async def feed(stream: Stream) -> None:
        stream.put(b"data: x\n\n")

    client = Client()
    await (await ask(feed, client))
    assert client.heard.endswith(b"data: x\n\n")
    assert client.ended


async def test_trouble_is_told() -> None:
    async def feed(stream: Stream) -> None:
        raise EnvironmentProblem("The disk is gone.", fix="Put it back.")

    client = Client()
    await (await ask(feed, client))
    assert client.heard.endswith(b'event: trouble\ndata: {"detail": "The disk is gone. Put it back."}\n\n')


@pytest.mark.expects_logs
async def test_a_fault_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def feed(stream: Stream) -> None:
        raise ZeroDivisionError("secret")

    client = Client()
    await (await ask(feed, client))
    assert b"event: trouble" in client.heard
    assert b"secret" not in client.heard
    assert "ZeroDivisionError" in caplog.text


async def test_a_client_who_leaves_ends_the_feed() -> None:
    stopped = asyncio.Event()

    async def feed(stream: Stream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    client = Client()
    asking = await ask(feed, client)
    await until(lambda: client.heard)
    client.left.set()
    await asking
    await until(stopped.is_set)


async def test_room_comes_when_the_client_has_read() -> None:
    stream = Stream(lambda count: b"", queue_bytes=100)
    await stream.room()
    stream.put(b"x" * 60)
    waiting = asyncio.create_task(stream.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await stream.next(5.0) == b"x" * 60
    await waiting


async def test_who_waits_for_room_loses_nothing() -> None:
    stream = Stream(lambda count: b"lost", queue_bytes=100)

    async def feed() -> None:
        for number in range(100):
            await stream.room()
            stream.put(b"%02d" % number * 15)
        stream.end()

    feeding = asyncio.create_task(feed())
    heard = b""
    while (chunk := await stream.next(5.0)) is not None:
        heard += chunk
    await feeding
    assert heard == b"".join(b"%02d" % number * 15 for number in range(100))
