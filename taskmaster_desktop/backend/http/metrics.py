"""Figures for Prometheus. What happens is counted as it is told, on the engine's loop, with a few additions for
each attempt; the rest is read when somebody asks, and nothing is counted by looking at rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from taskmaster_desktop import __version__
from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.http.v1.routing import v1_router
from taskmaster_desktop.backend.model import Outcome, TaskRecord, TaskState, WorkerState
from taskmaster_desktop.backend.ports import Clock

DISPATCH_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
DURATION_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
LIVING = (WorkerState.STARTING, WorkerState.ONLINE, WorkerState.DRAINING)


class Histogram:
    """How often a time fell between two bounds. Written by the loop, read by all."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_us = tuple(round(bound * SECOND_US) for bound in bounds_s)
        self._names = (*(f"{float(bound)}" for bound in bounds_s), "+Inf")
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_us = 0

    def observe(self, time_us: int) -> None:
        self._counts[bisect_left(self._bounds_us, time_us)] += 1
        self._sum_us += time_us

    def metric(self, name: str, text: str) -> HistogramMetricFamily:
        buckets = list(zip(self._names, map(float, accumulate(self._counts)), strict=True))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._sum_us / SECOND_US)


class Metrics(Collector):
    """Counts from its making on; makes its metrics anew for each reader."""

    def __init__(self, api: BackendApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._attempts = dict.fromkeys(Outcome, 0)  # written by the loop, read by all
        self._dispatch = Histogram(DISPATCH_S)
        self._duration = Histogram(DURATION_S)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        api.subscribe(self.hear)

    def hear(self, event: events.Event) -> None:
        if isinstance(event, events.AttemptsEnded):
            for attempt in event.attempts:
                self._attempts[attempt.outcome] += 1
                if attempt.started_us is not None:
                    self._duration.observe(attempt.duration_us)
        elif isinstance(event, events.TasksFinished):
            for task in event.tasks:
                waited_us = _dispatched_after_us(task)
                if waited_us is not None:
                    self._dispatch.observe(waited_us)

    def text(self) -> bytes:
        """In Prometheus' format. Blocks for some milliseconds: for threads."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """The registry asks for it before there is anything to tell."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("taskmaster_build", "The program that answers.", {"version": __version__})
        yield from self._tasks()
        yield from self._attempt_metrics()
        yield from self._fleet()
        commits = CounterMetricFamily("taskmaster_commits", "Group commits of this life of the engine.")
        commits.add_metric((), self._api.changes)
        yield commits
        well = self._api.trouble is None
        yield GaugeMetricFamily("taskmaster_store_writable", "1 while commands can be taken.", float(well))

    def _tasks(self) -> Iterator[Metric]:
        totals = self._api.totals
        tasks = GaugeMetricFamily("taskmaster_tasks", "Tasks in the database by state.", labels=("state",))
        for state in TaskState:
            tasks.add_metric((state.value,), getattr(totals, state.value))
        yield tasks
        yield GaugeMetricFamily(
            "taskmaster_queue_depth", "Tasks that are not given to a worker.", totals.pending
        )
        now_us = self._clock.now().wall_us
        since_us = self._api.query.waiting_since(now_us)
        age_s = 0.0 if since_us is None else max(0, now_us - since_us) / SECOND_US
        yield GaugeMetricFamily(
            "taskmaster_queue_oldest_pending_age_seconds",
            "How long the oldest task has waited that may start; 0 where none waits.",
            age_s,
        )
        yield GaugeMetricFamily("taskmaster_queue_paused", "1 while it is paused.", float(totals.paused))
        yield GaugeMetricFamily(
            "taskmaster_dead_letters",
            "Failed tasks that nobody has discarded.",
            totals.failed - totals.discarded,
        )

    def _attempt_metrics(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "taskmaster_attempts", "Attempts that ended, by outcome.", labels=("outcome",)
        )
        for outcome, count in self._attempts.items():
            attempts.add_metric((outcome.value,), count)
        yield attempts
        late = CounterMetricFamily("taskmaster_late_answers", "Answers of attempts that no longer counted.")
        late.add_metric((), self._api.totals.late_answers)
        yield late
        yield self._dispatch.metric(
            "taskmaster_dispatch_latency_seconds",
            "From the moment a task might start to the start of its first attempt, told when it is finished.",
        )
        yield self._duration.metric(
            "taskmaster_attempt_duration_seconds", "How long commands ran, by the clocks of their workers."
        )

    def _fleet(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily("taskmaster_workers", "Living workers by state.", labels=("state",))
        states = [worker.state for worker in self._api.query.workers(living_only=True)]
        for state in LIVING:
            workers.add_metric((state.value,), states.count(state))
        yield workers
        desired = self._api.totals.desired
        yield GaugeMetricFamily("taskmaster_workers_desired", "How many there should be.", desired)
        beats = list(self._api.usage.values())
        memory = sum(beat.memory_bytes for beat in beats)
        yield GaugeMetricFamily("taskmaster_workers_memory_bytes", "What all workers use.", memory)


def _dispatched_after_us(task: TaskRecord) -> int | None:
    """None where it never started, or not at the first attempt: that one's start is not kept here."""
    if task.attempt != 1 or task.started_us is None:
        return None
    return max(0, task.started_us - max(task.created_us, task.run_at_us or 0))


router = v1_router("metrics")

EXAMPLE = """# HELP taskmaster_tasks Tasks in the database by state.
# TYPE taskmaster_tasks gauge
taskmaster_tasks{state="pending"} 120.0
taskmaster_tasks{state="running"} 3.0
"""


@router.get(
    "/metrics",
    summary="Read the metrics",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}},
        }
    },
)
def read_metrics(request: Request) -> Response:
    """Depth and age of the queue, tasks by state, attempts by outcome, latency of dispatch, duration, workers by
    state, commits, and the engine's own process. Counters begin with the engine.
    """
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})
