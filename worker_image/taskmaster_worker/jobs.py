"""The built-in jobs `demo-job`, `sleep` and `noop`: no process, only timers of the one asyncio loop.

Owns their arguments, their timers and the optional ledger, in which a job notes by itself when it ran.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import time
from dataclasses import dataclass

from taskmaster_worker.attempts import LEDGER_VARIABLE, RunningAttempt, WorkError
from taskmaster_worker.output import STDOUT, ProgressNote

DEMO_SHORTEST_MS = 500
DEMO_LONGEST_MS = 800
DEMO_STEPS = 10
MAX_JOB_S = 7 * 24 * 3600

WRONG_USAGE = 2
STOPPED = 143

_USAGE = {
    "demo-job": "demo-job [--ms N] [--fail-rate P] with N from 0 to 604800000 and P from 0 to 1",
    "sleep": "sleep SECONDS with 0 to 604800; the system's own one is /bin/sleep",
    "noop": "noop without arguments",
}


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """A built-in job with its arguments. `duration_ms` None: drawn from the task's id."""

    name: str
    duration_ms: float | None = None
    fail_rate: float = 0.0


def parse_job(command: str) -> JobPlan | None:
    """The built-in job that this command line means, None for a shell command.

    Raises:
        WorkError: it is a built-in job with wrong arguments.
    """
    words = command.split()
    name = words[0] if words else ""
    if name not in _USAGE:
        return None
    try:
        if name == "demo-job":
            return _parse_demo(words[1:])
        if name == "sleep":
            (seconds,) = words[1:]
            return JobPlan(name=name, duration_ms=_number(seconds, MAX_JOB_S) * 1000)
        if words[1:]:
            raise ValueError
    except ValueError:
        raise WorkError(WRONG_USAGE, f"wrong arguments for a built-in job: {_USAGE[name]}") from None
    return JobPlan(name=name, duration_ms=0)


def _parse_demo(words: list[str]) -> JobPlan:
    pairs = " ".join(words).replace("=", " ").split()
    options = dict(zip(pairs[::2], pairs[1::2], strict=True))
    duration = options.pop("--ms", None)
    rate = options.pop("--fail-rate", "0")
    if options:
        raise ValueError
    return JobPlan(
        name="demo-job",
        duration_ms=None if duration is None else _number(duration, MAX_JOB_S * 1000),
        fail_rate=_number(rate, 1),
    )


def _number(text: str, greatest: float) -> float:
    value = float(text)
    if not math.isfinite(value) or not 0 <= value <= greatest:
        raise ValueError
    return value


def demo_duration_ms(task_id: bytes) -> int:
    """500 to 800, always the same for a task."""
    return DEMO_SHORTEST_MS + _draw(task_id + b"ms") % (DEMO_LONGEST_MS - DEMO_SHORTEST_MS + 1)


def demo_fails(task_id: bytes, attempt: int, fail_rate: float) -> bool:
    """Whether this attempt of the task fails, always the same for an attempt."""
    return _draw(task_id + attempt.to_bytes(4, "big")) / 2**64 < fail_rate


def _draw(seed: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")


class JobExecution:
    """One built-in job on timers."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, plan: JobPlan, run: RunningAttempt, worker: str
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._run = run
        self._worker = worker
        self._ledger = run.assign.env.get(LEDGER_VARIABLE, "")
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._step = 0
        duration_ms = plan.duration_ms
        self._duration_s = (
            demo_duration_ms(run.assign.task_id) if duration_ms is None else duration_ms
        ) / 1000

    def start(self) -> None:
        """Raises WorkError when the ledger cannot be written."""
        try:
            self._note("start")
        except OSError as error:
            raise WorkError(1, f"the ledger cannot be written: {error.strerror}") from error
        self._began = self._loop.time()
        if self._plan.name == "demo-job":
            self._next_step()
        else:
            self._timer = self._loop.call_at(self._began + self._duration_s, self._end, 0, "")

    def stop(self, grace_s: float) -> None:
        self._end(STOPPED, "")

    def kill(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def resume(self) -> None:
        """Nothing ever waits for room here."""

    def _next_step(self) -> None:
        # By the clock of the first step, so that late timers do not add up.
        step = self._step
        self._run.progress(ProgressNote(100.0 * step / DEMO_STEPS, ""))
        if step == DEMO_STEPS:
            self._end_demo()
            return
        self._step = step + 1
        self._timer = self._loop.call_at(
            self._began + self._duration_s * self._step / DEMO_STEPS, self._next_step
        )

    def _end_demo(self) -> None:
        assign = self._run.assign
        if demo_fails(assign.task_id, assign.attempt, self._plan.fail_rate):
            self._end(1, f"demo-job failed on purpose (--fail-rate {self._plan.fail_rate:g})")
            return
        self._run.output(STDOUT, f"demo-job done after {self._duration_s * 1000:.0f} ms\n".encode())
        self._end(0, "")

    def _end(self, exit_code: int, reason: str) -> None:
        self.kill()
        try:
            self._note("end")
        except OSError as error:
            exit_code, reason = exit_code or 1, reason or f"the ledger cannot be written: {error.strerror}"
        self._run.ended(exit_code, reason)

    def _note(self, event: str) -> None:
        """One line in one write, so that lines of several workers never mix."""
        if not self._ledger:
            return
        key = self._run.key
        entry = {"event": event, "task": key.task, "attempt": key.attempt, "fence": key.fence}
        entry |= {"worker": self._worker, "at_us": time.time_ns() // 1000}
        fd = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(fd)
