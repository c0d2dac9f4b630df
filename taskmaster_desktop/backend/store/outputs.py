"""Keeps of each attempt's output the first and the last MiB. Run by the store-writer thread, inside its transactions.

Chunks are stored as they come. What the tail has left behind is deleted once enough of it has gathered, and
when the attempt ends; the delete walks only what it deletes. For each attempt that is still writing, two
numbers are remembered: where its stored output ends, which also tells what is sent a second time, and where
its tail was last cut. They are dropped with the attempt, and read again from the rows where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from taskmaster_desktop.backend.model import AttemptRecord, OutputChunk
from taskmaster_desktop.backend.store.prepared import Cursor
from taskmaster_desktop.backend.store.statements import HEAD_BYTES, Statements

TAIL_BYTES = 1024 * 1024
CUT_EVERY_BYTES = 256 * 1024

Key = tuple[int, int]


class OutputKeeper:
    """Every method returns by how many bytes the stored output has grown; negative where it shrank."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql
        self._ends: dict[Key, int] = {}
        self._cuts: dict[Key, int] = {}

    def forget(self) -> None:
        """After a rollback nothing that was remembered counts."""
        self._ends.clear()
        self._cuts.clear()

    def write(self, cursor: Cursor, chunks: Sequence[OutputChunk]) -> int:
        rows = list(self._rows(cursor, chunks))
        if not rows:
            return 0
        self._sql.insert_output.run_many(cursor, rows)
        grown = sum(len(row.data) for row in rows)
        for key in dict.fromkeys((row.task, row.attempt) for row in rows):
            limit = self._ends[key] - TAIL_BYTES
            if limit - self._cuts.get(key, HEAD_BYTES) >= CUT_EVERY_BYTES:
                grown -= self._cut(cursor, key, limit)
                self._cuts[key] = limit
        return grown

    def finish(self, cursor: Cursor, attempts: Iterable[AttemptRecord]) -> int:
        """The attempts have ended: cut their tails to size and remember nothing more of them."""
        if not self._ends:
            return 0
        grown = 0
        for attempt in attempts:
            key = (attempt.task, attempt.attempt)
            limit = self._ends.pop(key, 0) - TAIL_BYTES
            if limit > self._cuts.pop(key, HEAD_BYTES):
                grown -= self._cut(cursor, key, limit)
        return grown

    def _rows(self, cursor: Cursor, chunks: Sequence[OutputChunk]) -> Iterator[OutputChunk]:
        """What of `chunks` is new, split where the head ends so that only whole rows are ever dropped."""
        ends = self._ends
        for chunk in chunks:
            key = (chunk.task, chunk.attempt)
            if key not in ends:
                ends[key] = self._sql.output_end.values(cursor, key)[0] or 0
            start, stop = max(chunk.offset, ends[key]), chunk.offset + len(chunk.data)
            if start >= stop:
                continue  # sent a second time
            ends[key] = stop
            for low, high in ((start, min(stop, HEAD_BYTES)), (max(start, HEAD_BYTES), stop)):
                if low < high:
                    data = chunk.data[low - chunk.offset : high - chunk.offset]
                    yield OutputChunk(chunk.task, chunk.attempt, low, chunk.stream, data)

    def _cut(self, cursor: Cursor, key: Key, limit: int) -> int:
        """Delete the chunks beyond the head that end at `limit` or before; returns how many bytes went."""
        return sum(self._sql.cut_output.values(cursor, (*key, limit, limit)))
