"""The engine's ports on virtual time: its store and store thread, its door, its runtime, its clock.

They belong to one engine process. When that is dead they neither hear nor do anything any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.core.instructions import Changes, ReadDelayed, ReadReady, Sends
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import BatchRecord, LoadedTasks, Recovery, TaskFilter, WorkerRecord
from taskmaster_desktop.backend.ports import Hello as PortHello
from taskmaster_desktop.backend.ports import (
    ObservedWorker,
    RuntimeWatcher,
    SessionHandler,
    SessionRefused,
    Tidied,
)
from tests.helpers.sim_agent import Hello, Refused, SimAgent, Welcome
from tests.helpers.sim_runtime import SimRuntime
from tests.helpers.sim_store import MemoryStore
from tests.helpers.sim_wire import Wire
from tests.helpers.sim_world import Event, Process, World


class SimStore:
    """One epoch's view of the database, as `ports.Store` and as much of `ports.Query` as the engine uses."""

    def __init__(self, database: MemoryStore) -> None:
        self._database = database
        self._epoch = 0

    def begin_epoch(self) -> Recovery:
        recovery = self._database.begin_epoch()
        self._epoch = recovery.epoch
        return recovery

    def apply(self, changes: Changes) -> None:
        self._database.apply(changes, epoch=self._epoch)

    def read_ready(self, request: ReadReady) -> LoadedTasks:
        return self._database.read_ready(request)

    def read_delayed(self, request: ReadDelayed) -> LoadedTasks:
        return self._database.read_delayed(request)

    def load_tasks(self, numbers: Sequence[int]) -> LoadedTasks:
        return self._database.load_tasks(numbers)

    def find_numbers(self, chosen: TaskFilter, after: int, limit: int) -> Sequence[int]:
        return self._database.find_numbers(chosen, after, limit)

    def find_by_key(self, idempotency_key: str) -> BatchRecord | None:
        return self._database.find_by_key(idempotency_key)

    def batch(self, number: int) -> BatchRecord | None:
        return self._database.batches.get(number)

    def tidy(self, now_us: int) -> Tidied:
        return Tidied()

    def workers(self, *, living_only: bool) -> Sequence[WorkerRecord]:
        return tuple(self._database.workers.values())


class SimThread:
    """The store's calls: one after another, each taking its time, or at once where a group is short; they
    die with the process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._calls: list[tuple[Callable[..., Any], Future[Any]]] = []
        self._event: Event | None = None
        self._under_way: Future[Any] | None = None

    def submit(self, call: Callable[[], Any], /) -> Future[Any]:
        future: Future[Any] = Future()
        if self._process.alive:
            self._process.point()
            self._calls.append((call, future))
            if self._event is None:
                self._next()
        else:
            future.set_exception(EnvironmentProblem("The process is dead.", fix=""))
        return future

    def write(self, call: Callable[[], Any], *, rows: int) -> Future[Any]:
        if not self._process.alive or self._event is not None or self._world.random.random() < 0.5:
            return self.submit(call)
        self._process.point()
        future: Future[Any] = Future()
        try:
            future.set_result(self._call(call))
        except EnvironmentProblem as problem:
            future.set_exception(problem)
        self._process.point()
        return future

    def _next(self) -> None:
        world = self._world
        if world.random.random() < 0.1:
            delay_s = 0.0
        else:
            delay_s = world.delay_s(0.2, 3.0) if world.fault(world.slow) else world.delay_s(0.0, 0.01)
        self._event = world.after(delay_s, self._work)

    def _order(self) -> int:
        """Which of the calls comes next."""
        return 0

    def _work(self) -> None:
        world = self._world
        call, future = self._calls.pop(self._order())
        self._under_way = future
        error = None
        result = None
        try:
            result = self._call(call)
        except EnvironmentProblem as problem:
            error = problem
        # The transaction is over; the engine's loop hears of it a little later.
        delay_s = 0.0 if world.random.random() < 0.2 else world.delay_s(0.0, 0.002)
        self._event = world.after(delay_s, self._tell, future, result, error)

    def _call(self, call: Callable[[], Any]) -> Any:
        """The call itself. What is no fault of the disk's is a bug and ends the simulation."""
        if self._world.fault(0.004):
            raise EnvironmentProblem("The disk is full.", fix="")
        result = call()
        if self._world.fault(0.002):
            raise EnvironmentProblem("The disk failed at the end of the commit.", fix="")
        return result

    def _tell(self, future: Future[Any], result: Any, error: Exception | None) -> None:
        self._event = None
        if self._calls:
            self._next()
        self._process.point()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def kill(self) -> None:
        """The process is dead; what it had asked for is not done any more."""
        if self._event is not None:
            self._event.cancel()
        for future in (*(future for _, future in self._calls), self._under_way):
            if future is not None and not future.done():
                future.set_exception(EnvironmentProblem("The process is dead.", fix=""))
        self._calls.clear()


class SimClock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> Moment:
        return self._world.moment()


