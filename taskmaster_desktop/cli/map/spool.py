"""The output of tasks until it is printed, in temporary files; memory holds only where each piece lies.

Written on the engine's thread, read on the main thread, under one lock. Files are segments of some 32 MiB
without a name; one is given up when nothing in it is wanted any more. Of each task only the newest attempt
is kept.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from taskmaster_desktop.backend.events import OutputArrived
from taskmaster_desktop.backend.model import Stream

SEGMENT_BYTES = 32 << 20


@dataclass(slots=True, eq=False)
class _Segment:
    descriptor: int
    size: int = 0
    live: int = 0


class _Piece(NamedTuple):
    stream: Stream
    segment: _Segment
    start: int
    length: int


@dataclass(slots=True)
class _Entry:
    attempt: int
    end: int = 0
    gap: bool = False
    pieces: list[_Piece] = field(default_factory=list)


class Spool:
    """Close it when done; what was not printed is gone then.

    Args:
        folder: where the temporary files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}
        self._segments: set[_Segment] = set()
        self._current: _Segment | None = None

    def add(self, chunk: OutputArrived) -> None:
        """Keep a piece; one that came before is passed over. Raises OSError where the disk is full."""
        with self._lock:
            entry = self._entries.get(chunk.task)
            if entry is None or entry.attempt < chunk.attempt:
                if entry is not None:
                    self._release(entry)
                entry = self._entries[chunk.task] = _Entry(chunk.attempt)
            elif entry.attempt > chunk.attempt:
                return
            data = chunk.data[max(0, entry.end - chunk.offset) :]
            if not data:
                return
            entry.gap |= chunk.offset > entry.end
            entry.end = chunk.offset + len(chunk.data)
            entry.pieces.append(self._write(chunk.stream, data))

    def take(self, task: int, attempt: int) -> Taken:
        """Everything that this attempt printed; from now on the caller's, who must `close` it."""
        with self._lock:
            entry = self._entries.pop(task, None)
            if entry is None:
                return Taken(self, _Entry(attempt))
            if entry.attempt != attempt:  # the attempt that counts printed nothing
                self._release(entry)
                return Taken(self, _Entry(attempt))
            return Taken(self, entry)

    def close(self) -> None:
        with self._lock:
            for segment in self._segments:
                os.close(segment.descriptor)
            self._segments.clear()
            self._entries.clear()
            self._current = None

    @property
    def open_files(self) -> int:
        return len(self._segments)

    def release(self, entry: _Entry) -> None:
        """For `Taken`."""
        with self._lock:
            self._release(entry)

    # === under the lock
    def _write(self, stream: Stream, data: bytes) -> _Piece:
        segment = self._current
        if segment is None or segment.size >= SEGMENT_BYTES:
            segment = self._new_segment()
        start, view = segment.size, memoryview(data)
        while view:
            view = view[os.pwrite(segment.descriptor, view, segment.size + len(data) - len(view)) :]
        segment.size += len(data)
        segment.live += len(data)
        return _Piece(stream, segment, start, len(data))

    def _new_segment(self) -> _Segment:
        descriptor, name = tempfile.mkstemp(prefix="output-", dir=self._folder)
        Path(name).unlink()
        segment = _Segment(descriptor)
        self._segments.add(segment)
        full, self._current = self._current, segment
        if full is not None:
            self._drop_if_empty(full)
        return segment

    def _release(self, entry: _Entry) -> None:
        pieces, entry.pieces = entry.pieces, []
        for piece in pieces:
            piece.segment.live -= piece.length
            self._drop_if_empty(piece.segment)

    def _drop_if_empty(self, segment: _Segment) -> None:
        if segment.live or segment not in self._segments:
            return
        if segment is self._current:
            os.ftruncate(segment.descriptor, 0)
            segment.size = 0
        else:
            self._segments.discard(segment)
            os.close(segment.descriptor)


class Taken:
    """The output of one attempt, on its way to the terminal. Main thread."""

    def __init__(self, spool: Spool, entry: _Entry) -> None:
        self._spool = spool
        self._entry = entry

    @property
    def gap(self) -> bool:
        """Something in the middle was lost on the way; that must never happen and is told."""
        return self._entry.gap

    def __iter__(self) -> Iterator[tuple[Stream, bytes]]:
        for piece in tuple(self._entry.pieces):
            yield piece.stream, os.pread(piece.segment.descriptor, piece.length, piece.start)

    def close(self) -> None:
        self._spool.release(self._entry)
