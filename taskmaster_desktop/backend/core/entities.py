"""The core's own mutable view of tasks, batches and workers; nobody outside the core holds one."""

from __future__ import annotations

from taskmaster_desktop.backend.core.instructions import AttemptRef, BatchCounts, Guard
from taskmaster_desktop.backend.model import (
    BatchRecord,
    TaskRecord,
    TaskState,
    WorkerRecord,
    WorkerState,
)


class Batch:
    """A batch with at least one task in memory. Counters are of the whole batch."""

    __slots__ = ("cancelled", "completed", "failed", "in_memory", "record")

    def __init__(self, record: BatchRecord) -> None:
        self.record = record
        self.completed = record.completed
        self.failed = record.failed
        self.cancelled = record.cancelled
        self.in_memory = 0

    def counts(self) -> BatchCounts:
        return BatchCounts(self.completed, self.failed, self.cancelled)

    def counted(self) -> BatchRecord:
        return self.record._replace(completed=self.completed, failed=self.failed, cancelled=self.cancelled)


class Task:
    """A task in memory. The fields are those of `TaskRecord`, and:

    Attributes:
        batch: its batch, shared by all tasks of the batch.
        worker: the worker that holds its current attempt, None while nobody does.
        last_worker: number of the worker of the current or last attempt.
        stored: what the stored row says, as far as writes were instructed.
        recalling: a recall was sent and not answered.
        queued: a window holds it.
    """

    __slots__ = (
        "assigned_us", "attempt", "batch", "cancelling", "command", "created_us", "deaths", "discarded",
        "due_us", "exit_code", "failures", "fence", "finished_us", "id", "is_argv", "last_worker", "number",
        "outcome", "progress", "progress_text", "queued", "rank", "reason", "recalling", "run_at_us", "started_us",
        "state", "stored", "worker",
    )  # fmt: skip

    def __init__(self, row: TaskRecord, batch: Batch) -> None:
        (
            self.number, self.id, _, self.command, self.is_argv, self.rank, self.created_us, self.run_at_us,
            self.state, self.due_us, self.attempt, self.fence, self.last_worker, self.assigned_us,
            self.started_us, self.finished_us, self.outcome, self.exit_code, self.reason, self.failures,
            self.deaths, self.cancelling, self.discarded, self.progress, self.progress_text,
        ) = row  # fmt: skip
        self.batch = batch
        self.worker: Worker | None = None
        self.stored = Guard(self.state, self.fence)
        self.recalling = False
        self.queued = False

    def record(self) -> TaskRecord:
        return TaskRecord(
            self.number, self.id, self.batch.record.number, self.command, self.is_argv, self.rank,
            self.created_us, self.run_at_us, self.state, self.due_us, self.attempt, self.fence,
            self.last_worker, self.assigned_us, self.started_us, self.finished_us, self.outcome,
            self.exit_code, self.reason, self.failures, self.deaths, self.cancelling, self.discarded,
            self.progress, self.progress_text,
        )  # fmt: skip

    def ref(self) -> AttemptRef:
        return AttemptRef(self.number, self.attempt, self.fence)

    def clear_attempt(self) -> None:
        """Forget the figures of the last attempt before a new one."""
        self.started_us = self.finished_us = self.exit_code = None
        self.outcome = None
        self.reason = ""
        self.progress = 0.0
        self.progress_text = ""
        self.recalling = False

    @property
    def waiting(self) -> bool:
        """Given to a worker, not reported as started."""
        return self.state is TaskState.ASSIGNED


class Worker:
    """A living worker: starting, online or draining.

    Attributes:
        tasks: what it holds, by fence.
        session: its current session; None while it is not connected.
        silent_since_s: when it was last heard, on the monotonic clock.
        progressed_s: when it last started or finished a task, or got one while it had none.
        ended: why it has ended or shall end; empty while nobody wants it to.
        killing: a SIGKILL was instructed.
        adopted: it was there before this engine was, and has not connected to it yet.
    """

    __slots__ = (
        "adopted", "boot_id", "completed", "ended", "failed", "handle", "id",
        "killing", "name", "number", "offline_us", "online_us", "progressed_s", "runtime", "session",
        "silent_since_s", "slots", "started_us", "state", "tasks",
    )  # fmt: skip

    def __init__(self, row: WorkerRecord, now_s: float, *, adopted: bool = False) -> None:
        (
            self.number, self.id, self.name, self.runtime, self.state, self.slots, self.handle, self.boot_id,
            self.started_us, self.online_us, self.offline_us, self.ended, self.completed, self.failed,
        ) = row  # fmt: skip
        self.tasks: dict[int, Task] = {}
        self.session: int | None = None
        self.silent_since_s = now_s
        self.progressed_s = now_s
        self.killing = False
        self.adopted = adopted

    def record(self) -> WorkerRecord:
        return WorkerRecord(
            self.number, self.id, self.name, self.runtime, self.state, self.slots, self.handle, self.boot_id,
            self.started_us, self.online_us, self.offline_us, self.ended, self.completed, self.failed,
        )  # fmt: skip

    @property
    def accepts(self) -> bool:
        return self.session is not None and self.state is WorkerState.ONLINE and not self.killing

    @property
    def counts(self) -> bool:
        """Part of the fleet as scaling sees it: not on its way out."""
        return not self.ended and self.state is not WorkerState.DRAINING