class SimPort:
    """`ports.WorkerRuntime` of one process, over the workers that outlive it."""

    name = "simulated"
    listen_hosts = ()

    def __init__(self, process: Process, runtime: SimRuntime, *, self_stop_s: float) -> None:
        self._process = process
        self._runtime = runtime
        self.self_stop_s = self_stop_s
        self.confirms_death = not runtime.blind

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def watch(self, watcher: RuntimeWatcher) -> None:
        loop = asyncio.get_running_loop()
        ended = watcher.worker_ended
        self._runtime.on_ended = lambda worker_id, end: loop.call_soon(ended, worker_id, end) and None

    async def launch(self, worker: WorkerRecord, secret: object) -> str:
        self._process.point()
        launched = asyncio.get_running_loop().create_future()

        def answer(handle: str | None) -> None:
            if launched.done():
                return
            if handle is None:
                launched.set_exception(EnvironmentProblem("The worker could not be launched.", fix=""))
            else:
                launched.set_result(handle)

        if self._process.alive:
            self._runtime.launch(worker, answer)
        handle: str = await launched
        return handle

    async def terminate(self, worker: WorkerRecord) -> None:
        self._process.point()
        if self._process.alive:
            self._runtime.terminate(worker)

    async def kill(self, worker: WorkerRecord) -> None:
        self._process.point()
        if self._process.alive:
            self._runtime.kill(worker)

    async def observe(self) -> Sequence[ObservedWorker]:
        if not self._process.alive:
            return []
        await asyncio.sleep(self._process.world.delay_s(0.0, 0.05))
        return [
            ObservedWorker(id=worker_id, handle="", alive=alive)
            for worker_id, alive in self._runtime.observe().items()
        ]

    async def log(self, worker: WorkerRecord, *, tail_bytes: int) -> bytes:
        return b""


class SimLink:
    """The engine's end of a wire; holds back what is sent before the welcome."""

    def __init__(self, process: Process, wire: Wire) -> None:
        self._process = process
        self.wire = wire
        self.session: int | None = None
        self.open = True
        self._queued: list[Sends] | None = []

    def send(self, sends: Sends) -> None:
        self._process.point()
        if self._queued is not None:
            self._queued.append(sends)
        elif self.open:
            self.wire.down.send(sends)

    def welcome(self, session: int, self_stop_s: float) -> None:
        self.session = session
        self.wire.down.send(Welcome(session, self_stop_s))
        queued, self._queued = self._queued or [], None
        for sends in queued:
            self.send(sends)

    def close(self, reason: str) -> None:
        if self.open:
            self.open = False
            self.wire.closed_by_engine()


class SimDoor:
    """`ports.WorkerDoor`: takes wires from agents, admits them, passes on what they say."""

    def __init__(self, process: Process, runtime: SimRuntime) -> None:
        self._process = process
        self._runtime = runtime
        self._handler: SessionHandler | None = None
        self._links: dict[Wire, SimLink] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._admissions: set[asyncio.Task[None]] = set()

    async def start(self, handler: SessionHandler, hosts: Sequence[str] = ()) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._runtime.connect = self._accept

    async def close(self) -> None:
        self.shut()
        for task in list(self._admissions):
            task.cancel()
        await asyncio.gather(*self._admissions, return_exceptions=True)

    def shut(self) -> None:
        """The system closes all connections of a dead process."""
        if self._runtime.connect == self._accept:
            self._runtime.connect = lambda agent: None
        for link in list(self._links.values()):
            link.close("the process is gone")

    def secret_for(self, worker: WorkerRecord) -> Any:
        return worker.id

    # === wires
    def _accept(self, agent: SimAgent) -> Wire:
        return Wire(self._process.world, agent.id, agent, self)

    def receive(self, wire: Wire, message: Any) -> None:
        if not self._process.alive or self._loop is None or self._handler is None:
            return
        if isinstance(message, Hello):
            link = self._links[wire] = SimLink(self._process, wire)
            task = self._loop.create_task(self._admit(link, message))
            self._admissions.add(task)
            task.add_done_callback(self._admissions.discard)
        else:
            link = self._links.get(wire)  # type: ignore[assignment]
            if link is not None and link.open and link.session is not None:
                self._loop.call_soon(self._handler.report, message)

    async def _admit(self, link: SimLink, hello: Hello) -> None:
        assert self._handler is not None
        told = PortHello(
            worker_id=hello.worker_id,
            boot_id=hello.boot_id,
            agent_version="",
            slots=hello.slots,
            hostname="",
            pid=1,
            attempts=hello.attempts,
        )
        try:
            admission = await self._handler.admit(told, link)
        except SessionRefused as refusal:
            link.wire.down.send(Refused(refusal.permanent))
            link.close("refused")
            self._links.pop(link.wire, None)
            return
        if link.wire in self._links:
            link.welcome(admission.session, admission.self_stop_s)
        else:  # it broke meanwhile
            self._handler.closed(admission.session)

    def wire_lost(self, wire: Wire) -> None:
        link = self._links.pop(wire, None)
        if link is None or not self._process.alive:
            return
        link.open = False
        if link.session is not None and self._loop is not None and self._handler is not None:
            self._loop.call_soon(self._handler.closed, link.session)
