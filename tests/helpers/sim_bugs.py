"""Bugs to be planted: each is a classic of task queues, put in by monkeypatching, and the simulation must find it.

A plant that breaks nothing within the seeds means that the simulation is blind on that eye.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core import attempts, machine, placement, sessions
from taskmaster_desktop.backend.core.entities import Task, Worker
from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.core.state import Instructions, State
from taskmaster_desktop.backend.core.stimuli import Report, SessionOpened
from taskmaster_desktop.backend.core.window import Key, Window
from taskmaster_desktop.backend.group import Group
from taskmaster_desktop.backend.links import Links
from taskmaster_desktop.backend.model import AttemptRecord, LoadedTasks, TaskState
from tests.helpers.sim_agent import Run, SimAgent
from tests.helpers.sim_ports import SimThread
from tests.helpers.sim_runtime import SimRuntime

Bug = Callable[[pytest.MonkeyPatch], None]


class Plant(NamedTuple):
    """A bug, and the plan under which it shows often enough (nothing: any)."""

    put_in: Bug
    where: dict[str, Any]


PLANTS: dict[str, Plant] = {}


def plant(**where: Any) -> Callable[[Bug], Bug]:
    def register(bug: Bug) -> Bug:
        PLANTS[bug.__name__.replace("_", " ")] = Plant(bug, where)
        return bug

    return register


# === fences and results
@plant(cancels=0, partitions=6)
def fence_check_removed(patch: pytest.MonkeyPatch) -> None:
    """A result counts for whatever attempt its task is in."""

    def finished(state: State, worker: Worker, told: Report) -> None:
        for result in told.finished:
            task = state.tasks.get(result.task)
            if task is not None and task.worker is not None:
                attempts.finish(state, task, task.worker, result)
            state.sends(told.session).result_acks.append(result.fence)

    patch.setattr(sessions, "_finished", finished)


@plant()
def fences_start_again_with_each_life(patch: pytest.MonkeyPatch) -> None:
    def next_fence(self: State) -> int:
        self._fences += 1
        return self._fences

    patch.setattr(State, "next_fence", next_fence)


@plant()
def resend_not_idempotent(patch: pytest.MonkeyPatch) -> None:
    """A result that comes again is written again."""
    original = sessions._finished

    def finished(state: State, worker: Worker, told: Report) -> None:
        for result in told.finished:
            if result.fence not in worker.tasks:
                state.out.changes.attempts.append(
                    AttemptRecord(
                        result.task, 1, result.fence, worker.number, result.at_us, None, result.at_us,
                        result.duration_us, result.outcome, result.exit_code, result.reason, 0,
                    )
                )  # fmt: skip
        original(state, worker, told)

    patch.setattr(sessions, "_finished", finished)


# === before the commit
def _send_at_once(patch: pytest.MonkeyPatch, *fields: str) -> None:
    """Some messages leave when they are decided, not when their group is on disk."""
    original = Group.add
    links: list[Links] = []
    made = Links.__init__

    def remember(self: Links, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        links.append(self)

    def add(self: Group, instructions: Instructions) -> None:
        for session, sends in list(instructions.sends.items()):
            early = Sends(**{name: getattr(sends, name) for name in fields})
            for name in fields:
                setattr(sends, name, [])
            link = links[-1]._links.get(session)
            if link is not None:
                link.send(early)
        original(self, instructions)

    patch.setattr(Links, "__init__", remember)
    patch.setattr(Group, "add", add)


@plant()
def result_acknowledged_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    _send_at_once(patch, "result_acks")


@plant()
def assignment_sent_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    _send_at_once(patch, "assign")


@plant()
def callers_answered_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def answer(self: Coordinator, future: Any, value: object) -> None:
        future.set_result(value)

    patch.setattr(Coordinator, "answer", answer)


@plant()
def core_goes_on_after_a_failed_commit(patch: pytest.MonkeyPatch) -> None:
    """Its memory is ahead of the store for ever."""

    def written(self: Coordinator, group: Group, machine: Any, done: Any) -> None:
        if done.exception() is None:
            self._carry_out(group, done.result())
        else:
            for _, future in group.calls:
                future.set_exception(done.exception())
            group.calls.clear()
            self._carry_out(group, ([LoadedTasks(tasks=(), batches=())] * len(group.reads), []))

    patch.setattr(Coordinator, "_written", written)


@plant()
def core_hears_of_its_group_after_the_next_was_begun(patch: pytest.MonkeyPatch) -> None:
    """Two groups are written at a time, and the later one may come back first."""
    patch.setattr(SimThread, "_order", lambda self: self._world.random.randrange(len(self._calls)))
    original = Coordinator._await

    def await_nothing(self: Coordinator, done: Any, then: Any) -> None:
        original(self, done, then)
        self._writing = None

    patch.setattr(Coordinator, "_await", await_nothing)


# === deaths and recalls
@plant(blind=False, partitions=6, pauses=6, deaths=0)
def reaper_does_not_wait_for_the_death(patch: pytest.MonkeyPatch) -> None:
    """At the end of a lease the tasks go elsewhere at once."""

    def check_leases(state: State) -> None:
        for worker in list(state.workers.values()):
            if state.now.mono_s >= sessions.lease_end_s(state, worker):
                sessions.order_kill(state, worker)
                sessions.ended(state, worker, reason="silent", clean=False, oom=False)

    patch.setattr(sessions, "check_leases", check_leases)


@plant()
def recall_not_confirmed(patch: pytest.MonkeyPatch) -> None:
    """A task goes elsewhere as soon as it is asked back."""
    original = attempts.recall

    def recall(state: State, worker: Worker) -> None:
        original(state, worker)
        for task in list(worker.tasks.values()):
            if task.recalling:
                attempts.give_back(state, task, reason="asked back")

    patch.setattr(attempts, "recall", recall)


@plant()
def disconnected_is_dead(patch: pytest.MonkeyPatch) -> None:
    """What a worker held is given away when its connection ends."""
    original = sessions.opened

    def opened(state: State, hello: SessionOpened) -> None:
        worker = state.worker_ids.get(hello.worker_id)
        if worker is not None:
            for task in list(worker.tasks.values()):
                attempts.lose(state, task, reason="it was away", blamed=False)
        original(state, hello)

    patch.setitem(machine._HANDLERS, SessionOpened, opened)


@plant()
def death_confirmed_while_commands_run(patch: pytest.MonkeyPatch) -> None:
    """The runtime looks at the agent alone and not at what it started."""

    def die(self: SimRuntime, agent: SimAgent, end: Any, *, at_once: bool) -> None:
        agent.alive = False
        self.judge.unordered.update(agent.running.keys() | agent.results.keys())
        if agent.wire is not None:
            agent.wire.closed_by_agent()
        for run in agent.running.values():
            self.world.after(1.0, self._reap, agent, run)
        self.world.after(0.01, self._confirm, agent, end)

    patch.setattr(SimRuntime, "_die", die)


@plant(
    blind=True,
    stalls=0.1,
    partitions=6,
    slots=3,
    short=0.0,
    batches=5,
    most_tasks=12,
    crash_after=None,
    slow=0.01,
)
def time_alone_counted_from_anything_heard(patch: pytest.MonkeyPatch) -> None:
    """A delayed message makes an agent outlive what its engine allows it; matters where deaths are not seen."""
    original = SimAgent._received

    def received(self: SimAgent, wire: Any, message: Any) -> None:
        if wire is self.wire:
            self._heard(self.world.now_s)
        original(self, wire, message)

    patch.setattr(SimAgent, "_received", received)


# === blame and charge
def _after_lose(patch: pytest.MonkeyPatch, change: Callable[[State, Task, bool], None]) -> None:
    original = attempts.lose

    def lose(state: State, task: Task, *, reason: str, blamed: bool, oom: bool = False) -> None:
        started = task.state is TaskState.RUNNING
        original(state, task, reason=reason, blamed=blamed, oom=oom)
        change(state, task, started)
        state.touch(task)

    patch.setattr(attempts, "lose", lose)


@plant()
def lost_charged_to_the_retries(patch: pytest.MonkeyPatch) -> None:
    def charge(state: State, task: Task, started: bool) -> None:
        task.failures += started

    _after_lose(patch, charge)


@plant()
def unstarted_tasks_blamed(patch: pytest.MonkeyPatch) -> None:
    def blame(state: State, task: Task, started: bool) -> None:
        task.deaths += not started

    _after_lose(patch, blame)


@plant()
def ordered_deaths_blamed(patch: pytest.MonkeyPatch) -> None:
    original = attempts.lose

    def lose(state: State, task: Task, *, reason: str, blamed: bool, oom: bool = False) -> None:
        original(state, task, reason=reason, blamed=True, oom=oom)

    patch.setattr(attempts, "lose", lose)


# === the queue
@plant()
def window_forgets_what_came_during_a_read(patch: pytest.MonkeyPatch) -> None:
    original = Window.fill

    def fill(self: Window, keys: Sequence[Key], *, complete: bool) -> Sequence[Key]:
        self._missed = None
        return original(self, keys, complete=complete)

    patch.setattr(Window, "fill", fill)


@plant()
def window_boundary_one_too_far(patch: pytest.MonkeyPatch) -> None:
    """After it gave up its end, the window believes that it holds the first of what it gave up."""
    original = Window.trim

    def trim(self: Window) -> Sequence[Key]:
        given_up = original(self)
        if given_up:
            self._boundary = given_up[0]
        return given_up

    patch.setattr(Window, "trim", trim)


@plant()
def tasks_leave_memory_during_a_read(patch: pytest.MonkeyPatch) -> None:
    """An older row then wins over what happened meanwhile."""
    patch.setattr(State, "read_begins", lambda self: None)
    patch.setattr(State, "read_ended", lambda self: None)


@plant()
def delay_a_little_early(patch: pytest.MonkeyPatch) -> None:
    original = placement.promote_due

    def promote_due(state: State) -> None:
        now = state.now
        state.now = now._replace(wall_us=now.wall_us + 20_000)
        original(state)
        state.now = now

    patch.setattr(placement, "promote_due", promote_due)


@plant()
def start_executed_twice_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    """The agent launches again what its hello called started."""
    original = SimAgent._launch

    def launch(self: SimAgent, run: Run) -> None:
        if run.launched_s is not None and self.judge.executions[run.assignment.ref.fence].end_s is None:
            self.judge.begins(run.assignment.ref.task, run.assignment.ref.fence, self.id)
        original(self, run)

    patch.setattr(SimAgent, "_launch", launch)
