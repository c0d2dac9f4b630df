"""The engine: one asyncio loop in a thread of its own, with the coordinator, the workers' sessions and the runtime.

The loop owns every attribute here unless it says otherwise; other threads come in through the methods of
`BackendApi` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.commands import Command
from taskmaster_desktop.backend.coordinator import STOPPING, Coordinator
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.stimuli import Heartbeat
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem, TaskMasterError, UserError
from taskmaster_desktop.backend.group import Group
from taskmaster_desktop.backend.hands import Hands
from taskmaster_desktop.backend.links import Links
from taskmaster_desktop.backend.model import BatchRecord, Level, Totals
from taskmaster_desktop.backend.ports import (
    Clock,
    Ended,
    Query,
    Service,
    Sighting,
    StaleEpoch,
    Store,
    WorkerDoor,
    WorkerRuntime,
)
from taskmaster_desktop.backend.requests import Requests
from taskmaster_desktop.backend.store_thread import StoreCalls

logger = logging.getLogger(__name__)

REOPEN_PAUSE_S = 1.0
KILL_LIMIT_S = 10.0
TIDY_PAUSE_S = 60.0
TIDY_SLICE_PAUSE_S = 0.1


class Engine:
    """Implements `BackendApi`. Owns neither the store nor its thread.

    Args:
        store_thread: where `store` is called.
        validate: check the core's invariants after every stimulus; for tests.
    """

    def __init__(
        self,
        *,
        store: Store,
        store_thread: StoreCalls,
        query: Query,
        runtime: WorkerRuntime,
        door: WorkerDoor,
        clock: Clock,
        policy: Policy,
        instance: str,
        validate: bool = False,
    ) -> None:
        self.query = query
        self.totals = Totals()  # written by the loop, read by all; so are the next four
        self.epoch = 0
        self.changes = 0
        self.trouble: str | None = None
        self.fleet_trouble: str | None = None
        self.fatal: BaseException | None = None  # why the engine ended by itself; written by its thread
        self._runtime = runtime
        self._door = door
        self._coordinator = Coordinator(
            store=store,
            store_thread=store_thread,
            clock=clock,
            policy=policy,
            effects=self,
            validate=validate,
        )
        self._links = Links(self._coordinator, instance=instance, self_stop_s=policy.self_stop_s)
        self._hands = Hands(runtime, door, self._coordinator, query, self.spawn)
        self._requests = Requests(self._coordinator, self.spawn)
        self._listeners: list[events.Listener] = []  # replaced, never changed, by any thread
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop_wanted = asyncio.Event()
        self._stop_grace_s: float | None = None
        self._emptied = asyncio.Event()
        self._services: list[Service] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._owed: set[Future[Any]] = set()  # answers that callers wait for; changed by all threads

    # === life (any thread)
    def start(self) -> None:
        """Begin a new epoch and open the door; returns when workers may connect.

        Raises EnvironmentProblem where the database, the runtime or the door cannot be used.
        """
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="engine", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise

    def stop(self, *, grace_s: float) -> None:
        """Drain workers for at most `grace_s`, kill the rest, and end. May come twice or without a start."""
        if self._thread is not None:
            self.hurry(grace_s=grace_s)
            self._thread.join()

    def hurry(self, *, grace_s: float) -> None:
        """Ask for a stop, or shorten the patience of one under way, without waiting for it."""
        self._post(self._want_stop, grace_s)

    def host(self, service: Service) -> None:
        """Run a service on the loop until the engine ends; returns when it is started. Raises as it does."""
        if self._loop is None:
            raise EngineDown(STOPPING)
        asyncio.run_coroutine_threadsafe(self._start_service(service), self._loop).result()

    async def _start_service(self, service: Service) -> None:
        await service.start()
        self._services.append(service)

    def abandon(self) -> None:
        """End the loop and leave all workers as they are, as a crash would; for tests of recovery."""
        if self._thread is not None:
            self._post(self._stop_wanted.set)
            self._thread.join()

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _post(self, call: Callable[..., object], *args: object) -> bool:
        """Have something run on the loop; False where it has ended."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True

    def _run(self, ready: Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main(ready))
        except BaseException as error:
            if ready.done():
                self.fatal = error
                logger.exception("the engine ended by itself")
            else:
                ready.set_exception(error)
        finally:
            for future in list(self._owed):  # what the loop did not come to any more
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(EngineDown(STOPPING))

    async def _main(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self._runtime.watch(self)
            await self._runtime.start()
            await self._begin()
            await self._door.start(self._links, self._runtime.listen_hosts)
            self._coordinator.feed(stimuli.Tick())
            self.spawn(self._keep_tidy())
            ready.set_result(None)
            await self._stop_wanted.wait()
            if self._stop_grace_s is not None:
                await self._shut_down(self._stop_grace_s)
        finally:
            await self._close()

    async def _begin(self) -> None:
        recovery = await self._coordinator.begin()
        self._links.begin(recovery.epoch)
        self.epoch = recovery.epoch
        self.totals = recovery.totals
        await self._hands.reconcile(recovery.workers)

    # === stopping (loop)
    def _want_stop(self, grace_s: float) -> None:
        if self._stop_grace_s is None or grace_s < self._stop_grace_s:
            hurried = self._stop_grace_s is not None
            self._stop_grace_s = grace_s
            if hurried and self._loop is not None:
                self._loop.call_later(grace_s, self._kill_all)
        self._stop_wanted.set()

    async def _shut_down(self, grace_s: float) -> None:
        """Nothing new starts; what runs may end by itself for a while; the rest is killed."""
        if not self._coordinator.running:
            return
        self._emptied.clear()  # it may have been set by a fleet that was empty earlier
        self._coordinator.feed(stimuli.Shutdown())
        self._check_emptied()
        try:
            async with asyncio.timeout(grace_s):
                await self._emptied.wait()
        except TimeoutError:
            self._kill_all()
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await self._emptied.wait()
        except TimeoutError:
            logger.error("some workers could not be ended in time")
        if self._coordinator.running:
            await asyncio.wrap_future(self._coordinator.read(lambda store: None))  # all before it is written

    def _kill_all(self) -> None:
        if self._coordinator.running:
            for number in self._coordinator.machine.worker_numbers:
                self._coordinator.feed(stimuli.OrderKill(worker=number))

    def _check_emptied(self) -> None:
        if self._coordinator.running and not self._coordinator.machine.worker_numbers:
            self._emptied.set()

    async def _close(self) -> None:
        while self._services:
            await self._services.pop().stop()
        await self._coordinator.close()
        self._links.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._door.close()
        await self._runtime.close()
        self._requests.close(EngineDown(STOPPING))

    # === Effects (loop)
    def durable(self, group: Group) -> None:
        self._links.carry_out(group)
        self._hands.act(group.actions)
        if group.changes.totals is not None:
            self.totals = group.changes.totals
        self.changes += 1
        group.answer()
        self._requests.committed(group.changes.batches)
        self._publish(group)
        self._check_emptied()

    def failed(self, error: BaseException, message: str) -> None:
        logger.error(
            "starting over: %s", error, exc_info=None if isinstance(error, TaskMasterError) else error
        )
        self.trouble = message
        self._links.drop_all("the engine starts over")
        self._tell(events.StoreFailed(message=message))
        if isinstance(error, StaleEpoch):
            self.fatal = error
            self._stop_wanted.set()
        else:
            self.spawn(self._start_over())

    async def _start_over(self) -> None:
        while True:
            try:
                await self._begin()
                break
            except EnvironmentProblem as problem:
                self.trouble = str(problem)
                await asyncio.sleep(REOPEN_PAUSE_S)
        self.trouble = None
        self._coordinator.feed(stimuli.Tick())
        self._requests.look_again()
        self._tell(events.StoreRecovered())

    def _publish(self, group: Group) -> None:
        if not self._listeners:
            return
        for new in group.changes.new:
            self._tell(events.TasksAdded(batch=new.batch, first=new.record(0)))
        changed = group.changed_tasks()
        if changed:
            self._tell(events.TasksChanged(changes=changed))
        for task, attempt, offset, stream, data in group.changes.output:
            self._tell(
                events.OutputArrived(task=task, attempt=attempt, stream=stream, offset=offset, data=data)
            )
        if group.changes.attempts:
            self._tell(events.AttemptsEnded(attempts=tuple(group.changes.attempts)))
        if group.finished:
            self._tell(events.TasksFinished(tasks=tuple(group.finished)))
        for line in group.changes.events:
            self._tell(events.Logged(line=line))

    def _tell(self, event: events.Event) -> None:
        """A failing listener is logged and hurts nobody else."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)

    # === beside (loop)
    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; a failure is logged, the engine's end cancels it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, EngineDown):
            logger.error("a side task failed", exc_info=error)

    # === RuntimeWatcher (loop)
    def worker_ended(self, worker_id: str, ended: Ended) -> None:
        if not self._coordinator.running:
            return
        number = self._coordinator.machine.worker_number(worker_id)
        if number is not None:
            self._coordinator.feed(
                stimuli.WorkerEnded(
                    worker=number,
                    reason=ended.reason,
                    clean=ended.clean,
                    oom=ended.oom,
                    excused=ended.excused,
                )
            )

    def runtime_trouble(self, trouble: str | None) -> None:
        self.fleet_trouble = trouble
        if trouble is None and self._coordinator.running:
            self._coordinator.feed(stimuli.RuntimeReady())

    def runtime_news(self, level: Level, message: str) -> None:
        if self._coordinator.running:
            self._coordinator.feed(stimuli.RuntimeNews(level=level, message=message))

    async def _keep_tidy(self) -> None:
        """Retention: slice after slice while there is something to do, then a long pause."""
        pause_s = TIDY_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            more = self._coordinator.running and await asyncio.wrap_future(self._coordinator.tidy())
            pause_s = TIDY_SLICE_PAUSE_S if more else TIDY_PAUSE_S

    # === BackendApi (any thread)
    @property
    def sightings(self) -> Mapping[str, Sighting]:
        return self._runtime.sightings

    @property
    def usage(self) -> dict[int, Heartbeat]:
        return self._links.usage

    @property
    def heard(self) -> dict[int, int]:
        return self._links.heard

    def submit(self, command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            command.check()
            request = self._requests.prepare(command)
        except UserError as error:
            future.set_exception(error)
            return future
        return self._enter(future, self._requests.take, request, future)

    def wait_batch(self, batch: int) -> Future[BatchRecord]:
        future: Future[BatchRecord] = Future()
        return self._enter(future, self._requests.wait_batch, batch, future)

    def worker_log(self, worker: int, *, tail_bytes: int = 65_536) -> Future[bytes]:
        future: Future[bytes] = Future()
        return self._enter(future, self._hands.read_log, worker, tail_bytes, future)

    def _enter(self, future: Future[Any], call: Callable[..., None], *args: object) -> Future[Any]:
        self._owed.add(future)
        future.add_done_callback(self._owed.discard)
        if not self._post(call, *args):
            future.set_exception(EngineDown("The engine is not running."))
        return future

    def subscribe(self, listener: events.Listener) -> Callable[[], None]:
        self._listeners = [*self._listeners, listener]

        def stop() -> None:
            self._listeners = [other for other in self._listeners if other is not listener]

        return stop
