"""Around the pure core: stimuli in, group commits out. Everything here runs on the engine's loop.

At most one group is being written; what happens meanwhile collects in the next. There is no timer: the next
group starts when the last one is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import Read, ReadReady
from taskmaster_desktop.backend.core.machine import Machine
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.stimuli import Stimulus
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem, TaskMasterError, UserError
from taskmaster_desktop.backend.group import Group, StoreCall
from taskmaster_desktop.backend.model import LoadedTasks, Recovery
from taskmaster_desktop.backend.ports import Clock, StaleEpoch, Store, Tidied
from taskmaster_desktop.backend.store_thread import StoreCalls

logger = logging.getLogger(__name__)

STOPPING = "The engine is stopping."
Written = tuple[list[LoadedTasks], list[Any]]


class Effects(Protocol):
    """Who carries out what is durable, and hears of failures."""

    def durable(self, group: Group) -> None:
        """The group is on disk: send, start, stop and tell."""

    def failed(self, error: BaseException, message: str) -> None:
        """Nothing since the last `durable` is stored and the core is gone; `Coordinator.begin` makes a new one."""


class Coordinator:
    def __init__(
        self,
        *,
        store: Store,
        store_thread: StoreCalls,
        clock: Clock,
        policy: Policy,
        effects: Effects,
        validate: bool,
    ) -> None:
        self._store = store
        self._store_thread = store_thread
        self._clock = clock
        self._policy = policy
        self._effects = effects
        self._validate = validate
        self._machine: Machine | None = None
        self._down = STOPPING  # why there is no machine
        self._group = Group()
        self._writing: Future[Any] | None = None  # what the store's thread is doing for us
        self._pump_planned = False
        self._tidy_wanted: Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self) -> Recovery:
        """A new epoch: the core starts from what the store remembers. Raises EnvironmentProblem, StaleEpoch."""
        recovery = await asyncio.wrap_future(self._store_thread.submit(self._store.begin_epoch))
        self._machine = Machine(recovery, self._policy, self._clock.now())
        return recovery

    async def close(self) -> None:
        """Take nothing more; who still waits is told."""
        self._machine = None
        self._down = STOPPING
        if self._writing is not None:
            await asyncio.wait([asyncio.wrap_future(self._writing)])
        if self._timer is not None:
            self._timer.cancel()
        self._group.fail(EngineDown(STOPPING))
        self._group = Group()
        if self._tidy_wanted is not None:
            self._tidy_wanted.cancel()

    @property
    def running(self) -> bool:
        return self._machine is not None

    @property
    def machine(self) -> Machine:
        """The core. Raises EngineDown while there is none."""
        if self._machine is None:
            raise EngineDown(self._down)
        return self._machine

    def now_us(self) -> int:
        return self._clock.now().wall_us

    # === in
    def feed(self, stimulus: Stimulus) -> Any:
        """Let the core hear of something. Returns the core's reply, which is not durable yet.

        Raises UserError as the core does, EngineDown while there is no core.
        """
        machine = self.machine
        try:
            instructions = machine.handle(stimulus, self._clock.now())
            if self._validate:
                machine.validate()
        except UserError:
            raise
        except Exception as error:
            logger.exception("the core failed on %s", type(stimulus).__name__)
            self._fail(Group(), error)
            raise EngineDown("The engine met a fault of its own and starts over.") from error
        self._group.add(instructions)
        self._plan_pump()
        self._arm(machine.wake_s)
        return instructions.reply

    def answer(self, future: Future[Any], value: object) -> None:
        """Give the future its value once everything fed so far is durable, or the error that prevents it."""
        self._group.replies.append((future, value))
        self._plan_pump()

    @property
    def group(self) -> Group:
        """What collects for the next commit; for writes that need no decision, such as output."""
        self._plan_pump()
        return self._group

    def read(self, call: StoreCall) -> Future[Any]:
        """Read the store after everything fed so far is written."""
        _ = self.machine
        future: Future[Any] = Future()
        self._group.calls.append((call, future))
        self._plan_pump()
        return future

    def load(self, numbers: Sequence[int]) -> Future[LoadedTasks]:
        """Read tasks for a stimulus that carries `LoadedTasks`; it must be fed with the answer."""
        future = self.read(lambda store: store.load_tasks(numbers))
        self.machine.load_begins()
        return future

    def tidy(self) -> Future[bool]:
        """Do one slice of retention when no commit is under way; True while more is to do."""
        _ = self.machine
        if self._tidy_wanted is None:
            self._tidy_wanted = Future()
            self._plan_pump()
        return self._tidy_wanted

    # === the pump
    def _plan_pump(self) -> None:
        if not self._pump_planned and self._writing is None:
            self._pump_planned = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Commit what has collected, unless a commit is under way: then it collects on."""
        self._pump_planned = False
        if self._writing is not None or self._machine is None:
            return
        if not self._group.idle:
            group, self._group = self._group, Group()
            if group.needs_store:
                machine = self._machine
                self._await(self._write(group), lambda done: self._written(group, machine, done))
            else:
                self._carry_out(group, ([], []))
        elif self._tidy_wanted is not None:
            now_us = self.now_us()
            self._await(self._store_thread.submit(lambda: self._store.tidy(now_us)), self._tidied)

    def _write(self, group: Group) -> Future[Written]:
        def call() -> Written:
            return group.write(self._store)

        if group.calls:
            return self._store_thread.submit(call)
        return self._store_thread.write(call, rows=group.rows)

    def _await(self, done: Future[Any], then: Callable[[Future[Any]], None]) -> None:
        """Go on with what the store was asked for once it is done, which it may be already."""
        if done.done():
            then(done)
            return
        loop = asyncio.get_running_loop()

        def back() -> None:
            self._writing = None
            then(done)
            self._plan_pump()

        self._writing = done
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(back))

    def _written(self, group: Group, machine: Machine, done: Future[Written]) -> None:
        error = done.exception()
        if machine is not self._machine:  # the core was given up meanwhile
            if error is None:
                group.answer()
            group.fail(_as_told(error) if error is not None else EngineDown(self._down))
        elif error is not None:
            self._fail(group, error)
        else:
            self._carry_out(group, done.result())

    def _carry_out(self, group: Group, written: Written) -> None:
        pages, answers = written
        self._effects.durable(group)
        for (_, future), answer in zip(group.calls, answers, strict=True):
            future.set_result(answer)
        for read, page in zip(group.reads, pages, strict=True):
            self._feed_page(read, page)

    def _feed_page(self, read: Read, page: LoadedTasks) -> None:
        if self._machine is not None:
            answer = stimuli.ReadyRead if isinstance(read, ReadReady) else stimuli.DelayedRead
            self.feed(answer(tasks=page, complete=len(page.tasks) < read.limit))

    def _tidied(self, done: Future[Tidied]) -> None:
        """The store has lowered its totals; the core must know before it writes the next ones."""
        waiting, self._tidy_wanted = self._tidy_wanted, None
        error = done.exception()
        if self._machine is None:
            more = False
        elif error is not None:
            self._fail(Group(), error)
            more = True
        else:
            removed = done.result()
            more = removed.more
            self.feed(stimuli.Removed(completed=removed.completed, failed=removed.failed,
                                      cancelled=removed.cancelled, discarded=removed.discarded))  # fmt: skip
        if waiting is not None:
            waiting.set_result(more)

    def _fail(self, group: Group, error: BaseException) -> None:
        """What the core believes is not what is stored, so its memory is worth nothing: start over."""
        problem = _as_told(error)
        self._machine = None
        self._down = str(problem)
        lost, self._group = self._group, Group()
        self._effects.failed(error, str(problem))
        group.fail(problem)
        lost.fail(problem)

    # === time
    def _arm(self, wake_s: float | None) -> None:
        if wake_s is None or (self._timer is not None and self._timer.when() <= wake_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(wake_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._machine is None:
            return
        wake_s = self._machine.wake_s
        if wake_s is not None and wake_s > self._clock.now().mono_s:
            self._arm(wake_s)  # what was waited for has moved
        else:
            self.feed(stimuli.Tick())


def _as_told(error: BaseException) -> TaskMasterError:
    """What callers hear of a failed commit."""
    if isinstance(error, StaleEpoch):
        return EnvironmentProblem("Another engine has taken over this database.", fix="Use that one.")
    return error if isinstance(error, TaskMasterError) else EngineDown("The engine had to start over.")
