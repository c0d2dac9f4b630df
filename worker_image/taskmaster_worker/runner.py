"""Runs one command in a process group of its own, inside the agent's session.

Owns the process and its two pipes. All on one asyncio loop: the pipes and the end of the process are events
of the loop. asyncio's own subprocesses are not used, since they cost a thread and a transport per child.

A command is over when its main process has ended and its pipes are closed. A background child that still
holds a pipe gets half a second; then whatever is left of the process group is killed, in every case, so
that nothing of an attempt runs beside the next one. On timeout and cancel the whole group gets TERM, then its
grace, then KILL. A process that calls `setsid` or changes its group escapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from taskmaster_worker.attempts import RunningAttempt, WorkError
from taskmaster_worker.exits import ExitWatch
from taskmaster_worker.folders import TempFolders
from taskmaster_worker.output import CHUNK_BYTES, STDERR, STDOUT, ProgressFilter
from taskmaster_worker.usage import OomCounter, group_is_alive

PIPE_GRACE_S = 0.5
GROUP_POLL_S = 0.05
# At most this much is read from a pipe after the end; no pipe holds more.
MAX_PIPE_BYTES = 1 << 20

CANNOT_EXECUTE = 126
NOT_FOUND = 127


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all commands of one agent share."""

    loop: asyncio.AbstractEventLoop
    exits: ExitWatch
    oom: OomCounter
    folders: TempFolders
    dev_null: int


