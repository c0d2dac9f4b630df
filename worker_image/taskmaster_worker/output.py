"""What a command prints: `::progress` lines taken out, the rest kept in chunks until acknowledged.

Owns the parsing of progress lines and the policy of the bounded buffer of one attempt. Plain data, no I/O;
like all of the agent it is used on one asyncio loop only.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

STDOUT = 1
STDERR = 2
CHUNK_BYTES = 64 * 1024
BUFFER_BYTES = 3 << 20
HEAD_BYTES = 1 << 20
MAX_PROGRESS_LINE = 1024
MAX_PROGRESS_TEXT = 200

_MARK = b"::progress"
_WHOLE = re.compile(rb"::progress[ \t]+([+-]?\d{1,9}(?:\.\d{1,9})?)(?:[ \t]+(.*))?\r?")
_BEGUN = re.compile(rb"::progress(?:[ \t]+(?:[+-]?(?:\d{1,9}(?:\.\d{0,9})?(?:\r|[ \t].*)?)?)?)?", re.DOTALL)


class ProgressNote(NamedTuple):
    """What one `::progress` line said."""

    percent: float
    text: str


class ProgressFilter:
    """Splits the standard output of one command into ordinary bytes and progress notes.

    The result does not depend on how the output was cut into pieces. A line that is not finished is held
    back only while it may still become a progress line.
    """

    __slots__ = ("_at_start", "_held", "newest")

    def __init__(self) -> None:
        self._held = b""
        self._at_start = True
        self.newest: ProgressNote | None = None

    def feed(self, data: bytes) -> bytes:
        """The ordinary part of `data` (and of what was held back); notes go to `newest`."""
        if self._held:
            data = self._held + data
            self._held = b""
        if not self._at_start:
            end = data.find(b"\n") + 1
            if end == 0:
                return data
            return data[:end] + self._feed_lines(data[end:])
        return self._feed_lines(data)

    def close(self) -> bytes:
        """The output has ended: what was held back is a line now."""
        held, self._held = self._held, b""
        return b"" if not held or self._take(held) else held

    def _feed_lines(self, data: bytes) -> bytes:
        """`data` begins at the start of a line."""
        end = data.rfind(b"\n") + 1
        lines, tail = data[:end], data[end:]
        if tail and _may_become_progress(tail):
            self._held = tail
            self._at_start = True
            tail = b""
        else:
            self._at_start = not tail
        if _MARK in lines:
            lines = self._strip(lines)
        return lines + tail

    def _strip(self, lines: bytes) -> bytes:
        kept = [line for line in lines[:-1].split(b"\n") if not (line.startswith(_MARK) and self._take(line))]
        return b"\n".join([*kept, b""]) if kept else b""

    def _take(self, line: bytes) -> bool:
        note = parse_progress(line)
        if note is None:
            return False
        self.newest = note
        return True


def parse_progress(line: bytes) -> ProgressNote | None:
    """The note in one line (without its line feed), or None for ordinary output.

    The percentage is clamped to 0..100, the text cut to 200 characters.
    """
    if len(line) > MAX_PROGRESS_LINE:
        return None
    match = _WHOLE.fullmatch(line)
    if match is None:
        return None
    percent = min(100.0, max(0.0, float(match[1])))
    text = (match[2] or b"").decode("utf-8", "replace").strip()
    return ProgressNote(percent, text[:MAX_PROGRESS_TEXT])


def _may_become_progress(part: bytes) -> bool:
    if len(part) > MAX_PROGRESS_LINE:
        return False
    return _MARK.startswith(part) or _BEGUN.fullmatch(part) is not None


class Chunk:
    """Consecutive bytes of one stream; `offset` counts all output of the attempt, both streams together."""

    __slots__ = ("data", "offset", "stream")

    def __init__(self, stream: int, offset: int, data: bytes) -> None:
        self.stream = stream
        self.offset = offset
        self.data: bytes | bytearray = data

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class OutputBuffer:
    """The unacknowledged output of one attempt, at most 3 MiB of it.

    When it is full, a lossless attempt must not add any more (see `full`); otherwise the oldest chunk that
    was not sent and lies beyond the first MiB is dropped, so that the first MiB and the newest are kept.
    """

    __slots__ = ("_head", "_lossless", "_sent", "_tail", "kept_bytes", "total_bytes")

    def __init__(self, *, lossless: bool) -> None:
        self._lossless = lossless
        self._sent: deque[Chunk] = deque()
        # Not sent yet, in order: `_head` begins below HEAD_BYTES, `_tail` beyond.
        self._head: deque[Chunk] = deque()
        self._tail: deque[Chunk] = deque()
        self.kept_bytes = 0
        self.total_bytes = 0

    @property
    def full(self) -> bool:
        """A lossless attempt must wait until something is acknowledged."""
        return self._lossless and self.kept_bytes >= BUFFER_BYTES

    @property
    def has_unsent(self) -> bool:
        return bool(self._head or self._tail)

    def add(self, stream: int, data: bytes) -> None:
        """Keeps output as it was read, in chunks of at most 64 KiB."""
        for start in range(0, len(data), CHUNK_BYTES):
            self._add_piece(stream, data[start : start + CHUNK_BYTES] if len(data) > CHUNK_BYTES else data)
        if not self._lossless and self.kept_bytes > BUFFER_BYTES:
            self._drop()

    def take(self) -> Chunk:
        """The oldest unsent chunk, which counts as sent from now on."""
        chunk = self._head.popleft() if self._head else self._tail.popleft()
        chunk.data = bytes(chunk.data)
        self._sent.append(chunk)
        return chunk

    def acknowledge(self, offset: int) -> None:
        """Forgets everything before `offset`."""
        for queue in (self._sent, self._head, self._tail):
            while queue and queue[0].end <= offset:
                self.kept_bytes -= len(queue.popleft().data)

    def unsend(self) -> None:
        """The connection is gone: all that was not acknowledged has to be sent again."""
        while self._sent:
            chunk = self._sent.pop()
            (self._head if chunk.offset < HEAD_BYTES else self._tail).appendleft(chunk)

    def _add_piece(self, stream: int, data: bytes) -> None:
        offset = self.total_bytes
        self.total_bytes += len(data)
        self.kept_bytes += len(data)
        queue = self._head if offset < HEAD_BYTES else self._tail
        last = queue[-1] if queue else None
        if (
            last is not None
            and last.stream == stream
            and last.end == offset
            and len(last.data) + len(data) <= CHUNK_BYTES
        ):
            if isinstance(last.data, bytes):
                last.data = bytearray(last.data)
            last.data += data
            return
        queue.append(Chunk(stream, offset, data))

    def _drop(self) -> None:
        while self.kept_bytes > BUFFER_BYTES and len(self._tail) > 1:
            self.kept_bytes -= len(self._tail.popleft().data)
        # Everything is sent and nothing acknowledged: it cannot be kept for a second sending.
        while self.kept_bytes > BUFFER_BYTES:
            oldest = next((n for n, chunk in enumerate(self._sent) if chunk.offset >= HEAD_BYTES), None)
            if oldest is None:
                return
            self.kept_bytes -= len(self._sent[oldest].data)
            del self._sent[oldest]
