"""The engine: one asyncio loop in a thread of its own, around the pure core.

Stimulus -> core -> group commit -> effects. The loop owns every attribute here unless it says otherwise;
other threads come in through the methods of `BackendApi` alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.commands import Command
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import Read, ReadReady, Sends
from taskmaster_desktop.backend.core.machine import Machine
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.core.sessions import Refusal
from taskmaster_desktop.backend.core.stimuli import Heartbeat, Report, Stimulus
from taskmaster_desktop.backend.errors import EnvironmentProblem, TaskMasterError, UserError
from taskmaster_desktop.backend.group import Group, StoreCall
from taskmaster_desktop.backend.hands import Hands
from taskmaster_desktop.backend.model import BatchRecord, LoadedTasks, OutputChunk, Totals
from taskmaster_desktop.backend.ports import (
    Admission,
    Clock,
    Ended,
    Hello,
    Link,
    Query,
    SessionRefused,
    StaleEpoch,
    Store,
    StoreThread,
    WorkerDoor,
    WorkerRuntime,
)
from taskmaster_desktop.backend.requests import Requests

logger = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
ACK_DELAY_S = 0.05
"""How long an acknowledgement may wait for a message to ride on."""
REOPEN_PAUSE_S = 1.0
KILL_LIMIT_S = 10.0


class EngineDown(EnvironmentProblem):
    """The engine cannot take anything now."""

    def __init__(self, message: str) -> None:
        super().__init__(message, fix="Try again in a moment.")


class Engine:
    """Implements `BackendApi` for everybody and `SessionHandler` for the door."""

    def __init__(
        self,
        *,
        store: Store,
        store_thread: StoreThread,
        query: Query,
        runtime: WorkerRuntime,
        door: WorkerDoor,
        clock: Clock,
        policy: Policy,
        instance: str,
        validate: bool = False,
    ) -> None:
        self.query = query
        self.totals = Totals()  # written by the loop, read by all
        self.changes = 0  # likewise
        self.usage: dict[int, Heartbeat] = {}  # likewise
        self.trouble: str | None = None  # likewise
        self._store = store
        self._store_thread = store_thread
        self._door = door
        self._clock = clock
        self._policy = policy
        self._instance = instance
        self._validate = validate
        self._runtime = runtime
        self._hands = Hands(runtime, door, self)
        self._requests = Requests(self)
        self._machine: Machine | None = None
        self._group = Group()
        self._writing = False
        self._pump_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._links: dict[int, Link] = {}
        self._held_acks: dict[int, Sends] = {}
        self._ack_timer: asyncio.TimerHandle | None = None
        self._output_seen: dict[int, int] = {}  # by fence: end of the output already taken
        self._next_session = 1
        self._listeners: list[events.Listener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop_wanted: asyncio.Event | None = None
        self._stop_grace_s: float | None = None
        self._emptied: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fatal: BaseException | None = None

    # === life (any thread)
    def start(self) -> None:
        """Begin a new epoch and open the door; returns when workers may connect.

        Raises EnvironmentProblem where the database, the runtime or the door cannot be used.
        """
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="engine", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise

    def stop(self, *, grace_s: float) -> None:
        """Drain workers for at most `grace_s`, kill the rest, and end. May be called twice, from any thread;
        a later call with less patience hurries an earlier one."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        self._post(loop, self._want_stop, grace_s)
        thread.join()

    def abandon(self) -> None:
        """End the loop at once and leave all workers as they are, as a crash would; for tests of recovery."""
        thread, loop = self._thread, self._loop
        if thread is not None and loop is not None:
            self._post(loop, self._abandon)
            thread.join()

    def hurry(self, *, grace_s: float) -> None:
        """Shorten the patience of a `stop` under way, without waiting; safe in a signal handler."""
        if self._loop is not None:
            self._post(self._loop, self._want_stop, grace_s)

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def fatal(self) -> BaseException | None:
        """Why the engine ended by itself, None while it did not."""
        return self._fatal

    @staticmethod
    def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
        try:
            loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended meanwhile
            logger.debug("the engine had already ended")

    def _run(self, ready: Future[None]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main(ready))
        except BaseException as error:
            self._fatal = error
            if ready.done():
                logger.exception("the engine ended")
            else:
                ready.set_exception(error)

    async def _main(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_wanted = asyncio.Event()
        self._emptied = asyncio.Event()
        try:
            await self._runtime.start()
            self._runtime.watch(self._worker_ended)
            await self._begin()
            await self._door.start(self)
            self.feed(stimuli.Tick())
            ready.set_result(None)
            await self._stop_wanted.wait()
            if self._stop_grace_s is not None:
                await self._shut_down(self._emptied)
        finally:
            await self._close()

    async def _begin(self) -> None:
        """A new epoch: the core starts from what the store remembers and what the runtime sees."""
        recovery = await asyncio.wrap_future(self._store_thread.call(self._store.begin_epoch))
        self._next_session = (recovery.epoch << 20) + 1
        self._machine = Machine(recovery, self._policy, self._clock.now())
        self.totals = recovery.totals
        await self._hands.reconcile(recovery.workers)

    # === stopping (loop)
    def _want_stop(self, grace_s: float) -> None:
        assert self._stop_wanted is not None
        if self._stop_grace_s is None or grace_s < self._stop_grace_s:
            self._stop_grace_s = grace_s
            if self._stop_wanted.is_set():
                self._kill_all()
        self._stop_wanted.set()

    def _abandon(self) -> None:
        assert self._stop_wanted is not None
        self._stop_wanted.set()

    async def _shut_down(self, emptied: asyncio.Event) -> None:
        if self._machine is None:
            return
        self.feed(stimuli.Shutdown())
        self._check_emptied()
        try:
            async with asyncio.timeout(self._stop_grace_s):
                await emptied.wait()
        except TimeoutError:
            self._kill_all()
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await emptied.wait()
        except TimeoutError:
            logger.error("some workers could not be ended in time")
        last_word = self.read(lambda store: None)  # comes back when everything before it is written
        await asyncio.wrap_future(last_word)

    def _kill_all(self) -> None:
        if self._machine is not None:
            for number in self._machine.worker_numbers:
                self.feed(stimuli.OrderKill(worker=number))

    def _check_emptied(self) -> None:
        if self._emptied is not None and self._machine is not None and not self._machine.worker_numbers:
            self._emptied.set()

    async def _close(self) -> None:
        self._machine = None
        for handle in (self._timer, self._ack_timer):
            if handle is not None:
                handle.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._door.close()
        await self._runtime.close()
        self._group.fail(EngineDown("The engine is stopping."))
        self._requests.close(EngineDown("The engine is stopping."))

    # === the pump (loop)
    def feed(self, stimulus: Stimulus, *, reply_to: Future[Any] | None = None) -> object:
        """Let the core hear of something; `reply_to` gets its reply once that is durable.

        Returns the core's reply as well, for the engine's own use before the commit. Raises UserError as
        the core does, `EngineDown` while there is no core.
        """
        machine = self._machine
        if machine is None:
            raise EngineDown(self.trouble or "The engine is stopping.")
        try:
            instructions = machine.handle(stimulus, self._clock.now())
            if self._validate:
                machine.validate()
        except UserError:
            raise
        except Exception as error:
            logger.exception("the core failed on %s", type(stimulus).__name__)
            self._fail(self._group, error)
            raise EngineDown("The engine met a fault of its own and starts over.") from error
        self._group.add(instructions)
        if reply_to is not None:
            self._group.replies.append((reply_to, instructions.reply))
        self._plan_pump()
        self._arm(machine.wake_s)
        return instructions.reply

    def read(self, call: StoreCall) -> Future[Any]:
        """Read the store after everything fed so far is written."""
        if self._machine is None:
            raise EngineDown(self.trouble or "The engine is stopping.")
        future: Future[Any] = Future()
        self._group.calls.append((call, future))
        self._plan_pump()
        return future

    def load(self, numbers: Sequence[int]) -> Future[LoadedTasks]:
        """Read tasks for a stimulus that carries `LoadedTasks`; it must be fed with the answer."""
        future = self.read(lambda store: store.load_tasks(numbers))
        assert self._machine is not None
        self._machine.load_begins()
        return future

    def now_us(self) -> int:
        return self._clock.now().wall_us

    def _plan_pump(self) -> None:
        if not self._pump_planned and not self._writing:
            assert self._loop is not None
            self._pump_planned = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Commit what has collected, unless a commit is under way: then it collects on."""
        self._pump_planned = False
        if self._writing or self._group.idle:
            return
        group, self._group = self._group, Group()
        if not group.needs_store:
            self._carry_out(group, [], [])
            return
        self._writing = True
        self._store_thread.call(group.write, self._store).add_done_callback(
            lambda done: self._post_written(group, done)
        )

    def _post_written(self, group: Group, done: Future[tuple[list[LoadedTasks], list[Any]]]) -> None:
        """On the store's thread."""
        assert self._loop is not None
        self._post(self._loop, self._written, group, done)

    def _written(self, group: Group, done: Future[tuple[list[LoadedTasks], list[Any]]]) -> None:
        self._writing = False
        error = done.exception()
        if error is not None:
            self._fail(group, error)
            return
        if self._machine is None and not group.replies and not group.calls:
            return
        pages, answers = done.result()
        self._pump()  # the next group is written while the effects of this one are carried out
        self._carry_out(group, pages, answers)

    def _carry_out(self, group: Group, pages: list[LoadedTasks], answers: list[Any]) -> None:
        """Everything in the group is durable now."""
        for session, sends in group.sends.items():
            self._send(session, sends)
        for close in group.closes:
            link = self._links.pop(close.session, None)
            if link is not None:
                link.close(close.reason)
        self._hands.act(group.actions)
        changes = group.changes
        if changes.totals is not None:
            self.totals = changes.totals
        for attempt in changes.attempts:
            self._output_seen.pop(attempt.fence, None)
        self.changes += 1
        for future, reply in group.replies:
            if future.set_running_or_notify_cancel():
                future.set_result(reply)
        for (_, future), answer in zip(group.calls, answers, strict=True):
            future.set_result(answer)
        self._requests.committed(changes.batches)
        self._publish(group)
        for read, page in zip(group.reads, pages, strict=True):
            self._feed_page(read, page)
        self._check_emptied()

    def _feed_page(self, read: Read, page: LoadedTasks) -> None:
        if self._machine is not None:
            answer = stimuli.ReadyRead if isinstance(read, ReadReady) else stimuli.DelayedRead
            self.feed(answer(tasks=page, complete=len(page.tasks) < read.limit))

    def _publish(self, group: Group) -> None:
        if not self._listeners:
            return
        for chunk in group.changes.output:
            self.tell(
                events.OutputArrived(
                    task=chunk.task,
                    attempt=chunk.attempt,
                    stream=chunk.stream,
                    offset=chunk.offset,
                    data=chunk.data,
                )
            )
        if group.finished:
            self.tell(events.TasksFinished(tasks=tuple(group.finished)))
        for line in group.changes.events:
            self.tell(events.Logged(line=line))

    def tell(self, event: events.Event) -> None:
        """A failing listener is logged and hurts nobody else."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)

    # === time (loop)
    def _arm(self, wake_s: float | None) -> None:
        if wake_s is None or (self._timer is not None and self._timer.when() <= wake_s):
            return
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(wake_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._machine is None:
            return
        wake_s = self._machine.wake_s
        if wake_s is not None and wake_s > self._clock.now().mono_s:
            self._arm(wake_s)  # what was waited for has moved
        else:
            self.feed(stimuli.Tick())

    # === trouble (loop)
    def _fail(self, group: Group, error: BaseException) -> None:
        """Nothing of the group is stored, so the core's memory is worth nothing: start over."""
        problem = error if isinstance(error, TaskMasterError) else EngineDown("The engine had to start over.")
        group.fail(problem)
        if group is not self._group:
            self._group.fail(problem)
        self._group = Group()
        self._machine = None
        self.trouble = str(problem)
        self._output_seen.clear()
        for link in self._links.values():
            link.close("the engine starts over")
        self._links.clear()
        self._held_acks.clear()
        logger.error("starting over: %s", error, exc_info=not isinstance(error, TaskMasterError))
        self.tell(events.StoreFailed(message=self.trouble))
        if isinstance(error, StaleEpoch):
            self._fatal = error
            self._abandon()
        else:
            self.spawn(self._start_over())

    async def _start_over(self) -> None:
        while True:
            try:
                await self._begin()
                break
            except EnvironmentProblem as problem:
                self.trouble = str(problem)
                await asyncio.sleep(REOPEN_PAUSE_S)
        self.trouble = None
        self.feed(stimuli.Tick())
        self.tell(events.StoreRecovered())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; a failure is logged, the engine's end cancels it."""
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a side task failed", exc_info=task.exception())

    # === workers (loop)
    async def admit(self, hello: Hello, link: Link) -> Admission:
        session = self._next_session
        self._next_session += 1
        durable: Future[Any] = Future()
        self._links[session] = link
        try:
            reply = self.feed(
                stimuli.SessionOpened(
                    session=session,
                    worker_id=hello.worker_id,
                    boot_id=hello.boot_id,
                    slots=hello.slots,
                    attempts=hello.attempts,
                ),
                reply_to=durable,
            )
            if isinstance(reply, Refusal):
                raise SessionRefused(reply.reason, permanent=reply.permanent)
            await asyncio.wrap_future(durable)
        except TaskMasterError as error:
            self._links.pop(session, None)
            raise SessionRefused(str(error), permanent=False) from error
        except BaseException:
            self._links.pop(session, None)
            raise
        return Admission(
            session=session,
            instance=self._instance,
            heartbeat_interval_s=HEARTBEAT_S,
            self_stop_s=self._policy.self_stop_s,
        )

    def report(self, report: Report) -> None:
        machine = self._machine
        if machine is None or report.session not in self._links:
            return
        if report.output:
            self._take_output(machine, report)
        if report.heartbeat is not None:
            number = machine.worker_of(report.session)
            if number is not None:
                self.usage[number] = report.heartbeat
        self.feed(report)

    def _take_output(self, machine: Machine, report: Report) -> None:
        acks: dict[int, int] = {}
        for chunk in report.output:
            end = chunk.offset + len(chunk.data)
            acks[chunk.fence] = end
            if chunk.offset < self._output_seen.get(chunk.fence, 0) or not machine.holds(
                report.session, chunk.fence
            ):
                continue  # sent again, or of an attempt that does not count any more
            self._output_seen[chunk.fence] = end
            self._group.changes.output.append(
                OutputChunk(chunk.task, chunk.attempt, chunk.offset, chunk.stream, chunk.data)
            )
        self._group.send(report.session, Sends(output_acks=acks))

    def closed(self, session: int) -> None:
        self._links.pop(session, None)
        self._held_acks.pop(session, None)
        if self._machine is not None:
            number = self._machine.worker_of(session)
            if number is not None:
                self.usage.pop(number, None)
            self.feed(stimuli.SessionClosed(session=session))

    def _worker_ended(self, worker_id: str, end: Ended) -> None:
        if self._machine is not None:
            number = self._machine.worker_number(worker_id)
            if number is not None:
                self.feed(stimuli.WorkerEnded(worker=number, reason=end.reason, clean=end.clean, oom=end.oom))

    def _send(self, session: int, sends: Sends) -> None:
        """Hand messages to a link; acknowledgements alone wait a little for company."""
        link = self._links.get(session)
        if link is None:
            return
        held = self._held_acks.pop(session, None)
        if held is not None:
            held.merge(sends)
            sends = held
        if sends.only_acks:
            self._held_acks[session] = sends
            if self._ack_timer is None:
                assert self._loop is not None
                self._ack_timer = self._loop.call_later(ACK_DELAY_S, self._flush_acks)
        else:
            link.send(sends)

    def _flush_acks(self) -> None:
        self._ack_timer = None
        held, self._held_acks = self._held_acks, {}
        for session, sends in held.items():
            link = self._links.get(session)
            if link is not None:
                link.send(sends)

    # === BackendApi (any thread)
    def submit(self, command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            command.check()
            request = self._requests.prepare(command)
        except UserError as error:
            future.set_exception(error)
            return future
        self._enter(future, self._requests.take, request, future)
        return future

    def wait_batch(self, batch: int) -> Future[BatchRecord]:
        future: Future[BatchRecord] = Future()
        self._enter(future, self._requests.wait_batch, batch, future)
        return future

    def worker_log(self, worker: int, *, tail_bytes: int = 65_536) -> Future[bytes]:
        future: Future[bytes] = Future()
        self._enter(future, self._hands.read_log, worker, tail_bytes, future)
        return future

    def _enter(self, future: Future[Any], call: Callable[..., None], *args: object) -> None:
        if self._loop is None or not self.running:
            future.set_exception(EngineDown("The engine is not running."))
            return
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            future.set_exception(EngineDown("The engine is not running."))

    def subscribe(self, listener: events.Listener) -> Callable[[], None]:
        self._listeners = [*self._listeners, listener]

        def stop() -> None:
            self._listeners = [other for other in self._listeners if other is not listener]

        return stop
