"""Where the work comes from: names on the command line, or lines of standard input read as they arrive.

Standard input is read by a thread of its own, which waits while enough has collected; memory does not grow
with the input. `take` and `error` belong to the main thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError

MAX_LINE_BYTES = 1 << 20
READ_BYTES = 1 << 16
HELD_ITEMS = 20_000
"""How much the reader collects ahead of the engine."""

ToWork = Callable[[str], Work]


class Feed(Protocol):
    @property
    def total(self) -> int | None:
        """How much there is in all; None while that is not known."""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""

    def take(self, limit: int) -> list[Work]:
        """What is there now, at most `limit`. Raises UserError for what cannot be run."""


class NamesFeed:
    """Arguments of the command line; all are looked at before anything runs."""

    def __init__(self, names: Sequence[str], to_work: ToWork) -> None:
        for position, name in enumerate(names, start=1):
            check_text(name, f"Argument {position}")
        self.total = len(names)
        self._left: Iterator[Work] = map(to_work, names)
        self._taken = 0

    @property
    def ended(self) -> bool:
        return self._taken >= self.total

    def take(self, limit: int) -> list[Work]:
        works = list(islice(self._left, limit))
        self._taken += len(works)
        return works


class StreamFeed:
    """Items of a byte stream, parted by line ends or NUL. Empty ones are passed over.

    Args:
        wake: called on the reader's thread when there is something new.
    """

    def __init__(self, descriptor: int, separator: bytes, to_work: ToWork, wake: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._separator = separator
        self._to_work = to_work
        self._wake = wake
        self._room = threading.Condition()
        self._items: list[bytes] = []  # guarded by _room, as are the next two
        self._at_end = False
        self._error: Exception | None = None
        self._taken = 0
        self._thread = threading.Thread(target=self._read, name="stdin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def total(self) -> int | None:
        with self._room:
            return self._taken + len(self._items) if self._at_end else None

    @property
    def ended(self) -> bool:
        with self._room:
            return self._at_end and not self._items and self._error is None

    def take(self, limit: int) -> list[Work]:
        with self._room:
            items, self._items = self._items[:limit], self._items[limit:]
            error = self._error if not items else None
            self._room.notify()
        if error is not None:
            raise error
        works = []
        for item in items:
            self._taken += 1
            works.append(self._to_work(_decoded(item, self._taken)))
        return works

    # === the reader's thread
    def _read(self) -> None:
        error: Exception | None = None
        try:
            self._read_all()
        except (OSError, UserError) as caught:
            error = caught if isinstance(caught, UserError) else _unreadable(caught)
        with self._room:
            self._error = error
            self._at_end = True
        self._wake()

    def _read_all(self) -> None:
        rest = b""
        while data := os.read(self._descriptor, READ_BYTES):
            *items, rest = (rest + data).split(self._separator)
            if len(rest) > MAX_LINE_BYTES:
                raise UserError("A line of standard input is longer than 1 MiB.", field="stdin")
            self._add(items)
        self._add([rest])

    def _add(self, items: list[bytes]) -> None:
        items = [item for item in items if item.strip()]
        if not items:
            return
        with self._room:
            self._room.wait_for(lambda: len(self._items) < HELD_ITEMS)
            self._items += items
        self._wake()


def check_text(text: str, what: str) -> None:
    """Raises UserError where a name is not what a command can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(text).decode("utf-8", "backslashreplace")
        raise UserError(
            f"{what} is not valid UTF-8 ({shown}); rename the file, commands carry UTF-8 text only.",
            field="arguments",
        ) from None


def _decoded(item: bytes, number: int) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        shown = item.decode("utf-8", "backslashreplace")
        raise UserError(
            f"Item {number} of standard input is not valid UTF-8 ({shown[:200]}); commands carry UTF-8 text only.",
            field="stdin",
        ) from None


def _unreadable(error: OSError) -> UserError:
    return UserError(f"Standard input cannot be read: {error.strerror or error}.", field="stdin")
