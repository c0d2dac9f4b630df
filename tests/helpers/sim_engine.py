"""The real engine, run as a process of a simulated world: everything of it but its thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from taskmaster_desktop.backend.commands import Command
from taskmaster_desktop.backend.core.machine import Machine
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.engine import Engine
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem
from tests.helpers.sim_loop import VirtualLoop
from tests.helpers.sim_ports import SimClock, SimDoor, SimPort, SimStore, SimThread
from tests.helpers.sim_runtime import SimRuntime
from tests.helpers.sim_store import MemoryStore
from tests.helpers.sim_world import Crash, Process, World

BURIAL_ATTEMPTS = 5


class WatchedEngine(Engine):
    """Tells the world of faults that the engine would mend by starting over."""

    world: World

    def failed(self, error: BaseException, message: str) -> None:
        self.world.note("engine starts over:", type(error).__name__)
        if not isinstance(error, EnvironmentProblem):
            self.world.broken = self.world.broken or error
        super().failed(error, message)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, EngineDown | Crash):
            self.world.broken = self.world.broken or error
        super()._spawned_ended(task)


class SimEngine:
    """One process of the engine, from its start to its end.

    Attributes:
        process: whether it lives, and for how long.
        ended: it came to an end by itself.
    """

    def __init__(
        self, world: World, database: MemoryStore, runtime: SimRuntime, policy: Policy, *, points: int | None
    ) -> None:
        self.world = world
        self.process = Process(world, points=points)
        self._thread = SimThread(self.process)
        self._runtime = runtime
        self._door = SimDoor(self.process, runtime)
        store = SimStore(database)
        self._engine = WatchedEngine(
            store=store,
            store_thread=self._thread,
            query=store,  # type: ignore[arg-type]
            runtime=SimPort(self.process, runtime, self_stop_s=policy.self_stop_s),  # type: ignore[arg-type]
            door=self._door,
            clock=SimClock(world),
            policy=policy,
            instance="simulated",
            validate=True,
        )
        self._engine.world = world
        self._loop = VirtualLoop(world, self.process)
        self.ended = False
        self._main = self._loop.create_task(self._engine._main(Future()))
        self._main.add_done_callback(self._ended)

    def _ended(self, main: asyncio.Task[None]) -> None:
        self.ended = True
        if not main.cancelled() and main.exception() is not None and self.process.alive:
            self.world.note("engine could not start:", type(main.exception()).__name__)
            if not isinstance(main.exception(), EnvironmentProblem):
                self.world.broken = self.world.broken or main.exception()
            raise Crash

    def crash(self) -> None:
        """Everything in memory is gone, the system closes all connections."""
        self.world.note("engine crashes")
        self.process.alive = False
        self._runtime.on_ended = lambda worker_id, ended: None
        self._door.shut()
        self._thread.kill()
        self._main.cancel()  # only so that nothing is left lying about

    def bury(self) -> None:
        """Let the coroutines of a dead process come to their end."""
        for _ in range(BURIAL_ATTEMPTS):
            if not self.ended:
                self._main.cancel()
                self.world.run_only(lambda event: event.belongs_to(self._loop), done=lambda: self.ended)

    # === people
    def submit(self, command: Command) -> Future[Any] | None:
        """None where nobody listens."""
        return self._engine.submit(command) if self.process.alive and self._engine._loop is not None else None

    def wait_batch(self, batch: int) -> Future[Any]:
        return self._engine.wait_batch(batch)

    def stop(self, *, grace_s: float) -> None:
        self._engine.hurry(grace_s=grace_s)

    # === looking
    @property
    def machine(self) -> Machine | None:
        coordinator = self._engine._coordinator
        return coordinator.machine if coordinator.running else None

    @property
    def owed(self) -> set[Future[Any]]:
        """Answers that callers wait for."""
        return self._engine._owed

    @property
    def idle(self) -> bool:
        """Everything that was asked for is durable and carried out."""
        coordinator = self._engine._coordinator
        return (
            self.process.alive
            and coordinator.running
            and coordinator._writing is None
            and coordinator._group.idle
            and not self.owed
        )
