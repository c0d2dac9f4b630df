"""Answers that are kept until something has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskmaster_desktop.backend.api import BackendApi

STEADY_S = 1.0
BUSY_S = 0.025


class Kept:
    """An answer that is made once for all who ask while it is good.

    It is good for `STEADY_S` while nothing is committed (workers are alive all the same), and for `BUSY_S`
    on a busy engine, where every reader would otherwise read anew. Belongs to one loop.
    """

    def __init__(self, api: BackendApi, make: Callable[[], bytes]) -> None:
        self._api = api
        self._make = make
        self._bytes = b""
        self._made_s = float("-inf")
        self._changes = -1
        self._making = asyncio.Lock()

    def forget(self) -> None:
        """The caller has changed something, and must see it."""
        self._changes = -1
        self._made_s = float("-inf")

    async def get(self) -> bytes:
        if self._making.locked() or not self._good():
            async with self._making:
                if not self._good():
                    self._changes, self._made_s = self._api.changes, asyncio.get_running_loop().time()
                    try:
                        self._bytes = await asyncio.to_thread(self._make)
                    except BaseException:
                        self.forget()
                        raise
        return self._bytes

    def _good(self) -> bool:
        age_s = asyncio.get_running_loop().time() - self._made_s
        return age_s < (STEADY_S if self._changes == self._api.changes else BUSY_S)
