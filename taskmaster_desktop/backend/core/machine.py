"""The coordinator: a stimulus and its moment go in, instructions come out.

Runs wherever its owner calls it; holds no clock, no lock and no reference to the outside world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskmaster_desktop.backend.clock import SECOND_US, Moment
from taskmaster_desktop.backend.core import fleet, placement, requests, sessions, stimuli
from taskmaster_desktop.backend.core.entities import Worker
from taskmaster_desktop.backend.core.instructions import ReadDelayed, ReadReady
from taskmaster_desktop.backend.core.invariants import check
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.state import Instructions, State, StoryLine
from taskmaster_desktop.backend.core.window import Key, Window
from taskmaster_desktop.backend.model import LoadedTasks, Recovery, TaskRecord, TaskState, Totals


class Machine:
    """One life (epoch) of the coordinator, begun from what the store remembers."""

    def __init__(self, recovery: Recovery, policy: Policy, now: Moment) -> None:
        self._state = state = State(recovery.epoch, recovery.totals, policy)
        state.begin(now)
        for row in recovery.workers:
            worker = Worker(row, now.mono_s, adopted=True)
            state.workers[worker.number] = worker
            state.worker_ids[worker.id] = worker
        for task in state.adopt_rows(recovery.active):
            task.worker = state.workers[task.last_worker or 0]
            task.worker.tasks[task.fence] = task
        self._wake_s: float | None = now.mono_s

    # === the one entrance
    def handle(self, stimulus: stimuli.Stimulus, now: Moment) -> Instructions:
        """Let something happen. Raises UserError for a request that makes no sense; then nothing changed."""
        state = self._state
        state.begin(now)
        _HANDLERS[type(stimulus)](state, stimulus)
        self._settle()
        return state.finish()

    def _settle(self) -> None:
        """Draw the conclusions that follow from any change."""
        state = self._state
        sessions.check_leases(state)
        fleet.reconcile(state)
        placement.promote_due(state)
        placement.dispatch(state)
        look_again_s = placement.balance(state)
        self._read_ahead(state.ready, ReadReady)
        self._read_ahead(state.delayed, ReadDelayed)
        self._wake_s = self._next_wake(look_again_s)

    def _read_ahead(self, window: Window, read: type[ReadReady] | type[ReadDelayed]) -> None:
        wanted = window.wants_read()
        if wanted is not None:
            self._state.read_begins()
            self._state.out.reads.append(read(after=wanted[0], limit=wanted[1]))

    def _next_wake(self, look_again_s: float | None) -> float | None:
        state = self._state
        moments = [] if look_again_s is None else [look_again_s]
        for worker in state.workers.values():
            if not worker.killing:
                moments.append(sessions.lease_end_s(state, worker))
            if not state.policy.confirms_death:
                moments.append(sessions.life_end_s(state, worker))
        head = state.delayed.head()
        if head is not None:
            moments.append(state.now.mono_s + max(0.0, (head[0] - state.now.wall_us) / SECOND_US))
        if state.no_start_before_s > state.now.mono_s:
            moments.append(state.no_start_before_s)
        return min(moments, default=None)

    # === what the owner asks
    @property
    def wake_s(self) -> float | None:
        """The monotonic moment by which `Tick` is wanted; None while only a stimulus can change anything."""
        return self._wake_s

    @property
    def totals(self) -> Totals:
        return self._state.totals()

    @property
    def worker_numbers(self) -> list[int]:
        """The workers that are not offline."""
        return list(self._state.workers)

    def worker_of(self, session: int) -> int | None:
        worker = self._state.sessions.get(session)
        return worker.number if worker is not None else None

    def worker_number(self, worker_id: str) -> int | None:
        worker = self._state.worker_ids.get(worker_id)
        return worker.number if worker is not None else None

    def load_begins(self) -> None:
        """The owner is about to read rows for `Cancel`, `Retry` or `Discard`."""
        self._state.read_begins()

    def holds(self, session: int, fence: int) -> bool:
        """Whether a session's worker holds the attempt with this fence: its output counts."""
        worker = self._state.sessions.get(session)
        return worker is not None and fence in worker.tasks

    def story(self, task: int) -> list[StoryLine]:
        return self._state.story(task)

    def validate(self) -> None:
        """Raise InvariantViolation where the state contradicts itself."""
        check(self._state)


# === dispatch
def _ready_read(state: State, answer: stimuli.ReadyRead) -> None:
    _fill(
        state, state.ready, answer.tasks, answer.complete, lambda row: (row.rank, row.number), delayed=False
    )


def _delayed_read(state: State, answer: stimuli.DelayedRead) -> None:
    _fill(
        state,
        state.delayed,
        answer.tasks,
        answer.complete,
        lambda row: (row.due_us, row.number),
        delayed=True,
    )


def _fill(
    state: State,
    window: Window,
    loaded: LoadedTasks,
    complete: bool,
    key_of: Callable[[TaskRecord], Key],
    *,
    delayed: bool,
) -> None:
    accepted = set(window.fill([key_of(row) for row in loaded.tasks], complete=complete))
    wanted = tuple(row for row in loaded.tasks if key_of(row) in accepted)
    keys = []
    for task in state.adopt_rows(LoadedTasks(tasks=wanted, batches=loaded.batches)):
        if task.state is TaskState.PENDING and not task.queued and bool(task.due_us) == delayed:
            task.queued = True
            keys.append((task.due_us, task.number) if delayed else (task.rank, task.number))
    window.put(keys)
    state.read_ended()


def _with_load(change: Callable[[State, Any], None]) -> Callable[[State, Any], None]:
    def handler(state: State, request: Any) -> None:
        change(state, request)
        state.read_ended()

    return handler


def _tick(_: State, __: stimuli.Tick) -> None:
    """Everything that depends on time alone is settled after every stimulus anyway."""


_HANDLERS: dict[type, Callable[[State, Any], None]] = {
    stimuli.Submit: requests.submit,
    stimuli.Cancel: _with_load(requests.cancel),
    stimuli.Retry: _with_load(requests.retry),
    stimuli.Discard: _with_load(requests.discard),
    stimuli.SetPaused: requests.set_paused,
    stimuli.Scale: fleet.scale,
    stimuli.SetSelfHeal: fleet.set_self_heal,
    stimuli.StopWorker: fleet.stop,
    stimuli.OrderKill: fleet.kill,
    stimuli.Shutdown: fleet.shutdown,
    stimuli.SessionOpened: sessions.opened,
    stimuli.SessionClosed: sessions.closed,
    stimuli.Report: sessions.report,
    stimuli.WorkerLaunched: fleet.launched,
    stimuli.LaunchFailed: fleet.launch_failed,
    stimuli.WorkerEnded: fleet.worker_ended,
    stimuli.RuntimeNews: fleet.runtime_news,
    stimuli.RuntimeReady: fleet.runtime_ready,
    stimuli.ReadyRead: _ready_read,
    stimuli.DelayedRead: _delayed_read,
    stimuli.Removed: requests.removed,
    stimuli.Tick: _tick,
}
