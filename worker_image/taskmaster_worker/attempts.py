"""The attempts this worker holds: waiting, running, ended; and what the engine says about them.

Owns the slots, the first-in-first-out queue before them, and the one place where an outcome is decided.
All on one asyncio loop; nothing here waits. Thousands of `noop` a second pass through `handle` in plain
loops, without a task, future or object of their own until their result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.outbox import MAX_REASON, AttemptKey, Outbox, Result
from taskmaster_worker.output import OutputBuffer, ProgressNote

LEDGER_VARIABLE = "TASKMASTER_LEDGER"

logger = logging.getLogger(__name__)


class WorkError(Exception):
    """An attempt cannot be started as asked; `str()` is one sentence for people."""

    def __init__(self, exit_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Execution(Protocol):
    """A command or a built-in job; reports to its `RunningAttempt`, `ended` exactly once."""

    def start(self) -> None:
        """Raises WorkError when it cannot be started; then `ended` is not called."""

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it after `grace_s`."""

    def kill(self) -> None:
        """Kill all of it at once, without waiting."""

    def resume(self) -> None:
        """There is room for output again."""


Launcher = Callable[[pb.Assign, "RunningAttempt"], Execution]


class RunningAttempt:
    """One attempt in a slot: from its `started` to its result."""

    __slots__ = (
        "_buffer", "_execution", "_launched_at", "_stopping", "_table", "_timer", "assign", "key", "started_at_us",
    )  # fmt: skip

    def __init__(self, table: AttemptTable, assign: pb.Assign, started_at_us: int) -> None:
        self._table = table
        self.assign = assign
        self.key = AttemptKey(assign.task, assign.attempt, assign.fence)
        self.started_at_us = started_at_us
        self._launched_at = 0.0
        self._execution: Execution | None = None
        self._buffer: OutputBuffer | None = None
        self._stopping: tuple[pb.Outcome, str] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def launched(self) -> bool:
        return self._execution is not None

    def launch(self) -> None:
        """Executes it; its `started` has been written, or told in a hello."""
        if self._execution is not None or self._stopping is not None or self._table.closed:
            return
        self._launched_at = self._table.loop.time()
        try:
            self._execution = self._table.launcher(self.assign, self)
            self._execution.start()
        except WorkError as error:
            self.ended(error.exit_code, str(error))
            return
        if self.assign.timeout_ms:
            self._timer = self._table.loop.call_later(self.assign.timeout_ms / 1000, self._time_out)

    def stop(self, outcome: pb.Outcome, reason: str) -> None:
        """Ends it early with this outcome, whatever its exit code will be. The first reason stays."""
        if self._stopping is not None:
            return
        self._stopping = (outcome, reason)
        if self._execution is None:
            self.ended(0, reason)
        else:
            self._execution.stop(self.assign.kill_grace_ms / 1000)

    def kill(self) -> None:
        if self._execution is not None:
            self._execution.kill()

    def output(self, stream: int, data: bytes) -> bool:
        """Takes output as it was read; False: read no more until `resume`."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = OutputBuffer(lossless=self.assign.lossless_output)
        buffer.add(stream, data)
        self._table.outbox.add_output(self.key, buffer)
        return not buffer.full

    def acknowledge_output(self, offset: int) -> None:
        self._table.outbox.acknowledge_output(self.key.fence, offset)
        if self._execution is not None and self._buffer is not None and not self._buffer.full:
            self._execution.resume()

    def progress(self, note: ProgressNote) -> None:
        self._table.outbox.add_progress(self.key, note)

    def ended(self, exit_code: int, reason: str, *, out_of_memory: bool = False) -> None:
        """Everything of it is over and all its output was handed over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._stopping is not None:
            outcome, reason = self._stopping
        elif out_of_memory:
            outcome = pb.OUTCOME_OOM
        else:
            outcome = pb.OUTCOME_FAILED if exit_code else pb.OUTCOME_COMPLETED
        duration_s = self._table.loop.time() - self._launched_at if self._launched_at else 0.0
        self._table.attempt_ended(
            self,
            Result(
                *self.key,
                outcome=outcome,
                exit_code=exit_code,
                reason="" if outcome == pb.OUTCOME_COMPLETED else reason[:MAX_REASON],
                at_us=time.time_ns() // 1000,
                duration_us=int(duration_s * 1e6),
                output_bytes=self._buffer.total_bytes if self._buffer is not None else 0,
                never_started=False,
                started_at_us=self.started_at_us,
            ),
        )

    def _time_out(self) -> None:
        self.stop(pb.OUTCOME_TIMEOUT, f"stopped after its time limit of {self.assign.timeout_ms / 1000:g} s")


