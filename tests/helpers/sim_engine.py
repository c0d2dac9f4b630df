"""A simulated engine process around the real core and the real group commit.

It does what `backend/engine.py` does around them, on virtual time: pump, effects after the commit, sessions,
starting over. The process may die at any `point`, the store may be slow or fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import (
    Changes,
    KillWorker,
    Read,
    ReadDelayed,
    ReadReady,
    RuntimeAction,
    Sends,
    StartWorker,
)
from taskmaster_desktop.backend.core.machine import Machine
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.sessions import Refusal
from taskmaster_desktop.backend.core.state import Instructions
from taskmaster_desktop.backend.core.stimuli import Report, Stimulus
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.group import Group
from taskmaster_desktop.backend.model import LoadedTasks, Recovery, WorkerRecord
from taskmaster_desktop.backend.ports import Ended
from tests.helpers.sim_agent import Hello, Refused, SimAgent, Welcome
from tests.helpers.sim_runtime import SimRuntime
from tests.helpers.sim_store import MemoryStore
from tests.helpers.sim_wire import Wire
from tests.helpers.sim_world import Crash, Event, World

ACK_DELAY_S = 0.05
REOPEN_PAUSE_S = 1.0


class EngineDown(EnvironmentProblem):
    def __init__(self) -> None:
        super().__init__("The engine is down.", fix="")


class Answer:
    """As much of a future as a group needs."""

    def __init__(self, on_result: Callable[[Any], None], on_error: Callable[[], None] = lambda: None) -> None:
        self.on_result = on_result
        self.on_error = on_error

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def set_result(self, result: Any) -> None:
        self.on_result(result)

    def set_exception(self, error: BaseException) -> None:
        self.on_error()


class Life:
    """One epoch's view of the store, as `ports.Store`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.epoch = 0

    def begin_epoch(self) -> Recovery:
        recovery = self._store.begin_epoch()
        self.epoch = recovery.epoch
        return recovery

    def apply(self, changes: Changes) -> None:
        self._store.apply(changes, epoch=self.epoch)

    def read_ready(self, request: ReadReady) -> LoadedTasks:
        return self._store.read_ready(request)

    def read_delayed(self, request: ReadDelayed) -> LoadedTasks:
        return self._store.read_delayed(request)

    def load_tasks(self, numbers: tuple[int, ...]) -> LoadedTasks:
        return self._store.load_tasks(numbers)


