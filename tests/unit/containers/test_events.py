"""The listener on the engine's events: it opens the stream again for ever, says so, and can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskmaster_desktop.backend.containers import events
from taskmaster_desktop.backend.containers.events import EventListener
from tests.helpers.eventually import until
from tests.helpers.fake_containers import DOWN, FakeContainers


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(events, "LONGEST_PAUSE_S", 0.02)


class Heard:
    def __init__(self) -> None:
        self.hints: list[str] = []
        self.lost = 0

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def listening(api: FakeContainers) -> AsyncIterator[Heard]:
    heard = Heard()
    listener = EventListener(api, "inst", on_event=heard.hints.append, on_lost=heard.lose)
    listener.start(asyncio.get_running_loop())
    yield heard
    await asyncio.to_thread(listener.stop)


async def test_an_event_is_passed_on_as_a_hint() -> None:
    api = FakeContainers()
    async with listening(api) as heard:
        await until(lambda: api.listeners == 1)
        assert heard.lost == 0
        api.tell("c7")
        await until(lambda: heard.hints == ["c7"])


async def test_a_stream_that_ends_silently_is_opened_again_and_both_moments_are_told() -> None:
    api = FakeContainers()
    async with listening(api) as heard:
        await until(lambda: api.listeners == 1)
        api.break_streams()
        await until(lambda: api.listeners == 1)
        await until(lambda: heard.lost == 2)
        api.tell("c1")
        await until(lambda: heard.hints == ["c1"])


async def test_an_engine_that_is_away_is_waited_for() -> None:
    api = FakeContainers(trouble=DOWN)
    async with listening(api) as heard:
        api.trouble = None
        await until(lambda: api.listeners == 1)
        api.tell("c1")
        await until(lambda: heard.hints == ["c1"])


class BrokenStream:
    """What the library may give: it raises anything, and closing it fails as well."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        yield {"Actor": {"ID": "c9"}}
        raise AttributeError("'NoneType' object has no attribute 'fp'")

    def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute '_sock'")


async def test_a_stream_that_breaks_in_an_unforeseen_way_is_opened_again() -> None:
    api = FakeContainers()
    broken: list[Any] = [BrokenStream(), BrokenStream()]
    working = api.events
    api.events = lambda instance: broken.pop() if broken else working(instance)  # type: ignore[method-assign]
    async with listening(api) as heard:
        await until(lambda: api.listeners == 1)
        assert heard.hints == ["c9", "c9"]


async def test_a_stopped_listener_tells_nothing_more() -> None:
    api = FakeContainers()
    async with listening(api) as heard:
        await until(lambda: api.listeners == 1)
    api.tell("c1")
    await asyncio.to_thread(lambda: None)
    assert (heard.hints, heard.lost) == ([], 0)
