"""The real core with a clock turned by hand and a store in memory, for tests of single situations.

Every stimulus is committed at once, its reads are answered at once, and everything is validated after it:
the machine's invariants, and the stored counters against a recount of the rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from taskmaster_desktop.backend.clock import SECOND_US, Moment
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import (
    AttemptRef,
    KillWorker,
    Read,
    ReadReady,
    RuntimeAction,
    StartWorker,
)
from taskmaster_desktop.backend.core.machine import Machine
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.state import Instructions
from taskmaster_desktop.backend.core.stimuli import RecallResult, Stimulus
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    LoadedTasks,
    Outcome,
    TaskOptions,
    TaskRecord,
    TaskState,
    Totals,
    WorkerRecord,
    WorkerState,
)
from tests.helpers import builders
from tests.helpers.sim_store import MemoryStore

Action = TypeVar("Action", bound=RuntimeAction)


class Coordinator:
    """A machine, its store and its clock.

    Attributes:
        sent: what each session was told so far, merged.
        actions: what the runtime was told so far.
        hold_reads: keep reads in `held` instead of answering them.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.store = MemoryStore()
        self.now = Moment(builders.START_US, 1_000.0)
        self.sent: dict[int, Any] = {}
        self.actions: list[RuntimeAction] = []
        self.closed: list[int] = []
        self.hold_reads = False
        self.held: list[tuple[Read, LoadedTasks]] = []
        self.recount = True
        self._next_session = 1
        self.machine = self._begin()

    def _begin(self) -> Machine:
        self.machine = Machine(self.store.begin_epoch(), self.policy, self.now)
        self.tick()
        return self.machine

    def restart(self) -> None:
        """The engine dies and comes back; all sessions are gone."""
        self.held.clear()
        self._begin()

    # === stimuli
    def feed(self, stimulus: Stimulus) -> Instructions:
        instructions = self.machine.handle(stimulus, self.now)
        self.machine.validate()
        self.store.apply(instructions.changes)
        if self.recount:
            assert self.store.recount() == self.store.totals == self.machine.totals
            assert self.store.recount_batches() == self.store.batches
        for session, sends in instructions.sends.items():
            if session in self.sent:
                self.sent[session].merge(sends)
            else:
                self.sent[session] = sends
        self.actions += instructions.actions
        self.closed += [close.session for close in instructions.closes]
        for read in instructions.reads:
            self.held.append((read, self._read(read)))
        if not self.hold_reads:
            self.answer_reads()
        return instructions

    def _read(self, read: Read) -> LoadedTasks:
        return self.store.read_ready(read) if isinstance(read, ReadReady) else self.store.read_delayed(read)

    def answer_reads(self) -> None:
        while self.held:
            read, page = self.held.pop(0)
            kind = stimuli.ReadyRead if isinstance(read, ReadReady) else stimuli.DelayedRead
            self.feed(kind(tasks=page, complete=len(page.tasks) < read.limit))

    def tick(self) -> Instructions:
        return self.feed(stimuli.Tick())

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the machine whenever it wants to be woken."""
        end_s = self.now.mono_s + seconds
        for _ in range(10_000):
            wake_s = self.machine.wake_s
            if wake_s is None or wake_s > end_s:
                self._set_time(end_s)
                return
            self._set_time(max(wake_s, self.now.mono_s))
            self.tick()
        raise AssertionError("the machine wants to be woken again and again")

    def _set_time(self, mono_s: float) -> None:
        passed_us = round((mono_s - self.now.mono_s) * SECOND_US)
        self.now = Moment(self.now.wall_us + passed_us, mono_s)

    def turn_wall_clock(self, seconds: float) -> None:
        self.now = self.now._replace(wall_us=self.now.wall_us + round(seconds * SECOND_US))

    # === people
    def submit(
        self, count: int = 1, *, command: str = "noop", delay_s: float | None = None, **options: Any
    ) -> list[int]:
        """Returns the numbers of the new tasks."""
        run_at_us = None if delay_s is None else self.now.wall_us + round(delay_s * SECOND_US)
        request = builders.submission(
            count, command=command, options=TaskOptions(**options), run_at_us=run_at_us
        )
        batch = self.feed(request).reply
        return list(range(batch.first_task, batch.first_task + batch.size))  # type: ignore[attr-defined]

    def cancel(self, *numbers: int) -> int:
        return self._act(stimuli.Cancel, numbers)

    def retry(self, *numbers: int) -> int:
        return self._act(stimuli.Retry, numbers)

    def discard(self, *numbers: int) -> int:
        return self._act(stimuli.Discard, numbers)

    def _act(self, kind: Any, numbers: tuple[int, ...]) -> int:
        self.machine.load_begins()
        reply = self.feed(kind(tasks=self.store.load_tasks(numbers))).reply
        assert isinstance(reply, int)
        return reply

    def scale(self, desired: int) -> None:
        self.feed(stimuli.Scale(desired=desired))

    # === workers
    def fleet(self, size: int, *, slots: int = 1) -> list[Peer]:
        """Scale to `size` and bring all new workers online."""
        before = set(self.machine.worker_numbers)
        self.scale(size)
        peers = [Peer(self, number) for number in self.machine.worker_numbers if number not in before]
        for peer in peers:
            self.feed(stimuli.WorkerLaunched(worker=peer.number, handle=f"process {peer.number}"))
            peer.connect(slots=slots)
        return peers

    def new_session(self) -> int:
        self._next_session += 1
        return self._next_session

    def end(
        self, peer: Peer, *, reason: str = "killed by signal 9", clean: bool = False, oom: bool = False
    ) -> None:
        """The runtime confirms the end of a worker."""
        self.feed(stimuli.WorkerEnded(worker=peer.number, reason=reason, clean=clean, oom=oom))

    # === looking
    def row(self, number: int) -> TaskRecord:
        return self.store.tasks[number]

    def state(self, number: int) -> TaskState:
        return self.row(number).state

    def states(self, numbers: list[int]) -> list[TaskState]:
        return [self.state(number) for number in numbers]

    def attempts(self, number: int) -> list[AttemptRecord]:
        return self.store.attempts_of(number)

    def outcomes(self, number: int) -> list[Outcome]:
        return [attempt.outcome for attempt in self.attempts(number)]

    def worker(self, number: int) -> WorkerRecord:
        return self.store.workers[number]

    def living(self) -> list[int]:
        """Workers that are neither offline nor on their way out."""
        present = (WorkerState.STARTING, WorkerState.ONLINE)
        return [number for number in self.machine.worker_numbers if self.worker(number).state in present]

    def done(self, kind: type[Action]) -> list[int]:
        """The workers for whom the runtime was told this, in order."""
        return [action.worker.number for action in self.actions if isinstance(action, kind)]

    @property
    def launches(self) -> list[int]:
        return self.done(StartWorker)

    @property
    def kills(self) -> list[int]:
        return self.done(KillWorker)

    @property
    def totals(self) -> Totals:
        return self.machine.totals

    def kinds(self) -> list[str]:
        """The activity log."""
        return [event.kind for event in self.store.events]


class Peer:
    """The test's end of a worker: says what it is told to say and forgets nothing it was sent.

    Attributes:
        seen: how many assignments were taken with `take`.
    """

    def __init__(self, coordinator: Coordinator, number: int) -> None:
        self.coordinator = coordinator
        self.number = number
        self.session = 0
        self.boot_id = f"boot-{number}"
        self.seen = 0

    # === session
    def connect(
        self, *attempts: stimuli.OpenAttempt, slots: int = 1, boot_id: str | None = None
    ) -> Instructions:
        self.session = self.coordinator.new_session()
        self.seen = 0
        return self.coordinator.feed(
            stimuli.SessionOpened(
                session=self.session,
                worker_id=self.coordinator.worker(self.number).id,
                boot_id=boot_id or self.boot_id,
                slots=slots,
                attempts=attempts,
            )
        )

    def disconnect(self) -> None:
        self.coordinator.feed(stimuli.SessionClosed(session=self.session))

    def report(self, **parts: Any) -> Instructions:
        return self.coordinator.feed(stimuli.Report(session=self.session, **parts))

    # === what it was told
    @property
    def told(self) -> Any:
        return self.coordinator.sent[self.session]

    @property
    def assigned(self) -> list[AttemptRef]:
        """All assignments of this session."""
        sent = self.coordinator.sent.get(self.session)
        return [] if sent is None else [assignment.ref for assignment in sent.assign]

    @property
    def tasks(self) -> list[int]:
        return [ref.task for ref in self.assigned]

    def take(self) -> AttemptRef:
        """The next assignment that was not looked at."""
        self.seen += 1
        return self.assigned[self.seen - 1]

    def coordinator_ref(self, number: int) -> AttemptRef:
        """The current attempt of a task by the engine's books."""
        row = self.coordinator.row(number)
        return AttemptRef(number, row.attempt, row.fence)

    # === what it says
    def start(self, ref: AttemptRef) -> Instructions:
        return self.report(started=[builders.started(ref, self.coordinator.now.wall_us)])

    def finish(self, ref: AttemptRef, outcome: Outcome = Outcome.COMPLETED, **how: Any) -> Instructions:
        return self.report(finished=[builders.finished(ref, self.coordinator.now.wall_us, outcome, **how)])

    def run(
        self, ref: AttemptRef | None = None, outcome: Outcome = Outcome.COMPLETED, **how: Any
    ) -> AttemptRef:
        """Start and finish the given or the next assignment."""
        ref = ref or self.take()
        self.start(ref)
        self.finish(ref, outcome, **how)
        return ref

    def answer(self, ref: AttemptRef, result: RecallResult = RecallResult.RECALLED) -> Instructions:
        return self.report(recall_answers=[builders.answer(ref, result)])

    def beat(self) -> Instructions:
        return self.report(heartbeat=builders.heartbeat())


def open_attempt(
    ref: AttemptRef, *, started: bool = False, finished: bool = False, started_us: int = 0
) -> stimuli.OpenAttempt:
    return stimuli.OpenAttempt(ref.fence, started, finished, started_us)


def unsure(policy: Policy | None = None) -> Policy:
    """The policy of a runtime that cannot confirm a death."""
    return replace(policy or Policy(), confirms_death=False, self_stop_s=8.0)
