"""One run of `map`: hands work to the engine as it has room, and prints what comes back.

The engine's thread puts output into the spool and the numbers of finished tasks into the inbox; everything
else happens on the main thread, which waits on the inbox.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from taskmaster_desktop.app import App
from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.commands import CancelTasks, PauseQueue, SubmitBatch
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem, UserError
from taskmaster_desktop.backend.events import Event, Logged, OutputArrived, StoreFailed, TasksFinished
from taskmaster_desktop.backend.model import (
    TERMINAL_STATES,
    EventRecord,
    Outcome,
    TaskFilter,
    TaskOptions,
    TaskRecord,
    TaskState,
)
from taskmaster_desktop.backend.ports import Clock
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.interrupts import Interrupts
from taskmaster_desktop.cli.map.bar import Bar, Progress
from taskmaster_desktop.cli.map.feed import Feed
from taskmaster_desktop.cli.map.printing import JsonPrinter, PlainPrinter, Printer, describe
from taskmaster_desktop.cli.map.spool import Spool
from taskmaster_desktop.cli.output import Output, OutputBroken, OutputClosed

BATCH = 5_000
MOST_UNFINISHED = 10_000
"""How many tasks wait in the engine; more are taken in as these finish."""
MOST_UNPRINTED = 500_000
"""How many may be finished and wait for an earlier one to be printed."""
WAKE_S = 1.0
CANCEL_LIMIT_S = 8.0
"""Longer than a cancelled command gets between TERM and KILL."""
END_GRACE_S = 2.0
HOPELESS_STARTS = 3
UNFINISHED = frozenset(TaskState) - TERMINAL_STATES

Message = TasksFinished | EventRecord | StoreFailed | OSError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """How the tasks are run and shown."""

    options: TaskOptions
    keep_going: bool
    in_input_order: bool


@dataclass(slots=True)
class Tally:
    """What has become of the tasks so far. Main thread."""

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    first_failure: TaskRecord | None = None
    lost_starts: list[str] = field(default_factory=list)

    @property
    def finished(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def unfinished(self) -> int:
        return self.submitted - self.finished

    def count(self, task: TaskRecord) -> None:
        if task.state is TaskState.COMPLETED:
            self.completed += 1
        elif task.state is TaskState.CANCELLED:
            self.cancelled += 1
        else:
            self.failed += 1
            self.timed_out += task.outcome is Outcome.TIMEOUT
            self.first_failure = self.first_failure or task


class MapRun:
    """Use once."""

    def __init__(self, app: App, plan: MapPlan, output: Output, clock: Clock, folder: Path) -> None:
        self._app = app
        self._plan = plan
        self._output = output
        self._clock = clock
        self._folder = folder
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._tally = Tally()
        self._bar = Bar(output, clock, shown=output.stderr_is_terminal and not output.as_json)
        self._first: int | None = None  # number of our first task; ours follow without a gap
        self._online = False
        self._input_error: UserError | None = None

    def wake(self) -> None:
        """Have the main thread look again; from any thread or signal handler."""
        self._inbox.put(None)

    def go(self, feed: Feed) -> int:
        """Start the engine, do everything, stop it; returns the exit code."""
        interrupts = Interrupts()
        with interrupts.telling(self._app.hurry, on_first=self.wake):
            self._app.start()
            spool = Spool(self._folder)
            printer = self._printer(spool)
            try:
                unsubscribe = self._app.api.subscribe(self._listener(spool))
                self._app.api.submit(PauseQueue(paused=False)).result()  # a kept database may say so
                self._work(feed, printer, interrupts)
                self._bar.clear()
                printer.flush()
                unsubscribe()
                code = self._verdict(feed, interrupts)
                printer.close(self._summary(feed, interrupts, code))
                return code
            finally:
                self._bar.clear()
                self._app.stop(grace_s=0.0 if self._tally.unfinished else END_GRACE_S)
                spool.close()

    def _printer(self, spool: Spool) -> Printer:
        kind = JsonPrinter if self._output.as_json else PlainPrinter
        return kind(spool, self._output, self._app.api.query, in_input_order=self._plan.in_input_order)

    # === the engine's thread
    def _listener(self, spool: Spool) -> Callable[[Event], None]:
        inbox = self._inbox

        def listen(event: Event) -> None:
            if isinstance(event, OutputArrived):
                try:
                    spool.add(event)
                except OSError as error:
                    inbox.put(error)
            elif isinstance(event, TasksFinished | StoreFailed):
                inbox.put(event)
            elif isinstance(event, Logged):
                inbox.put(event.line)

        return listen

    # === the main thread
    def _work(self, feed: Feed, printer: Printer, interrupts: Interrupts) -> None:
        """Until all is done, or until it is time to stop."""
        try:
            while not (feed.ended and self._tally.unfinished == 0):
                if interrupts.wanted or self._input_error is not None or self._failed_enough:
                    break
                self._fill(feed, printer)
                self._bar.update(self._progress(feed))
                self._next(printer)
        except (OutputClosed, OutputBroken):
            self._cancel_rest(None)
            raise
        if interrupts.wanted and self._tally.unfinished:
            self._say("cancelling; interrupt again to end at once.")
        self._cancel_rest(printer)

    @property
    def _failed_enough(self) -> bool:
        return self._tally.failed > 0 and not self._plan.keep_going

    def _fill(self, feed: Feed, printer: Printer) -> None:
        """Hand work to the engine while it has room and there is some."""
        while not feed.ended and printer.waiting < MOST_UNPRINTED:
            room = min(BATCH, MOST_UNFINISHED - self._tally.unfinished)
            try:
                works = feed.take(room) if room > 0 else []
                if not works:
                    return
                command = SubmitBatch(works=works, options=self._plan.options)
                submitted: Submitted = self._app.api.submit(command).result()
            except UserError as error:
                self._input_error = error
                return
            if self._first is None:
                self._first = submitted.task_numbers.start
                printer.start(self._first)
            self._tally.submitted += len(works)

    def _next(self, printer: Printer) -> None:
        """Wait for a message and take in all that have come."""
        try:
            message = self._inbox.get(timeout=0.1 if self._bar_moves else WAKE_S)
            while True:
                self._take(message, printer)
                message = self._inbox.get_nowait()
        except queue.Empty:
            if not self._app.running:
                raise EngineDown(f"The engine has ended ({self._app.fatal or 'it was told to'}).") from None

    @property
    def _bar_moves(self) -> bool:
        return self._output.stderr_is_terminal

    def _take(self, message: Message, printer: Printer) -> None:
        if isinstance(message, TasksFinished):
            for task in message.tasks:
                self._finished(task, printer)
        elif isinstance(message, EventRecord):
            self._hear(message)
        elif isinstance(message, StoreFailed):
            self._say(f"{message.message} Waiting until that is mended.")
        elif message is not None:
            raise EnvironmentProblem(
                f"Output cannot be kept: {message.strerror or message}.",
                fix="Free some space on the disk for temporary files, or name another with TMPDIR.",
            )

    def _finished(self, task: TaskRecord, printer: Printer) -> None:
        if self._first is None or task.number < self._first:
            return
        before = self._tally.first_failure
        self._tally.count(task)
        printer.finished(task)
        if task.state is TaskState.FAILED and (before is None or self._plan.keep_going):
            self._say(describe(task))

    def _hear(self, line: EventRecord) -> None:
        if line.kind == "worker_online":
            self._online = True
        elif line.kind == "worker_offline" and not self._online:
            self._tally.lost_starts.append(line.message)
            if len(self._tally.lost_starts) >= HOPELESS_STARTS:
                raise EnvironmentProblem(
                    f"Workers do not start ({line.message.rstrip('.')}).",
                    fix="Run taskmaster doctor to see why.",
                )

    def _cancel_rest(self, printer: Printer | None) -> None:
        """End what runs and let nothing more begin; with a printer, take in what comes of it."""
        if not self._tally.unfinished:
            return
        api = self._app.api
        try:
            api.submit(PauseQueue(paused=True)).result()
            api.submit(CancelTasks(chosen=TaskFilter(states=UNFINISHED))).result()
            deadline_s = self._clock.now().mono_s + CANCEL_LIMIT_S
            while printer is not None and self._tally.unfinished and self._clock.now().mono_s < deadline_s:
                self._next(printer)
            if not self._tally.unfinished:
                api.submit(PauseQueue(paused=False)).result()
        except EngineDown:
            return  # a second interrupt: everything is being killed

    # === the end
    def _verdict(self, feed: Feed, interrupts: Interrupts) -> int:
        """Say what is left undone and why; returns the exit code."""
        tally = self._tally
        if interrupts.wanted:
            self._say(f"interrupted: {self._what_is_done(feed)}.")
            return exit_codes.INTERRUPTED
        if self._input_error is not None:
            self._say(f"{self._input_error} ({self._what_is_done(feed)})")
            return exit_codes.WRONG_USAGE
        if not tally.failed:
            return exit_codes.OK
        if not self._plan.keep_going and not (feed.ended and tally.cancelled == 0):
            self._say(
                f"stopped at the first failure: {self._what_is_done(feed)} (--keep-going does the rest)."
            )
        elif tally.finished > 1:
            self._say(f"{tally.failed:,} of {tally.finished:,} failed.")
        return exit_codes.TIMED_OUT if tally.failed == tally.timed_out else exit_codes.TASK_FAILED

    def _what_is_done(self, feed: Feed) -> str:
        tally = self._tally
        of = f" of {feed.total:,}" if feed.total is not None else ""
        failed = f", {tally.failed:,} failed" if tally.failed else ""
        return f"{tally.completed:,}{of} done{failed}, the rest was cancelled"

    def _summary(self, feed: Feed, interrupts: Interrupts, code: int) -> dict[str, object]:
        tally = self._tally
        return {
            "ok": code == exit_codes.OK,
            "total": feed.total,
            "completed": tally.completed,
            "failed": tally.failed,
            "timed_out": tally.timed_out,
            "interrupted": interrupts.wanted,
            "exit_code": code,
        }

    def _progress(self, feed: Feed) -> Progress:
        totals = self._app.api.totals
        tally = self._tally
        return Progress(
            done=tally.finished,
            failed=tally.failed,
            running=totals.running + totals.assigned,
            total=feed.total,
        )

    def _say(self, sentence: str) -> None:
        self._output.problem(sentence)
