"""Random stimuli against a small model of its own: a dict of tasks and a few outcome rules.

The model does not decide who gets what; it takes note of what the workers are sent, and says what must become
of each task.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskmaster_desktop.backend.core.instructions import AttemptRef, Sends, StartWorker, TerminateWorker
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.state import Instructions
from taskmaster_desktop.backend.core.stimuli import (
    OrderKill,
    RecallResult,
    SetPaused,
    Stimulus,
    StopWorker,
)
from taskmaster_desktop.backend.errors import NotFound
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers.sim_coordinator import Coordinator, Peer, open_attempt

PLACES = {
    TaskState.PENDING: "pending",
    TaskState.ASSIGNED: "held",
    TaskState.RUNNING: "held",
    TaskState.COMPLETED: "completed",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


@dataclass
class Task:
    """`held` by a worker under a fence, or waiting, or where it ended."""

    retries: int
    place: str = "pending"
    worker: int = 0
    fence: int = 0
    started: bool = False
    cancelling: bool = False
    failures: int = 0
    deaths: int = 0
    discarded: bool = False

    def leave(self, place: str) -> None:
        """Its worker has it no more; who asked to cancel it gets that, unless it has completed."""
        self.place = "cancelled" if self.cancelling and place != "completed" else place
        self.started = self.cancelling = False

    def end(self, outcome: Outcome) -> None:
        if outcome is Outcome.COMPLETED:
            self.leave("completed")
        elif self.cancelling:
            self.leave("cancelled")
        else:
            self.failures += 1
            self.leave("failed" if self.failures > self.retries else "pending")

    def lose(self, *, blamed: bool) -> None:
        self.deaths += self.started and blamed
        self.leave("failed" if self.deaths == 3 else "pending")


@dataclass
class Agent:
    """A worker as the test plays it: what is on its way to it, and what it holds by fence."""

    peer: Peer
    online: bool = False
    ordered: bool = False
    adopted: bool = False
    draining: bool = False
    killed: bool = False
    coming: deque[Sends] = field(default_factory=deque)
    waiting: dict[int, AttemptRef] = field(default_factory=dict)
    running: dict[int, AttemptRef] = field(default_factory=dict)


class Overheard(Coordinator):
    """Tells of everything that leaves the core, in order."""

    listener: Callable[[Instructions], None] | None = None

    def feed(self, stimulus: Stimulus) -> Instructions:
        later, self.hold_reads = self.hold_reads, True
        instructions = super().feed(stimulus)
        self.hold_reads = later
        if self.listener is not None:
            self.listener(instructions)
        if not later:
            self.answer_reads()
        return instructions


class CoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[int, Task] = {}
        self.agents: dict[int, Agent] = {}
        self.core = Overheard(Policy(window=3, prefetch_depth=2, prefetch_below_us=1e9, due_slice=1))
        self.core.listener = self.listen

    # === what the core says
    def listen(self, instructions: Instructions) -> None:
        for action in instructions.actions:
            number = action.worker.number
            if isinstance(action, StartWorker):
                self.agents[number] = Agent(Peer(self.core, number))
            elif isinstance(action, TerminateWorker):
                self.agents[number].ordered = True
            else:
                self.agents[number].killed = True
        for session, sends in instructions.sends.items():
            (agent,) = [agent for agent in self.agents.values() if agent.peer.session == session]
            copy = Sends(drain=sends.drain)
            copy.merge(sends)
            agent.coming.append(copy)
            agent.ordered = agent.ordered or sends.drain
            for assignment in sends.assign:
                self._assigned(agent, assignment.ref)

    def _assigned(self, agent: Agent, ref: AttemptRef) -> None:
        task = self.tasks[ref.task]
        assert task.place == "pending", f"{ref} was given out while it was {task}"
        holders = [
            a
            for a in self.agents.values()
            for r in (*a.waiting.values(), *a.running.values())
            if r.task == ref.task
        ]
        assert not holders, f"{ref} was given out while {holders} held it"
        task.place, task.worker, task.fence = "held", agent.peer.number, ref.fence

    # === people
    @initialize(size=st.integers(1, 3))
    def begin(self, size: int) -> None:
        self.core.scale(size)
        for agent in list(self.agents.values()):
            self._connect(agent)

    @rule(
        count=st.integers(1, 5),
        priority=st.integers(-1, 1),
        retries=st.integers(0, 2),
        wait=st.sampled_from([None, None, 2.0]),
    )
    def submit(self, count: int, priority: int, retries: int, wait: float | None) -> None:
        first = self.core.totals.next_task
        self.tasks.update((number, Task(retries)) for number in range(first, first + count))
        self.core.submit(count, priority=priority, retries=retries, retry_delay_s=0.1, delay_s=wait)

    def _some(self, data: st.DataObject) -> dict[int, Task]:
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.tasks)), max_size=4, unique=True))
        return {number: self.tasks[number] for number in numbers}

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        chosen = self._some(data)
        for task in chosen.values():
            if task.place == "pending":
                task.place = "cancelled"
            task.cancelling = task.place == "held"
        self.core.cancel(*chosen)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        chosen = self._some(data)
        for task in chosen.values():
            if task.place == "failed":
                task.place, task.failures, task.deaths, task.discarded = "pending", 0, 0, False
        self.core.retry(*chosen)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        chosen = self._some(data)
        for task in chosen.values():
            task.discarded = task.discarded or task.place == "failed"
        self.core.discard(*chosen)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.core.feed(SetPaused(paused=paused))

    @rule(size=st.integers(0, 3))
    def scale(self, size: int) -> None:
        self.core.scale(size)

    @rule(number=st.integers(1, 6), order=st.sampled_from([OrderKill, StopWorker]))
    def order(self, number: int, order: type[OrderKill] | type[StopWorker]) -> None:
        if number in self.agents:
            self.agents[number].ordered = True
            self.core.feed(order(worker=number))
        else:
            with pytest.raises(NotFound):
                self.core.machine.handle(order(worker=number), self.core.now)

    # === workers
    def _agent(self, data: st.DataObject, wanted: Callable[[Agent], object]) -> Agent | None:
        numbers = [number for number, agent in self.agents.items() if wanted(agent)]
        return self.agents[data.draw(st.sampled_from(numbers))] if numbers else None

    def _held_by(self, agent: Agent) -> list[Task]:
        number = agent.peer.number
        return [task for task in self.tasks.values() if task.place == "held" and task.worker == number]

    def _connect(self, agent: Agent) -> None:
        for task in self._held_by(agent):
            task.started = task.started or task.fence in agent.running
            if task.fence not in agent.waiting and task.fence not in agent.running:
                task.lose(blamed=False)  # its assignment was lost on the way
        agent.coming.clear()
        agent.online, agent.adopted = True, False
        told = [open_attempt(ref) for ref in agent.waiting.values()]
        told += [open_attempt(ref, started=True) for ref in agent.running.values()]
        agent.peer.connect(*told)

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        """For the first time, again, or over a connection that the engine believes to be alive."""
        agent = self._agent(data, lambda agent: True)
        if agent is not None:
            self._connect(agent)

    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        """What is on its way is lost."""
        agent = self._agent(data, lambda agent: agent.online)
        if agent is not None:
            agent.online = False
            agent.coming.clear()
            agent.peer.disconnect()

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        agent = self._agent(data, lambda agent: agent.online and agent.coming)
        if agent is not None:
            self._deliver_to(agent)

    def _deliver_to(self, agent: Agent) -> None:
        sends = agent.coming.popleft()
        for assignment in sends.assign:
            agent.waiting[assignment.ref.fence] = assignment.ref
        for ref in sends.recall:
            self._answer(agent, ref)
        for ref in sends.cancel:
            if ref.fence in agent.waiting or ref.fence in agent.running:
                self._finish(agent, ref, Outcome.CANCELLED)
        if sends.drain:
            agent.draining = True
        if agent.draining:
            for ref in list(agent.waiting.values()):
                self._answer(agent, ref)

    def _answer(self, agent: Agent, ref: AttemptRef) -> None:
        task = self.tasks[ref.task]
        if ref.fence in agent.running:
            agent.peer.answer(ref, RecallResult.ALREADY_STARTED)
            return
        known = agent.waiting.pop(ref.fence, None) is not None
        if task.place == "held" and task.fence == ref.fence:
            task.leave("pending")
        agent.peer.answer(ref, RecallResult.RECALLED if known else RecallResult.UNKNOWN)

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        agent = self._agent(data, lambda agent: agent.online and agent.waiting and not agent.running)
        if agent is not None:
            self._start(agent)

    def _start(self, agent: Agent) -> None:
        fence, ref = agent.waiting.popitem()
        agent.running[fence] = ref
        self.tasks[ref.task].started = True
        agent.peer.start(ref)

    @rule(
        data=st.data(),
        outcome=st.sampled_from([Outcome.COMPLETED, Outcome.COMPLETED, Outcome.FAILED, Outcome.TIMEOUT]),
    )
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        agent = self._agent(data, lambda agent: agent.online and agent.running)
        if agent is not None:
            self._finish(agent, next(iter(agent.running.values())), outcome)

    def _finish(self, agent: Agent, ref: AttemptRef, outcome: Outcome) -> None:
        never_started = agent.waiting.pop(ref.fence, None) is not None
        agent.running.pop(ref.fence, None)
        task = self.tasks[ref.task]
        assert (task.place, task.fence) == ("held", ref.fence)
        task.end(outcome)
        agent.peer.finish(ref, outcome, never_started=never_started)
        before = self.core.row(ref.task)
        agent.peer.finish(ref, outcome, never_started=never_started)
        assert self.core.row(ref.task) == before, "a result that comes again changes nothing"

    @rule(data=st.data(), oom=st.booleans())
    def die(self, data: st.DataObject, oom: bool) -> None:
        agent = self._agent(data, lambda agent: True)
        if agent is not None:
            self._end(agent, oom=oom)

    def _end(self, agent: Agent, *, oom: bool = False) -> None:
        for task in self._held_by(agent):
            task.lose(blamed=not agent.ordered and not agent.adopted)
        del self.agents[agent.peer.number]
        self.core.end(agent.peer, oom=oom)

    # === the engine
    @rule(seconds=st.sampled_from([0.06, 1.0, 5.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.core.advance(seconds)

    @rule()
    def restart(self) -> None:
        for agent in self.agents.values():
            agent.online, agent.adopted = False, True
            agent.coming.clear()
        self.core.restart()

    # === what must hold
    @invariant()
    def everything_is_where_the_model_says(self) -> None:
        for number, task in self.tasks.items():
            row = self.core.row(number)
            assert PLACES[row.state] == task.place, (number, row, task)
            assert (row.failures, row.deaths, row.discarded) == (task.failures, task.deaths, task.discarded)
            assert row.cancelling == task.cancelling
            if task.place == "held":
                assert (row.worker, row.fence) == (task.worker, task.fence)
                assert row.state is (TaskState.RUNNING if task.started else TaskState.ASSIGNED)

    @invariant()
    def counters_agree(self) -> None:
        places = Counter(task.place for task in self.tasks.values())
        totals = self.core.totals
        assert totals.assigned + totals.running == places["held"]
        for place in ("pending", "completed", "failed", "cancelled"):
            assert getattr(totals, place) == places[place]
        assert totals.discarded == sum(task.discarded for task in self.tasks.values())

    @invariant()
    def nothing_pending_is_forgotten(self) -> None:
        """Whatever a window should know of, it knows of."""
        state = self.core.machine._state
        for row in self.core.store.tasks.values():
            if row.state is not TaskState.PENDING:
                continue
            window = state.delayed if row.due_us else state.ready
            key = (row.due_us or row.rank, row.number)
            inside = row.number in state.tasks and state.tasks[row.number].queued
            assert inside or (window._boundary is not None and key > window._boundary), row

    def teardown(self) -> None:
        """Given workers, time, and the death of who is killed, everything ends."""
        self.core.feed(SetPaused(paused=False))
        self.core.scale(2)
        for _ in range(4 * len(self.tasks) + 20):
            self.core.advance(1.0)
            for agent in list(self.agents.values()):
                if agent.killed:
                    self._end(agent)
                    continue
                if not agent.online:
                    self._connect(agent)
                agent.peer.beat()
                for ref in [*agent.running.values()]:
                    self._finish(agent, ref, Outcome.COMPLETED)
                while agent.coming:
                    self._deliver_to(agent)
                while agent.waiting:
                    self._start(agent)
        left = {number: task for number, task in self.tasks.items() if task.place in ("pending", "held")}
        assert not left, f"these never ended: {left}"


TestCoreAgainstModel = CoreAgainstModel.TestCase
TestCoreAgainstModel.settings = settings(max_examples=60, stateful_step_count=50)
