"""Followers of output. Each reads the store at its own pace and is woken by what the engine tells; nothing is kept
here for a slow one. All on the engine's loop, but for the reading.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastapi.concurrency import run_in_threadpool

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.sse import Stream as SseStream
from taskmaster_desktop.backend.http.sse import Unsubscribe, message
from taskmaster_desktop.backend.http.v1 import pieces
from taskmaster_desktop.backend.http.v1.pieces import Encoding, Found, Part, Teller
from taskmaster_desktop.backend.model import TERMINAL_STATES, Stream, TaskRecord

PART_BYTES = 8 * 1024
"""At most in one message: written as JSON it may become six times as long, and must find room in a stream."""
SLICE_BYTES = 256 * 1024
PAUSE_S = 0.03
"""Between two looks, so that a chatty command is told in fewer and larger parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to follow, from where on; attempt 0 is the latest, or the first to come."""

    task: int
    attempt: int
    offset: int
    stream: Stream | None
    encoding: Encoding

    def after(self, last_event_id: str | None) -> Wish:
        """The same from behind an event that was received; one that is not ours counts for nothing."""
        attempt, _, offset = (last_event_id or "").partition("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (attempt, offset)):
            return self
        return replace(self, attempt=int(attempt), offset=int(offset))


class Followers:
    def __init__(self, api: BackendApi) -> None:
        self._api = api
        self._news: dict[int, set[asyncio.Event]] = {}
        self._unsubscribe: Unsubscribe | None = None

    async def feed(self, stream: SseStream, wish: Wish) -> None:
        """Tell everything until the task is finished."""
        with self._woken_for(wish.task) as news:
            follower = _Follower(self._api, stream, wish)
            while await follower.go_on():
                await news.wait()
                await asyncio.sleep(PAUSE_S)
                news.clear()

    @contextmanager
    def _woken_for(self, task: int) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._news.setdefault(task, set()).add(news)
        if self._unsubscribe is None:
            self._unsubscribe = self._api.subscribe(self._hear)
        try:
            yield news
        finally:
            self._news[task].discard(news)
            if not self._news[task]:
                del self._news[task]
            if not self._news and self._unsubscribe is not None:
                self._unsubscribe()
                self._unsubscribe = None

    def _hear(self, event: events.Event) -> None:
        if isinstance(event, events.OutputArrived):
            self._wake(event.task)
        elif isinstance(event, events.TasksChanged):
            for change in event.changes:
                self._wake(change.task.number)
        elif isinstance(event, events.StoreRecovered):
            for task in list(self._news):
                self._wake(task)

    def _wake(self, task: int) -> None:
        for news in self._news.get(task, ()):
            news.set()


class _Follower:
    def __init__(self, api: BackendApi, stream: SseStream, wish: Wish) -> None:
        self._api = api
        self._stream = stream
        self._wish = wish
        self._attempt = wish.attempt
        self._offset = wish.offset
        self._teller = Teller(wish.encoding)

    async def go_on(self) -> bool:
        """Tell what there is; False once the task is finished and everything told."""
        while True:
            task, found = await run_in_threadpool(self._look)
            if task is None:
                return False  # removed with old age
            for part in found.parts:
                await self._tell(part)
            self._offset = found.next_offset
            if not found.at_end:
                continue
            if task.attempt > self._attempt:
                self._begin(self._attempt + 1)
                continue
            if task.state in TERMINAL_STATES:
                self._tell_end(task)
                return False
            return True

    def _look(self) -> tuple[TaskRecord | None, Found]:
        """The task, and after it its output, which is thus no older."""
        query = self._api.query
        task = query.task(self._wish.task)
        if task is not None and not self._attempt:
            self._attempt = task.attempt
        if task is None or not self._attempt:
            return task, Found([], self._offset, at_end=True)
        wish = self._wish
        return task, pieces.read(query, wish.task, self._attempt, self._offset, SLICE_BYTES, wish.stream)

    def _begin(self, attempt: int) -> None:
        self._attempt = attempt
        self._offset = 0
        self._teller = Teller(self._wish.encoding)
        self._stream.put(_message("attempt", {"attempt": attempt}, id=f"{attempt}-0"))

    async def _tell(self, part: Part) -> None:
        if part.stream is None:
            await self._put("gap", {"offset": part.offset, "bytes": part.size}, part.offset + part.size)
            return
        for start in range(0, part.size, PART_BYTES):
            data = part.data[start : start + PART_BYTES]
            piece = self._teller.piece(Part(part.offset + start, len(data), part.stream, data))
            await self._put(
                "output", piece.model_dump(mode="json", exclude_none=True), piece.offset + len(data)
            )

    async def _put(self, kind: str, data: dict[str, Any], next_offset: int) -> None:
        await self._stream.room()
        data = {"attempt": self._attempt, **data}
        self._stream.put(_message(kind, data, id=f"{self._attempt}-{next_offset}"))

    def _tell_end(self, task: TaskRecord) -> None:
        end = {
            "state": task.state.value,
            "attempt": task.attempt,
            "outcome": None if task.outcome is None else task.outcome.value,
            "exit_code": task.exit_code,
            "reason": task.reason,
        }
        self._stream.put(_message("end", end))


def _message(kind: str, data: dict[str, Any], *, id: str | None = None) -> bytes:  # noqa: A002
    return message(json.dumps(data, separators=(",", ":")), event=kind, id=id)
