"""From moments and evidence to the seven steps of the report and its figures; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from taskmaster_desktop.demo.evidence import Evidence
from taskmaster_desktop.demo.measures import (
    Phase,
    StoredWorker,
    balance,
    batch_phase,
    longest_idle_us,
    most_at_once,
    single_phase,
)
from taskmaster_desktop.demo.report import Figure, Step
from taskmaster_desktop.demo.scenario import STEP_NAMES, Moments, seconds


class Results:
    """Reads everything off once; `disk_ms` is what one durable commit costs on this disk."""

    def __init__(self, moments: Moments, evidence: Evidence, *, disk_ms: float) -> None:
        self._moments = moments
        self._evidence = evidence
        self._disk_ms = disk_ms
        self._workers = {worker.number: worker for worker in evidence.workers}
        self.phases = self._phases()

    # === phases
    def _phases(self) -> dict[int, Phase]:
        moments, attempts = self._moments, self._evidence.attempts
        phases: dict[int, Phase] = {}
        if moments.first is not None:
            phases[3] = batch_phase(attempts, moments.first.task_numbers, moments.first.batch.created_us, 3)
        if moments.scale_5_us:
            left_us = max((w.offline_us or 0 for w in self._gone_by_scale_down()), default=0)
            alone = [
                w for w in self._first_three() if w.offline_us is None or w.offline_us > moments.scale_5_us
            ]
            if len(alone) == 1:
                phases[1] = single_phase(attempts, alone[0].number, left_us, moments.scale_5_us)
        if moments.second is not None:
            phases[5] = batch_phase(attempts, moments.second.task_numbers, moments.second.batch.created_us, 5)
        return phases

    def _first_three(self) -> list[StoredWorker]:
        return [self._workers[number] for number in sorted(self._workers)[:3]]

    def _gone_by_scale_down(self) -> list[StoredWorker]:
        moments = self._moments
        return [
            worker
            for worker in self._first_three()
            if worker.offline_us is not None and worker.offline_us <= moments.scale_5_us
        ]

    # === figures
    @property
    def balance(self) -> dict[str, int]:
        moments = self._moments
        if moments.first is None:
            return {}
        counts = balance(self._evidence.attempts, moments.first.task_numbers)
        return {self._workers[number].name: count for number, count in counts.items()}

    def figures(self) -> dict[str, float | int | None]:
        tasks, attempts = self._evidence.tasks, self._evidence.attempts
        ended = {task.number for task in tasks if task.state == "completed"}
        completions = Counter(attempt.task for attempt in attempts if attempt.outcome == "completed")
        ends = Counter((line.task, line.fence) for line in self._evidence.ledger if line.event == "end")
        twice = {task for task, count in completions.items() if count > 1}
        twice |= {task for (task, _), count in ends.items() if count > 1}
        return {
            "ready_s": self._ready_s(3, self._moments.born_us),
            "batch_50_ms": self._moments.batch_50_us / 1000 if self._moments.first else None,
            "efficiency_1": self._efficiency(1),
            "efficiency_3": self._efficiency(3),
            "efficiency_5": self._efficiency(5),
            "recovery_s": self._recovery_s(),
            "lost_tasks": len(set(self._evidence.acknowledged) - ended),
            "lost_attempts": sum(attempt.outcome == "lost" for attempt in attempts),
            "double_completed": len(twice),
            "reassigned": sum(task.attempt > 1 for task in tasks),
        }

    def _efficiency(self, workers: int) -> float | None:
        phase = self.phases.get(workers)
        return phase.efficiency if phase is not None and phase.durations else None

    def _recovery_s(self) -> float | None:
        """From the order to kill to the next start of the task."""
        for killed in self._evidence.killed:
            starts = [
                attempt.started_us
                for attempt in self._evidence.attempts_of(killed.task)
                if attempt.fence > killed.fence and attempt.started_us is not None
            ]
            if starts:
                return seconds(min(starts) - self._moments.kill_us)
        return None

    def _ready_s(self, count: int, since_us: int) -> float | None:
        """Until the `count`-th of the workers started since then was online."""
        online = sorted(
            worker.online_us
            for worker in self._workers.values()
            if worker.started_us >= since_us and worker.online_us is not None
        )
        return seconds(online[count - 1] - since_us) if since_us and len(online) >= count else None

    # === steps
    def steps(self) -> tuple[Step, ...]:
        made = (self._start, self._create, self._watch, self._one, self._five, self._kill, self._whole)
        return tuple(make(self._problem(number)) for number, make in enumerate(made, start=1))

    def _problem(self, number: int) -> str:
        reached = self._moments.reached
        if number <= reached:
            return ""
        return self._moments.problem if number == reached + 1 else "not reached"

    def _start(self, problem: str) -> Step:
        return _step(
            1, "3 workers online after", _s(self._ready_s(3, self._moments.born_us)), 10.0,
            _s(self._ready_s(1, self._moments.born_us)), "the quickest of the three", problem=problem,
        )  # fmt: skip

    def _create(self, problem: str) -> Step:
        measured = self._moments.batch_50_us / 1000 if self._moments.first else None
        return _step(
            2, "batch of 50 answered, on disk, after", Figure(value=measured, unit="ms"), 200.0,
            Figure(value=self._disk_ms, unit="ms"), "one durable commit on this disk", problem=problem,
        )  # fmt: skip

    def _watch(self, problem: str) -> Step:
        phase, moments = self.phases.get(3), self._moments
        details: list[tuple[str, str]] = []
        if phase is not None and moments.first is not None:
            attempts, batch = self._evidence.attempts, moments.first.task_numbers
            at_once = most_at_once(attempts, batch)
            if at_once > 1:
                problem = problem or f"one worker ran {at_once} tasks at once"
            idle_ms = longest_idle_us(attempts, batch, [w.number for w in self._first_three()]) / 1000
            details = [
                ("longest wait of a free worker", f"{idle_ms:.1f} ms"),
                ("throughput on 3 workers", _rate(phase, 1.5)),
                ("tasks of each worker", ", ".join(f"{n} {c}" for n, c in self.balance.items())),
            ]
        return _step(
            3, "50 tasks done on 3 workers in", _s(_makespan(phase)), 30.0, _s(_ideal(phase)),
            "perfect list scheduling of the measured durations", details, problem,
        )  # fmt: skip

    def _one(self, problem: str) -> Step:
        moments, phase = self._moments, self.phases.get(1)
        gone = self._gone_by_scale_down()
        measured = ideal = None
        if moments.scale_1_us and len(gone) == 2:
            measured = seconds(max(w.offline_us or 0 for w in gone) - moments.scale_1_us)
            ends = [
                a.finished_us
                for a in self._evidence.attempts
                if a.worker in {w.number for w in gone} and a.finished_us >= moments.scale_1_us
            ]
            ideal = seconds(max(ends, default=moments.scale_1_us) - moments.scale_1_us)
        details = [("tasks waiting after it", str(moments.queue_after_scale))]
        if phase is not None:
            details.append(("throughput on 1 worker", _rate(phase, 0.5)))
        return _step(
            4, "the other two finished and left in", _s(measured), 5.0, _s(ideal),
            "the end of what they were running", details, problem,
        )  # fmt: skip

    def _five(self, problem: str) -> Step:
        moments, phase = self._moments, self.phases.get(5)
        details = []
        if phase is not None:
            details.append(("throughput on 5 workers", _rate(phase, 2.5)))
            single = self.phases.get(1)
            if single is not None and single.per_s:
                details.append(("against one worker", f"{phase.per_s / single.per_s:.2f} times as much"))
        return _step(
            5, "5 workers online after", _s(self._ready_s(4, moments.scale_5_us)), 5.0,
            _s(self._ready_s(1, moments.scale_5_us)), "the quickest of the four new ones", details, problem,
        )  # fmt: skip

    def _kill(self, problem: str) -> Step:
        moments = self._moments
        details = []
        ideal = None
        if self._evidence.killed and moments.last is not None:
            killed = self._evidence.killed[0]
            worker = self._workers[killed.worker]
            others = [number for number in self._workers if number != killed.worker]
            idle_us = longest_idle_us(self._evidence.attempts, moments.last.task_numbers, others)
            if worker.offline_us is not None:
                seen_ms = (worker.offline_us - moments.kill_us) / 1000
                details.append(("confirmed dead, commands and all, after", f"{seen_ms:.0f} ms"))
                free = [
                    a.finished_us
                    for a in self._evidence.attempts
                    if a.worker in others and a.finished_us >= worker.offline_us
                ]
                ideal = seconds(max(min(free, default=0), worker.offline_us) - moments.kill_us)
            details.append((f"task #{killed.task} completed by", self._finisher(killed.task)))
            details.append(("longest pause of the other four", f"{idle_us / 1000:.1f} ms"))
        return _step(
            6, "its task runs on another worker after", _s(self._recovery_s()), 1.0, _s(ideal),
            "the next free slot after the confirmed death", details, problem,
        )  # fmt: skip

    def _finisher(self, task: int) -> str:
        for attempt in self._evidence.attempts_of(task):
            if attempt.outcome == "completed":
                return f"{self._workers[attempt.worker].name} in attempt {attempt.attempt}"
        return "nobody"

    def _whole(self, problem: str) -> Step:
        measured = self._ready_s(1, self._moments.scale_5_again_us)
        quickest = [
            seconds(w.online_us - w.started_us) for w in self._workers.values() if w.online_us is not None
        ]
        return _step(
            7, "the fleet is whole again after", _s(measured), 5.0, _s(min(quickest, default=None)),
            "the quickest start of any worker here", problem=problem,
        )  # fmt: skip


def _step(
    number: int,
    what: str,
    measured: Figure,
    promised: float,
    ideal: Figure,
    ideal_is: str,
    details: Sequence[tuple[str, str]] = (),
    problem: str = "",
) -> Step:
    return Step(
        name=f"{number}. {STEP_NAMES[number - 1]}",
        what=what,
        measured=measured,
        promised=Figure(value=promised, unit=measured.unit),
        ideal=ideal,
        ideal_is=ideal_is,
        details=tuple(details),
        problem=problem,
    )


def _s(value: float | None) -> Figure:
    return Figure(value=value, unit="s")


def _makespan(phase: Phase | None) -> float | None:
    return seconds(phase.makespan_us) if phase is not None and phase.durations else None


def _ideal(phase: Phase | None) -> float | None:
    return seconds(phase.ideal_us) if phase is not None and phase.durations else None


def _rate(phase: Phase, promised: float) -> str:
    return f"{phase.per_s:.2f}/s (promised {promised:g}/s, ideal {phase.ideal_per_s:.2f}/s)"
