"""The seven steps, in order. Each does its part, waits for what it promises, and leaves its moments behind.

Self-heal is off, so that a killed worker stays away until step 7 asks for it. Main thread.

The phases that efficiency is taken from: the 50 tasks of step 2 on three idle workers (step 3); what one
worker did alone after step 4; a batch of 50 on five idle workers (step 5). Each is undisturbed by the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.commands import KillWorkerNow, ScaleFleet
from taskmaster_desktop.backend.model import Outcome, TaskRecord
from taskmaster_desktop.demo.evidence import Killed
from taskmaster_desktop.demo.stage import NotReached, Stage

FIRST_BATCH = 50
BACKLOG = 32
ALONE_TASKS = 11
SECOND_BATCH = 50
LAST_BATCH = 24
KILL_TRIES = 3
YOUNG_US, OLD_US = 200_000, 400_000
"""How long a task must have been running, at least and at most, to be killed in its middle."""


@dataclass(slots=True, kw_only=True)
class Moments:
    """What the steps leave behind for the report; microseconds UTC. 0 or None where a step was not reached."""

    born_us: int = 0
    batch_50_us: int = 0
    first: Submitted | None = None
    backlog: Submitted | None = None
    scale_1_us: int = 0
    queue_after_scale: int = 0
    scale_5_us: int = 0
    second: Submitted | None = None
    last: Submitted | None = None
    kill_us: int = 0
    scale_5_again_us: int = 0
    killed: list[Killed] = field(default_factory=list)
    replayed: int = 0
    reached: int = 0
    problem: str = ""


class Replay(Protocol):
    def __call__(self, task: int, fence: int, at_us: int) -> None: ...


STEP_NAMES = (
    "Start 3 workers",
    "Create 50 tasks",
    "Watch them run",
    "Scale to 1",
    "Scale to 5",
    "Kill a worker in mid-task",
    "Scale to 5 again",
)


class Scenario:
    """
    Args:
        born_us: when the engine began to start.
        replay: sends a stale answer.
        on_step: told the number (from 1) of each step as it begins.
    """

    def __init__(self, stage: Stage, *, born_us: int, replay: Replay, on_step: Callable[[int], None]) -> None:
        self.moments = Moments(born_us=born_us)
        self._stage = stage
        self._replay = replay
        self._on_step = on_step

    def play(self) -> Moments:
        """All steps; stops at the first that is not reached and says so in `problem`."""
        steps = (self._start, self._create, self._watch, self._one, self._five, self._kill, self._whole)
        for number, step in enumerate(steps, start=1):
            self._on_step(number)
            try:
                step()
            except NotReached as reason:
                self.moments.problem = str(reason)
                break
            self.moments.reached = number
        return self.moments

    def _start(self) -> None:
        self._stage.wait_online(3, limit_s=30)
        self._stage.mark("3 online")

    def _create(self) -> None:
        before_us = self._stage.now_us()
        self.moments.first = self._stage.submit(FIRST_BATCH)
        self.moments.batch_50_us = self._stage.now_us() - before_us

    def _watch(self) -> None:
        assert self.moments.first is not None
        self._stage.until_done(self.moments.first, limit_s=90)

    def _one(self) -> None:
        stage, moments = self._stage, self.moments
        moments.backlog = stage.submit(BACKLOG)
        stage.until(lambda: len(stage.running()) == 3, limit_s=10, what="three running tasks")
        moments.scale_1_us = stage.mark("scale 3 → 1")
        stage.ask(ScaleFleet(workers=1))
        stage.wait_online(1, limit_s=30)
        moments.queue_after_scale = stage.api.totals.pending
        wanted = min(FIRST_BATCH + BACKLOG, stage.api.totals.completed + ALONE_TASKS)
        stage.until(
            lambda: stage.api.totals.completed >= wanted,
            limit_s=60,
            what=f"{ALONE_TASKS} tasks on one worker",
        )

    def _five(self) -> None:
        stage, moments = self._stage, self.moments
        moments.scale_5_us = stage.mark("scale 1 → 5")
        stage.ask(ScaleFleet(workers=5))
        stage.wait_online(5, limit_s=30)
        assert moments.backlog is not None
        stage.until_done(moments.backlog, limit_s=60)
        moments.second = stage.submit(SECOND_BATCH)
        stage.until_done(moments.second, limit_s=60)

    def _kill(self) -> None:
        stage, moments = self._stage, self.moments
        moments.last = stage.submit(LAST_BATCH)
        for _ in range(KILL_TRIES):
            victim = self._choose_victim()
            assert victim.worker is not None
            name = next(worker.name for worker in stage.workers() if worker.number == victim.worker)
            moments.kill_us = stage.mark(f"kill {name}", bad=True)
            stage.ask(KillWorkerNow(worker=victim.worker))
            stage.until(partial(self._is_gone, victim.worker), limit_s=15, what=f"the end of {name}")
            if self._was_lost(victim):
                moments.killed.append(Killed(victim.number, victim.attempt, victim.fence, victim.worker))
                break  # else it was faster than the kill: another one
        else:
            raise NotReached("a task that was killed in its middle")
        self._replay(victim.number, victim.fence, stage.now_us())
        moments.replayed += 1
        stage.until(
            lambda: self._runs_again(victim), limit_s=30, what=f"the next start of task #{victim.number}"
        )

    def _choose_victim(self) -> TaskRecord:
        """A task that has been running for a little while, on a fully busy fleet."""
        stage = self._stage
        found: list[TaskRecord] = []

        def look() -> bool:
            running, now_us = stage.running(), stage.now_us()
            found[:] = [
                task for task in running
                if task.started_us is not None and YOUNG_US <= now_us - task.started_us <= OLD_US
            ]  # fmt: skip
            return bool(found) and len(running) == len(stage.online())

        stage.until(look, limit_s=20, what="a busy fleet")
        return max(found, key=lambda task: task.number)

    def _is_gone(self, number: int) -> bool:
        return any(w.number == number and w.offline_us is not None for w in self._stage.workers())

    def _was_lost(self, victim: TaskRecord) -> bool:
        attempts = self._stage.api.query.attempts(victim.number)
        return any(a.fence == victim.fence and a.outcome is Outcome.LOST for a in attempts)

    def _runs_again(self, victim: TaskRecord) -> bool:
        task = self._stage.api.query.task(victim.number)
        return task is not None and task.attempt > victim.attempt and task.started_us is not None

    def _whole(self) -> None:
        stage, moments = self._stage, self.moments
        moments.scale_5_again_us = stage.mark("scale 4 → 5")
        stage.ask(ScaleFleet(workers=5))
        stage.wait_online(5, limit_s=30)
        assert moments.last is not None
        stage.until_done(moments.last, limit_s=60)


def seconds(microseconds: int) -> float:
    return microseconds / SECOND_US