class StoreQueue:
    """The store's thread: one call after another, each taking its time; dies with the process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: deque[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = deque()
        self._event: Event | None = None

    def call(self, fn: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        self._calls.append((fn, done))
        if self._event is None:
            self._next()

    def _next(self) -> None:
        world = self._world
        delay_s = world.delay_s(0.2, 3.0) if world.fault(world.slow) else world.delay_s(0.0, 0.01)
        self._event = world.after(delay_s, self._work)

    def _work(self) -> None:
        world = self._world
        fn, done = self._calls.popleft()
        result, error = None, None
        try:
            if world.fault(0.004):
                raise EnvironmentProblem("The disk is full.", fix="")
            result = fn()
            if world.fault(0.002):
                raise EnvironmentProblem("The disk failed at the end of the commit.", fix="")
        except EnvironmentProblem as problem:
            error = problem
        # The transaction is over; the loop hears of it a little later.
        self._event = world.after(world.delay_s(0.0, 0.002), self._tell, done, result, error)

    def _tell(
        self, done: Callable[[Any, Exception | None], None], result: Any, error: Exception | None
    ) -> None:
        self._event = None
        if self._calls:
            self._next()
        done(result, error)

    def kill(self) -> None:
        self._calls.clear()
        if self._event is not None:
            self._event.cancel()


class SimEngine:
    """One process of the engine, from its start to its crash.

    Attributes:
        points: how many more points it passes before it crashes; None for no crash.
        acting: bulk actions whose tasks are being loaded.
    """

    def __init__(
        self, world: World, store: MemoryStore, runtime: SimRuntime, policy: Policy, *, points: int | None
    ) -> None:
        self.world = world
        self.life = Life(store)
        self.runtime = runtime
        self.policy = policy
        self.points = points
        self.alive = True
        self.machine: Machine | None = None
        self.group = Group()
        self.writing = False
        self.pump_planned = False
        self.queue = StoreQueue(world)
        self.wires: dict[int, Wire] = {}
        self.sessions: dict[Wire, int] = {}
        self.next_session = 1
        self.timer: Event | None = None
        self.held_acks: dict[int, Sends] = {}
        self.admitting: dict[int, list[Sends]] = {}
        self.acting = 0
        runtime.on_ended = self.worker_ended
        runtime.connect = self.accept
        self._begin()

    def point(self) -> None:
        """An instruction before which the process may die."""
        if self.points is not None and not self.world.calm:
            self.points -= 1
            if self.points <= 0:
                raise Crash

    def crash(self) -> None:
        """Everything in memory is gone, the system closes all connections."""
        self.world.note("engine crashes")
        self.alive = False
        self.machine = None
        self.queue.kill()
        if self.timer is not None:
            self.timer.cancel()
        for wire in self.sessions:
            wire.closed_by_engine()
        self.wires.clear()
        self.sessions.clear()
        self.runtime.on_ended = lambda worker_id, ended: None
        self.runtime.connect = lambda agent: None

    # === a new epoch
    def _begin(self) -> None:
        self.queue.call(self.life.begin_epoch, self._began)

    def _began(self, recovery: Recovery | None, error: Exception | None) -> None:
        if recovery is None:
            self.world.after(REOPEN_PAUSE_S, self._begin_again)
            return
        if error is not None:  # the new epoch may be durable, but we were told that it is not
            self.world.after(REOPEN_PAUSE_S, self._begin_again)
            return
        self.world.note("engine begins epoch", recovery.epoch)
        self.next_session = (recovery.epoch << 20) + 1
        self.machine = Machine(recovery, self.policy, self.world.moment())
        self.world.after(self.world.delay_s(0.0, 0.1), self._reconcile, self.machine, recovery.workers)
        self.feed(stimuli.Tick())

    def _begin_again(self) -> None:
        if self.alive and self.machine is None:
            self._begin()

    def _reconcile(self, machine: Machine, expected: tuple[WorkerRecord, ...]) -> None:
        if machine is not self.machine:
            return
        observed = self.runtime.observe()
        for worker in expected:
            alive = observed.pop(worker.id, False)
            if not alive and machine is self.machine:
                self.feed(stimuli.WorkerEnded(worker=worker.number, reason="it was gone"))
        known = {worker.id: worker for worker in self.life._store.workers.values()}
        for worker_id, alive in observed.items():
            stranger = known.get(worker_id)
            if alive and stranger is not None and machine.worker_number(worker_id) is None:
                self.runtime.kill(stranger)

    # === the pump
    def feed(self, stimulus: Stimulus, reply_to: Answer | None = None) -> object:
        machine = self.machine
        if machine is None:
            raise EngineDown
        self.point()
        instructions = machine.handle(stimulus, self.world.moment())
        machine.validate()
        self._take(instructions)
        if reply_to is not None:
            self.group.replies.append((reply_to, instructions.reply))  # type: ignore[arg-type]
        self._plan_pump()
        self._arm(machine.wake_s)
        return instructions.reply

    def _take(self, instructions: Instructions) -> None:
        """Let everything wait for the commit of its group."""
        self.group.add(instructions)

    def load(self, numbers: tuple[int, ...], answer: Answer) -> None:
        if self.machine is None:
            raise EngineDown
        self.group.calls.append((lambda store: store.load_tasks(numbers), answer))  # type: ignore[arg-type]
        self._plan_pump()
        self.machine.load_begins()

    def _plan_pump(self) -> None:
        if not self.pump_planned and not self.writing:
            self.pump_planned = True
            self.world.after(0.0, self._pump)

    def _pump(self) -> None:
        self.pump_planned = False
        if not self.alive or self.writing or self.group.idle:
            return
        self.point()
        group, self.group = self.group, Group()
        if not group.needs_store:
            self._carry_out(group, [], [])
            return
        self.writing = True
        self.queue.call(
            lambda: group.write(self.life), lambda result, error: self._written(group, result, error)
        )  # type: ignore[arg-type]

    def _written(self, group: Group, result: Any, error: Exception | None) -> None:
        self.writing = False
        self.point()
        if error is not None:
            self._fail(group)
            return
        if self.machine is None and not group.replies and not group.calls:
            return
        self._pump()
        self._carry_out(group, *result)

    def _carry_out(self, group: Group, pages: list[LoadedTasks], answers: list[Any]) -> None:
        for session, sends in group.sends.items():
            self.point()
            self._send(session, sends)
        for close in group.closes:
            self._close(close.session)
        for action in group.actions:
            self.point()
            self._act(action)
        for future, reply in group.replies:
            self.point()
            if future.set_running_or_notify_cancel():
                future.set_result(reply)
        for (_, future), answer in zip(group.calls, answers, strict=True):
            future.set_result(answer)
        for read, page in zip(group.reads, pages, strict=True):
            self._feed_page(read, page)

    def _feed_page(self, read: Read, page: LoadedTasks) -> None:
        if self.machine is not None:
            answer = stimuli.ReadyRead if isinstance(read, ReadReady) else stimuli.DelayedRead
            self.feed(answer(tasks=page, complete=len(page.tasks) < read.limit))

    def _fail(self, group: Group) -> None:
        """Nothing of the group is stored: start over from what is."""
        self.world.note("engine starts over")
        group.fail(EngineDown())
        self.group.fail(EngineDown())
        self.group = Group()
        self.machine = None
        for session in list(self.wires):
            self._close(session)
        self.held_acks.clear()
        self._begin()

    # === time
    def _arm(self, wake_s: float | None) -> None:
        if wake_s is None or (self.timer is not None and self.timer.at_s <= wake_s):
            return
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.world.at(wake_s, self._tick)

    def _tick(self) -> None:
        self.timer = None
        if self.machine is None:
            return
        wake_s = self.machine.wake_s
        if wake_s is not None and wake_s > self.world.now_s:
            self._arm(wake_s)
        else:
            self.feed(stimuli.Tick())

    # === runtime
    def _act(self, action: RuntimeAction) -> None:
        if isinstance(action, StartWorker):
            number = action.worker.number
            self.runtime.launch(action.worker, lambda handle: self._launched(number, handle))
        elif isinstance(action, KillWorker):
            self.runtime.kill(action.worker)
        else:
            self.runtime.terminate(action.worker)

    def _launched(self, number: int, handle: str | None) -> None:
        if self.machine is None:
            return
        if handle is None:
            self.feed(stimuli.LaunchFailed(worker=number, reason="it could not be started"))
        else:
            self.feed(stimuli.WorkerLaunched(worker=number, handle=handle))

    def worker_ended(self, worker_id: str, end: Ended) -> None:
        if self.machine is not None:
            number = self.machine.worker_number(worker_id)
            if number is not None:
                self.feed(stimuli.WorkerEnded(worker=number, reason=end.reason, clean=end.clean, oom=end.oom))

    # === sessions
    def accept(self, agent: SimAgent) -> Wire:
        return Wire(self.world, agent.id, agent, self)

    def receive(self, wire: Wire, message: Any) -> None:
        if not self.alive:
            return
        if isinstance(message, Hello):
            self._admit(wire, message)
        elif self.machine is not None and self.sessions.get(wire) in self.wires:
            assert isinstance(message, Report)
            self.feed(message)

    def _admit(self, wire: Wire, hello: Hello) -> None:
        session = self.next_session
        self.next_session += 1
        self.wires[session] = wire
        self.sessions[wire] = session
        self.admitting[session] = []
        opened = stimuli.SessionOpened(
            session=session,
            worker_id=hello.worker_id,
            boot_id=hello.boot_id,
            slots=hello.slots,
            attempts=hello.attempts,
        )
        answer = Answer(lambda _: self._welcome(session), lambda: self._refuse(session, permanent=False))
        try:
            reply = self.feed(opened, answer)
        except EngineDown:
            self._refuse(session, permanent=False)
            return
        if isinstance(reply, Refusal):
            self._refuse(session, permanent=reply.permanent)

    def _welcome(self, session: int) -> None:
        """The session is durable; what was queued for it meanwhile follows the welcome."""
        wire = self.wires.get(session)
        queued = self.admitting.pop(session, [])
        if wire is not None:
            wire.down.send(Welcome(session, self.policy.self_stop_s))
            for sends in queued:
                wire.down.send(sends)

    def _refuse(self, session: int, *, permanent: bool) -> None:
        self.admitting.pop(session, None)
        wire = self.wires.pop(session, None)
        if wire is not None:
            wire.down.send(Refused(permanent))
            del self.sessions[wire]
            wire.closed_by_engine()

    def _send(self, session: int, sends: Sends) -> None:
        wire = self.wires.get(session)
        if wire is None:
            return
        held = self.held_acks.pop(session, None)
        if held is not None:
            held.merge(sends)
            sends = held
        if session in self.admitting:
            self.admitting[session].append(sends)
        elif sends.only_acks:
            self.held_acks[session] = sends
            self.world.after(ACK_DELAY_S, self._flush_acks, session)
        else:
            wire.down.send(sends)

    def _flush_acks(self, session: int) -> None:
        held = self.held_acks.pop(session, None)
        wire = self.wires.get(session)
        if held is not None and wire is not None and self.alive:
            wire.down.send(held)

    def _close(self, session: int) -> None:
        wire = self.wires.pop(session, None)
        self.admitting.pop(session, None)
        if wire is not None:
            self.sessions.pop(wire, None)
            wire.closed_by_engine()

    def wire_lost(self, wire: Wire) -> None:
        session = self.sessions.pop(wire, None)
        if session is None or not self.alive:
            return
        self.wires.pop(session, None)
        self.held_acks.pop(session, None)
        self.admitting.pop(session, None)
        if self.machine is not None:
            self.feed(stimuli.SessionClosed(session=session))

    @property
    def idle(self) -> bool:
        """Everything that was asked for is durable and carried out."""
        return self.machine is not None and self.group.idle and not self.writing and not self.acting

    # === people
    def request(self, stimulus: Stimulus, on_reply: Callable[[Any], None]) -> bool:
        """Whether it was taken; nothing is answered by an engine that dies."""
        try:
            self.feed(stimulus, Answer(on_reply))
        except (EngineDown, UserError):
            return False
        return True

    def act(self, kind: Any, numbers: tuple[int, ...]) -> None:
        """Load the tasks, then cancel, retry or discard them."""

        def loaded(tasks: LoadedTasks) -> None:
            self.world.after(0.0, self._act_on, kind, tasks)

        try:
            self.load(numbers, Answer(loaded, self._acted))
            self.acting += 1
        except EngineDown:
            self.world.note("nobody hears", kind)

    def _acted(self) -> None:
        self.acting -= 1

    def _act_on(self, kind: Any, tasks: LoadedTasks) -> None:
        self._acted()
        if self.machine is not None:
            self.feed(kind(tasks=tasks))
