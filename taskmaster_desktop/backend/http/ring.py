"""The newest events, kept for those who were away for a moment. All on the engine's loop.

Each event has a place: the life of the engine, the commit that made it so, and its place in that. Readers pull
at their own pace, so that a slow one costs nothing but its place in here; whoever falls further behind than
what is kept is told to look at everything anew.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.sse import Stream, message
from taskmaster_desktop.backend.model import EventRecord, TaskRecord

MAX_EVENTS = 4096
MAX_BYTES = 4 * 2**20
SLICE = 64
MAX_NUMBERS = 4000
"""Of tasks in one event, so that it finds room in a stream."""
FORGOTTEN = "What happened since is not kept any more; look at everything anew."


class Place(NamedTuple):
    """Which event: they are in order. As text it is what Last-Event-ID carries."""

    epoch: int
    commit: int
    step: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.commit}-{self.step}"

    @classmethod
    def read(cls, text: str) -> Place | None:
        """None where the text is no place."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
            return None
        return cls(*map(int, parts))


class _Entry(NamedTuple):
    place: Place
    message: bytes


class Ring:
    """Hears of everything from its first reader on; nobody can have been anywhere in here before that."""

    def __init__(self, api: BackendApi, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._api = api
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._dropped: Place | None = None  # the last one that is not kept any more
        self._first = 0  # how many were dropped, which is the number of the first one kept
        self._news = asyncio.Event()

    def listen(self) -> None:
        if self._dropped is None:
            self._dropped = Place(self._api.epoch, self._api.changes, 0)
            self._api.subscribe(self.hear)

    @property
    def newest(self) -> Place:
        if self._entries:
            return self._entries[-1].place
        assert self._dropped is not None, "nobody listens yet"
        return self._dropped

    def hear(self, event: events.Event) -> None:
        for kind, data in _told(event):
            self._keep(kind, data)

    def _keep(self, kind: str, data: dict[str, Any]) -> None:
        place = Place(self._api.epoch, self._api.changes, 1)
        if place <= self.newest:
            place = place._replace(step=self.newest.step + 1)
        text = json.dumps(data, separators=(",", ":"))
        entry = _Entry(place, message(text, event=kind, id=str(place)))
        self._entries.append(entry)
        self._bytes += len(entry.message)
        while len(self._entries) > self._max_events or self._bytes > self._max_bytes:
            dropped = self._entries.popleft()
            self._bytes -= len(dropped.message)
            self._dropped = dropped.place
            self._first += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def feed(self, stream: Stream, last: str | None) -> None:
        """Put everything after the event `last` into a stream, then whatever comes, until cancelled."""
        self.listen()
        number = self._begin(stream, last)
        while True:
            news = self._news
            if number < self._first:
                number = self._skip_to_now(stream)
            entries = list(islice(self._entries, number - self._first, number - self._first + SLICE))
            if not entries:
                await news.wait()
            for entry in entries:
                await stream.room()
                stream.put(entry.message)
            number += len(entries)

    def _begin(self, stream: Stream, last: str | None) -> int:
        """The number of the first event to tell."""
        if last is None:
            stream.put(self._greeting("ready", {}))
            return self._first + len(self._entries)
        place = Place.read(last)
        assert self._dropped is not None
        if place is None or not self._dropped <= place <= self.newest:
            return self._skip_to_now(stream)
        return self._first + sum(entry.place <= place for entry in self._entries)

    def _skip_to_now(self, stream: Stream) -> int:
        stream.put(self._greeting("resync", {"detail": FORGOTTEN}))
        return self._first + len(self._entries)

    def _greeting(self, kind: str, data: dict[str, Any]) -> bytes:
        data = {"epoch": self._api.epoch, "changes": self._api.changes, **data}
        return message(json.dumps(data), event=kind, id=str(self.newest))


def _told(event: events.Event) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and content of what is told of an event."""
    if isinstance(event, events.Logged):
        yield "log", _line(event.line)
    elif isinstance(event, events.TasksFinished):
        for start in range(0, len(event.tasks), MAX_NUMBERS):
            yield "finished", _by_state(event.tasks[start : start + MAX_NUMBERS])
    elif isinstance(event, events.TasksAdded):
        batch = event.batch
        yield "added", {"batch": batch.number, "first_task": batch.first_task, "size": batch.size}
    elif isinstance(event, events.StoreFailed):
        yield "trouble", {"detail": event.message}
    elif isinstance(event, events.StoreRecovered):
        yield "recovered", {}


def _by_state(tasks: Sequence[TaskRecord]) -> dict[str, list[int]]:
    finished: dict[str, list[int]] = {}
    for task in tasks:
        finished.setdefault(task.state.value, []).append(task.number)
    return finished


def _line(line: EventRecord) -> dict[str, Any]:
    return {
        "at_us": line.at_us,
        "level": line.level.value,
        "kind": line.kind,
        "message": line.message,
        "task": line.task,
        "worker": line.worker,
    }
