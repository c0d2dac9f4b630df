"""The engine's hands: carries out what the core instructs about workers. Runs on the engine's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any

from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import KillWorker, RuntimeAction, StartWorker
from taskmaster_desktop.backend.errors import EnvironmentProblem, NotFound, TaskMasterError
from taskmaster_desktop.backend.model import WorkerRecord
from taskmaster_desktop.backend.ports import Query, WorkerDoor, WorkerRuntime

logger = logging.getLogger(__name__)

GONE = "the engine was restarted and it was gone"
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Hands:
    """Starts, ends and looks for workers through the runtime, and tells the core what came of it."""

    def __init__(
        self,
        runtime: WorkerRuntime,
        door: WorkerDoor,
        coordinator: Coordinator,
        query: Query,
        spawn: Spawn,
    ) -> None:
        self._runtime = runtime
        self._door = door
        self._coordinator = coordinator
        self._query = query
        self._spawn = spawn

    def act(self, actions: Sequence[RuntimeAction]) -> None:
        for action in actions:
            if isinstance(action, StartWorker):
                self._spawn(self._start(action.worker))
            elif isinstance(action, KillWorker):
                self._spawn(self._runtime.kill(action.worker))
            else:
                self._spawn(self._runtime.terminate(action.worker))

    async def _start(self, worker: WorkerRecord) -> None:
        try:
            handle = await self._runtime.launch(worker, self._door.secret_for(worker))
        except EnvironmentProblem as problem:
            reason = f"it could not be started: {str(problem).rstrip('.')}"
            self._coordinator.feed(stimuli.LaunchFailed(worker=worker.number, reason=reason))
        else:
            self._coordinator.feed(stimuli.WorkerLaunched(worker=worker.number, handle=handle))

    async def reconcile(self, expected: Sequence[WorkerRecord]) -> None:
        """After a (re)start: compare the workers we remember with those that are there."""
        observed = {worker.id: worker for worker in await self._runtime.observe()}
        for worker in expected:
            seen = observed.pop(worker.id, None)
            if seen is None or not seen.alive:
                self._coordinator.feed(stimuli.WorkerEnded(worker=worker.number, reason=GONE))
        strangers = {worker.id for worker in observed.values() if worker.alive}
        if strangers:
            known = await asyncio.to_thread(self._query.workers, living_only=False)
            for record in known:
                if record.id in strangers:
                    logger.warning("%s was given up earlier but still runs; it is killed", record.name)
                    self._spawn(self._runtime.kill(record))

    def read_log(self, number: int, tail_bytes: int, future: Future[bytes]) -> None:
        self._spawn(self._read_log(number, tail_bytes, future))

    async def _read_log(self, number: int, tail_bytes: int, future: Future[bytes]) -> None:
        try:
            for record in await asyncio.to_thread(self._query.workers, living_only=False):
                if record.number == number:
                    future.set_result(await self._runtime.log(record, tail_bytes=tail_bytes))
                    return
            raise NotFound(f"There is no worker {number}.", field="worker")
        except TaskMasterError as error:
            future.set_exception(error)
