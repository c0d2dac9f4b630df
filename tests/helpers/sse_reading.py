"""Reads server-sent events as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    data: str = ""
    event: str = "message"
    id: str | None = None
    comment: bool = False

    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(slots=True)
class Reader:
    """One open stream; `answer` is its head."""

    answer: httpx.Response
    _lines: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.answer.iter_lines()

    def events(self, *, comments: bool = False) -> Iterator[Event]:
        """Blocks for the next one; ends with the stream."""
        fields: dict[str, list[str]] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
                continue
            if "data" in fields:
                yield Event(
                    data="\n".join(fields["data"]),
                    event=fields.get("event", ["message"])[-1],
                    id=fields["id"][-1] if "id" in fields else None,
                )
            elif "" in fields and comments:
                yield Event(comment=True, data=fields[""][-1])
            fields = {}

    def until(self, wanted: str) -> list[Event]:
        """All events up to the first with this in its data."""
        found = []
        for event in self.events():
            found.append(event)
            if wanted in event.data:
                return found
        raise AssertionError(f"the stream ended before {wanted!r}: {found}")


@contextmanager
def reading(client: httpx.Client, target: str, **more: Any) -> Iterator[Reader]:
    with client.stream("GET", target, **more) as answer:
        yield Reader(answer)
