"""What Prometheus reads: names, types and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.core.stimuli import Heartbeat
from taskmaster_desktop.backend.http.metrics import Histogram, Metrics
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    Outcome,
    TaskState,
    Totals,
    WorkerState,
)
from tests.helpers.http_v1 import task_row
from tests.helpers.store_rows import NOW_US, worker

SECOND = 1_000_000


class Api:
    """As much of an engine as the metrics look at."""

    totals = Totals(
        desired=3, paused=True, pending=12, running=2, completed=7, failed=4, discarded=1, late_answers=6
    )
    changes = 99
    trouble: str | None = None

    def __init__(self) -> None:
        self.usage = {1: Heartbeat(1, 0, 1000, 0, 0, 0), 2: Heartbeat(1, 0, 500, 0, 0, 0)}
        self.query = self
        self.hear: events.Listener = lambda event: None

    def subscribe(self, listener: events.Listener) -> Callable[[], None]:
        self.hear = listener
        return lambda: None

    def waiting_since(self, now_us: int) -> int | None:
        return now_us - 5 * SECOND

    def workers(self, *, living_only: bool) -> Any:
        assert living_only
        return [worker(1), worker(2), worker(3, WorkerState.DRAINING)]


class StandingClock:
    def now(self) -> Moment:
        return Moment(NOW_US, 0.0)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def metrics(api: Api) -> Metrics:
    return Metrics(cast(BackendApi, api), StandingClock())


def read(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name with labels."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def attempt(outcome: Outcome, *, started: bool = True, duration_us: int = SECOND) -> AttemptRecord:
    begun = NOW_US if started else None
    return AttemptRecord(1, 1, 1, 1, NOW_US, begun, NOW_US, duration_us, outcome, None, "", 0)


def test_what_is_read_when_asked(api: Api, metrics: Metrics) -> None:
    found = read(metrics)
    assert found["taskmaster_tasks{state=pending}"] == 12
    assert found["taskmaster_tasks{state=cancelled}"] == 0
    assert found["taskmaster_queue_depth"] == 12
    assert found["taskmaster_queue_oldest_pending_age_seconds"] == 5
    assert found["taskmaster_queue_paused"] == 1
    assert found["taskmaster_dead_letters"] == 3
    assert found["taskmaster_workers{state=online}"] == 2
    assert found["taskmaster_workers{state=draining}"] == 1
    assert found["taskmaster_workers_desired"] == 3
    assert found["taskmaster_workers_memory_bytes"] == 1500
    assert found["taskmaster_commits_total"] == 99
    assert found["taskmaster_late_answers_total"] == 6
    assert found["taskmaster_store_writable"] == 1
    api.trouble = "The disk is full."
    assert read(metrics)["taskmaster_store_writable"] == 0
    assert "process_resident_memory_bytes" in found


def test_attempts_by_outcome(api: Api, metrics: Metrics) -> None:
    outcomes = [Outcome.COMPLETED, Outcome.COMPLETED, Outcome.FAILED, Outcome.LOST]
    api.hear(events.AttemptsEnded(attempts=tuple(attempt(one) for one in outcomes)))
    api.hear(events.AttemptsEnded(attempts=(attempt(Outcome.RECALLED, started=False),)))
    found = read(metrics)
    assert found["taskmaster_attempts_total{outcome=completed}"] == 2
    assert found["taskmaster_attempts_total{outcome=failed}"] == 1
    assert found["taskmaster_attempts_total{outcome=recalled}"] == 1
    assert found["taskmaster_attempts_total{outcome=timeout}"] == 0
    assert found["taskmaster_attempt_duration_seconds_count"] == 4  # one never ran
    assert found["taskmaster_attempt_duration_seconds_sum"] == 4


def test_dispatch_latency_begins_when_a_task_may_start(api: Api, metrics: Metrics) -> None:
    tasks = (
        task_row(started_us=NOW_US + 20_000),
        task_row(started_us=NOW_US + 90_030_000, run_at_us=NOW_US + 90_000_000),
        task_row(started_us=None, state=TaskState.CANCELLED),
        task_row(started_us=NOW_US + SECOND, attempt=2),
    )
    api.hear(events.TasksFinished(tasks=tasks))
    found = read(metrics)
    assert found["taskmaster_dispatch_latency_seconds_count"] == 2
    assert found["taskmaster_dispatch_latency_seconds_sum"] == pytest.approx(0.05)
    assert found["taskmaster_dispatch_latency_seconds_bucket{le=0.025}"] == 1
    assert found["taskmaster_dispatch_latency_seconds_bucket{le=0.05}"] == 2


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    histogram = Histogram((0.1, 1))
    for time_us in (0, 100_000, 100_001, 1_000_000, 2_000_000):
        histogram.observe(time_us)
    buckets = {s.labels["le"]: s.value for s in histogram.metric("x", "y").samples if s.name == "x_bucket"}
    assert buckets == {"0.1": 2, "1.0": 4, "+Inf": 5}
