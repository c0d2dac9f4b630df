"""What a task has printed, as it comes over the wire: by ranges afterwards, or live until it has finished."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.cli.client.instance import Client, path_of
from taskmaster_desktop.cli.client.text import counted
from taskmaster_desktop.cli.output import Output

RANGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of one stream; a gap of dropped ones where `stream` is empty."""

    attempt: int
    offset: int
    size: int
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """A further attempt begins."""

    number: int


@dataclass(frozen=True, slots=True)
class End:
    """The task has finished; `facts` as the API tells them."""

    facts: dict[str, Any]


Heard = Piece | Attempt | End


def kept(client: Client, task: str, attempt: str, stream: str | None) -> Iterator[Piece]:
    """All that is kept of an attempt, in order."""
    path = path_of("tasks", task, "attempts", attempt, "output")
    offset, at_end = 0, False
    while not at_end:
        asked = {"offset": offset, "limit": RANGE_BYTES, "stream": stream, "encoding": "base64"}
        found = client.get(path, asked)
        number, offset, at_end = found["attempt"], found["next_offset"], found["at_end"]
        pieces = [_piece(number, one) for one in found["pieces"]]
        pieces += [_gap(number, one) for one in found["gaps"]]
        yield from sorted(pieces, key=lambda piece: piece.offset)


def live(client: Client, task: str, attempt: str | None, stream: str | None) -> Iterator[Heard]:
    """From the beginning of an attempt (without: of the newest, or the first to come) until the task has finished."""
    path = path_of("tasks", task, "output", "follow")
    asked = {"attempt": attempt, "stream": stream, "encoding": "base64"}
    for event in client.events(path, asked):
        heard = _heard(event.name, json.loads(event.data))
        if heard is not None:
            yield heard
        if isinstance(heard, End):
            return


def _heard(name: str, data: dict[str, Any]) -> Heard | None:
    if name == "output":
        return _piece(data["attempt"], data)
    if name == "gap":
        return _gap(data["attempt"], data)
    if name == "attempt":
        return Attempt(data["attempt"])
    if name == "trouble":
        raise EnvironmentProblem(str(data["detail"]), fix="")
    return End(data) if name == "end" else None


def _piece(attempt: int, told: dict[str, Any]) -> Piece:
    data = base64.b64decode(told["data"])
    return Piece(attempt=attempt, offset=told["offset"], size=len(data), stream=told["stream"], data=data)


def _gap(attempt: int, told: dict[str, Any]) -> Piece:
    return Piece(attempt=attempt, offset=told["offset"], size=told["bytes"], stream="", data=b"")


def put_out(output: Output, heard: Heard) -> None:
    """Bytes to the stream they came from; under --json one object on a line."""
    output.json(_as_json(heard))
    if not output.as_json and isinstance(heard, Piece):
        if not heard.stream:
            output.problem(f"{counted(heard.size, 'byte')} of output are not kept.")
        elif heard.stream == "stdout":
            output.data(heard.data)
        else:
            output.note_data(heard.data)


def _as_json(heard: Heard) -> dict[str, Any]:
    if isinstance(heard, Attempt):
        return {"event": "attempt", "attempt": heard.number}
    if isinstance(heard, End):
        return {"event": "end", **heard.facts}
    place = {"attempt": heard.attempt, "offset": heard.offset, "bytes": heard.size}
    if not heard.stream:
        return {"event": "gap", **place}
    return {"event": "output", **place, "stream": heard.stream, **_content(heard.data)}


def _content(data: bytes) -> dict[str, str]:
    """Exact in any case: `base64` where a piece by itself is no text."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
