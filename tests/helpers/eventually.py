"""Waiting for something that another thread, task or process will do; the only place in tests that waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

POLL_S = 0.01


def eventually(condition: Callable[[], object], *, timeout_s: float = 5.0, what: str = "") -> None:
    """Returns as soon as `condition()` is true; blocks the calling thread meanwhile.

    Raises:
        AssertionError: it was still false after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    never = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        never.wait(POLL_S)


async def until(condition: Callable[[], object], *, timeout_s: float = 5.0, what: str = "") -> None:
    """As `eventually`, for coroutines: the event loop runs on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        await asyncio.sleep(POLL_S)
