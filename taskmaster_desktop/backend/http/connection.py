"""One connection of a client: who it is, and how long it may take to say what it wants."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from taskmaster_desktop.backend.http.caller import caller_of

REQUEST_LIMIT_S = 10.0
HARD_FACTOR = 2
WRITE_BUFFER_BYTES = 16 * 1024


class Connection(H11Protocol):
    """Uvicorn's protocol with the kernel's verdict on the other end, asked for as it is accepted.

    Every request of this connection, and of no other, carries it in `scope["state"]["caller"]`, and in "cut" how
    to end the connection at once. Connections that do not send a whole head of a request in time are closed, and so is what comes beyond
    `HARD_FACTOR` times the limit at which requests are refused.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if (
            self.limit_concurrency is not None
            and len(self.connections) > HARD_FACTOR * self.limit_concurrency
        ):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)  # a stalled reader holds that much back
        caller = caller_of(transport.get_extra_info("socket"))
        self.app_state = {**self.app_state, "caller": caller, "cut": transport.abort}
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """The clock runs from the first byte to the last of a head, however many pieces it comes in."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop_watching()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(REQUEST_LIMIT_S, self.transport.close)

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade is ignored in silence: any page can ask for one, and the log belongs to the user."""
