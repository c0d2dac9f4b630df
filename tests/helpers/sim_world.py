"""Virtual time: a heap of events, one seeded random, and a trace of what happened. No thread, no real clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from taskmaster_desktop.backend.clock import SECOND_US, Moment
from tests.helpers.builders import START_US

BEGIN_S = 1_000.0


class Broken(AssertionError):
    """A promise was broken; the simulation ends here."""


class Crash(SystemExit):
    """The engine's process dies at this instruction. Coroutines let a SystemExit through."""


class Process:
    """One life of the engine's process.

    Attributes:
        points: how many more points it passes before it crashes; None for no crash.
    """

    def __init__(self, world: World, *, points: int | None) -> None:
        self.world = world
        self.alive = True
        self.points = points

    def point(self) -> None:
        """An instruction before which the process may die."""
        if self.points is not None and self.alive and not self.world.calm:
            self.points -= 1
            if self.points <= 0:
                raise Crash


class Event:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("args", "at_s", "call")

    def __init__(self, at_s: float, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.at_s = at_s
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        self.call = None

    def belongs_to(self, owner: object) -> bool:
        return getattr(self.call, "__self__", None) is owner

    def when(self) -> float:
        return self.at_s


class World:
    """Time, chance and the trace.

    Attributes:
        calm: faults have ended.
        steps: events so far.
        latest_wall_us: the latest that the wall clock said before it was turned.
        stalls, slow: how often a message is held up, how often the store takes its time.
        on_crash: called when an event raised `Crash`.
        broken: a fault that something else has swallowed.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_s = BEGIN_S
        self.calm = False
        self.steps = 0
        self.stalls = self.slow = 0.0
        self.trace: list[tuple[Any, ...]] = []
        self.on_crash: Callable[[], None] = lambda: None
        self.broken: BaseException | None = None
        self.latest_wall_us = 0
        self._wall_offset_us = START_US
        self._heap: list[tuple[float, int, Event]] = []
        self._order = count()

    # === time
    @property
    def wall_us(self) -> int:
        return self._wall_offset_us + round((self.now_s - BEGIN_S) * SECOND_US)

    def moment(self) -> Moment:
        return Moment(self.wall_us, self.now_s)

    def turn_wall_clock(self, seconds: float) -> None:
        self.latest_wall_us = max(self.latest_wall_us, self.wall_us)
        self._wall_offset_us += round(seconds * SECOND_US)

    def after(self, delay_s: float, call: Callable[..., object], *args: Any) -> Event:
        return self.at(self.now_s + delay_s, call, *args)

    def at(self, at_s: float, call: Callable[..., object], *args: Any) -> Event:
        event = Event(max(at_s, self.now_s), call, args)
        heappush(self._heap, (event.at_s, next(self._order), event))
        return event

    def run(
        self, until_s: float, *, done: Callable[[], bool] = lambda: False, max_steps: int = 60_000
    ) -> None:
        """Let everything happen until then, or until `done`."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            if done():
                return
            at_s, _, event = heappop(heap)
            if event.call is None:
                continue
            self.now_s = at_s
            self.steps += 1
            if self.steps > max_steps:
                raise Broken(f"more than {max_steps} events: something goes round in circles")
            try:
                event.call(*event.args)
            except Crash:
                self.on_crash()
            if self.broken is not None:
                raise self.broken
        self.now_s = max(self.now_s, until_s)

    def run_only(self, wanted: Callable[[Event], bool], *, done: Callable[[], bool]) -> None:
        """Let nothing but some events happen, whatever comes of it, until `done`."""
        while self._heap and not done():
            at_s, _, event = heappop(self._heap)
            if event.call is not None and wanted(event):
                self.now_s = at_s
                with suppress(Exception):
                    event.call(*event.args)

    # === chance
    def fault(self, probability: float) -> bool:
        """Whether a fault happens; never when faults have ended."""
        return not self.calm and self.random.random() < probability

    def delay_s(self, least: float, most: float) -> float:
        return self.random.uniform(least, most)

    # === trace
    def note(self, *parts: Any) -> None:
        self.trace.append((self.now_s, *parts))

    def digest(self) -> str:
        """The same for the same history."""
        return blake2b(repr(self.trace).encode(), digest_size=12).hexdigest()

    def last(self, lines: int = 60) -> str:
        return "\n".join(
            f"{line[0] - BEGIN_S:10.4f}  " + " ".join(map(str, line[1:])) for line in self.trace[-lines:]
        )
