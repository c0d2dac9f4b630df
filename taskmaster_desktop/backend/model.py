"""The words of the project as plain, immutable types. Everybody may import this; it imports nobody.

Conventions: `..._us` is UTC microseconds since 1970, `..._s` seconds. A task, batch or worker has a small
`number` (unique per database, what people type and what joins rows) and an id (what the API speaks).

The `...Record` types are rows as they are stored. They are named tuples, because thousands a second are
built, compared and bound to SQL by position; the order of their fields is the order of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class TaskState(StrEnum):
    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_STATES = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})
ACTIVE_STATES = frozenset({TaskState.ASSIGNED, TaskState.RUNNING})


class Outcome(StrEnum):
    """How an attempt ended. `LOST` is the infrastructure's fault, `RECALLED` means it never started."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    OOM = "oom"
    LOST = "lost"
    RECALLED = "recalled"


class WorkerState(StrEnum):
    STARTING = "starting"
    ONLINE = "online"
    DRAINING = "draining"
    OFFLINE = "offline"


class Level(StrEnum):
    """Level of a line in the activity log."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What all tasks of a batch share. Ranges are checked where a command enters (`commands.py`).

    Attributes:
        cwd: working folder; None lets the worker choose a temporary one.
        env: environment added to the worker's allow-list.
        retries: extra attempts after a failure or timeout.
        retry_delay_s: first back-off, doubled for each further one.
        timeout_s: limit of one attempt; None for no limit.
        lossless_output: let a command wait rather than drop output that it writes too fast.
    """

    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    retries: int = 0
    retry_delay_s: float = 1.0
    timeout_s: float | None = None
    tags: tuple[str, ...] = ()
    lossless_output: bool = False


class BatchRecord(NamedTuple):
    """Tasks submitted together: consecutive numbers from `first_task`, `size` of them."""

    number: int
    id: bytes
    created_us: int
    first_task: int
    size: int
    options: TaskOptions
    idempotency_key: str | None
    body_hash: bytes | None
    completed: int
    failed: int
    cancelled: int


class TaskRecord(NamedTuple):
    """One task with its current or last attempt.

    The fields before `state` never change after insertion (see `IMMUTABLE_FIELDS`).

    Attributes:
        id: UUIDv7 as 16 bytes.
        command: shell command or built-in job; for argv a JSON list of strings.
        rank: minus the priority, so that tasks are dispatched in ascending order of (rank, number).
        run_at_us: the moment the user asked for; None for at once.
        due_us: 0 when the task may start now; else the moment before which it must not (delay, back-off).
        attempt: number of the current or last attempt, 0 before the first.
        fence: fence of that attempt, 0 before the first.
        outcome: how the last *ended* attempt ended.
        failures: attempts charged to the user's retries since submission or the last manual retry.
        deaths: unordered deaths of its worker while it was started, since then too.
        cancelling: a cancel was asked for and its attempt has not ended yet.
        discarded: a dead letter that the user does not want to see any more.
    """

    number: int
    id: bytes
    batch: int
    command: str
    is_argv: bool
    rank: int
    created_us: int
    run_at_us: int | None
    state: TaskState
    due_us: int
    attempt: int
    fence: int
    worker: int | None
    assigned_us: int | None
    started_us: int | None
    finished_us: int | None
    outcome: Outcome | None
    exit_code: int | None
    reason: str
    failures: int
    deaths: int
    cancelling: bool
    discarded: bool
    progress: float
    progress_text: str

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.id)


IMMUTABLE_FIELDS = TaskRecord._fields.index("state")
"""How many leading fields of `TaskRecord` never change."""


class AttemptRecord(NamedTuple):
    """An attempt that ended. A current attempt lives in its task's row until then."""

    task: int
    attempt: int
    fence: int
    worker: int
    assigned_us: int
    started_us: int | None
    finished_us: int
    duration_us: int
    outcome: Outcome
    exit_code: int | None
    reason: str
    output_bytes: int


class WorkerRecord(NamedTuple):
    """A worker of this instance, living or gone.

    Attributes:
        id: the common name of its certificate; never used twice.
        handle: what its runtime knows it by (process id and start time, container id); empty before it runs.
        boot_id: which start of the agent this is, told by the agent.
        ended: why it is offline or was told to end, for people; empty while nobody wants it to end.
    """

    number: int
    id: str
    name: str
    runtime: str
    state: WorkerState
    slots: int
    handle: str
    boot_id: str
    started_us: int
    online_us: int | None
    offline_us: int | None
    ended: str
    completed: int
    failed: int


class EventRecord(NamedTuple):
    """A line of the activity log that cannot be derived from tasks and attempts."""

    at_us: int
    level: Level
    kind: str
    message: str
    task: int | None
    worker: int | None


class OutputChunk(NamedTuple):
    """A piece of an attempt's output. `offset` counts both streams together."""

    task: int
    attempt: int
    offset: int
    stream: Stream
    data: bytes


class Totals(NamedTuple):
    """The one row that is kept rather than counted: figures, switches, and the next numbers to give out."""

    next_task: int = 1
    next_batch: int = 1
    next_worker: int = 1
    desired: int = 0
    self_heal: bool = True
    paused: bool = False
    pending: int = 0
    assigned: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    discarded: int = 0
    attempts_lost: int = 0
    late_answers: int = 0

    @property
    def tasks(self) -> int:
        return self.pending + self.assigned + self.running + self.completed + self.failed + self.cancelled

    @property
    def unfinished(self) -> int:
        return self.pending + self.assigned + self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks a query or a bulk action means; all conditions hold together.

    Attributes:
        text: part of the command, upper and lower case alike.
        dead_letters: only failed tasks that were not discarded.
    """

    states: frozenset[TaskState] = frozenset()
    batch: int | None = None
    tag: str | None = None
    worker: int | None = None
    text: str | None = None
    dead_letters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """Some tasks in order of number, and where to go on (None at the end)."""

    tasks: tuple[TaskRecord, ...]
    next_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTasks:
    """Rows read for the core together with the batches they belong to."""

    tasks: tuple[TaskRecord, ...]
    batches: tuple[BatchRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a new epoch starts from.

    Attributes:
        epoch: this life's number, already durable; greater than every earlier one.
        active: tasks that were assigned or running.
        workers: workers that were not offline.
    """

    epoch: int
    totals: Totals
    active: LoadedTasks = field(default_factory=lambda: LoadedTasks(tasks=(), batches=()))
    workers: tuple[WorkerRecord, ...] = ()
