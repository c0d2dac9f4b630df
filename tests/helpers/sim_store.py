"""A store in memory with the checks of the real one: one atomic transaction, guards, the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from taskmaster_desktop.backend.core.instructions import Changes, Guard, ReadDelayed, ReadReady
from taskmaster_desktop.backend.model import (
    ACTIVE_STATES,
    IMMUTABLE_FIELDS,
    AttemptRecord,
    BatchRecord,
    EventRecord,
    LoadedTasks,
    OutputChunk,
    Recovery,
    TaskFilter,
    TaskRecord,
    TaskState,
    Totals,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.ports import StaleEpoch, StaleWrite

FRESH = Guard(TaskState.PENDING, 0)
IMMUTABLE_BATCH_FIELDS = BatchRecord._fields.index("completed")


class MemoryStore:
    """What `ports.Store` promises, without a disk. Nothing is changed by a call that raises."""

    def __init__(self) -> None:
        self.epoch = 0  # what the database says
        self.totals = Totals()
        self.tasks: dict[int, TaskRecord] = {}
        self.batches: dict[int, BatchRecord] = {}
        self.workers: dict[int, WorkerRecord] = {}
        self.attempts: list[AttemptRecord] = []
        self.events: list[EventRecord] = []
        self.output: dict[tuple[int, int], bytearray] = {}  # by task and attempt
        self.groups = 0
        self._fences: set[int] = set()

    # === writing
    def begin_epoch(self) -> Recovery:
        self.epoch += 1
        active = [row for row in self.tasks.values() if row.state in ACTIVE_STATES]
        living = [row for row in self.workers.values() if row.state is not WorkerState.OFFLINE]
        return Recovery(
            epoch=self.epoch,
            totals=self.totals,
            active=self._with_batches(sorted(active)),
            workers=tuple(sorted(living)),
        )

    def apply(self, changes: Changes, *, epoch: int | None = None) -> None:
        """One transaction of the life `epoch` (None: of the present one)."""
        if epoch is not None and epoch != self.epoch:
            raise StaleEpoch(f"epoch {epoch} is over, this is {self.epoch}")
        fresh = {row.number: row for new in changes.new for row in new.records()}
        self._check_new(changes, fresh)
        for number, put in changes.tasks.items():
            self._check_put(put.record, put.guard, fresh.get(number))
        if not changes.batches.keys() <= self.batches.keys() | {new.batch.number for new in changes.new}:
            raise StaleWrite("a batch that was to be counted does not exist")
        fences = [attempt.fence for attempt in changes.attempts]
        if len(set(fences)) < len(fences) or not self._fences.isdisjoint(fences):
            raise StaleWrite(f"an attempt ended twice: {sorted(fences)}")
        self._write(changes, fresh)
        self._fences.update(fences)

    def _write(self, changes: Changes, fresh: dict[int, TaskRecord]) -> None:
        self.groups += 1
        self.batches.update((new.batch.number, new.batch) for new in changes.new)
        self.tasks.update(fresh)
        self.tasks.update((number, put.record) for number, put in changes.tasks.items())
        for number, counts in changes.batches.items():
            self.batches[number] = self.batches[number]._replace(**counts._asdict())
        self.workers.update(changes.workers)
        self.attempts += changes.attempts
        self.events += changes.events
        for chunk in changes.output:
            self._put_output(chunk)
        if changes.totals is not None:
            self.totals = changes.totals

    def _check_new(self, changes: Changes, fresh: dict[int, TaskRecord]) -> None:
        for new in changes.new:
            if new.batch.number in self.batches:
                raise StaleWrite(f"there is a batch {new.batch.number} already")
        for number in fresh:
            if number in self.tasks:
                raise StaleWrite(f"there is a task {number} already")

    def _check_put(self, record: TaskRecord, guard: Guard | None, fresh: TaskRecord | None) -> None:
        stored = self.tasks.get(record.number)
        if fresh is not None:
            if guard is not None and guard != FRESH:
                raise StaleWrite(f"new task {record.number} was expected to be {guard}")
            stored = fresh
        elif stored is None or guard is None or Guard(stored.state, stored.fence) != guard:
            raise StaleWrite(f"task {record.number} was expected to be {guard}, it is {stored}")
        if stored[:IMMUTABLE_FIELDS] != record[:IMMUTABLE_FIELDS]:
            raise StaleWrite(f"an immutable field of task {record.number} changed: {stored} -> {record}")

    def _put_output(self, chunk: OutputChunk) -> None:
        kept = self.output.setdefault((chunk.task, chunk.attempt), bytearray())
        if chunk.offset > len(kept):
            raise StaleWrite(f"output of task {chunk.task} lacks bytes {len(kept)} to {chunk.offset}")
        kept += chunk.data[len(kept) - chunk.offset :]

    # === reading for the core
    def read_ready(self, request: ReadReady) -> LoadedTasks:
        waiting = (row for row in self.tasks.values() if row.state is TaskState.PENDING and not row.due_us)
        return self._window(((row.rank, row.number) for row in waiting), request)

    def read_delayed(self, request: ReadDelayed) -> LoadedTasks:
        waiting = (row for row in self.tasks.values() if row.state is TaskState.PENDING and row.due_us)
        return self._window(((row.due_us, row.number) for row in waiting), request)

    def _window(self, keys: Iterable[tuple[int, int]], request: ReadReady | ReadDelayed) -> LoadedTasks:
        after = request.after
        if after is not None:
            keys = (key for key in keys if key > after)
        return self._with_batches([self.tasks[number] for _, number in nsmallest(request.limit, keys)])

    def load_tasks(self, numbers: Sequence[int]) -> LoadedTasks:
        return self._with_batches([self.tasks[n] for n in sorted(set(numbers)) if n in self.tasks])

    def find_numbers(self, chosen: TaskFilter, after: int, limit: int) -> Sequence[int]:
        """As much of a filter as tests use: states and batch."""
        found = (
            row.number
            for row in self.tasks.values()
            if row.number > after
            and (not chosen.states or row.state in chosen.states)
            and chosen.batch in (None, row.batch)
        )
        return nsmallest(limit, found)

    def find_by_key(self, idempotency_key: str) -> BatchRecord | None:
        found = [batch for batch in self.batches.values() if batch.idempotency_key == idempotency_key]
        return found[0] if found else None

    def _with_batches(self, rows: Sequence[TaskRecord]) -> LoadedTasks:
        numbers = sorted({row.batch for row in rows})
        return LoadedTasks(tasks=tuple(rows), batches=tuple(self.batches[number] for number in numbers))

    # === for assertions
    def recount(self) -> Totals:
        """The totals as the rows have them; what no row tells is taken from the stored totals."""
        states = Counter(row.state for row in self.tasks.values())
        return self.totals._replace(
            **{state.value: states[state] for state in TaskState},
            discarded=sum(row.discarded for row in self.tasks.values()),
        )

    def recount_batches(self) -> dict[int, BatchRecord]:
        states = Counter((row.batch, row.state) for row in self.tasks.values())
        return {
            number: batch._replace(
                completed=states[number, TaskState.COMPLETED],
                failed=states[number, TaskState.FAILED],
                cancelled=states[number, TaskState.CANCELLED],
            )
            for number, batch in self.batches.items()
        }

    def has_attempt(self, fence: int) -> bool:
        return fence in self._fences

    def attempts_of(self, task: int) -> list[AttemptRecord]:
        return [attempt for attempt in self.attempts if attempt.task == task]
