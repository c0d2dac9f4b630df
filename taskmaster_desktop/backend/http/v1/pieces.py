"""Output of an attempt by ranges: what is kept, and what was dropped between."""

from __future__ import annotations

import base64
import codecs
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.finding import as_number
from taskmaster_desktop.backend.model import ACTIVE_STATES, Stream, TaskRecord
from taskmaster_desktop.backend.ports import Query

PIECE_EXAMPLE: dict[str, Any] = {
    "offset": 0, "bytes": 6, "stream": "stdout", "text": "hello\n", "data": None,
}  # fmt: skip


class Encoding(StrEnum):
    """`text` is UTF-8, with a mark for what is not; `base64` is exact."""

    TEXT = "text"
    BASE64 = "base64"


class Gap(BaseModel):
    """Output that was dropped."""

    model_config = views.example({"offset": 1048576, "bytes": 52428800})

    offset: int
    bytes: int


class Piece(BaseModel):
    """Output of one stream; `text` or `data` carries it, as was asked for."""

    model_config = views.example(PIECE_EXAMPLE)

    offset: int = Field(description="Counts both streams together.")
    bytes: int
    stream: Stream
    text: str | None = None
    data: str | None = Field(None, description="In base64.")


class Part(NamedTuple):
    """What `read` found: bytes of one stream, or a gap (no stream) of so many."""

    offset: int
    size: int
    stream: Stream | None
    data: bytes


class Found(NamedTuple):
    """Parts in order, where to go on, and whether nothing more is stored beyond."""

    parts: list[Part]
    next_offset: int
    at_end: bool


def read(query: Query, task: int, attempt: int, start: int, limit: int, stream: Stream | None) -> Found:
    """At most `limit` bytes from `start` on; those of the other stream count but are left out."""
    parts: list[Part] = []
    position, left = start, limit
    for chunk in query.output(task, attempt, start=start):
        if chunk.offset + len(chunk.data) <= position:
            continue
        if left <= 0:
            return Found(parts, position, at_end=False)
        if chunk.offset > position:
            parts.append(Part(position, chunk.offset - position, None, b""))
            position = chunk.offset
        data = chunk.data[position - chunk.offset :]
        cut = data[:left]
        if stream is None or chunk.stream is stream:
            _add(parts, Part(position, len(cut), chunk.stream, cut))
        position += len(cut)
        left -= len(cut)
        if len(cut) < len(data):
            return Found(parts, position, at_end=False)
    return Found(parts, position, at_end=True)


def _add(parts: list[Part], part: Part) -> None:
    """What continues the last part becomes one with it."""
    if parts:
        last = parts[-1]
        if last.stream is part.stream and last.offset + last.size == part.offset:
            parts[-1] = Part(last.offset, last.size + part.size, last.stream, last.data + part.data)
            return
    parts.append(part)


class Teller:
    """Turns parts into what is sent. A character that is cut by the end of a part is told with the next one."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._decoders = {one: codecs.getincrementaldecoder("utf-8")("replace") for one in Stream}

    def piece(self, part: Part) -> Piece:
        assert part.stream is not None
        text = data = None
        if self._encoding is Encoding.TEXT:
            text = self._decoders[part.stream].decode(part.data)
        else:
            data = base64.b64encode(part.data).decode()
        return Piece(offset=part.offset, bytes=part.size, stream=part.stream, text=text, data=data)


def attempt_number(task: TaskRecord, name: str) -> int:
    """`latest` or a number; raises NotFound where the task has no such attempt."""
    number = task.attempt if name == "latest" else as_number(name)
    if number is None:
        raise UserError("attempt must be a number, or latest.", field="attempt")
    if not 1 <= number <= task.attempt:
        many = "no attempt yet" if not task.attempt else f"attempts 1 to {task.attempt}"
        raise NotFound(f"Task {task.number} has {many}.", field="attempt")
    return number


def is_over(task: TaskRecord, attempt: int) -> bool:
    """Nothing more will come of the attempt. True is final; the output must be read after the task was."""
    return task.attempt > attempt or task.state not in ACTIVE_STATES
