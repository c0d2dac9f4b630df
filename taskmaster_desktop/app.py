"""The composition root: the one place that knows every room and puts them together.

Start order, each step undone in reverse when a later one fails:

1. the data folder, private to the user;
2. the store: takes the lock of the folder, brings the schema up to date;
3. the store-writer thread;
4. the engine, which in its own thread starts the runtime, begins a new epoch, looks for workers that an
   earlier engine left, and opens the door for workers;
5. the wishes of the settings: self-heal, then the size of the fleet.

Stop order: the engine (workers finish what they run for at most the grace, the rest is killed and confirmed
dead, the door and the runtime are closed), the store-writer thread, the database and its lock.

`start` and `stop` belong to one thread, usually the main one; `hurry` may be called by any.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import ScaleFleet, SelfHeal
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.engine import Engine
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.ports import Clock, WorkerDoor, WorkerRuntime
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.backend.store import OpenedStore, Retention, open_store
from taskmaster_desktop.backend.store_thread import StoreThread
from taskmaster_desktop.paths import make_private_folder
from taskmaster_desktop.settings import Settings

logger = logging.getLogger(__name__)

START_LIMIT_S = 60.0
DAY_S = 86_400.0
GC_THRESHOLDS = (10_000, 20, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChoice:
    """What starts the workers, and why it was taken; `why` is one clause for people."""

    name: str
    why: str


def choose_runtime(wanted: str) -> RuntimeChoice:
    """Decides once, at start. Raises EnvironmentProblem where the wanted one is not to be had."""
    if wanted == "docker":
        raise EnvironmentProblem(
            "This version has no Docker runtime yet.",
            fix="Use --runtime process, which runs workers as processes of this machine.",
        )
    if wanted == "process":
        return RuntimeChoice(name="process", why="as asked for")
    return RuntimeChoice(name="process", why="no Docker runtime in this version yet")


class App:
    """One instance of TaskMaster on one data folder.

    Args:
        settings: all that can be set; `workers` and `self_heal` count for a new database or where they
            were given, else the database remembers.
        wrap_door: puts something between engine and door; the demo listens there.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        wrap_door: Callable[[WorkerDoor], WorkerDoor] | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._wrap_door = wrap_door
        self._choice: RuntimeChoice | None = None
        self._engine: Engine | None = None  # written by the thread of start and stop, read by all
        self._below = ExitStack()  # what is open under the engine

    @property
    def api(self) -> BackendApi:
        """The door for every face. Raises RuntimeError while the app is not started."""
        if self._engine is None:
            raise RuntimeError("the app is not started")
        return self._engine

    @property
    def runtime(self) -> RuntimeChoice:
        """Decided by `start`. Raises RuntimeError before."""
        if self._choice is None:
            raise RuntimeError("the app is not started")
        return self._choice

    @property
    def running(self) -> bool:
        """False before `start`, after `stop`, and once the engine has ended by itself."""
        return self._engine is not None and self._engine.running

    @property
    def fatal(self) -> BaseException | None:
        """Why the engine ended by itself, None while it did not."""
        return self._engine.fatal if self._engine is not None else None

    def start(self) -> None:
        """Returns when the engine takes commands and workers are on their way. Does nothing when started.

        Raises:
            EnvironmentProblem: folder, database, runtime or door cannot be used; nothing is left behind.
        """
        if self._engine is not None:
            return
        self._choice = choose_runtime(self.settings.runtime)
        with ExitStack() as below:
            make_private_folder(self.settings.data_dir)
            opened = open_store(self._database(), retention=self._retention())
            below.callback(opened.close)
            store_thread = StoreThread(self._clock)
            below.callback(store_thread.close)
            engine = self._build_engine(opened, store_thread)
            engine.start()
            below.callback(engine.stop, grace_s=0.0)
            self._apply_wishes(engine)
            self._below = below.pop_all()
        self._engine = engine
        _spare_the_collector()

    def stop(self, *, grace_s: float) -> None:
        """Let workers finish for at most `grace_s`, end everything and let go of the folder. May come twice."""
        engine = self._engine
        if engine is None:
            return
        try:
            engine.stop(grace_s=grace_s)
        finally:
            self._engine = None
            self._below.close()

    def hurry(self) -> None:
        """Have a `stop` under way kill at once what still runs; from any thread or signal handler."""
        engine = self._engine
        if engine is not None:
            engine.hurry(grace_s=0.0)

    # === the parts
    def _database(self) -> str:
        url = self.settings.database_url
        return url.get_secret_value() if url is not None else str(self.settings.data_dir)

    def _retention(self) -> Retention:
        return Retention(
            max_age_s=self.settings.retention_days * DAY_S,
            max_output_bytes=int(self.settings.retention_bytes),
        )

    def _build_engine(self, opened: OpenedStore, store_thread: StoreThread) -> Engine:
        runtime: WorkerRuntime = ProcessRuntime(self.settings.data_dir)
        door: WorkerDoor = GrpcDoor(self.settings.data_dir, opened.instance_id, clock=self._clock)
        if self._wrap_door is not None:
            door = self._wrap_door(door)
        return Engine(
            store=opened.store,
            store_thread=store_thread,
            query=opened.query,
            runtime=runtime,
            door=door,
            clock=self._clock,
            policy=Policy(
                slots=self.settings.slots,
                runtime=runtime.name,
                self_stop_s=runtime.self_stop_s,
                confirms_death=runtime.confirms_death,
            ),
            instance=opened.instance_id,
        )

    def _apply_wishes(self, engine: Engine) -> None:
        """A flag or file wins over what the database remembers, which wins over a default."""
        given = self.settings.model_fields_set
        fresh = engine.totals.next_worker == 1 and engine.totals.desired == 0
        if fresh or "self_heal" in given:
            engine.submit(SelfHeal(on=self.settings.self_heal)).result(START_LIMIT_S)
        if fresh or "workers" in given:
            engine.submit(ScaleFleet(workers=self.settings.workers)).result(START_LIMIT_S)


def _spare_the_collector() -> None:
    """What is loaded by now stays loaded: looking through it again and again only costs latency."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
