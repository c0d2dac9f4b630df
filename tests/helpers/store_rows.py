"""Builds rows for tests of the store: a small stand-in for the core that numbers things and counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskmaster_desktop.backend.core.instructions import BatchCounts, Changes, Guard, NewTasks, TaskPut
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    Outcome,
    OutputChunk,
    Stream,
    TaskOptions,
    TaskRecord,
    TaskState,
    Totals,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.store import OpenedStore

NOW_US = 1_800_000_000_000_000
PLAIN = TaskOptions()


class Book:
    """Writes through a store and remembers every row as it should stand there."""

    def __init__(self, opened: OpenedStore) -> None:
        self.opened = opened
        self.store = opened.store
        self.query = opened.query
        self.next_task = 1
        self.next_batch = 1
        self.fence = 0
        self.rows: dict[int, TaskRecord] = {}
        self.batches: dict[int, BatchRecord] = {}

    # ------------------------------------------------------------ building
    def new(
        self,
        size: int,
        options: TaskOptions = PLAIN,
        *,
        works: Sequence[tuple[str, bool]] = (("true", False),),
        due_us: int = 0,
        created_us: int = NOW_US,
        key: str | None = None,
    ) -> NewTasks:
        number, first = self.next_batch, self.next_task
        self.next_batch += 1
        self.next_task += size
        batch = BatchRecord(
            number, b"b" + number.to_bytes(15, "big"), created_us, first, size, options,
            key, None if key is None else b"hash", 0, 0, 0,
        )  # fmt: skip
        ids = b"".join(b"t" + task.to_bytes(15, "big") for task in range(first, first + size))
        new = NewTasks(batch=batch, ids=ids, works=works, run_at_us=due_us or None, due_us=due_us)
        self.batches[number] = batch
        self.rows |= {row.number: row for row in new.records()}
        return new

    def put(self, number: int, **fields: Any) -> TaskPut:
        """The task with `fields` changed, guarded by what it is now."""
        old = self.rows[number]
        self.rows[number] = old._replace(**fields)
        return TaskPut(self.rows[number], Guard(old.state, old.fence))

    def assigned(self, number: int, worker: int = 1) -> TaskPut:
        self.fence += 1
        return self.put(
            number, state=TaskState.ASSIGNED, due_us=0, attempt=self.rows[number].attempt + 1,
            fence=self.fence, worker=worker, assigned_us=NOW_US + 1,
        )  # fmt: skip

    def ended(
        self, number: int, state: TaskState = TaskState.COMPLETED, finished_us: int = NOW_US + 3
    ) -> TaskPut:
        outcome = Outcome(state.value)
        code = 0 if state is TaskState.COMPLETED else 1
        return self.put(
            number,
            state=state,
            started_us=NOW_US + 2,
            finished_us=finished_us,
            outcome=outcome,
            exit_code=code,
        )

    def attempt(self, number: int, output_bytes: int = 0) -> AttemptRecord:
        """The row of the attempt that the task now shows as ended."""
        row = self.rows[number]
        assert row.worker is not None
        assert row.assigned_us is not None
        assert row.finished_us is not None
        assert row.outcome is not None
        return AttemptRecord(
            row.number, row.attempt, row.fence, row.worker, row.assigned_us, row.started_us, row.finished_us,
            1, row.outcome, row.exit_code, row.reason, output_bytes,
        )  # fmt: skip

    # ------------------------------------------------------------ writing
    def apply(self, *puts: TaskPut, **parts: Any) -> None:
        self.store.apply(Changes(tasks={put.record.number: put for put in puts}, **parts))

    def submit(self, size: int, options: TaskOptions = PLAIN, **how: Any) -> range:
        """Store a batch of pending tasks and return their numbers."""
        new = self.new(size, options, **how)
        self.store.apply(Changes(new=[new], totals=self.totals()))
        return range(new.batch.first_task, new.batch.first_task + size)

    def live(
        self,
        number: int,
        state: TaskState = TaskState.COMPLETED,
        *,
        worker: int = 1,
        finished_us: int = NOW_US + 3,
        output: Sequence[bytes] = (),
    ) -> None:
        """Take a pending task through an attempt of its own to a terminal state."""
        self.apply(self.assigned(number, worker))
        chunks, offset = [], 0
        for data in output:
            chunks.append(chunk(number, self.rows[number].attempt, offset, data))
            offset += len(data)
        put = self.ended(number, state, finished_us)
        self.apply(put, attempts=[self.attempt(number, offset)], output=chunks, totals=self.totals())

    def totals(self, **fields: Any) -> Totals:
        """Counted afresh from the rows remembered."""
        states = [row.state for row in self.rows.values()]
        counts = {state.value: states.count(state) for state in TaskState}
        discarded = sum(row.discarded for row in self.rows.values())
        return Totals(
            next_task=self.next_task, next_batch=self.next_batch, discarded=discarded, **counts
        )._replace(**fields)  # fmt: skip


def chunk(task: int, attempt: int, offset: int, data: bytes, stream: Stream = Stream.STDOUT) -> OutputChunk:
    return OutputChunk(task, attempt, offset, stream, data)


def counts(completed: int = 0, failed: int = 0, cancelled: int = 0) -> BatchCounts:
    return BatchCounts(completed, failed, cancelled)


def worker(
    number: int, state: WorkerState = WorkerState.ONLINE, offline_us: int | None = None
) -> WorkerRecord:
    return WorkerRecord(
        number, f"id-{number}", f"worker-{number}", "process", state, 2, f"pid {number}", "boot",
        NOW_US, NOW_US + 1, offline_us, "", 3, 1,
    )  # fmt: skip
