"""What the core asks for: rows to write, messages to send, workers to start and stop, rows to read.

The engine writes `changes` first and carries out the rest only after they are durable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    OutputChunk,
    TaskRecord,
    TaskState,
    Totals,
    WorkerRecord,
)


class Guard(NamedTuple):
    """What the stored row must still say for an update to count."""

    state: TaskState
    fence: int


class TaskPut(NamedTuple):
    """The whole row as it shall be. For a row of a batch inserted in the same group the guard says what is
    inserted: pending, fence 0."""

    record: TaskRecord
    guard: Guard | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTasks:
    """The rows of a new batch, described rather than listed: numbers `batch.first_task` onwards.

    Attributes:
        ids: 16 bytes for each task.
        works: one (command, is_argv) for all tasks, or one for each.
    """

    batch: BatchRecord
    ids: bytes
    works: Sequence[tuple[str, bool]]
    run_at_us: int | None
    due_us: int

    def record(self, index: int) -> TaskRecord:
        """The row of the task at `index`, pending."""
        command, is_argv = self.works[index if len(self.works) > 1 else 0]
        batch = self.batch
        return TaskRecord(
            batch.first_task + index, self.ids[16 * index : 16 * index + 16], batch.number, command, is_argv,
            -batch.options.priority, batch.created_us, self.run_at_us, TaskState.PENDING, self.due_us,
            0, 0, None, None, None, None, None, None, "", 0, 0, False, False, 0.0, "",
        )  # fmt: skip

    def records(self) -> Iterator[TaskRecord]:
        return map(self.record, range(self.batch.size))


class BatchCounts(NamedTuple):
    completed: int
    failed: int
    cancelled: int


@dataclass(slots=True, kw_only=True)
class Changes:
    """Rows to write in one transaction. Merging keeps the newest state of a row and the oldest guard."""

    new: list[NewTasks] = field(default_factory=list)
    tasks: dict[int, TaskPut] = field(default_factory=dict)
    batches: dict[int, BatchCounts] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    events: list[EventRecord] = field(default_factory=list)
    output: list[OutputChunk] = field(default_factory=list)
    totals: Totals | None = None

    def __bool__(self) -> bool:
        return self.totals is not None or bool(self.new or self.tasks or self.batches or self.attempts
                                               or self.workers or self.events or self.output)  # fmt: skip

    @property
    def rows(self) -> int:
        """About how many rows there are to write."""
        return (sum(new.batch.size for new in self.new) + len(self.tasks) + len(self.attempts)
                + len(self.events) + len(self.output))  # fmt: skip

    def merge(self, later: Changes) -> None:
        """Take over what happened after the changes already here."""
        tasks = self.tasks
        for number, put in later.tasks.items():
            earlier = tasks.get(number)
            tasks[number] = put if earlier is None else TaskPut(put.record, earlier.guard)
        self.new += later.new
        self.batches |= later.batches
        self.attempts += later.attempts
        self.workers |= later.workers
        self.events += later.events
        self.output += later.output
        if later.totals is not None:
            self.totals = later.totals


class AttemptRef(NamedTuple):
    task: int
    attempt: int
    fence: int


class Assignment(NamedTuple):
    """One task given to a worker. `batch` carries the options."""

    ref: AttemptRef
    task_id: bytes
    command: str
    is_argv: bool
    batch: BatchRecord


@dataclass(slots=True, kw_only=True)
class Sends:
    """Messages for one session, sent together."""

    assign: list[Assignment] = field(default_factory=list)
    recall: list[AttemptRef] = field(default_factory=list)
    cancel: list[AttemptRef] = field(default_factory=list)
    result_acks: list[int] = field(default_factory=list)
    output_acks: dict[int, int] = field(default_factory=dict)
    drain: bool = False
    heartbeat_ack: int = 0

    @property
    def only_acks(self) -> bool:
        """Nothing here is urgent."""
        return not (self.assign or self.recall or self.cancel or self.drain or self.heartbeat_ack)

    def merge(self, later: Sends) -> None:
        self.assign += later.assign
        self.recall += later.recall
        self.cancel += later.cancel
        self.result_acks += later.result_acks
        self.output_acks |= later.output_acks
        self.drain |= later.drain
        self.heartbeat_ack = max(self.heartbeat_ack, later.heartbeat_ack)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorker:
    worker: WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateWorker:
    """Ask a worker that has no session to end by itself (TERM)."""

    worker: WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class KillWorker:
    """SIGKILL, and confirm that nothing of the worker is left."""

    worker: WorkerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSession:
    session: int
    reason: str


RuntimeAction = StartWorker | TerminateWorker | KillWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReady:
    """Read pending tasks that may start now, in order of (rank, number), after a position."""

    after: tuple[int, int] | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDelayed:
    """Read pending tasks that wait for a moment, in order of (due, number), after a position."""

    after: tuple[int, int] | None
    limit: int


Read = ReadReady | ReadDelayed