@dataclass(frozen=True, kw_only=True)
class CommandPlan:
    """What to execute. `temp_folder` is borrowed and given back afterwards."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    temp_folder: str | None


class CommandExecution:
    """One process group, from its start to the end of its last process."""

    def __init__(self, shop: Workshop, plan: CommandPlan, run: RunningAttempt) -> None:
        self._shop = shop
        self._plan = plan
        self._run = run
        self._filter = ProgressFilter()
        self._pipes: dict[int, int] = {}
        self._oom_before = 0
        self._paused = False
        self._main_ended = False
        self._stopping = False
        self._killed = False
        self._over = False
        self._kill_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._child: subprocess.Popen[bytes]

    # ------------------------------------------------------------------ Execution

    def start(self) -> None:
        """Raises WorkError with a sentence when the command cannot be executed."""
        self._oom_before = self._shop.oom.read()
        try:
            self._spawn()
            self._shop.exits.watch(self._child, self._main_has_ended)
        except (OSError, ValueError) as error:
            self._abandon()
            raise _explain(error, self._plan) from error
        for stream, fd in self._pipes.items():
            self._shop.loop.add_reader(fd, self._readable, stream)

    def stop(self, grace_s: float) -> None:
        if self._over or self._stopping:
            return
        self._stopping = True
        self._signal(signal.SIGTERM)
        self._kill_timer = self._shop.loop.call_later(grace_s, self._grace_over)

    def kill(self) -> None:
        if not self._over:
            self._killed = True
            self._signal(signal.SIGKILL)

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            for stream, fd in self._pipes.items():
                self._shop.loop.add_reader(fd, self._readable, stream)

    # ------------------------------------------------------------------ starting

    def _spawn(self) -> None:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self._pipes = {STDOUT: out_read, STDERR: err_read}
        try:
            os.set_blocking(out_read, False)
            os.set_blocking(err_read, False)
            # Our own session goes on: the runtime confirms a worker's death by its session.
            self._child = subprocess.Popen(
                self._plan.argv,
                stdin=self._shop.dev_null,
                stdout=out_write,
                stderr=err_write,
                cwd=self._plan.cwd,
                env=self._plan.env,
                process_group=0,
            )
        finally:
            os.close(out_write)
            os.close(err_write)

    def _abandon(self) -> None:
        """It was not started, or cannot be watched."""
        self._over = True
        if hasattr(self, "_child"):
            self._signal(signal.SIGKILL)
            self._child.wait()
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes.clear()
        self._give_back_folder()

    # ------------------------------------------------------------------ output

    def _readable(self, stream: int) -> None:
        try:
            data = os.read(self._pipes[stream], CHUNK_BYTES)
        except BlockingIOError:
            return
        if data:
            if not self._deliver(stream, data):
                self._pause()
        else:
            self._close_pipe(stream)
            self._settle()

    def _deliver(self, stream: int, data: bytes) -> bool:
        """False when there is no room for more."""
        if stream == STDOUT:
            data = self._filter.feed(data)
            note = self._filter.newest
            if note is not None:
                self._filter.newest = None
                self._run.progress(note)
        return self._run.output(stream, data) if data else True

    def _pause(self) -> None:
        self._paused = True
        for fd in self._pipes.values():
            self._shop.loop.remove_reader(fd)

    def _close_pipe(self, stream: int) -> None:
        fd = self._pipes.pop(stream)
        self._shop.loop.remove_reader(fd)
        os.close(fd)

    def _empty_pipes(self) -> None:
        """Reads what is in the pipes now, room or not; closes those that have ended."""
        for stream, fd in list(self._pipes.items()):
            left = MAX_PIPE_BYTES
            while left > 0:
                try:
                    data = os.read(fd, CHUNK_BYTES)
                except BlockingIOError:
                    break
                if not data:
                    self._close_pipe(stream)
                    break
                self._deliver(stream, data)
                left -= len(data)

    # ------------------------------------------------------------------ ending

    def _main_has_ended(self) -> None:
        self._main_ended = True
        self._empty_pipes()
        if self._pipes and not (self._stopping and not self._killed):
            self._end_timer = self._shop.loop.call_later(PIPE_GRACE_S, self._end)
        self._settle()

    def _settle(self) -> None:
        """Ends it when nothing of it can be expected any more."""
        if not self._main_ended or self._pipes or self._over:
            return
        if self._stopping and not self._killed and group_is_alive(self._child.pid):
            # The main process went at once, but others of the group may be using their grace.
            self._end_timer = self._shop.loop.call_later(GROUP_POLL_S, self._settle)
            return
        self._end()

    def _grace_over(self) -> None:
        self.kill()
        if self._main_ended:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        # The main process is still a zombie, so the number of the group cannot mean anybody else.
        self._signal(signal.SIGKILL)
        self._over = True
        code = self._child.poll()
        self._empty_pipes()
        for stream in list(self._pipes):
            self._close_pipe(stream)
        rest = self._filter.close()
        if self._filter.newest is not None:
            self._run.progress(self._filter.newest)
        if rest:
            self._run.output(STDOUT, rest)
        for timer in (self._kill_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self._give_back_folder()
        self._report(code if code is not None else 0)

    def _report(self, code: int) -> None:
        # A shell whose command is killed by a signal ends with 128 and its number.
        by_kill = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if by_kill and not self._killed and self._shop.oom.read() > self._oom_before:
            self._run.ended(128 + signal.SIGKILL, "killed because memory ran out", out_of_memory=True)
        elif code >= 0:
            self._run.ended(code, f"exit code {code}" if code else "")
        else:
            self._run.ended(128 - code, f"ended by signal {_signal_name(-code)}")

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _give_back_folder(self) -> None:
        if self._plan.temp_folder is not None:
            self._shop.folders.give_back(self._plan.temp_folder)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _explain(error: OSError | ValueError, plan: CommandPlan) -> WorkError:
    """The sentence and the exit code a shell would give."""
    program = plan.argv[0]
    if isinstance(error, ValueError):
        return WorkError(CANNOT_EXECUTE, f"the command cannot be executed: {error}")
    why = (error.strerror or str(error)).lower()
    code = NOT_FOUND if error.errno == errno.ENOENT else CANNOT_EXECUTE
    if error.filename == plan.cwd and not (error.filename == program and Path(plan.cwd).is_dir()):
        return WorkError(code, f"the folder {plan.cwd} cannot be entered by this worker: {why}")
    if error.errno == errno.ENOENT:
        return WorkError(code, f"the program {program} was not found by this worker")
    return WorkError(code, f"the program {program} cannot be executed by this worker: {why}")
