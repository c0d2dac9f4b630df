"""A stream of commands, one a line, read as it comes: memory is bounded by what the commands need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect

from taskmaster_desktop.backend.commands import MAX_COUNT, SubmitBatch, Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.problems import LineError, NotAllowed
from taskmaster_desktop.backend.http.v1.forms import OptionsForm, filled, work_of

MAX_LINE_BYTES = 512 * 1024
"""More than any command takes, each of its characters escaped."""


class Lines:
    """Takes a stream in pieces of any size. Every mistake is a `LineError`, raised as soon as it is seen."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._options = OptionsForm()
        self._number = 0  # of the line read last
        self._begun = b""

    def feed(self, piece: bytes) -> None:
        first, *rest = piece.split(b"\n")
        self._begun += first
        for line in rest:
            self._take(self._begun)
            self._begun = line
        if len(self._begun) > MAX_LINE_BYTES:
            raise LineError(f"it is longer than {MAX_LINE_BYTES // 1024} KiB.", line=self._number + 1)

    def end(self, key: str | None) -> SubmitBatch:
        """All of it, as a command that is still to be checked as a whole."""
        self._take(self._begun)
        self._begun = b""
        if not self._works:
            raise UserError("There is no command in any line.", field="command")
        return self._options.submission(self._works, count=1, key=key)

    def _take(self, line: bytes) -> None:
        self._number += 1
        text = line.strip()
        if not text:
            return
        try:
            item = json.loads(text.decode())
            if isinstance(item, dict) and "options" in item:
                self._take_options(item)
                return
            if len(self._works) == MAX_COUNT:
                raise UserError(f"at most {MAX_COUNT:,} commands in one request.", field="command")
            work = _work_of_object(item) if isinstance(item, dict) else work_of(item)
            work.check()
        except (ValueError, RecursionError) as error:
            what = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
            raise LineError(f"it is not valid {what}.", line=self._number) from None
        except UserError as error:
            raise LineError(str(error), line=self._number, field=error.field) from None
        self._works.append(work)

    def _take_options(self, item: dict[str, Any]) -> None:
        if self._works:
            raise UserError("options must come before the first command.", field="options")
        if set(item) != {"options"}:
            raise UserError("options must stand in a line of their own.", field="options")
        self._options = filled(OptionsForm, item["options"])
        # Checked at once, with a stand-in for the commands, so that the mistake names its line.
        self._options.submission([Work(command="noop")], count=1, key=None).check()


def _work_of_object(item: dict[str, Any]) -> Work:
    unknown = sorted(set(item) - {"command", "argv"})
    if unknown:
        raise UserError(
            f"there is no field {unknown[0]} for a single command; what all share is given as "
            '{"options": {...}} in the first line.',
            field=unknown[0],
        )
    argv = item.get("argv")
    return Work(command=item.get("command"), argv=tuple(argv) if isinstance(argv, list) else argv)


async def read_lines(stream: AsyncIterator[bytes], key: str | None) -> SubmitBatch:
    lines = Lines()
    try:
        async for piece in stream:
            lines.feed(piece)
    except ClientDisconnect:
        # Nobody is there to read it; nothing was done.
        raise NotAllowed(HTTPStatus.BAD_REQUEST, "The request ended before its body did.") from None
    return lines.end(key)
