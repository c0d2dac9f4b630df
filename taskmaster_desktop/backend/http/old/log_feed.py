"""The old log, recent and live: read from the store for who comes, and told to all who stay."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.events import Event
from taskmaster_desktop.backend.http.old import lines
from taskmaster_desktop.backend.http.old.kept import Kept
from taskmaster_desktop.backend.http.old.lines import Line
from taskmaster_desktop.backend.http.sse import Stream, message
from taskmaster_desktop.backend.model import ACTIVE_STATES, TaskFilter, TaskRecord, TaskState
from taskmaster_desktop.backend.ports import Clock

RECENT = 250
MAX_LINES_AT_ONCE = 1_000
MAX_BATCHES = 100
MAX_RETRIED = 100
_KINDS = (
    TaskFilter(),
    TaskFilter(states=ACTIVE_STATES),
    TaskFilter(states=frozenset({TaskState.COMPLETED})),
    TaskFilter(states=frozenset({TaskState.FAILED})),
    TaskFilter(states=frozenset({TaskState.CANCELLED})),
)


Told = tuple[Line, bytes]


class LogFeed:
    """Listens to the engine while somebody reads along; makes each line once for all. On the engine's loop.

    Attributes:
        recent_json: the newest `RECENT` lines, the oldest of them first.
    """

    def __init__(self, api: BackendApi, clock: Clock | None = None) -> None:
        self._api = api
        self._clock = clock or SystemClock()
        self._readers: list[_Reader] = []
        self.recent_json = Kept(api, self._make_recent)
        self._recent = Kept(api, self._encode_recent)
        self._unsubscribe: Callable[[], None] | None = None

    async def attach(self, stream: Stream) -> Callable[[], None]:
        """Put the recent lines into a stream, then the live ones; nothing is missed between, nothing told twice."""
        reader = _Reader(stream)
        self._readers = [*self._readers, reader]
        if self._unsubscribe is None:
            self._unsubscribe = self._api.subscribe(self._hear)
        try:
            reader.begin(await self._recent.get(exact=True))
        except BaseException:
            self._detach(reader)
            raise
        return lambda: self._detach(reader)

    def _make_recent(self) -> bytes:
        shown = [line.view() for line in recent_lines(self._api)]
        return json.dumps(shown, ensure_ascii=False).encode()

    def _encode_recent(self) -> list[Told]:
        return [(line, encoded(line)) for line in recent_lines(self._api)]

    def lost(self, count: int) -> bytes:
        return encoded(self._left_out(count))

    def _left_out(self, count: int) -> Line:
        text = f"{count:,} lines are left out: there were more than can be told."
        return Line(self._clock.now().wall_us, lines.INFO, text)

    def _detach(self, reader: _Reader) -> None:
        self._readers = [other for other in self._readers if other is not reader]
        if not self._readers and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _hear(self, event: Event) -> None:
        news = lines.of_event(event, self._clock.now().wall_us)
        if len(news) > MAX_LINES_AT_ONCE:
            left_out = len(news) - MAX_LINES_AT_ONCE
            news = [self._left_out(left_out), *news[left_out:]]
        told = [(line, encoded(line)) for line in news]
        for reader in self._readers:
            reader.hear(told)


class _Reader:
    """One stream: holds the live lines back until the recent ones are known."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._held: list[Told] | None = []

    def begin(self, recent: list[Told]) -> None:
        known = {line for line, _ in recent}
        held, self._held = self._held or [], None
        for _, sent in recent:
            self._stream.put(sent)
        for line, sent in held:
            if line not in known:
                self._stream.put(sent)

    def hear(self, told: list[Told]) -> None:
        if self._held is not None:
            self._held = [*self._held, *told][-MAX_LINES_AT_ONCE:]
            return
        for _, sent in told:
            self._stream.put(sent)


def encoded(line: Line) -> bytes:
    return message(json.dumps(line.view(), ensure_ascii=False))


def recent_lines(api: BackendApi) -> list[Line]:
    """Blocks for some milliseconds. Steps of tasks far behind the newest of their state may be missing."""
    query = api.query
    found: dict[int, TaskRecord] = {}
    newest: list[TaskRecord] = []
    for chosen in _KINDS:
        page = query.tasks(chosen, after=None, limit=RECENT, newest_first=True).tasks
        newest = newest or list(page)
        found |= {task.number: task for task in page}
    told = [lines.of_record(record) for record in query.events(limit=RECENT)]
    for number in sorted({task.batch for task in newest}, reverse=True)[:MAX_BATCHES]:
        batch = query.batch(number)
        first = query.task(batch.first_task) if batch is not None else None
        if batch is not None and first is not None:
            told += lines.of_batch(batch, first)
    retried = heapq.nlargest(MAX_RETRIED, filter(_has_ended_attempts, found.values()), key=_touched_us)
    earlier = {task.number: query.attempts(task.number) for task in retried}
    for number, task in sorted(found.items()):
        told += lines.of_task(task, earlier.get(number, ()))
    return lines.in_order(told)[-RECENT:]


def _has_ended_attempts(task: TaskRecord) -> bool:
    return task.attempt > 1 or (task.attempt == 1 and task.state is TaskState.PENDING)


def _touched_us(task: TaskRecord) -> int:
    return max(task.finished_us or 0, task.assigned_us or 0)
