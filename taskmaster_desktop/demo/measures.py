"""Arithmetic on measured times; pure. Times are UTC microseconds, durations microseconds unless named otherwise."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from taskmaster_desktop.backend.clock import SECOND_US


class StoredTask(NamedTuple):
    """A row of tasks, as read by `evidence`."""

    number: int
    batch: int
    created_us: int
    state: str
    attempt: int
    fence: int
    failures: int
    deaths: int


class StoredAttempt(NamedTuple):
    """A row of attempts: one that has ended."""

    task: int
    attempt: int
    fence: int
    worker: int
    assigned_us: int
    started_us: int | None
    finished_us: int
    duration_us: int
    outcome: str
    reason: str


class StoredWorker(NamedTuple):
    number: int
    name: str
    started_us: int
    online_us: int | None
    offline_us: int | None
    ended: str


def list_schedule_us(durations: Iterable[int], machines: int) -> int:
    """Makespan of perfect list scheduling: in this order, each to the machine that is free first, at no cost."""
    free = [0] * machines
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


class Phase(NamedTuple):
    """A stretch of work on a fixed number of workers.

    Attributes:
        durations: of its attempts in the order they were given out.
        makespan_us: from the moment work could begin to the last end.
    """

    workers: int
    durations: tuple[int, ...]
    makespan_us: int

    @property
    def ideal_us(self) -> int:
        return list_schedule_us(self.durations, self.workers)

    @property
    def efficiency(self) -> float:
        return self.ideal_us / self.makespan_us if self.makespan_us > 0 else 0.0

    @property
    def per_s(self) -> float:
        return len(self.durations) * SECOND_US / self.makespan_us if self.makespan_us > 0 else 0.0

    @property
    def ideal_per_s(self) -> float:
        return len(self.durations) * SECOND_US / self.ideal_us if self.ideal_us > 0 else 0.0


def batch_phase(attempts: Sequence[StoredAttempt], batch: range, begun_us: int, workers: int) -> Phase:
    """A batch that met `workers` idle workers at `begun_us` and had them for itself."""
    own = sorted((a for a in attempts if a.task in batch), key=lambda a: (a.assigned_us, a.task))
    ended_us = max((a.finished_us for a in own), default=begun_us)
    return Phase(workers, tuple(a.duration_us for a in own), ended_us - begun_us)


def single_phase(attempts: Sequence[StoredAttempt], worker: int, from_us: int, to_us: int) -> Phase:
    """What one worker did alone between two moments: from the first end in there to the last, so that the
    worker always had a next task to take."""
    own = sorted(
        (a for a in attempts if a.worker == worker and from_us <= a.finished_us <= to_us),
        key=lambda a: a.finished_us,
    )
    if len(own) < 2:
        return Phase(1, (), 0)
    return Phase(1, tuple(a.duration_us for a in own[1:]), own[-1].finished_us - own[0].finished_us)


def balance(attempts: Iterable[StoredAttempt], batch: range) -> dict[int, int]:
    """How many tasks of a batch each worker completed."""
    counts: dict[int, int] = {}
    for attempt in attempts:
        if attempt.task in batch and attempt.outcome == "completed":
            counts[attempt.worker] = counts.get(attempt.worker, 0) + 1
    return dict(sorted(counts.items()))


def longest_idle_us(attempts: Sequence[StoredAttempt], batch: range, workers: Iterable[int]) -> int:
    """The longest time that one of the workers was free before it was given its next task of the batch."""
    longest = 0
    for worker in workers:
        own = sorted(
            (a for a in attempts if a.worker == worker and a.task in batch), key=lambda a: a.assigned_us
        )
        for before, after in pairwise(own):
            longest = max(longest, after.assigned_us - before.finished_us)
    return longest


def most_at_once(attempts: Sequence[StoredAttempt], batch: range) -> int:
    """The most tasks of a batch that one worker ran at the same time."""
    most = 0
    for worker in {a.worker for a in attempts}:
        steps = []
        for a in attempts:
            if a.worker == worker and a.task in batch and a.started_us is not None:
                steps += [(a.started_us, 1), (max(a.finished_us, a.started_us + 1), -1)]
        running = 0
        for _, change in sorted(steps):
            running += change
            most = max(most, running)
    return most
