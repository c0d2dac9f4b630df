"""Answers that are kept until something has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from taskmaster_desktop.backend.api import BackendApi

STEADY_S = 1.0
BUSY_S = 0.025
Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """An answer that is made once for all who ask while it is good.

    It is good for `STEADY_S` while nothing is committed (workers are alive all the same), and for `BUSY_S`
    on a busy engine, where every reader would otherwise read anew. Belongs to one loop.
    """

    def __init__(self, api: BackendApi, make: Callable[[], Answer]) -> None:
        self._api = api
        self._make = make
        self._answer: Answer | None = None
        self._made_s = float("-inf")
        self._changes = -1
        self._making = asyncio.Lock()

    def forget(self) -> None:
        """The caller has changed something, and must see it."""
        self._changes = -1
        self._made_s = float("-inf")

    async def get(self, *, exact: bool = False) -> Answer:
        """With `exact` it holds everything that was committed before the call."""
        if self._making.locked() or not self._good(exact):
            async with self._making:
                if not self._good(exact):
                    await self._make_anew()
        return cast("Answer", self._answer)

    async def _make_anew(self) -> None:
        self._changes, self._made_s = self._api.changes, asyncio.get_running_loop().time()
        try:
            self._answer = await asyncio.to_thread(self._make)
        except BaseException:
            self.forget()
            raise

    def _good(self, exact: bool) -> bool:
        age_s = asyncio.get_running_loop().time() - self._made_s
        if self._changes == self._api.changes:
            return age_s < STEADY_S
        return not exact and age_s < BUSY_S
