"""A simulated agent: the rules of the worker protocol as worker_image has them, on virtual time.

It keeps results until they are acknowledged and sends them again, tells all it holds in a hello, reports a
start before it executes, answers recalls truthfully, and stops by itself when its time alone runs out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from taskmaster_desktop.backend.core.instructions import Assignment, Sends
from taskmaster_desktop.backend.core.stimuli import (
    Finished,
    Heartbeat,
    OpenAttempt,
    OutputReport,
    RecallAnswer,
    RecallResult,
    Report,
    Started,
)
from taskmaster_desktop.backend.model import Outcome, Stream
from tests.helpers.sim_output import SimOutput
from tests.helpers.sim_wire import Wire
from tests.helpers.sim_world import Event

if TYPE_CHECKING:
    from tests.helpers.sim_runtime import SimRuntime

HEARTBEAT_S = 2.0
WELCOME_TIMEOUT_S = 10.0
MAX_BACKOFF_S = 5.0


class Hello(NamedTuple):
    """The first message up."""

    worker_id: str
    boot_id: str
    slots: int
    attempts: tuple[OpenAttempt, ...]


class Welcome(NamedTuple):
    """The first message down, if all is well; how long the agent may be alone from now on."""

    session: int
    self_stop_s: float


class Refused(NamedTuple):
    permanent: bool


class Run:
    """An attempt in a slot."""

    __slots__ = ("assignment", "event", "launched_s", "output", "started_us", "stopping")

    def __init__(self, assignment: Assignment, started_us: int) -> None:
        self.assignment = assignment
        self.started_us = started_us
        self.launched_s: float | None = None
        self.event: Event | None = None
        self.stopping = False
        self.output = SimOutput()


class SimAgent:
    """One agent process.

    Attributes:
        heard_s: when the newest of its messages that was answered had been sent; its time alone counts from
            there, because the engine's time counts from when that message arrived, which is later.
        ordered: somebody here ordered its end.
        backlog: what came while it was paused.
        cut_off_until_s: no connection can be opened before.
    """

    def __init__(self, runtime: SimRuntime, worker_id: str, slots: int) -> None:
        self.runtime = runtime
        self.world = runtime.world
        self.judge = runtime.judge
        self.id = worker_id
        self.boot_id = f"{worker_id}-boot"
        self.slots = slots
        self.alive = True
        self.ordered = False
        self.draining = False
        self.wire: Wire | None = None
        self.session = 0
        self.live = False
        self.waiting: OrderedDict[int, Assignment] = OrderedDict()
        self.running: dict[int, Run] = {}
        self.results: dict[int, Finished] = {}
        self.outputs: dict[int, Run] = {}
        self.started_at: dict[int, int] = {}  # of results
        self.heard_s = self.world.now_s
        self.self_stop_s = 60.0
        self.backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.paused_s: float | None = None
        self.cut_off_until_s = 0.0
        self._hello_s = 0.0
        self._beats = 0
        self._beat_times: dict[int, float] = {}
        self._failures = 0
        self._out_started: list[tuple[Run, Started]] = []
        self._out_finished: list[int] = []
        self._out_answers: list[RecallAnswer] = []
        self._out_heartbeat: Heartbeat | None = None
        self._drain_untold = False
        self._flush_planned = False
        self._alone = self.world.after(self.self_stop_s, self._enter, self._look_alone)
        self._connect()

    # === entering: everything that happens to an agent comes through here
    def _enter(self, call: Callable[..., None], *args: Any) -> None:
        if not self.alive:
            return
        if self.paused_s is not None:
            self.backlog.append((call, args))
        else:
            call(*args)

    def pause(self, seconds: float) -> None:
        """Freeze it with its commands."""
        if self.alive and self.paused_s is None:
            self.world.note(self.id, "is paused for", seconds)
            self.paused_s = self.world.now_s
            if self.runtime.blind:
                for fence in self.running:
                    self.judge.suspended(fence)
            self.world.after(seconds, self.resume)

    def resume(self) -> None:
        if not self.alive or self.paused_s is None:
            return
        self.world.note(self.id, "resumes")
        self.paused_s = None
        self._look_alone()
        if self.alive and self.runtime.blind:
            for fence in self.running:
                self.judge.resumed(fence)
        backlog, self.backlog = self.backlog, []
        for call, args in backlog:
            self._enter(call, *args)

    # === sessions
    def _connect(self) -> None:
        if not self.alive or self.wire is not None:
            return
        self._out_started.clear()
        self._out_answers.clear()
        self._out_finished = list(self.results)
        for run in self.outputs.values():
            run.output.unsend()
        self._out_heartbeat = None
        self._drain_untold = self.draining
        attempts = [OpenAttempt(fence, False, False, 0) for fence in self.waiting]
        attempts += [OpenAttempt(fence, True, False, run.started_us) for fence, run in self.running.items()]
        for fence, result in self.results.items():
            attempts.append(OpenAttempt(fence, not result.never_started, True, self.started_at[fence]))
        self.wire = self.runtime.open_wire(self)
        if self.wire is None:
            self._try_later()
            return
        self._hello_s = self.world.now_s
        self.wire.up.send(Hello(self.id, self.boot_id, self.slots, tuple(attempts)))
        self.world.after(WELCOME_TIMEOUT_S, self._enter, self._give_up_waiting, self.wire)

    def _try_later(self) -> None:
        self._failures += 1
        limit_s = 0.5 if self.world.calm else min(MAX_BACKOFF_S, 0.1 * 2.0 ** min(self._failures, 10))
        self.world.after(self.world.delay_s(0, limit_s), self._enter, self._connect)

    def _give_up_waiting(self, wire: Wire) -> None:
        if wire is self.wire and not self.live:
            wire.closed_by_agent()
            self._lost()

    def wire_lost(self, wire: Wire) -> None:
        self._enter(self._wire_lost, wire)

    def _wire_lost(self, wire: Wire) -> None:
        if wire is self.wire:
            wire.closed_by_agent()
            self._lost()

    def _lost(self) -> None:
        self.wire = None
        self.live = False
        if not self._drained():
            self._try_later()

    def receive(self, wire: Wire, message: Any) -> None:
        self._enter(self._received, wire, message)

    def _received(self, wire: Wire, message: Any) -> None:
        if wire is not self.wire:
            return
        if isinstance(message, Sends):
            self._told(message)
        elif isinstance(message, Welcome):
            self._welcomed(message)
        elif message.permanent:
            self.runtime.agent_exits(self, "refused")
        else:
            wire.closed_by_agent()
            self._lost()
        if self.alive:
            self._drained()

    def _welcomed(self, welcome: Welcome) -> None:
        self.session = welcome.session
        self.self_stop_s = welcome.self_stop_s
        self._failures = 0
        self._heard(self._hello_s)
        self.live = True
        for run in list(self.running.values()):
            self._launch(run)
        self._admit()
        self._beat(self.session)

    # === the time alone
    def _heard(self, sent_s: float) -> None:
        self.heard_s = max(self.heard_s, sent_s)
        self._alone.cancel()
        self._alone = self.world.at(self.heard_s + self.self_stop_s, self._enter, self._look_alone)

    def _look_alone(self) -> None:
        if self.world.now_s >= self.heard_s + self.self_stop_s:
            self.runtime.agent_exits(self, "alone")

    def _beat(self, session: int) -> None:
        if not self.live or session != self.session:
            return
        self._beats += 1
        self._beat_times[self._beats] = self.world.now_s
        self._out_heartbeat = Heartbeat(self._beats, 0, 0, len(self.running), len(self.waiting), 0)
        self._wake()
        self.world.after(HEARTBEAT_S, self._enter, self._beat, session)

    # === what the engine says
    def _told(self, sends: Sends) -> None:
        for assignment in sends.assign:
            self._accept(assignment)
        for ref in sends.recall:
            self._recall(ref.task, ref.fence)
        for ref in sends.cancel:
            self._cancel(ref.task, ref.fence)
        for fence in sends.result_acks:
            self._forget(fence)
        for fence, offset in sends.output_acks.items():
            if fence in self.outputs:
                self.outputs[fence].output.acknowledge(offset)
        if sends.drain:
            self.ordered = True
            self.drain()
        if sends.heartbeat_ack:
            self._heard(self._beat_times.get(sends.heartbeat_ack, self.heard_s))
        self._admit()

    def _accept(self, assignment: Assignment) -> None:
        fence = assignment.ref.fence
        if fence in self.waiting or fence in self.running or fence in self.results:
            return
        if self.draining:
            self._answer(assignment.ref.task, fence, RecallResult.RECALLED)
        else:
            self.waiting[fence] = assignment

    def _recall(self, task: int, fence: int) -> None:
        if self.waiting.pop(fence, None) is not None:
            self._answer(task, fence, RecallResult.RECALLED)
        elif fence in self.running or fence in self.results:
            self._answer(task, fence, RecallResult.ALREADY_STARTED)
        else:
            self._answer(task, fence, RecallResult.UNKNOWN)

    def _cancel(self, task: int, fence: int) -> None:
        run = self.running.get(fence)
        if run is not None:
            self._stop(run, Outcome.CANCELLED)
        elif self.waiting.pop(fence, None) is not None:
            self._keep(Finished(task, fence, Outcome.CANCELLED, 0, "", self.world.wall_us, 0, 0, True), 0)

    def _forget(self, fence: int) -> None:
        self.outputs.pop(fence, None)
        if self.results.pop(fence, None) is not None:
            self.judge.acknowledged_result(fence)

    def drain(self) -> None:
        """Take no more, give back what waits; what runs is finished."""
        self.draining = True
        for fence, assignment in self.waiting.items():
            self._answer(assignment.ref.task, fence, RecallResult.RECALLED)
        self.waiting.clear()

    def terminated(self) -> None:
        """SIGTERM."""
        self._enter(self._terminated)

    def _terminated(self) -> None:
        if not self.draining:
            self._drain_untold = True
            self.drain()
            self._wake()
        self._drained()

    def _drained(self) -> bool:
        """Whether nothing is left to stay for; then it goes."""
        done = self.draining and not (self.running or self.waiting or self.results)
        if done and self.alive:
            self.world.after(0.05, self._enter, self.runtime.agent_exits, self, "drained")
        return done

    # === attempts
    def _admit(self) -> None:
        while self.live and self.waiting and len(self.running) < self.slots:
            fence, assignment = self.waiting.popitem(last=False)
            run = self.running[fence] = Run(assignment, self.world.wall_us)
            self.judge.taken[fence] = assignment.ref.task
            self._out_started.append((run, Started(assignment.ref.task, fence, run.started_us)))
            self._wake()

    def _launch(self, run: Run) -> None:
        """Its start was reported: execute."""
        ref = run.assignment.ref
        if run.launched_s is not None or self.running.get(ref.fence) is not run:
            return
        run.launched_s = self.world.now_s
        self.world.note(self.id, "runs", ref.task, ref.fence)
        self.judge.begins(ref.task, ref.fence, self.id)
        self.outputs[ref.fence] = run
        work = self.runtime.work_of(run.assignment)
        for part in range(work.lines):
            delay_s = work.duration_s * part / work.lines
            self.world.after(delay_s, self._enter, self._print, run, f"line {part}\n")
        if work.kills_worker:
            self.runtime.agent_dies(self, "its task killed it")
        else:
            run.event = self.world.after(work.duration_s, self._enter_run, run, work.outcome)

    def _print(self, run: Run, text: str) -> None:
        if run.assignment.ref.fence in self.running:
            run.output.add(text)
            self._wake()

    def _enter_run(self, run: Run, outcome: Outcome) -> None:
        """A command ends by itself, whether or not its agent lives."""
        if self.alive:
            self._enter(self._ended, run, outcome)
        else:
            self.runtime.command_outlived(self, run)

    def _stop(self, run: Run, outcome: Outcome) -> None:
        if run.stopping:
            return
        run.stopping = True
        if run.event is not None:
            run.event.cancel()
            run.event = self.world.after(self.world.delay_s(0.0, 0.2), self._enter_run, run, outcome)
        else:
            self._ended(run, outcome)

    def _ended(self, run: Run, outcome: Outcome) -> None:
        ref = run.assignment.ref
        if self.running.pop(ref.fence, None) is None:
            return
        duration_us = 0
        if run.launched_s is not None:
            self.world.note(self.id, "ends", ref.task, ref.fence, outcome)
            self.judge.ends(ref.fence, outcome)
            self.judge.printed[ref.fence] = bytes(run.output.data)
            duration_us = round((self.world.now_s - run.launched_s) * 1e6)
        now_us = self.world.wall_us
        self._keep(
            Finished(ref.task, ref.fence, outcome, 0, "", now_us, duration_us, 0, False), run.started_us
        )
        self._admit()

    def _keep(self, result: Finished, started_us: int) -> None:
        self.results[result.fence] = result
        self.started_at[result.fence] = started_us
        self._out_finished.append(result.fence)
        self._wake()

    def _answer(self, task: int, fence: int, result: RecallResult) -> None:
        self._out_answers.append(RecallAnswer(task, fence, result))
        self._wake()

    # === writing
    def _take_output(self) -> Iterator[OutputReport]:
        for fence, run in self.outputs.items():
            taken = run.output.take()
            if taken is not None:
                ref = run.assignment.ref
                yield OutputReport(ref.task, ref.attempt, fence, Stream.STDOUT, *taken)

    def _wake(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self.world.after(self.world.delay_s(0.0, 0.003), self._enter, self._flush)

    def _flush(self) -> None:
        """Write whatever has collected as one message, then start what it reported as started."""
        self._flush_planned = False
        if not self.live or self.wire is None:
            return
        started, self._out_started = self._out_started, []
        output = list(self._take_output())
        finished = [self.results[fence] for fence in self._out_finished if fence in self.results]
        self._out_finished = []
        answers, self._out_answers = self._out_answers, []
        beat, self._out_heartbeat = self._out_heartbeat, None
        draining, self._drain_untold = self._drain_untold, False
        if started or output or finished or answers or beat or draining:
            self.wire.up.send(
                Report(
                    session=self.session,
                    started=[told for _, told in started],
                    output=output,
                    finished=finished,
                    recall_answers=answers,
                    heartbeat=beat,
                    draining=draining,
                )
            )
        for run, _ in started:
            if self.alive:
                self._launch(run)