class AttemptTable:
    """Every attempt of this worker, by fence."""

    def __init__(self, *, slots: int, outbox: Outbox, launcher: Launcher) -> None:
        self.loop = asyncio.get_running_loop()
        self.outbox = outbox
        self.launcher = launcher
        self.draining = False
        self.closed = False
        self._slots = slots
        self._live = False
        self._waiting: OrderedDict[int, pb.Assign] = OrderedDict()
        self._running: dict[int, RunningAttempt] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def drained(self) -> bool:
        """Told to drain, and nothing is left that must be finished or acknowledged."""
        return self.draining and not (self._running or self._waiting or self.outbox.results)

    # ------------------------------------------------------------------ the session

    def open_attempts(self) -> Iterable[pb.OpenAttempt]:
        """All of them, for a hello."""
        for assign in self._waiting.values():
            yield _open(assign.task, assign.attempt, assign.fence, pb.ATTEMPT_PHASE_WAITING, 0)
        for run in self._running.values():
            yield _open(*run.key, pb.ATTEMPT_PHASE_STARTED, run.started_at_us)
        for result in self.outbox.results.values():
            yield _open(*result[:3], pb.ATTEMPT_PHASE_FINISHED, result.started_at_us)

    def session_began(self) -> None:
        """Welcomed: what the hello called started may run, and what waits may start."""
        self._live = True
        for run in list(self._running.values()):
            run.launch()
        self._admit()

    def session_ended(self) -> None:
        """What runs goes on; nothing new starts, since its start could not be told."""
        self._live = False

    def handle(self, message: pb.EngineMessage) -> None:
        """Does what the engine says about attempts, in the order of the protocol."""
        if message.assign:
            self._accept(message.assign)
        for recall in message.recall:
            self._recall(AttemptKey(recall.task, recall.attempt, recall.fence))
        for cancel in message.cancel:
            self._cancel(cancel.fence)
        acknowledge_result = self.outbox.acknowledge_result
        for ack in message.result_acks:
            acknowledge_result(ack.fence)
        for output_ack in message.output_acks:
            self._acknowledge_output(output_ack.fence, output_ack.offset)
        if message.drain:
            self.drain()
        self._admit()

    def drain(self) -> None:
        """Takes no more, gives back what waits; what runs is finished."""
        self.draining = True
        for assign in self._waiting.values():
            self._give_back(assign)
        self._waiting.clear()
        self.outbox.wake.set()

    def kill_all(self) -> None:
        """The end: kills all commands at once and starts no other. Their results are not waited for."""
        self.closed = True
        for run in list(self._running.values()):
            run.kill()

    # ------------------------------------------------------------------ single items

    def attempt_ended(self, run: RunningAttempt, result: Result) -> None:
        """Called by `run` once; frees its slot."""
        self._running.pop(result.fence, None)
        self.outbox.add_result(result)
        self._admit()

    def _accept(self, assigns: Iterable[pb.Assign]) -> None:
        waiting, running, results = self._waiting, self._running, self.outbox.results
        for assign in assigns:
            fence = assign.fence
            if fence in waiting or fence in running or fence in results:
                logger.info("attempt %d was assigned twice; the second assignment is ignored", fence)
            elif self.draining:
                self._give_back(assign)
            else:
                waiting[fence] = assign

    def _admit(self) -> None:
        """Starts what waits while there are slots."""
        waiting, running, slots = self._waiting, self._running, self._slots
        if not self._live or not waiting or self.closed:
            return
        add_done = self.outbox.add_done
        now_us = time.time_ns() // 1000
        while waiting and len(running) < slots:
            fence, assign = waiting.popitem(last=False)
            if assign.command == "noop" and LEDGER_VARIABLE not in assign.env:
                # It occupies its slot for no time. Positional, since this is the hot path.
                add_done(
                    Result(
                        assign.task,
                        assign.attempt,
                        fence,
                        pb.OUTCOME_COMPLETED,
                        0,
                        "",
                        now_us,
                        1,
                        0,
                        False,
                        now_us,
                    )
                )
            else:
                run = running[fence] = RunningAttempt(self, assign, now_us)
                self.outbox.add_started(run.key, now_us, run.launch)

    def _give_back(self, assign: pb.Assign) -> None:
        key = AttemptKey(assign.task, assign.attempt, assign.fence)
        self.outbox.add_recall_answer(key, pb.RECALL_RESULT_RECALLED)

    def _recall(self, key: AttemptKey) -> None:
        if self._waiting.pop(key.fence, None) is not None:
            answer = pb.RECALL_RESULT_RECALLED
        elif key.fence in self._running or key.fence in self.outbox.results:
            answer = pb.RECALL_RESULT_ALREADY_STARTED
        else:
            answer = pb.RECALL_RESULT_UNKNOWN
        self.outbox.add_recall_answer(key, answer)

    def _cancel(self, fence: int) -> None:
        run = self._running.get(fence)
        if run is not None:
            run.stop(pb.OUTCOME_CANCELLED, "cancelled")
            return
        assign = self._waiting.pop(fence, None)
        if assign is not None:
            now_us = time.time_ns() // 1000
            reason = "cancelled before it started"
            self.outbox.add_result(
                Result(
                    assign.task, assign.attempt, fence, pb.OUTCOME_CANCELLED, 0, reason, now_us, 0, 0, True, 0
                )
            )

    def _acknowledge_output(self, fence: int, offset: int) -> None:
        run = self._running.get(fence)
        if run is not None:
            run.acknowledge_output(offset)
        else:
            self.outbox.acknowledge_output(fence, offset)


def _open(task: int, attempt: int, fence: int, phase: pb.AttemptPhase, started_at_us: int) -> pb.OpenAttempt:
    return pb.OpenAttempt(task=task, attempt=attempt, fence=fence, phase=phase, started_at_us=started_at_us)
