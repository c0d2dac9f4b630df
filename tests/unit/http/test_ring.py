"""The ring of events: order, resumption, and what happens to those who come too late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.core.instructions import NewTasks
from taskmaster_desktop.backend.http.ring import MAX_NUMBERS, Place, Ring
from taskmaster_desktop.backend.http.sse import Stream
from taskmaster_desktop.backend.model import (
    BatchRecord,
    EventRecord,
    Level,
    Outcome,
    TaskOptions,
    TaskRecord,
    TaskState,
)


class Told:
    """As much of an engine as the ring looks at."""

    def __init__(self) -> None:
        self.epoch = 3
        self.changes = 10
        self.listeners: list[events.Listener] = []

    def subscribe(self, listener: events.Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: None

    def commit(self, *happened: events.Event) -> None:
        self.changes += 1
        for event in happened:
            self.listeners[0](event)


def line(text: str) -> events.Logged:
    return events.Logged(line=EventRecord(5, Level.INFO, "test", text, None, None))


def batch_of(size: int) -> NewTasks:
    record = BatchRecord(7, bytes(16), 1, 101, size, TaskOptions(), None, None, 0, 0, 0)
    return NewTasks(batch=record, ids=bytes(16 * size), works=[("x", False)], run_at_us=None, due_us=0)


def finished(count: int, state: TaskState = TaskState.COMPLETED) -> tuple[TaskRecord, ...]:
    return tuple(row._replace(state=state, outcome=Outcome(state.value)) for row in batch_of(count).records())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ring(told: Told) -> Ring:
    ring = Ring(cast(BackendApi, told), max_events=10)
    ring.listen()
    return ring


def parsed(raw: bytes) -> list[tuple[str, str, Any]]:
    """(id, kind, data) of each message."""
    found = []
    for block in raw.decode().split("\n\n"):
        fields = dict(part.split(": ", 1) for part in block.splitlines() if not part.startswith(":"))
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


class Reader:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> list[tuple[str, str, Any]]:
        return parsed(await self._stream.next(5.0) or b"")


@asynccontextmanager
async def reading(ring: Ring, last: str | None = None) -> AsyncIterator[Reader]:
    stream = Stream(lambda count: f"lost {count}".encode())
    feeding = asyncio.create_task(ring.feed(stream, last))
    yield Reader(stream)
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)


async def test_a_new_reader_hears_what_comes(told: Told, ring: Ring) -> None:
    told.commit(line("before"))
    async with reading(ring) as reader:
        assert await reader.read() == [("3-11-1", "ready", {"epoch": 3, "changes": 11})]
        told.commit(line("one"), line("two"))
        told.commit(line("three"))
        heard = await reader.read()
    assert [(id_, kind, data["message"]) for id_, kind, data in heard] == [
        ("3-12-1", "log", "one"), ("3-12-2", "log", "two"), ("3-13-1", "log", "three"),
    ]  # fmt: skip


async def test_every_event_can_be_resumed_after(told: Told, ring: Ring) -> None:
    told.commit(line("0"), line("1"))
    told.commit(line("2"))
    told.commit(line("3"), line("4"))
    ids = ["3-10-0", "3-11-1", "3-11-2", "3-12-1", "3-13-1", "3-13-2"]
    for index, last in enumerate(ids[:-1]):
        async with reading(ring, last) as reader:
            assert [data["message"] for _, _, data in await reader.read()] == list("01234")[index:]


async def test_who_has_missed_nothing_hears_nothing_twice(told: Told, ring: Ring) -> None:
    told.commit(line("old"))
    async with reading(ring, "3-11-1") as reader:
        told.commit(line("new"))
        assert [data["message"] for _, _, data in await reader.read()] == ["new"]


@pytest.mark.parametrize(
    "last", ["2-99-1", "4-0-0", "3-99-0", "3-9-9", "", "x", "3-11", "1-2-3-4", "-1-2-3", "9" * 30]
)
async def test_unknown_places_lead_to_a_resync(told: Told, ring: Ring, last: str) -> None:
    told.commit(line("x"))
    async with reading(ring, last) as reader:
        (id_, kind, data), *more = await reader.read()
    assert (id_, kind) == ("3-11-1", "resync")
    assert (data["epoch"], data["changes"]) == (3, 11)
    assert not more


async def test_who_comes_too_late_is_told(told: Told, ring: Ring) -> None:
    for number in range(30):
        told.commit(line(str(number)))
    async with reading(ring, "3-15-1") as reader:
        assert [kind for _, kind, _ in await reader.read()] == ["resync"]
    async with reading(
        ring, "3-30-1"
    ) as reader:  # the last one that is not kept: nothing after it is missing
        assert len(await reader.read()) == 10


async def test_a_reader_that_is_left_behind_is_told(told: Told) -> None:
    ring = Ring(cast(BackendApi, told), max_events=10)
    ring.listen()
    stream = Stream(lambda count: b"", queue_bytes=200)
    feeding = asyncio.create_task(ring.feed(stream, None))
    await asyncio.sleep(0)
    for number in range(50):
        told.commit(line(str(number)))
        await asyncio.sleep(0)
    heard: list[tuple[str, str, Any]] = []
    while not heard or heard[-1][0] != "3-60-1":
        heard += parsed(await stream.next(5.0) or b"")
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    kinds = [kind for _, kind, _ in heard]
    assert kinds[0] == "ready"
    assert "resync" in kinds
    ids = [Place.read(id_) for id_, _, _ in heard]
    assert ids == sorted(ids)  # type: ignore[type-var]


async def test_its_memory_is_bounded(told: Told) -> None:
    ring = Ring(cast(BackendApi, told), max_events=1000, max_bytes=10_000)
    ring.listen()
    for _ in range(100):
        told.commit(line("x" * 1000))
    async with reading(ring, f"3-{told.changes - 5}-1") as reader:
        assert len(await reader.read()) == 5
    async with reading(ring, f"3-{told.changes - 50}-1") as reader:
        assert [kind for _, kind, _ in await reader.read()] == ["resync"]


async def test_what_is_told(told: Told, ring: Ring) -> None:
    new = batch_of(2)
    both = (*finished(1), *finished(2, TaskState.FAILED)[1:])
    async with reading(ring) as reader:
        await reader.read()
        told.commit(events.TasksAdded(batch=new.batch, first=new.record(0)), events.TasksFinished(tasks=both))
        told.commit(events.StoreFailed(message="The disk is full."), events.StoreRecovered())
        told.commit(events.TasksChanged(changes=()), events.AttemptsEnded(attempts=()))
        assert [(kind, data) for _, kind, data in await reader.read()] == [
            ("added", {"batch": 7, "first_task": 101, "size": 2}),
            ("finished", {"completed": [101], "failed": [102]}),
            ("trouble", {"detail": "The disk is full."}),
            ("recovered", {}),
        ]


async def test_many_tasks_are_told_in_parts(told: Told, ring: Ring) -> None:
    async with reading(ring) as reader:
        await reader.read()
        told.commit(events.TasksFinished(tasks=finished(2 * MAX_NUMBERS + 1)))
        heard: list[int] = []
        while len(heard) < 2 * MAX_NUMBERS + 1:
            for _, _, data in await reader.read():
                assert len(data["completed"]) <= MAX_NUMBERS
                heard += data["completed"]
    assert heard == list(range(101, 101 + 2 * MAX_NUMBERS + 1))


async def test_a_new_life_is_a_later_place(told: Told, ring: Ring) -> None:
    told.commit(line("old life"))
    told.epoch = 4
    told.commit(line("new life"))
    async with reading(ring, "3-11-1") as reader:
        assert [(id_, data["message"]) for id_, _, data in await reader.read()] == [("4-12-1", "new life")]
