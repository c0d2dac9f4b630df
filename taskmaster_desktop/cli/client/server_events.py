"""Server-sent events, read from bytes in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One server-sent event; `id` is empty where it has none."""

    name: str
    data: str
    id: str


def events_in(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Parted by line ends alone: JSON may hold characters that only look like one."""
    name, event_id = "message", ""
    data: list[str] = []
    for raw in _lines_in(chunks):
        line = raw.decode(errors="replace").removesuffix("\r")
        if not line:
            if data:
                yield ServerEvent(name, "\n".join(data), event_id)
            name, event_id, data = "message", "", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
        elif key == "id":
            event_id = value


def _lines_in(chunks: Iterable[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        begun.append(first)
        for line in rest:
            yield b"".join(begun)
            begun = [line]
