"""The stream of the engine's events, as hints. One thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from taskmaster_desktop.backend.containers.api import ContainerApi
from taskmaster_desktop.backend.errors import EnvironmentProblem

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
STOP_LIMIT_S = 2.0


class EventListener:
    """Calls back on the loop. The stream may end silently at any time; it is opened again, for ever.

    Args:
        on_event: gets the id of the container that something happened to.
        on_lost: the stream had ended and is open again, so something may have been missed.
    """

    def __init__(
        self,
        api: ContainerApi,
        instance: str,
        *,
        on_event: Callable[[str], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._api = api
        self._instance = instance
        self._on_event = on_event
        self._on_lost = on_lost
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: Any = None  # under the lock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Waits for the thread, but not for an engine that hangs: then the thread ends when that answers."""
        self._stopping.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            _close(stream)
        if self._thread is not None:
            self._thread.join(STOP_LIMIT_S)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        first = True
        while not self._stopping.is_set():
            try:
                stream = self._api.events(self._instance)
            except EnvironmentProblem as problem:
                log.debug("no events: %s", problem)
            else:
                if not first:
                    self._post(self._on_lost)
                first, pause_s = False, FIRST_PAUSE_S
                self._listen(stream)
                self._post(self._on_lost)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _listen(self, stream: Any) -> None:
        with self._lock:
            self._stream = stream
        if self._stopping.is_set():
            _close(stream)
        try:
            for event in stream:
                self._post(self._on_event, event.get("id") or event.get("Actor", {}).get("ID", ""))
        except Exception as error:  # noqa: BLE001 - the library lets through whatever the connection raises
            log.debug("the stream of events broke: %r", error)
        finally:
            with self._lock:
                self._stream = None
            _close(stream)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        if not self._stopping.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


def _close(stream: Any) -> None:
    """Closing what has just closed itself may fail in many ways."""
    try:
        stream.close()
    except Exception as error:  # noqa: BLE001 - the library looks for a socket that may be gone
        log.debug("the stream of events was closed already: %r", error)
