"""What really happened at the agents, and whether every promise was kept: at each commit, each start of a
command, each acknowledgement, and when all is over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from taskmaster_desktop.backend.core.instructions import Changes
from taskmaster_desktop.backend.model import (
    ACTIVE_STATES,
    TERMINAL_STATES,
    AttemptRecord,
    Outcome,
    TaskRecord,
    TaskState,
    WorkerState,
)
from tests.helpers.sim_store import MemoryStore
from tests.helpers.sim_world import Broken, World

CHARGED = frozenset({Outcome.FAILED, Outcome.TIMEOUT})


@dataclass(slots=True)
class Execution:
    """A command as it truly ran."""

    task: int
    fence: int
    worker: str
    begin_s: float
    end_s: float | None = None
    how: str = ""


class Judge:
    """Watches one simulated world.

    Attributes:
        acknowledged: tasks whose submission was answered.
        may_cancel, may_retry: tasks for which somebody asked for that, answered or not.
        taken: fences of attempts that an agent moved from waiting to running.
        printed: by fence, what a command that ended had printed.
        unordered: by fence, how many workers died by nobody's order while they had it taken.
    """

    def __init__(self, world: World, store: MemoryStore) -> None:
        self.world = world
        self.store = store
        self.executions: dict[int, Execution] = {}
        self.running: dict[int, Execution] = {}  # by task
        self.taken: dict[int, int] = {}  # fence -> task
        self.acknowledged: set[int] = set()
        self.may_cancel: set[int] = set()
        self.may_retry: set[int] = set()
        self.unordered: Counter[int] = Counter()
        self.newest_fence = 0
        self.printed: dict[int, bytes] = {}
        self._due: dict[int, int] = {}

    def fail(self, why: str) -> None:
        raise Broken(why)

    # === at the agents
    def begins(self, task: int, fence: int, worker: str) -> None:
        """A command begins to run."""
        row = self.store.tasks.get(task)
        if row is None or row.fence != fence or row.state not in ACTIVE_STATES:
            self.fail(f"task {task} begins under fence {fence}, the store says {_short(row)}")
        other = self.running.get(task)
        if other is not None:
            self.fail(f"task {task} begins on {worker} while it runs on {other.worker} since {other.begin_s}")
        if fence in self.executions:
            self.fail(f"attempt {fence} of task {task} runs twice")
        self.executions[fence] = self.running[task] = Execution(task, fence, worker, self.world.now_s)

    def ends(self, fence: int, how: str) -> None:
        execution = self.executions[fence]
        if execution.end_s is None:
            execution.end_s, execution.how = self.world.now_s, how
            if self.running.get(execution.task) is execution:
                del self.running[execution.task]

    def suspended(self, fence: int) -> None:
        """Its worker is frozen where nobody can see that: it does not run for a while."""
        execution = self.executions.get(fence)
        if execution is not None and execution.end_s is None:
            self.running.pop(execution.task, None)

    def resumed(self, fence: int) -> None:
        execution = self.executions.get(fence)
        if execution is not None and execution.end_s is None:
            if execution.task in self.running:
                self.fail(f"attempt {fence} of task {execution.task} wakes up while another one runs")
            self.running[execution.task] = execution

    def acknowledged_result(self, fence: int) -> None:
        """An agent forgets a result because the engine says that it is safe."""
        if not self.store.has_attempt(fence):
            self.fail(f"the result of {fence} was acknowledged, but it is not stored")

    # === at the store
    def committed(self, changes: Changes, before: dict[int, TaskRecord]) -> None:
        for number, put in changes.tasks.items():
            old = before.get(number)
            if old is not None:
                self._check_step(old, put.record)

    def _check_step(self, old: TaskRecord, new: TaskRecord) -> None:
        number = new.number
        if old.state in TERMINAL_STATES and new.state is not old.state and number not in self.may_retry:
            self.fail(f"task {number} went from {old.state} to {new.state} by itself")
        if new.state is TaskState.CANCELLED is not old.state and number not in self.may_cancel:
            self.fail(f"nobody asked to cancel task {number}")
        if old.state in ACTIVE_STATES and (new.fence != old.fence or new.state not in ACTIVE_STATES):
            running = self.running.get(number)
            if running is not None and running.fence == old.fence:
                self.fail(f"task {number} left {old.state} while {old.fence} runs on {running.worker}")
        if old.due_us:
            self._due[number] = old.due_us
        if new.fence != old.fence:
            self._check_assignment(new)

    def _check_assignment(self, new: TaskRecord) -> None:
        if new.fence <= self.newest_fence and new.fence in self.executions:
            self.fail(f"fence {new.fence} was given twice")
        self.newest_fence = max(self.newest_fence, new.fence)
        due_us = max(self._due.pop(new.number, 0), new.run_at_us or 0)
        # What became due stays due when the wall clock is turned back.
        if new.assigned_us is not None and max(new.assigned_us, self.world.latest_wall_us) < due_us:
            self.fail(f"task {new.number} was given out {due_us - new.assigned_us} us early")

    # === when all is over
    def final(self) -> None:
        store = self.store
        missing = self.acknowledged - store.tasks.keys()
        if missing:
            self.fail(f"acknowledged tasks are lost: {sorted(missing)}")
        unfinished = [_short(row) for row in store.tasks.values() if row.state not in TERMINAL_STATES]
        if unfinished:
            self.fail(f"these tasks never ended: {unfinished}")
        if store.recount() != store.totals:
            self.fail(f"counters {store.totals} differ from the rows {store.recount()}")
        if store.recount_batches() != store.batches:
            self.fail("counters of batches differ from the rows")
        if self.running:
            self.fail(f"commands still run: {self.running}")
        self._check_attempts()

    def _check_attempts(self) -> None:
        attempts = defaultdict(list)
        for attempt in self.store.attempts:
            attempts[attempt.task].append(attempt)
        for row in self.store.tasks.values():
            history = sorted(attempts[row.number], key=lambda attempt: attempt.attempt)
            if [attempt.attempt for attempt in history] != list(range(1, row.attempt + 1)):
                self.fail(
                    f"task {row.number} has attempts {[a.attempt for a in history]}, should be {row.attempt}"
                )
            fences = [attempt.fence for attempt in history]
            if fences != sorted(fences):
                self.fail(f"the fences of task {row.number} do not increase: {fences}")
            self._check_outcomes(row, [attempt.outcome for attempt in history])
            for attempt in history:
                self._check_outcome(attempt.fence, attempt.outcome, attempt.started_us is not None)
                self._check_output(attempt)
            self._check_blame(row, fences)

    def _check_outcomes(self, row: TaskRecord, outcomes: list[Outcome]) -> None:
        completed = outcomes.count(Outcome.COMPLETED)
        if completed != (row.state is TaskState.COMPLETED):
            self.fail(f"task {row.number} is {row.state} with {completed} completing attempts")
        charged = sum(outcome in CHARGED for outcome in outcomes)
        retries = self.store.batches[row.batch].options.retries
        if (
            row.number not in self.may_retry
            and row.failures != charged
            and row.state is not TaskState.CANCELLED
        ):
            self.fail(f"task {row.number} is charged {row.failures} failures of {charged}: {outcomes}")
        if row.failures > charged:
            self.fail(f"task {row.number} is charged {row.failures} failures, it had {charged}: {outcomes}")
        quarantined = row.deaths >= 3
        if row.state is TaskState.FAILED and not quarantined and row.failures != retries + 1:
            self.fail(f"task {row.number} failed after {row.failures} failures with {retries} retries")

    def _check_outcome(self, fence: int, outcome: Outcome, started: bool) -> None:
        execution = self.executions.get(fence)
        if outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.TIMEOUT) and (
            execution is None or execution.how != outcome
        ):
            self.fail(f"attempt {fence} is stored as {outcome}, it truly was {execution}")
        if outcome in (Outcome.LOST, Outcome.OOM) and fence not in self.taken:
            self.fail(f"attempt {fence} is {outcome} and was never started")
        if outcome is Outcome.RECALLED and started:
            self.fail(f"attempt {fence} was recalled after its start")

    def _check_output(self, attempt: AttemptRecord) -> None:
        if attempt.outcome is Outcome.COMPLETED or attempt.outcome in CHARGED:
            printed = self.printed[attempt.fence]
            kept = bytes(self.store.output.get((attempt.task, attempt.attempt), b""))
            if kept != printed:
                self.fail(f"attempt {attempt.fence} printed {printed!r}, kept is {kept!r}")

    def _check_blame(self, row: TaskRecord, fences: list[int]) -> None:
        truly = sum(self.unordered[fence] for fence in fences)
        if row.deaths > truly:
            self.fail(f"task {row.number} is blamed for {row.deaths} deaths, there were {truly}")

    def no_worker_left(self) -> None:
        """After a shutdown."""
        alive = [w.name for w in self.store.workers.values() if w.state is not WorkerState.OFFLINE]
        if alive:
            self.fail(f"workers are still there after the shutdown: {alive}")


def _short(row: TaskRecord | None) -> str:
    if row is None:
        return "that there is no such task"
    return f"#{row.number} {row.state} attempt {row.attempt} fence {row.fence}"


class WatchedStore(MemoryStore):
    """A store whose every commit is judged."""

    judge: Judge | None = None

    def _write(self, changes: Changes, fresh: dict[int, TaskRecord]) -> None:
        before = {number: self.tasks[number] for number in changes.tasks if number in self.tasks}
        before |= {number: fresh[number] for number in changes.tasks if number in fresh}
        super()._write(changes, fresh)
        if self.judge is not None:
            self.judge.committed(changes, before)
