"""The only place that reads the time."""

from __future__ import annotations

import time
from typing import NamedTuple

MICROSECOND = 1
SECOND_US = 1_000_000


class Moment(NamedTuple):
    """One instant, read from both clocks.

    `wall_us` is UTC microseconds since 1970: for people, for `run_at`, and for the database.
    `mono_s` is monotonic seconds: for leases and intervals; it means nothing in another process.
    """

    wall_us: int
    mono_s: float


class SystemClock:
    """The machine's clocks. Thread-safe."""

    def now(self) -> Moment:
        return Moment(time.time_ns() // 1000, time.monotonic())
