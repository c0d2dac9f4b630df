"""The composition root: the one place that knows every room and puts them together.

Start order, each step undone in reverse when a later one fails:

1. the runtime: is there a Docker Engine, and an image to be had;
2. the data folder, private to the user;
3. the store: takes the lock of the folder, brings the schema up to date;
4. the store-writer thread;
5. the engine, which in its own thread starts the runtime, begins a new epoch, looks for workers that an
   earlier engine left, and opens the door for workers;
6. the wishes of the settings: self-heal, then the size of the fleet;
7. the HTTP face, on the engine's loop.

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
from pathlib import Path

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import ScaleFleet, SelfHeal
from taskmaster_desktop.backend.containers.endpoint import refuse_remote
from taskmaster_desktop.backend.containers.mounts import parse_mount
from taskmaster_desktop.backend.containers.preparing import Prepared, prepare
from taskmaster_desktop.backend.containers.profile import Profile
from taskmaster_desktop.backend.containers.runtime import ContainerRuntime
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.engine import Engine
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.http.options import HttpOptions
from taskmaster_desktop.backend.http.server import HttpServer
from taskmaster_desktop.backend.ports import Clock, WorkerDoor, WorkerRuntime
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.backend.store import OpenedStore, Retention, lock_folder, open_store
from taskmaster_desktop.backend.store_thread import StoreThread
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from taskmaster_desktop.paths import make_private_folder
from taskmaster_desktop.settings import Settings

logger = logging.getLogger(__name__)

START_LIMIT_S = 60.0
DAY_S = 86_400.0
GC_THRESHOLDS = (10_000, 20, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A Docker Engine that is ready for workers."""

    api: DockerApi
    prepared: Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChoice:
    """What starts the workers, and why it was taken; `why` is one clause for people."""

    name: str
    why: str
    docker: Docker | None = None

    def close(self) -> None:
        if self.docker is not None:
            self.docker.api.close()


def choose_runtime(settings: Settings, *, progress: Callable[[str], None]) -> RuntimeChoice:
    """Decides once, at start. May take minutes the first time, while an image is built or pulled.

    Raises EnvironmentProblem where the wanted one is not to be had, UserError for a folder that must not be
    mounted.
    """
    if settings.runtime == "process":
        return RuntimeChoice(name="process", why="as asked for")
    try:
        docker = _open_docker(settings, progress)
    except EnvironmentProblem as problem:
        if settings.runtime == "docker":
            raise
        return RuntimeChoice(name="process", why=_clause(problem))
    where = f"{docker.prepared.engine} answers at {docker.api.endpoint.url}, {docker.api.endpoint.why}"
    return RuntimeChoice(name="docker", why=where, docker=docker)


def _open_docker(settings: Settings, progress: Callable[[str], None]) -> Docker:
    wished = Profile(
        image=settings.image or "",
        cpus=settings.cpus,
        memory_bytes=int(settings.memory),
        pids=settings.pids,
        network=settings.network,
        read_only=settings.read_only,
        mounts=tuple(
            parse_mount(text, allowed=settings.mount_roots, private=settings.data_dir)
            for text in settings.mounts
        ),
        env=settings.worker_env,
    )
    endpoint = find_endpoint(settings.docker_host)
    refuse_remote(endpoint.url)
    api = DockerApi(endpoint)
    try:
        prepared = prepare(
            api,
            wished,
            base=settings.worker_base,
            wheels=settings.worker_wheels,
            progress=lambda step: progress(step.text),
        )
    except BaseException:
        api.close()
        raise
    return Docker(api=api, prepared=prepared)


def _clause(problem: EnvironmentProblem) -> str:
    """The cause alone, without the full stop: it stands in brackets."""
    return str(problem).removesuffix(problem.fix).strip().rstrip(".")


class App:
    """One instance of TaskMaster on one data folder.

    Args:
        settings: all that can be set; `workers` and `self_heal` count for a new database or where they
            were given, else the database remembers.
        wrap_door: puts something between engine and door; the demo listens there.
        progress: hears what takes long at start, one line at a time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        wrap_door: Callable[[WorkerDoor], WorkerDoor] | None = None,
        progress: Callable[[str], None] = logger.info,
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._wrap_door = wrap_door
        self._progress = progress
        self._choice: RuntimeChoice | None = None
        self._engine: Engine | None = None  # written by the thread of start and stop, read by all
        self._http: HttpServer | None = None
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
    def url(self) -> str:
        """Where HTTP is answered; empty where it is not."""
        return self._http.url if self._http is not None else ""

    @property
    def running(self) -> bool:
        """False before `start`, after `stop`, and once the engine has ended by itself."""
        return self._engine is not None and self._engine.running

    @property
    def fatal(self) -> BaseException | None:
        """Why the engine ended by itself, None while it did not."""
        return self._engine.fatal if self._engine is not None else None

    def choose(self) -> RuntimeChoice:
        """Decide what starts the workers, and make it ready; the first part of `start`, for who times the rest."""
        if self._choice is None:
            self._choice = choose_runtime(self.settings, progress=self._progress)
        return self._choice

    def start(self) -> None:
        """Returns when the engine takes commands and workers are on their way. Does nothing when started.

        Raises:
            EnvironmentProblem: folder, database, runtime or door cannot be used; nothing is left behind.
        """
        if self._engine is not None:
            return
        with ExitStack() as below:
            choice = self.choose()
            below.callback(choice.close)
            make_private_folder(self.settings.data_dir)
            opened = open_store(self._database(), retention=self._retention())
            below.callback(opened.close)
            if not Path(opened.lock.lock_file).parent.samefile(self.settings.data_dir):
                # The database is elsewhere. Whoever cleans up asks this folder whether we run.
                below.callback(lock_folder(self.settings.data_dir).release)
            store_thread = StoreThread(self._clock)
            below.callback(store_thread.close)
            engine = self._build_engine(opened, store_thread, choice)
            engine.start()
            below.callback(engine.stop, grace_s=0.0)
            self._apply_wishes(engine)
            if self.settings.api:
                self._http = HttpServer(engine, self._http_options(opened.instance_id, choice))
                engine.host(self._http)
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

    def _http_options(self, instance: str, choice: RuntimeChoice) -> HttpOptions:
        settings = self.settings
        return HttpOptions(
            run_dir=settings.data_dir / "run",
            instance=instance,
            host=settings.api_host,
            port=settings.api_port,
            origins=settings.api_origins,
            tls_cert=settings.api_tls_cert,
            tls_key=settings.api_tls_key,
            # There containers' traffic reaches the loopback as if it were this user's.
            trust_same_user=choice.docker is None or not choice.docker.prepared.forwards_as_us,
        )

    def _build_engine(self, opened: OpenedStore, store_thread: StoreThread, choice: RuntimeChoice) -> Engine:
        runtime = self._build_runtime(opened.instance_id, choice.docker)
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

    def _build_runtime(self, instance: str, docker: Docker | None) -> WorkerRuntime:
        if docker is None:
            return ProcessRuntime(self.settings.data_dir)
        return ContainerRuntime(
            docker.api,
            prepared=docker.prepared,
            instance=instance,
            data_dir=self.settings.data_dir,
            clock=self._clock,
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
