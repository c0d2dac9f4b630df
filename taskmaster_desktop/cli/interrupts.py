"""Ctrl-C, SIGTERM and a hang-up: the first asks for a clean end, the second for the end at once.

Handlers run on the main thread between two of its instructions, so they only set flags, wake who waits and
call what is safe there. Nothing raises KeyboardInterrupt: clean-up is never cut in two.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from taskmaster_desktop.cli import exit_codes

LAST_LIMIT_S = 1.5
"""After the second signal: how long killing may take before the process goes all the same."""


class Interrupts:
    """Counts the signals while `telling` is entered."""

    def __init__(self) -> None:
        self.count = 0  # written by the handlers, which run on the main thread
        self._on_first: Callable[[], None] = _nothing
        self._on_second: Callable[[], None] = _nothing
        self._bell = threading.Event()

    @contextmanager
    def telling(
        self, on_second: Callable[[], None], *, on_first: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Listen meanwhile. Both are called in the signal handler and must not block."""
        self._on_first, self._on_second = on_first or _nothing, on_second
        before = {number: signal.signal(number, self._arrived) for number in _listened_to()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def wanted(self) -> bool:
        """Somebody asked for the end."""
        return self.count > 0

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first signal; True when it has come."""
        return self._bell.wait(timeout_s)

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self._bell.set()
        if self.count == 1:
            self._on_first()
        elif self.count == 2:
            last = threading.Timer(LAST_LIMIT_S, os._exit, (exit_codes.INTERRUPTED,))
            last.daemon = True
            last.start()
            self._on_second()


def _listened_to() -> list[signal.Signals]:
    """A hang-up ends us too, unless we were told to outlive it (nohup)."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def _nothing() -> None:
    """For a signal that nobody listens to."""
