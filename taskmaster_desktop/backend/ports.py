"""What the engine needs from the outside world, as Protocols; adapters implement them, tests fake them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.core.instructions import Changes, ReadDelayed, ReadReady, Sends
from taskmaster_desktop.backend.core.stimuli import OpenAttempt, Report
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Level,
    LoadedTasks,
    OutputChunk,
    Recovery,
    TaskFilter,
    TaskPage,
    TaskRecord,
    Totals,
    WorkerRecord,
)


class Clock(Protocol):
    def now(self) -> Moment: ...


class StaleEpoch(Exception):
    """Another engine has taken over this database; this one must stop."""


class StaleWrite(Exception):
    """A guarded row did not say what the core believed; the transaction was rolled back."""


class Tidied(NamedTuple):
    """How many tasks a slice of retention has removed, by what `Totals` counted them as.

    Attributes:
        more: call again soon; the pass is not complete.
    """

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    discarded: int = 0
    more: bool = False


class Store(Protocol):
    """The one writing connection. All calls block and come from one thread, in order.

    Errors: `EnvironmentProblem` where the disk or the database is at fault; after it nothing of the
    call's changes is stored. `StaleEpoch` and `StaleWrite` as they say.
    """

    def begin_epoch(self) -> Recovery:
        """Start a new life: a greater epoch, durable; and what the last life left behind."""

    def apply(self, changes: Changes) -> None:
        """Write everything in one transaction; on disk when this returns."""

    def read_ready(self, request: ReadReady) -> LoadedTasks:
        """At most `limit` pending tasks with due_us = 0."""

    def read_delayed(self, request: ReadDelayed) -> LoadedTasks:
        """At most `limit` pending tasks with due_us > 0."""

    def load_tasks(self, numbers: Sequence[int]) -> LoadedTasks:
        """Those of `numbers` that exist, in order of number."""

    def find_numbers(self, chosen: TaskFilter, after: int, limit: int) -> Sequence[int]:
        """Numbers greater than `after` of tasks that match, ascending, at most `limit`."""

    def find_by_key(self, idempotency_key: str) -> BatchRecord | None: ...

    def batch(self, number: int) -> BatchRecord | None: ...

    def tidy(self, now_us: int) -> Tidied:
        """Do one short slice of retention (old tasks, too much output) and of upkeep.

        The stored totals are already lowered by what the answer says was removed. The caller must lower
        its own by the same before it hands over the next `Changes.totals`."""


class Query(Protocol):
    """Short reads on connections of their own; thread-safe; never see an uncommitted row."""

    def task(self, number: int) -> TaskRecord | None: ...

    def number_of(self, task_id: bytes) -> int | None: ...

    def tasks(self, chosen: TaskFilter, *, after: int | None, limit: int, newest_first: bool) -> TaskPage:
        """One page in order of number. A text filter looks at a bounded slice of rows at a time: a page
        may be short or empty and still name `next_after`."""

    def attempts(self, number: int) -> Sequence[AttemptRecord]: ...

    def count(self, chosen: TaskFilter) -> int:
        """How many match. Takes as long as there are rows to look at, in short reads."""

    def waiting_since(self, now_us: int) -> int | None:
        """Since when the task that has waited longest for a worker does; None where none waits.

        A task waits from its submission, or from the moment before which it must not start."""

    def output(self, number: int, attempt: int, *, start: int = 0) -> Sequence[OutputChunk]:
        """What is kept, in order of offset, from the chunk that holds `start`; a gap between offsets is what
        was dropped."""

    def batch(self, number: int) -> BatchRecord | None: ...

    def batch_by_id(self, batch_id: bytes) -> BatchRecord | None: ...

    def batches(self, *, after: int | None, limit: int, newest_first: bool) -> Sequence[BatchRecord]:
        """At most `limit` in order of number, beyond `after`."""

    def totals(self) -> Totals: ...

    def worker(self, number: int) -> WorkerRecord | None: ...

    def worker_by_name(self, name: str) -> WorkerRecord | None:
        """The newest of that name."""

    def workers(self, *, living_only: bool) -> Sequence[WorkerRecord]: ...

    def events(self, *, limit: int) -> Sequence[EventRecord]:
        """The newest, oldest of them first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedWorker:
    """What a runtime sees of a worker, found by our own mark on it and never by its name."""

    id: str
    handle: str
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A worker's end, confirmed: nothing of it runs any more, commands included.

    Attributes:
        reason: one clause for people, such as "killed by signal 9".
        clean: it ended by itself with exit code 0.
        oom: the system killed it for want of memory.
        excused: what runs the workers went down with it, so no task is to blame.
    """

    reason: str
    clean: bool = False
    oom: bool = False
    excused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """How a runtime saw a living worker last.

    Attributes:
        name: what it is called there now, such as a container's name.
        paused: it is frozen from outside; its lease runs on.
    """

    name: str
    paused: bool = False


class RuntimeWatcher(Protocol):
    """Who hears from a runtime, on the engine's loop."""

    def worker_ended(self, worker_id: str, ended: Ended) -> None:
        """Called once for each worker whose end is confirmed."""

    def runtime_trouble(self, trouble: str | None) -> None:
        """What runs the workers does not answer, in one sentence; None: it answers again."""

    def runtime_news(self, level: Level, message: str) -> None:
        """Something for the activity log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSecret:
    """What a worker is handed over its standard input, before it starts work."""

    worker_id: str
    name: str
    slots: int
    endpoints: tuple[str, ...]
    server_name: str
    ca_pem: bytes
    cert_pem: bytes
    key_pem: bytes


class WorkerRuntime(Protocol):
    """Starts, ends and watches workers. All calls come from the engine's loop and never block it."""

    name: str
    self_stop_s: float
    """How long a worker may be alone before it stops by itself."""
    confirms_death: bool
    """Whether `kill` can tell that nothing of the worker is left."""
    listen_hosts: tuple[str, ...]
    """Known after `start`: this machine's addresses, beside the loopback, at which its workers reach it."""
    sightings: Mapping[str, Sighting]
    """By worker id, where the runtime sees more than life and death; written by the loop, read by all."""

    async def start(self) -> None:
        """Make ready; raises EnvironmentProblem where that is impossible."""

    async def close(self) -> None:
        """Let go of everything without ending any worker."""

    def watch(self, watcher: RuntimeWatcher) -> None:
        """Name who hears of ends and of trouble; before `start`."""

    async def launch(self, worker: WorkerRecord, secret: WorkerSecret) -> str:
        """Start a worker and return its handle; raises EnvironmentProblem."""

    async def terminate(self, worker: WorkerRecord) -> None:
        """Ask it to drain and end (TERM); returns at once."""

    async def kill(self, worker: WorkerRecord) -> None:
        """SIGKILL it with everything it started; its end is reported to the watcher."""

    async def observe(self) -> Sequence[ObservedWorker]:
        """All workers of this instance that left a trace, living or not; begins to watch the living."""

    async def log(self, worker: WorkerRecord, *, tail_bytes: int) -> bytes:
        """The end of the worker's own log."""


