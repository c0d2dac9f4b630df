"""A bounded, ordered window on the pending tasks of the store.

The store holds every pending task; memory holds the first of them. `boundary` says how far memory is
complete: every stored task whose key is at most `boundary` is in the window; None means all of them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

Key = tuple[int, int]
"""(rank, number) for ready tasks, (due_us, number) for delayed ones."""

READS_PER_WINDOW = 4
NOTHING_READ: Key = (-(2**62), 0)


class Window:
    """Keys in order. Entries may be dead (cancelled meanwhile); the owner says so when it pops them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._heap: list[Key] = []
        self._boundary: Key | None = NOTHING_READ
        self._reading = False
        self._missed: Key | None = None

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def exhausted(self) -> bool:
        """Nothing here and nothing in the store."""
        return not self._heap and self._boundary is None

    def head(self) -> Key | None:
        return self._heap[0] if self._heap else None

    def pop(self) -> Key:
        return heappop(self._heap)

    def admit(self, key: Key) -> bool:
        """Take a key that became pending. False: it stays in the store alone and is read later."""
        if self._boundary is None and len(self._heap) >= self._capacity:
            self._boundary = max(self._heap)
        if self._boundary is None or key <= self._boundary:
            heappush(self._heap, key)
            return True
        if self._reading and (self._missed is None or key < self._missed):
            self._missed = key
        return False

    def trim(self) -> Sequence[Key]:
        """Give up the last keys when urgent ones have pushed the window to twice its capacity."""
        if len(self._heap) <= 2 * self._capacity:
            return ()
        self._heap.sort()
        given_up = self._heap[self._capacity :]
        del self._heap[self._capacity :]
        self._boundary = self._heap[-1]
        if self._reading and (self._missed is None or given_up[0] < self._missed):
            self._missed = given_up[0]
        return given_up

    def wants_read(self) -> tuple[Key, int] | None:
        """The position and limit of a read that is due; the caller must carry it out.

        Reads are slices of the window: commits wait for a read, so it must be short.
        """
        limit = max(1, self._capacity // READS_PER_WINDOW)
        if self._boundary is None or self._reading or len(self._heap) > self._capacity - limit:
            return None
        self._reading = True
        return self._boundary, limit

    def fill(self, keys: Sequence[Key], *, complete: bool) -> Sequence[Key]:
        """Take the answer to a read, in order; returns the keys to keep in memory.

        A key that came while the read was under way and was left to the store may be missing from the
        answer, so the answer counts only up to there.
        """
        missed, self._missed, self._reading = self._missed, None, False
        if missed is not None:
            keys = [key for key in keys if key < missed]
        if complete and missed is None:
            self._boundary = None
        elif keys and (self._boundary is None or keys[-1] > self._boundary):
            self._boundary = keys[-1]
        return keys

    def put(self, keys: Sequence[Key]) -> None:
        """Add keys accepted by `fill`, in order. All are beyond what is here, so each push is one comparison."""
        for key in keys:
            heappush(self._heap, key)
