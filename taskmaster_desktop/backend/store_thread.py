"""Where the store is called: on one thread of its own, or, for a short group and a quick disk, on the loop's.

Python's lock makes a second thread dear: each statement gives the lock up and takes it back from a busy
loop, which doubles the cost of a small group (docs/decisions/0007-short-groups-on-the-loop.md).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from taskmaster_desktop.backend.ports import Clock

T = TypeVar("T")

SHORT_ROWS = 128
"""A group of more rows is long: several ms."""
QUICK_S = 0.002
"""A disk is quick while short groups take less than this in the mean; the loop waits for no other."""
WEIGHT = 0.2


class StoreCalls(Protocol):
    """Runs calls of the store. At most one is under way at a time, which is the caller's care."""

    def submit(self, call: Callable[[], T], /) -> Future[T]:
        """Run it on the store's thread."""

    def write(self, call: Callable[[], T], *, rows: int) -> Future[T]:
        """Run what writes about `rows` rows, here and now or on the thread: it may be done on return."""


class StoreThread:
    """Implements `StoreCalls`.

    Attributes:
        mean_s: how long short groups have taken lately; written by whichever thread writes one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self.mean_s = 0.0

    def submit(self, call: Callable[[], T], /) -> Future[T]:
        return self._thread.submit(call)

    def write(self, call: Callable[[], T], *, rows: int) -> Future[T]:
        if rows > SHORT_ROWS:
            return self._thread.submit(call)
        if self.mean_s > QUICK_S:
            return self._thread.submit(self._timed, call)
        done: Future[T] = Future()
        try:
            done.set_result(self._timed(call))
        except Exception as error:  # noqa: BLE001 - handed on as the answer
            done.set_exception(error)
        return done

    def _timed(self, call: Callable[[], T]) -> T:
        began_s = self._clock.now().mono_s
        try:
            return call()
        finally:
            self.mean_s += WEIGHT * (self._clock.now().mono_s - began_s - self.mean_s)

    def close(self) -> None:
        """Wait for the call under way and end the thread."""
        self._thread.shutdown()
