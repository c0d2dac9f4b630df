"""One stream's queue, and the streams of a server: bounded in number and in what each holds back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest
from starlette.types import Message

from taskmaster_desktop.backend.http import sse
from taskmaster_desktop.backend.http.sse import Stream, Streams, message
from tests.helpers.eventually import until


def lost(count: int) -> bytes:
    return f"lost {count}\n".encode()


def test_a_message_as_it_goes_over_the_wire() -> None:
    assert message("x") == b"data: x\n\n"
    assert message("a\nb", event="resync", id="3-14") == b"id: 3-14\nevent: resync\ndata: a\ndata: b\n\n"
    assert message("") == b"data: \n\n"


async def test_what_waits_is_sent_together_and_in_order() -> None:
    stream = Stream(lost)
    stream.put(b"1")
    stream.put(b"2")
    assert await stream.next(60) == b"12"
    stream.put(b"3")
    stream.end()
    stream.put(b"4")
    assert await stream.next(60) == b"3"
    assert await stream.next(60) is None


async def test_where_nothing_comes_a_comment_does() -> None:
    assert await Stream(lost).next(0.01) == b": still here\n\n"


async def test_who_waits_is_woken() -> None:
    stream = Stream(lost)
    waiting = asyncio.create_task(stream.next(60))
    await asyncio.sleep(0)
    stream.put(b"x")
    assert await waiting == b"x"
    waiting = asyncio.create_task(stream.next(60))
    await asyncio.sleep(0)
    stream.end()
    assert await waiting is None


async def test_the_oldest_go_and_that_is_said_in_their_place() -> None:
    stream = Stream(lost, queue_bytes=35)
    for number in range(10):
        stream.put(b"message %d\n" % number)
    assert await stream.next(60) == b"lost 7\nmessage 7\nmessage 8\nmessage 9\n"
    stream.put(b"more")
    assert await stream.next(60) == b"more"


async def test_one_message_that_is_longer_than_the_queue_still_comes() -> None:
    stream = Stream(lost, queue_bytes=10)
    stream.put(b"x")
    stream.put(b"y" * 100)
    assert await stream.next(60) == b"lost 1\n" + b"y" * 100


async def test_a_queue_holds_no_more_than_it_may() -> None:
    stream = Stream(lost)
    for _ in range(10_000):
        stream.put(bytes(100))
    held = sum(sys.getsizeof(each) for each in stream._waiting)
    assert held <= 1.5 * sse.QUEUE_BYTES
    chunk = await stream.next(60)
    assert chunk is not None
    assert len(chunk) <= sse.CHUNK_BYTES + 200


class Client:
    """The other end of a response: reads nothing while `reads` is not set."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, sent: Message) -> None:
        self.sent.append(sent)
        await self.reads.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(sent.get("body", b"") for sent in self.sent[1:])


class Source:
    """What streams subscribe to."""

    def __init__(self) -> None:
        self.streams: set[Stream] = set()

    async def begin(self, stream: Stream) -> Callable[[], None]:
        self.streams.add(stream)
        return lambda: self.streams.discard(stream)

    def tell(self, sent: bytes) -> None:
        for stream in self.streams:
            stream.put(sent)


def connect(
    streams: Streams, source: Source, client: Client, **state: Callable[[], None]
) -> asyncio.Task[None]:
    response = streams.respond(source.begin, lost=lost)
    scope = {"type": "http", "state": state}
    return asyncio.create_task(response(scope, client.receive, client.send))


async def test_a_stream_from_beginning_to_end() -> None:
    streams, source, client = Streams(), Source(), Client()
    running = connect(streams, source, client)
    await until(lambda: client.body)
    source.tell(b"x")
    await until(lambda: b"x" in client.body)
    assert (client.status, len(streams)) == (200, 1)
    streams.close()
    await running
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert (len(streams), source.streams) == (0, set())


async def test_who_leaves_is_forgotten() -> None:
    streams, source, client = Streams(), Source(), Client()
    running = connect(streams, source, client)
    await until(lambda: client.body)
    client.leaves.set()
    await running
    assert (len(streams), source.streams) == (0, set())


async def test_more_than_there_is_room_for_are_asked_to_come_later() -> None:
    streams, source = Streams(limit=2), Source()
    clients = [Client() for _ in range(3)]
    running = [connect(streams, source, client) for client in clients]
    await until(lambda: len(clients[2].sent) == 2)
    assert clients[2].status == 503
    assert (b"retry-after", b"5") in clients[2].sent[0]["headers"]
    clients[0].leaves.set()
    await running[0]
    again = Client()
    running.append(connect(streams, source, again))
    await until(lambda: again.body)
    assert again.status == 200
    streams.close()
    await asyncio.gather(*running)
    late = Client()
    await connect(streams, source, late)
    assert late.status == 503


async def test_who_never_reads_is_cut() -> None:
    streams, source, client = Streams(stall_limit_s=0.05), Source(), Client()
    running = connect(streams, source, client, cut=client.leaves.set)
    await until(lambda: client.body)
    client.reads.clear()
    source.tell(b"x")
    await running
    assert client.leaves.is_set()
    assert (len(streams), source.streams) == (0, set())


async def test_a_beginning_that_fails_leaves_nothing_behind() -> None:
    streams, client = Streams(), Client()

    async def begin(stream: Stream) -> Callable[[], None]:
        raise ZeroDivisionError

    response = streams.respond(begin, lost=lost)
    with pytest.raises(ZeroDivisionError):
        await response({"type": "http"}, client.receive, client.send)
    assert len(streams) == 0
    assert client.sent == []
