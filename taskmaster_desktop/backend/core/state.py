"""The state of the coordinator and the few ways to change it: transitions, the story, and rows to write."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.core.entities import Batch, Task, Worker
from taskmaster_desktop.backend.core.instructions import (
    Changes,
    CloseSession,
    Guard,
    NewTasks,
    Read,
    RuntimeAction,
    Sends,
    TaskPut,
)
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.transitions import (
    TASK_TRANSITIONS,
    WORKER_TRANSITIONS,
    TaskStep,
    WorkerStep,
)
from taskmaster_desktop.backend.core.window import Window
from taskmaster_desktop.backend.errors import InvariantViolation
from taskmaster_desktop.backend.model import (
    TERMINAL_STATES,
    EventRecord,
    Level,
    LoadedTasks,
    TaskRecord,
    TaskState,
    Totals,
)

STORY_LENGTH = 20_000


class StoryLine(NamedTuple):
    """One step of a task: which stimulus, when, and what it did."""

    stimulus: int
    at_us: int
    task: int
    attempt: int
    fence: int
    step: TaskStep
    state: TaskState


@dataclass(slots=True, kw_only=True)
class Instructions:
    """What one stimulus led to. `changes` first; the rest only after they are durable.

    Attributes:
        sends: messages by session.
        finished: tasks that reached a terminal state.
        reply: what the caller of the stimulus is told.
    """

    changes: Changes = field(default_factory=Changes)
    sends: dict[int, Sends] = field(default_factory=dict)
    closes: list[CloseSession] = field(default_factory=list)
    actions: list[RuntimeAction] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    finished: list[TaskRecord] = field(default_factory=list)
    reply: object = None


class State:
    """Everything the core knows. The modules beside this one read and change it; `Machine` owns it."""

    def __init__(self, epoch: int, totals: Totals, policy: Policy) -> None:
        self.epoch = epoch
        self.policy = policy
        self.tasks: dict[int, Task] = {}
        self.batches: dict[int, Batch] = {}
        self.workers: dict[int, Worker] = {}
        self.worker_ids: dict[str, Worker] = {}
        self.sessions: dict[int, Worker] = {}
        self.ready = Window(policy.window)
        self.delayed = Window(policy.window)
        self.ring_after = 0  # number of the worker that was last given a task
        self.next_task = totals.next_task
        self.next_batch = totals.next_batch
        self.next_worker = totals.next_worker
        self.desired = totals.desired
        self.target = totals.desired  # differs from `desired` only where self-heal is off
        self.self_heal = totals.self_heal
        self.paused = totals.paused
        self.shutting_down = False
        self.counts = {
            TaskState.PENDING: totals.pending,
            TaskState.ASSIGNED: totals.assigned,
            TaskState.RUNNING: totals.running,
            TaskState.COMPLETED: totals.completed,
            TaskState.FAILED: totals.failed,
            TaskState.CANCELLED: totals.cancelled,
        }
        self.discarded = totals.discarded
        self.attempts_lost = totals.attempts_lost
        self.late_answers = totals.late_answers
        self.mean_us: float | None = None  # moving mean of how long an attempt takes
        self.failed_starts = 0
        self.no_start_before_s = 0.0
        self.stimulus = 0
        self.now = Moment(0, 0.0)
        self.out = Instructions()
        self._fences = 0
        self._touched: dict[int, Task] = {}
        self._touched_batches: dict[int, Batch] = {}
        self._written = totals
        self._considered: dict[int, Task] = {}  # may leave memory at the end of a stimulus
        self._reads_in_flight = 0
        self._story: deque[StoryLine] = deque(maxlen=STORY_LENGTH)

    # === one stimulus
    def begin(self, now: Moment) -> None:
        self.stimulus += 1
        self.now = now
        self.out = Instructions()

    def finish(self) -> Instructions:
        """Turn what was touched into rows, and let go of what need not stay in memory."""
        changes = self.out.changes
        for task in self._touched.values():
            record = task.record()
            changes.tasks[task.number] = TaskPut(record, task.stored)
            task.stored = Guard(task.state, task.fence)
            if task.state in TERMINAL_STATES:
                self.out.finished.append(record)
        for number, batch in self._touched_batches.items():
            changes.batches[number] = batch.counts()
        self.trim_windows()
        self._let_go()
        totals = self.totals()
        if totals != self._written:
            changes.totals = self._written = totals
        return self.out

    def _let_go(self) -> None:
        """Keep in memory only what a window or a worker holds.

        While a read is under way nothing leaves, because the read may carry a row that is older than
        what memory knows: memory must be there to win.
        """
        self._considered |= self._touched
        self._touched.clear()
        self._touched_batches.clear()
        if self._reads_in_flight:
            return
        for task in self._considered.values():
            if not task.queued and task.worker is None:
                del self.tasks[task.number]
                batch = task.batch
                batch.in_memory -= 1
                if not batch.in_memory:
                    del self.batches[batch.record.number]
        self._considered.clear()

    def trim_windows(self) -> None:
        """Leave to the store what urgent tasks have pushed out."""
        for window in (self.ready, self.delayed):
            for _, number in window.trim():
                task = self.tasks.get(number)
                if task is not None:
                    task.queued = False
                    self._considered[number] = task

    def read_begins(self) -> None:
        """Rows are about to be read from the store, after everything instructed so far is written."""
        self._reads_in_flight += 1

    def read_ended(self) -> None:
        self._reads_in_flight -= 1

    # === tasks
    def step(self, task: Task, step: TaskStep) -> None:
        """Change a task's state by the table; everything else about the change is the caller's."""
        before = task.state
        after = TASK_TRANSITIONS.get((before, step))
        if after is None:
            raise InvariantViolation(
                f"Task #{task.number} cannot {step} while {before}. Story: {self.story(task.number)}"
            )
        task.state = after
        self.counts[before] -= 1
        self.counts[after] += 1
        self._touched[task.number] = task
        self._story.append(
            StoryLine(self.stimulus, self.now.wall_us, task.number, task.attempt, task.fence, step, after)
        )
        if after in TERMINAL_STATES or before in TERMINAL_STATES:
            self._count_in_batch(task.batch, before, -1)
            self._count_in_batch(task.batch, after, +1)

    def _count_in_batch(self, batch: Batch, state: TaskState, change: int) -> None:
        if state is TaskState.COMPLETED:
            batch.completed += change
        elif state is TaskState.FAILED:
            batch.failed += change
        elif state is TaskState.CANCELLED:
            batch.cancelled += change
        self._touched_batches[batch.record.number] = batch

    def touch(self, task: Task) -> None:
        """Have a task's row written although its state did not change."""
        self._touched[task.number] = task

    def story(self, number: int) -> list[StoryLine]:
        """The steps of one task that are still remembered, oldest first."""
        return [line for line in self._story if line.task == number]

    def adopt_rows(self, loaded: LoadedTasks) -> list[Task]:
        """Bring rows into memory. What is in memory already is newer than any row and stays as it is."""
        batches = {batch.number: batch for batch in loaded.batches}
        tasks = []
        for row in loaded.tasks:
            task = self.tasks.get(row.number)
            if task is None:
                batch = self.batches.get(row.batch)
                if batch is None:
                    batch = self.batches[row.batch] = Batch(batches[row.batch])
                task = self.add_task(row, batch)
                self._considered[task.number] = task
            tasks.append(task)
        return tasks

    def add_task(self, row: TaskRecord, batch: Batch) -> Task:
        task = self.tasks[row.number] = Task(row, batch)
        batch.in_memory += 1
        return task

    def add_batch(self, new: NewTasks) -> Batch:
        self.out.changes.new.append(new)
        batch = self.batches[new.batch.number] = Batch(new.batch)
        self.counts[TaskState.PENDING] += new.batch.size
        return batch

    def enqueue(self, task: Task) -> None:
        """Let a pending task wait, in a window or (beyond it) in the store alone."""
        if task.due_us:
            task.queued = self.delayed.admit((task.due_us, task.number))
        else:
            task.queued = self.ready.admit((task.rank, task.number))

    def next_fence(self) -> int:
        """Greater than every fence ever given: the epoch, durable before it is used, leads."""
        self._fences += 1
        return (self.epoch << 32) + self._fences

    # === workers and the rest
    def step_worker(self, worker: Worker, step: WorkerStep) -> None:
        after = WORKER_TRANSITIONS.get((worker.state, step))
        if after is None:
            raise InvariantViolation(f"{worker.name} cannot {step} while {worker.state}.")
        worker.state = after
        self.put_worker(worker)

    def put_worker(self, worker: Worker) -> None:
        self.out.changes.workers[worker.number] = worker.record()

    def sends(self, session: int) -> Sends:
        """The messages that will go to a session."""
        found = self.out.sends.get(session)
        if found is None:
            found = self.out.sends[session] = Sends()
        return found

    def log(
        self, level: Level, kind: str, message: str, *, task: int | None = None, worker: int | None = None
    ) -> None:
        """A line for the activity log."""
        self.out.changes.events.append(EventRecord(self.now.wall_us, level, kind, message, task, worker))

    def totals(self) -> Totals:
        counts = self.counts
        return Totals(
            self.next_task, self.next_batch, self.next_worker, self.desired, self.self_heal, self.paused,
            counts[TaskState.PENDING], counts[TaskState.ASSIGNED], counts[TaskState.RUNNING],
            counts[TaskState.COMPLETED], counts[TaskState.FAILED], counts[TaskState.CANCELLED],
            self.discarded, self.attempts_lost, self.late_answers,
        )  # fmt: skip
