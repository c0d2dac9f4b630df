"""Callers who wait for the end of batches. On the engine's loop."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.model import BatchRecord


class Waiting:
    """All callers of a batch share one wait of the engine's, which lasts until the batch is done."""

    def __init__(self, api: BackendApi) -> None:
        self._api = api
        self._ends: dict[int, asyncio.Future[BatchRecord]] = {}

    async def until_done(self, batch: int, request: Request, timeout_s: float) -> None:
        """Returns when the batch is done, the time is up or the caller has left. Raises as `wait_batch` does."""
        end: asyncio.Future[Any] | None = self._ends.get(batch)
        if end is None:
            end = self._ends[batch] = asyncio.wrap_future(self._api.wait_batch(batch))
            end.add_done_callback(lambda done: self._over(batch, done))
        left: asyncio.Future[Any] = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({end, left}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
        if end.done():
            end.result()

    def _over(self, batch: int, end: asyncio.Future[BatchRecord]) -> None:
        del self._ends[batch]
        if not end.cancelled():
            end.exception()  # seen, though everybody may have gone


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