class FailedWay(NamedTuple):
    """An endpoint at which a worker was not let in, and why, as the worker's system says."""

    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a worker says first. The door has already checked that `worker_id` is its certificate's name.

    `endpoint` is where it came in, empty where the worker is too old to say; `failed_ways` are those that it
    tried in vain just before.
    """

    worker_id: str
    boot_id: str
    agent_version: str
    slots: int
    hostname: str
    pid: int
    attempts: tuple[OpenAttempt, ...]
    endpoint: str = ""
    failed_ways: tuple[FailedWay, ...] = ()


class Link(Protocol):
    """The engine's end of one session. Called on the engine's loop only; never blocks."""

    def send(self, sends: Sends) -> None:
        """Queue messages; what collects while a write is in flight leaves as one message. The link
        takes over `sends`; the caller must not use it afterwards."""

    def close(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to a hello."""

    session: int
    instance: str
    heartbeat_interval_s: float
    self_stop_s: float


class SessionRefused(Exception):
    """The hello is not welcome; `permanent` tells the agent to exit rather than to try again."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


class SessionHandler(Protocol):
    """What the door for workers calls, on the engine's loop."""

    async def admit(self, hello: Hello, link: Link) -> Admission:
        """Returns once the new session is durable; raises SessionRefused. The door then sends the welcome
        before anything that was queued on the link."""

    def report(self, report: Report) -> None: ...

    def closed(self, session: int) -> None:
        """The stream ended, whoever ended it; called once for each admitted session."""


class Service(Protocol):
    """Something that runs on the engine's loop beside the engine; both calls may come twice."""

    async def start(self) -> None:
        """Raises EnvironmentProblem where it cannot run."""

    async def stop(self) -> None: ...


class WorkerDoor(Protocol):
    """Where workers connect: listens, authenticates, speaks the worker protocol."""

    async def start(self, handler: SessionHandler, hosts: Sequence[str] = ()) -> None:
        """Listen on a Unix socket, the loopback and as many of `hosts` as can be opened.

        Raises EnvironmentProblem where no endpoint can be opened."""

    async def close(self) -> None: ...

    def secret_for(self, worker: WorkerRecord) -> WorkerSecret:
        """Endpoints and a fresh identity of its own for a worker about to be launched."""
