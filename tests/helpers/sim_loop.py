"""An asyncio event loop on virtual time: coroutines of the real engine run as events of a simulated world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.helpers.sim_world import Crash, Event, Process, World


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of a loop as coroutines, futures and timers need. It runs while the world runs, and each of its
    callbacks is a point at which the process may crash."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def _run(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._process.point()
        except Crash:
            self._world.after(0.0, self._run, callback, *args)  # a dead process is wound up, too
            raise
        asyncio._set_running_loop(self)
        try:
            callback(*args)
        finally:
            asyncio._set_running_loop(None)

    # === callbacks
    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self._world.after(0.0, self._run, callback, *args)

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Event:  # type: ignore[override]
        return self._world.after(delay, self._run, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Event:  # type: ignore[override]
        return self._world.at(when, self._run, callback, *args)

    def time(self) -> float:
        return self._world.now_s

    # === futures
    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """A short call on some other thread."""
        future = self.create_future()
        delay_s = self._world.delay_s(0.0, 0.01) if self._process.alive else 0.0
        self._world.after(delay_s, self._run, self._finish, future, func, args)
        return future

    def _finish(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if not future.done():
            future.set_result(func(*args))

    # === what asyncio asks about a loop
    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Unawaited failures of a process that has crashed."""
