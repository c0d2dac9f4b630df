"""The Docker runtime: workers as containers. On the engine's loop, which never waits for Docker.

What blocks runs elsewhere: orders on a small pool of threads, looking on one thread, events on another. What
is true is what the list of containers says: it is looked at every few seconds, at once when an event hints
that something happened, and every container in full now and then and after the connection was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from taskmaster_desktop.backend.containers.api import Absent, Conflict, ContainerApi
from taskmaster_desktop.backend.containers.events import EventListener
from taskmaster_desktop.backend.containers.launch import Launcher
from taskmaster_desktop.backend.containers.preparing import Prepared
from taskmaster_desktop.backend.containers.scan import Scan, scan
from taskmaster_desktop.backend.containers.surroundings import Surroundings
from taskmaster_desktop.backend.containers.truth import Seen, judge
from taskmaster_desktop.backend.containers.worker_logs import WorkerLogs
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import Level, WorkerRecord
from taskmaster_desktop.backend.ports import (
    Clock,
    Ended,
    ObservedWorker,
    RuntimeWatcher,
    Sighting,
    WorkerSecret,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

ORDER_THREADS = 4
LOOK_EVERY_S = 2.5
FULL_LOOK_EVERY_S = 10.0
LOG_LINES = 500
SAME_START_S = 0.001
CLOSE_LIMIT_S = 10.0
"""How long what is under way may take when the runtime is closed."""
REMOVED = Ended(reason="its container was removed by somebody else")
RESTARTED = Ended(reason="its container was restarted by somebody else")
NOT_RUNNING = Ended(reason="it was not running")
BY_ORDER = Ended(reason="killed by order")


@dataclass(slots=True)
class _Worker:
    """A container that we started or adopted, until its end is told.

    Attributes:
        last: as it was seen when it started or was adopted.
        ordered: we want it dead.
    """

    last: Seen
    ordered: bool = False


class ContainerRuntime:
    """Implements `WorkerRuntime`.

    Args:
        api: shared by all threads here; closed with the runtime.
        instance: id of this instance; only what carries it is touched.
        data_dir: where the logs of ended workers are kept.
    """

    name = "docker"
    self_stop_s = 60.0
    confirms_death = True

    def __init__(
        self, api: ContainerApi, *, prepared: Prepared, instance: str, data_dir: Path, clock: Clock
    ) -> None:
        self.listen_hosts: tuple[str, ...] = ()
        self._sightings: dict[str, Sighting] = {}
        self.sightings: Mapping[str, Sighting] = self._sightings
        self._api = api
        self._engine_id = prepared.engine_id
        self._instance = instance
        self._clock = clock
        self._surroundings = Surroundings(
            api, instance=instance, data_dir=data_dir, network=prepared.profile.network
        )
        self._launcher = Launcher(
            api,
            profile=prepared.profile,
            instance=instance,
            data_dir=data_dir,
            surroundings=self._surroundings,
            desktop=prepared.desktop,
        )
        self._logs = WorkerLogs(data_dir / "worker-logs")
        self._events = EventListener(api, instance, on_event=self._hint, on_lost=self._connection_lost)
        self._orders: ThreadPoolExecutor | None = None
        self._eyes: ThreadPoolExecutor | None = None
        self._watcher: RuntimeWatcher | None = None
        self._workers: dict[str, _Worker] = {}
        self._launches: dict[str, asyncio.Task[str]] = {}
        self._wanted_dead: set[str] = set()  # killed before it was known whether there is such a container
        self._removing: set[str] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._hints: set[str] = set()
        self._look_now = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._full_look_due_s = 0.0
        self._observed = False
        self._closing = False
        self._trouble: str | None = None
        self._lost_s: float | None = None  # since when the engine has not answered; UTC seconds

    def watch(self, watcher: RuntimeWatcher) -> None:
        self._watcher = watcher

    async def start(self) -> None:
        if self._orders is not None:
            return
        self._orders = ThreadPoolExecutor(max_workers=ORDER_THREADS, thread_name_prefix="docker")
        self._eyes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="docker-eyes")
        try:
            self.listen_hosts = await self._order(self._surroundings.prepare)
        except BaseException:
            await self.close()
            raise
        self._events.start(asyncio.get_running_loop())
        self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        if self._orders is None or self._eyes is None or self._closing:
            return
        self._closing = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        await self._finish()
        orders, self._orders = self._orders, None
        eyes, self._eyes = self._eyes, None
        await asyncio.to_thread(self._let_go, orders, eyes)
        self._closing = False
        self._workers.clear()
        self._sightings.clear()

    async def _finish(self) -> None:
        """What is under way comes to its end; an engine that hangs is not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await asyncio.gather(*self._launches.values(), return_exceptions=True)
                await self._sweep()
                while self._chores:
                    await asyncio.wait(self._chores)
        left = [*self._launches.values(), *self._chores]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _sweep(self) -> None:
        """What has ended since the last look is taken away; living workers stay for the next engine."""
        try:
            found = await self._scan(full=False)
        except EnvironmentProblem as problem:
            log.info("ended containers may be left: %s", problem)
            return
        for one in found.seen.values():
            if not one.alive:
                self._remove(one.id, worker_id=one.worker_id)

    def _let_go(self, orders: ThreadPoolExecutor, eyes: ThreadPoolExecutor) -> None:
        self._events.stop()
        if self._trouble is None:
            self._surroundings.dismantle()
        orders.shutdown(cancel_futures=True)
        eyes.shutdown(cancel_futures=True)
        self._api.close()

    # === what the engine asks for
    async def launch(self, worker: WorkerRecord, secret: WorkerSecret) -> str:
        known = self._workers.get(worker.id)
        if known is not None:
            return known.last.id
        launching = self._launches.get(worker.id)
        if launching is None:
            launching = asyncio.get_running_loop().create_task(self._launch(worker, secret))
            self._launches[worker.id] = launching
            launching.add_done_callback(lambda _: self._launches.pop(worker.id, None))
        return await asyncio.shield(launching)  # a started container must be watched, whoever loses interest

    async def _launch(self, worker: WorkerRecord, secret: WorkerSecret) -> str:
        started = await self._order(self._launcher.run, worker, secret)
        known = _Worker(started, ordered=worker.id in self._wanted_dead)
        self._workers[worker.id] = known
        self._sightings[worker.id] = Sighting(name=started.name)
        self._hint(started.id)  # it may have ended already
        return started.id

    async def terminate(self, worker: WorkerRecord) -> None:
        known = self._workers.get(worker.id)
        if known is not None:
            await self._send_signal(known.last.id, "SIGTERM")

    async def kill(self, worker: WorkerRecord) -> None:
        self._wanted_dead.add(worker.id)
        known = self._workers.get(worker.id)
        if known is not None:
            known.ordered = True
            await self._send_signal(known.last.id, "SIGKILL")
        self._look_soon()

    async def _send_signal(self, container: str, signal: str) -> None:
        """One that ends by itself at the same moment is fine; one that is wanted dead is tried again by looking."""
        try:
            await self._order(self._api.signal, container, signal)
        except (Absent, Conflict):
            self._hint(container)
        except EnvironmentProblem as problem:
            log.info("%s could not be sent: %s", signal, problem)

    async def observe(self) -> Sequence[ObservedWorker]:
        found = await self._scan(full=True)
        observed = []
        for one in found.seen.values():
            known = self._workers.get(one.worker_id)
            if one.alive and known is None and one.worker_id not in self._launches:
                self._workers[one.worker_id] = _Worker(one)
                self._sightings[one.worker_id] = Sighting(name=one.name, paused=one.paused)
            elif not one.alive and known is None:
                self._remove(one.id, worker_id=one.worker_id)
            observed.append(ObservedWorker(id=one.worker_id, handle=one.id, alive=one.alive))
        self._observed = True
        if await self._order(self._surroundings.is_another_engine, self._engine_id) and self._watcher:
            self._watcher.runtime_news(
                Level.WARNING,
                "Another Docker Engine answers than last time; workers of that one are not seen here.",
            )
        return observed

    async def log(self, worker: WorkerRecord, *, tail_bytes: int) -> bytes:
        known = self._workers.get(worker.id)
        if known is not None:
            text = await self._order(self._api.log, known.last.id, tail=LOG_LINES)
        else:
            text = await self._order(self._logs.read, worker.id)
        return text[-tail_bytes:]

    # === looking
    def _hint(self, container: str) -> None:
        """Something may have happened to this container."""
        self._hints.add(container)
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_now.set()

    def _connection_lost(self) -> None:
        """The stream of events has ended: whatever happened since is seen by looking at everything."""
        self._note_loss()
        self._full_look_due_s = 0.0
        self._look_soon()

    def _note_loss(self) -> None:
        if self._lost_s is None:
            self._lost_s = self._clock.now().wall_us / 1e6

    async def _keep_looking(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            if self._observed:
                await self._look()

    async def _look(self) -> None:
        now_s = self._clock.now().mono_s
        full = now_s >= self._full_look_due_s
        before = frozenset(self._workers)  # the look says nothing about who comes while it is under way
        try:
            found = await self._scan(full=full)
        except EnvironmentProblem as problem:
            self._full_look_due_s = 0.0
            self._has_trouble(problem)
            return
        if full:
            self._full_look_due_s = now_s + FULL_LOOK_EVERY_S
        self._is_well()
        self._compare(found, before)
        self._lost_s = None

    async def _scan(self, *, full: bool) -> Scan:
        if self._eyes is None:
            raise RuntimeError("the Docker runtime is not running")
        hints, self._hints = self._hints, set()
        call = functools.partial(scan, self._api, self._instance, hints=frozenset(hints), full=full)
        return await asyncio.get_running_loop().run_in_executor(self._eyes, call)

    def _compare(self, found: Scan, before: frozenset[str]) -> None:
        """Bring what we believed `before` the look in line with what is there."""
        for worker_id in before & self._workers.keys():
            known = self._workers[worker_id]
            if known.last.id not in found.present:
                self._ended(worker_id, known, REMOVED if not known.ordered else BY_ORDER)
            elif known.last.id in found.seen:
                self._compare_one(worker_id, known, found.seen[known.last.id])
        ours = {known.last.id for known in self._workers.values()}
        for container, worker_id in found.present.items():
            if container not in ours and worker_id not in self._launches:
                # A start that was given up, or an end that was told: nobody needs it any more.
                self._remove(container, worker_id=None)
        for worker_id in self._wanted_dead - self._workers.keys() - self._launches.keys():
            if worker_id not in found.present.values():
                self._wanted_dead.discard(worker_id)
                self._tell_end(worker_id, NOT_RUNNING)

    def _compare_one(self, worker_id: str, known: _Worker, now: Seen) -> None:
        if not now.alive:
            self._ended(worker_id, known, judge(now, ordered=known.ordered, lost_s=self._lost_s))
            self._remove(now.id, worker_id=worker_id)
        elif now.started_s - known.last.started_s > SAME_START_S:
            self._ended(worker_id, known, RESTARTED)
            self._remove(now.id, worker_id=worker_id)
        else:
            self._sightings[worker_id] = Sighting(name=now.name, paused=now.paused)
            if known.ordered:
                self._spawn(self._send_signal(now.id, "SIGKILL"))

    # === ends
    def _ended(self, worker_id: str, known: _Worker, ended: Ended) -> None:
        del self._workers[worker_id]
        self._sightings.pop(worker_id, None)
        self._wanted_dead.discard(worker_id)
        log.info("Worker %s ended: %s", worker_id, ended.reason)
        self._tell_end(worker_id, ended)

    def _tell_end(self, worker_id: str, ended: Ended) -> None:
        if self._watcher is None:
            return
        try:
            self._watcher.worker_ended(worker_id, ended)
        except Exception:
            log.exception("The end of worker %s could not be handled", worker_id)

    def _remove(self, container: str, *, worker_id: str | None) -> None:
        """Take a container away, unless that is under way; `worker_id`: its log is kept."""
        if container not in self._removing:
            self._removing.add(container)
            self._spawn(self._remove_now(container, worker_id))

    async def _remove_now(self, container: str, worker_id: str | None) -> None:
        try:
            if worker_id is not None:
                text = await self._order(self._api.log, container, tail=LOG_LINES)
                await self._order(self._logs.keep, worker_id, text)
            await self._order(self._api.remove, container)
        finally:
            self._removing.discard(container)

    # === trouble
    def _has_trouble(self, problem: EnvironmentProblem) -> None:
        self._note_loss()
        if self._trouble == str(problem) or self._watcher is None:
            return
        self._trouble = str(problem)
        log.info("Docker: %s", problem)
        self._watcher.runtime_trouble(self._trouble)
        self._watcher.runtime_news(Level.ERROR, self._trouble)

    def _is_well(self) -> None:
        if self._trouble is None or self._watcher is None:
            return
        self._trouble = None
        self._watcher.runtime_trouble(None)
        self._watcher.runtime_news(Level.SUCCESS, "The Docker Engine answers again.")

    # === beside
    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        chore = asyncio.get_running_loop().create_task(self._chore(work))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        """Trouble is told by looking alone: what this was told may be old by now, or be of one container."""
        try:
            await work
        except EnvironmentProblem as problem:
            log.info("not done: %s", problem)

    async def _order(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking function on a thread of the pool."""
        if self._orders is None:
            raise RuntimeError("the Docker runtime is not running")
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._orders, call)
