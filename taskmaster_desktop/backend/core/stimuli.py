"""Everything that can happen, as the core hears it. Each arrives with its moment in `Machine.handle`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from taskmaster_desktop.backend.model import Level, LoadedTasks, Outcome, Stream, TaskOptions


# === what people ask for
@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """A batch, already validated.

    Attributes:
        batch_id, task_ids: UUIDv7 bytes, 16 for the batch and 16 for each task.
        works: one (command, is_argv) for all `count` tasks, or one for each.
        run_at_us: not before this moment; None for at once.
    """

    batch_id: bytes
    task_ids: bytes
    works: Sequence[tuple[str, bool]]
    count: int
    options: TaskOptions
    run_at_us: int | None = None
    idempotency_key: str | None = None
    body_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel those of the tasks that are not finished; `tasks` as read from the store just now."""

    tasks: LoadedTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Put failed tasks back into the queue with all their retries."""

    tasks: LoadedTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Mark dead letters as not wanted any more."""

    tasks: LoadedTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPaused:
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSelfHeal:
    self_heal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWorker:
    """End a worker gracefully: it finishes what runs. Lowers the desired size by one."""

    worker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKill:
    """SIGKILL a worker. Keeps the desired size."""

    worker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Dispatch nothing more, take back what has not started, tell all workers to drain."""


# === what workers say
class OpenAttempt(NamedTuple):
    fence: int
    started: bool
    finished: bool
    started_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A worker (re)connected; `attempts` is everything it holds, results not yet acknowledged too.

    `detour`: by which way it came where its first one was barred, for people; else empty.
    """

    session: int
    worker_id: str
    boot_id: str
    slots: int
    attempts: tuple[OpenAttempt, ...] = ()
    detour: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed:
    session: int


class Started(NamedTuple):
    task: int
    fence: int
    at_us: int


class Progress(NamedTuple):
    task: int
    fence: int
    percent: float
    text: str


class OutputReport(NamedTuple):
    task: int
    attempt: int
    fence: int
    stream: Stream
    offset: int
    data: bytes


class Finished(NamedTuple):
    task: int
    fence: int
    outcome: Outcome
    exit_code: int
    reason: str
    at_us: int
    duration_us: int
    output_bytes: int
    never_started: bool


class RecallResult(StrEnum):
    RECALLED = "recalled"
    ALREADY_STARTED = "already_started"
    UNKNOWN = "unknown"


class RecallAnswer(NamedTuple):
    task: int
    fence: int
    result: RecallResult


class Heartbeat(NamedTuple):
    sequence: int
    cpu_us: int
    memory_bytes: int
    running: int
    waiting: int
    oom_kills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One message of a worker. Its parts are handled in the order of the fields."""

    session: int
    started: Sequence[Started] = ()
    progress: Sequence[Progress] = ()
    output: Sequence[OutputReport] = ()
    finished: Sequence[Finished] = ()
    recall_answers: Sequence[RecallAnswer] = ()
    heartbeat: Heartbeat | None = None
    draining: bool = False


# === what runtimes and the store say
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLaunched:
    worker: int
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFailed:
    worker: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded:
    """The end of a worker is confirmed: nothing of it runs any more."""

    worker: int
    reason: str
    clean: bool = False
    oom: bool = False
    excused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeNews:
    """Something about what runs the workers, for the activity log."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeReady:
    """What runs the workers answers again: a start that failed may be tried at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyRead:
    """The answer to `ReadReady`; `complete` when nothing more is ready in the store."""

    tasks: LoadedTasks
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedRead:
    """The answer to `ReadDelayed`."""

    tasks: LoadedTasks
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Retention has deleted finished tasks: how many there were in each state."""

    completed: int
    failed: int
    cancelled: int
    discarded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed; sent when `Machine.wake_at` says so."""


Stimulus = (
    Submit
    | Cancel
    | Retry
    | Discard
    | SetPaused
    | Scale
    | SetSelfHeal
    | StopWorker
    | OrderKill
    | Shutdown
    | SessionOpened
    | SessionClosed
    | Report
    | WorkerLaunched
    | LaunchFailed
    | WorkerEnded
    | RuntimeNews
    | RuntimeReady
    | ReadyRead
    | DelayedRead
    | Removed
    | Tick
)
