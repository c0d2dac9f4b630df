"""The running engine as the scenario sees it: do something, wait for something, remember when.

Main thread, but for the listener, which runs on the engine's thread and only counts and rings.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from taskmaster_desktop.backend.api import BackendApi, Submitted
from taskmaster_desktop.backend.commands import Command, SubmitBatch, Work
from taskmaster_desktop.backend.errors import TaskMasterError
from taskmaster_desktop.backend.events import Event, Logged, TasksFinished
from taskmaster_desktop.backend.model import (
    TaskFilter,
    TaskOptions,
    TaskRecord,
    TaskState,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.ports import Clock
from taskmaster_desktop.demo.report import Mark

LOOK_EVERY_S = 0.05
DRAW_EVERY_S = 0.2
REPLY_LIMIT_S = 30.0
HOPELESS_STARTS = 3
BEFORE_LISTENING = 50
RUNNING = TaskFilter(states=frozenset({TaskState.RUNNING}))


class NotReached(Exception):
    """A step did not come to its end in time; `str()` is one clause for people."""


class Interrupted(TaskMasterError):
    """Somebody pressed Ctrl-C."""


class Stage:
    """
    Args:
        on_look: called now and then while something is waited for; draws.
        wanted_out: whether somebody asked for the end.
        job_env: the environment of every task.
    """

    def __init__(
        self,
        api: BackendApi,
        clock: Clock,
        *,
        on_look: Callable[[], None],
        wanted_out: Callable[[], bool],
        job_env: tuple[tuple[str, str], ...],
    ) -> None:
        self.api = api
        self.clock = clock
        self.acknowledged: list[int] = []
        self.heard_finished: Counter[int] = Counter()  # written by the engine's thread, read after its end
        self.marks: list[Mark] = []
        self._on_look = on_look
        self._wanted_out = wanted_out
        self._options = TaskOptions(env=job_env)
        self._bell = threading.Event()
        self._ever_online = False  # written by the engine's thread, as is the next
        self._lost_starts: dict[str, None] = {}  # as a set that keeps its order

    def listen(self, event: Event) -> None:
        """For `BackendApi.subscribe`."""
        if isinstance(event, TasksFinished):
            self.heard_finished.update(task.number for task in event.tasks)
        elif isinstance(event, Logged) and event.line.kind == "worker_online":
            self._ever_online = True
        elif isinstance(event, Logged) and event.line.kind == "worker_offline" and not self._ever_online:
            self._lost_starts[event.line.message] = None
        self._bell.set()

    def catch_up(self) -> None:
        """Hear of what was logged before there was somebody to listen; what was heard already counts once."""
        for line in self.api.query.events(limit=BEFORE_LISTENING):
            self.listen(Logged(line=line))

    # === doing
    def now_us(self) -> int:
        return self.clock.now().wall_us

    def ask(self, command: Command) -> Any:
        """The answer, once it is durable."""
        return self.api.submit(command).result(REPLY_LIMIT_S)

    def submit(self, count: int) -> Submitted:
        """One batch of demo jobs."""
        answer: Submitted = self.ask(
            SubmitBatch(works=(Work(command="demo-job"),), count=count, options=self._options)
        )
        self.acknowledged += answer.task_numbers
        return answer

    def mark(self, text: str, *, bad: bool = False) -> int:
        """Note a moment for the plots; returns it."""
        now_us = self.now_us()
        self.marks.append(Mark(at_us=now_us, text=text, bad=bad))
        return now_us

    # === waiting
    def until(self, condition: Callable[[], bool], *, limit_s: float, what: str) -> None:
        """Raises NotReached after `limit_s`, Interrupted when somebody wants out."""
        deadline_s = self.clock.now().mono_s + limit_s
        next_draw_s = 0.0
        while not condition():
            if self._wanted_out():
                raise Interrupted("interrupted")
            if len(self._lost_starts) >= HOPELESS_STARTS and not self._ever_online:
                raise NotReached(f"workers do not start ({[*self._lost_starts][-1].rstrip('.')})")
            now_s = self.clock.now().mono_s
            if now_s > deadline_s:
                raise NotReached(f"{what} was not reached within {limit_s:g} s")
            if now_s >= next_draw_s:
                next_draw_s = now_s + DRAW_EVERY_S
                self._on_look()
            self._bell.wait(LOOK_EVERY_S)
            self._bell.clear()
        self._on_look()

    def until_done(self, batch: Submitted, *, limit_s: float) -> None:
        """Until every task of the batch has ended."""
        done = self.api.wait_batch(batch.batch.number)
        self.until(done.done, limit_s=limit_s, what=f"the end of batch {batch.batch.number}")

    # === looking
    def workers(self) -> list[WorkerRecord]:
        """All that ever were."""
        return list(self.api.query.workers(living_only=False))

    def online(self) -> list[WorkerRecord]:
        return [worker for worker in self.workers() if worker.state is WorkerState.ONLINE]

    def running(self) -> list[TaskRecord]:
        page = self.api.query.tasks(RUNNING, after=None, limit=100, newest_first=False)
        return list(page.tasks)

    def wait_online(self, count: int, *, limit_s: float) -> None:
        """Until exactly so many are online and nobody is on the way out."""
        self.until(
            lambda: len(self.online()) == count and len(self.api.query.workers(living_only=True)) == count,
            limit_s=limit_s,
            what=f"a fleet of {count} worker(s)",
        )
