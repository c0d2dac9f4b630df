"""What waits to be sent, and what must be kept until the engine has acknowledged it.

Owns results by fence, output buffers by fence, and the queues of the next message. Whatever collects while
one write is in flight is the next message. Plain data on one asyncio loop, no I/O.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.output import OutputBuffer, ProgressNote

MESSAGE_OUTPUT_BYTES = 1 << 20
MESSAGE_ITEMS = 2048
ITEM_OVERHEAD_BYTES = 64
MAX_REASON = 400


class AttemptKey(NamedTuple):
    """The three numbers that every message about an attempt carries; the fence alone identifies it."""

    task: int
    attempt: int
    fence: int


class Result(NamedTuple):
    """How an attempt ended; kept until acknowledged. `started_at_us` is 0 when it never started."""

    task: int
    attempt: int
    fence: int
    outcome: pb.Outcome
    exit_code: int
    reason: str
    at_us: int
    duration_us: int
    output_bytes: int
    never_started: bool
    started_at_us: int


class Outbox:
    """Queues for one stream after another; survives them."""

    def __init__(self) -> None:
        self.results: dict[int, Result] = {}
        self.draining = False
        self.wake = asyncio.Event()
        self._started: list[tuple[int, int, int, int]] = []
        self._on_written: list[Callable[[], None]] = []
        self._progress: dict[int, tuple[AttemptKey, ProgressNote]] = {}
        self._finished: list[int] = []
        self._recall_answers: list[tuple[AttemptKey, pb.RecallResult]] = []
        self._heartbeat: pb.Heartbeat | None = None
        self._draining_told = False
        self._buffers: dict[int, tuple[AttemptKey, OutputBuffer]] = {}
        self._unsent: OrderedDict[int, tuple[AttemptKey, OutputBuffer]] = OrderedDict()

    # ------------------------------------------------------------------ filling

    def add_started(self, who: AttemptKey, at_us: int, on_written: Callable[[], None]) -> None:
        """Reports a start; `on_written` is called once the report is on its way."""
        self._started.append((*who, at_us))
        self._on_written.append(on_written)
        self.wake.set()

    def add_done(self, result: Result) -> None:
        """Reports start and end of an attempt that took no time."""
        self._started.append((result.task, result.attempt, result.fence, result.started_at_us))
        self.results[result.fence] = result
        self._finished.append(result.fence)
        self.wake.set()

    def add_result(self, result: Result) -> None:
        """Reports an end; sent after all output of its attempt."""
        self.results[result.fence] = result
        self._finished.append(result.fence)
        self.wake.set()

    def add_progress(self, who: AttemptKey, note: ProgressNote) -> None:
        """Only the newest note per attempt and message is sent."""
        self._progress[who.fence] = (who, note)
        self.wake.set()

    def add_output(self, who: AttemptKey, buffer: OutputBuffer) -> None:
        """`buffer` has something unsent; it is kept until the result of its attempt is acknowledged."""
        entry = (who, buffer)
        self._buffers[who.fence] = entry
        self._unsent[who.fence] = entry
        self.wake.set()

    def add_recall_answer(self, who: AttemptKey, result: pb.RecallResult) -> None:
        self._recall_answers.append((who, result))
        self.wake.set()

    def set_heartbeat(self, heartbeat: pb.Heartbeat) -> None:
        """Replaces one that was not sent yet."""
        self._heartbeat = heartbeat
        self.wake.set()

    def start_draining(self) -> None:
        """The system told this worker to stop; said once per session."""
        self.draining = True
        self.wake.set()

    # ------------------------------------------------------------------ acknowledgements

    def acknowledge_result(self, fence: int) -> bool:
        """Forgets the attempt, its output too; False if there was nothing to forget."""
        if self.results.pop(fence, None) is None:
            return False
        if self._buffers:
            self._buffers.pop(fence, None)
            self._unsent.pop(fence, None)
        return True

    def acknowledge_output(self, fence: int, offset: int) -> None:
        entry = self._buffers.get(fence)
        if entry is None:
            return
        entry[1].acknowledge(offset)
        if not entry[1].has_unsent:
            self._unsent.pop(fence, None)

    # ------------------------------------------------------------------ sending

    @property
    def empty(self) -> bool:
        """Nothing waits to be written."""
        return not (self._started or self._progress or self._unsent or self._finished or self._recall_answers)

    def restart(self) -> None:
        """A new session begins: its hello told every open attempt, so starts and answers of the old one
        are void; output and results that were not acknowledged wait to be sent again."""
        self._started.clear()
        self._on_written.clear()
        self._progress.clear()
        self._recall_answers.clear()
        self._heartbeat = None
        self._draining_told = False
        self._finished = list(self.results)
        for fence, entry in self._buffers.items():
            entry[1].unsend()
            if entry[1].has_unsent:
                self._unsent[fence] = entry
        self.wake.set()

    def take(self, session: int) -> tuple[pb.WorkerMessage | None, list[Callable[[], None]]]:
        """The next message, or None when nothing waits; and what to call when it is written."""
        self.wake.clear()
        tell_draining = self.draining and not self._draining_told
        if self.empty and self._heartbeat is None and not tell_draining:
            return None, []
        message = pb.WorkerMessage(session=session)
        on_written = self._take_started(message)
        for who, note in self._progress.values():
            message.progress.add(
                task=who.task, attempt=who.attempt, fence=who.fence, percent=note.percent, text=note.text
            )
        self._progress.clear()
        self._take_output(message)
        self._take_finished(message)
        for who, answer in self._recall_answers[:MESSAGE_ITEMS]:
            message.recall_answers.add(task=who.task, attempt=who.attempt, fence=who.fence, result=answer)
        del self._recall_answers[:MESSAGE_ITEMS]
        if self._heartbeat is not None:
            message.heartbeat.CopyFrom(self._heartbeat)
            self._heartbeat = None
        if tell_draining:
            message.draining = self._draining_told = True
        if not self.empty:
            self.wake.set()
        return message, on_written

    def _take_started(self, message: pb.WorkerMessage) -> list[Callable[[], None]]:
        add = message.started.add
        for task, attempt, fence, at_us in self._started:
            add(task=task, attempt=attempt, fence=fence, at_us=at_us)
        self._started.clear()
        on_written, self._on_written = self._on_written, []
        return on_written

    def _take_output(self, message: pb.WorkerMessage) -> None:
        budget = MESSAGE_OUTPUT_BYTES
        while self._unsent and budget > 0:
            fence, entry = self._unsent.popitem(last=False)
            who, buffer = entry
            chunk = buffer.take()
            message.output.add(
                task=who.task,
                attempt=who.attempt,
                fence=fence,
                stream=_STREAMS[chunk.stream],
                offset=chunk.offset,
                data=bytes(chunk.data),
            )
            budget -= len(chunk.data) + ITEM_OVERHEAD_BYTES
            if buffer.has_unsent:
                # To the end of the line: whoever prints most must not starve the others.
                self._unsent[fence] = entry

    def _take_finished(self, message: pb.WorkerMessage) -> None:
        add = message.finished.add
        held: list[int] = []
        results, unsent = self.results, self._unsent
        for fence in self._finished:
            result = results.get(fence)
            if result is None:
                continue
            if fence in unsent or len(message.finished) >= MESSAGE_ITEMS:
                held.append(fence)
                continue
            add(
                task=result.task,
                attempt=result.attempt,
                fence=fence,
                outcome=result.outcome,
                exit_code=result.exit_code,
                reason=result.reason,
                at_us=result.at_us,
                duration_us=result.duration_us,
                output_bytes=result.output_bytes,
                never_started=result.never_started,
            )
        self._finished = held


_STREAMS = {1: pb.OUTPUT_STREAM_STDOUT, 2: pb.OUTPUT_STREAM_STDERR}
