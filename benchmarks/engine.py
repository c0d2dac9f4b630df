"""Throughput, latency, backlog and recovery of the engine with three workers of one slot. Headless."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.harness import (
    LIMIT_S,
    NOOP,
    ended_or_again,
    engine,
    fresh_running,
    submit,
    until,
    wait_all,
    warm_up,
)
from benchmarks.report import Figures, percentile
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import PauseQueue, Work

NOOP_TASKS = 60_000
SINGLE_TASKS = 4_000
CALLERS = 16
CALLER_TASKS = 8_000
COMMANDS = 4_000
DISPATCHES = 500
IDLE_ROUNDS = 12
IDLE_S = 10.0
BACKLOG = 1_000_000
SMALL_BACKLOG = 1_000
SMALL_ROUNDS = 10
LARGE_SLICE = 10_000
DRAIN_ROUNDS = 12
KILLS = 20

clock = SystemClock()


def throughput(figures: Figures) -> None:
    """First submit to last completion on disk."""
    with engine() as api:
        warm_up(api)
        began = time.perf_counter()
        wait_all(api, [submit(api, NOOP, 1000) for _ in range(NOOP_TASKS // 1000)])
        figures.add(
            "noop_batch_per_s", NOOP_TASKS / (time.perf_counter() - began), unit="tasks/s", aim=">= 6000"
        )
        began = time.perf_counter()
        futures = []
        for _ in range(SINGLE_TASKS):
            futures.append(submit(api, NOOP))
            futures[-1].result(LIMIT_S)
        wait_all(api, futures)
        figures.add(
            "noop_single_per_s", SINGLE_TASKS / (time.perf_counter() - began), unit="tasks/s", aim=">= 1000"
        )
        figures.add("noop_callers16_per_s", _by_callers(api), unit="tasks/s", aim=">= 2500")
        began = time.perf_counter()
        wait_all(api, [submit(api, Work(argv=("/bin/true",)), COMMANDS)])
        figures.add("command_per_s", COMMANDS / (time.perf_counter() - began), unit="tasks/s", aim=">= 900")


def _by_callers(api: BackendApi) -> float:
    def caller() -> None:
        for _ in range(CALLER_TASKS // CALLERS):
            submit(api, NOOP).result(LIMIT_S)

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    before = api.totals.completed
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: api.totals.completed - before >= CALLER_TASKS)
    return CALLER_TASKS / (time.perf_counter() - began)


def dispatch(figures: Figures) -> None:
    """From the submit call to the body of the task, by the same machine's clock; nothing else to do."""
    with engine() as api:
        warm_up(api)
        delays = [_dispatch_ms(api) for _ in range(DISPATCHES)]
        figures.add("dispatch_p50_ms", percentile(delays, 0.5), unit="ms", aim="<= 3")
        figures.add("dispatch_p99_ms", percentile(delays, 0.99), unit="ms", aim="<= 8")
        idle = []
        for _ in range(IDLE_ROUNDS):
            time.sleep(IDLE_S)
            idle.append(_dispatch_ms(api))
        figures.add("dispatch_idle_p99_ms", percentile(idle, 0.99), unit="ms", aim="<= 8")


def _dispatch_ms(api: BackendApi) -> float:
    called_us = clock.now().wall_us
    submitted = submit(api, NOOP).result(LIMIT_S)
    api.wait_batch(submitted.batch.number).result(LIMIT_S)
    task = api.query.task(submitted.batch.first_task)
    assert task is not None
    assert task.started_us is not None
    return (task.started_us - called_us) / 1000


def backlog(figures: Figures) -> None:
    """A million tasks waiting must neither slow the engine down nor fill its memory.

    The small backlog is drained by an engine in a process of its own, in turn with the large one, because
    the machine's speed varies by more than what is looked for.
    """
    with engine() as api, _small_engine() as small_rate:
        warm_up(api)
        gc.collect()
        empty_mib = _rss_mib()
        api.submit(PauseQueue(paused=True)).result(LIMIT_S)
        began = time.perf_counter()
        for _ in range(BACKLOG // 10_000):
            submit(api, NOOP, 10_000).result(LIMIT_S)
        figures.add("backlog_1m_enqueue_s", time.perf_counter() - began, unit="s", aim="<= 60")
        full_mib = _rss_mib()
        small, large = [], []
        for _ in range(DRAIN_ROUNDS):
            small.append(small_rate())
            large.append(_drain_rate(api, LARGE_SLICE))
            api.submit(PauseQueue(paused=True)).result(LIMIT_S)
        full_mib = max(full_mib, _rss_mib())
    ratios = [big / little for big, little in zip(large, small, strict=True)]
    figures.add("backlog_drain_per_s", percentile(large, 0.5), unit="tasks/s")
    figures.add("backlog_small_drain_per_s", percentile(small, 0.5), unit="tasks/s")
    figures.add("backlog_ratio", percentile(ratios, 0.5), unit="", aim=">= 0.9")
    figures.add("backlog_rss_mib", full_mib - empty_mib, unit="MiB", aim="<= 60")


@contextmanager
def _small_engine() -> Iterator[Callable[[], float]]:
    """An engine in another process; each call tells the median rate at which it drained small backlogs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drain_small, args=(theirs,))
    process.start()

    def rate() -> float:
        ours.send(True)
        return float(ours.recv())

    try:
        yield rate
    finally:
        ours.send(False)
        process.join()


def _drain_small(orders: Connection) -> None:
    with engine() as api:
        warm_up(api)
        while orders.recv():
            rates = []
            for _ in range(SMALL_ROUNDS):
                api.submit(PauseQueue(paused=True)).result(LIMIT_S)
                submit(api, NOOP, SMALL_BACKLOG).result(LIMIT_S)
                rates.append(_drain_rate(api, SMALL_BACKLOG))
            orders.send(percentile(rates, 0.5))


def _drain_rate(api: BackendApi, count: int) -> float:
    before = api.totals.completed
    began = time.perf_counter()
    api.submit(PauseQueue(paused=False)).result(LIMIT_S)
    until(lambda: api.totals.completed - before >= count, LIMIT_S)
    return (api.totals.completed - before) / (time.perf_counter() - began)


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def recovery(figures: Figures) -> None:
    """SIGKILL of a worker in mid-task to the next start of that task, while the others are busy too."""
    with engine() as api:
        submit(api, Work(command="demo-job"), 1000).result(LIMIT_S)
        delays = [_kill_one(api) for _ in range(KILLS)]
    figures.add("recovery_max_s", max(delays), unit="s", aim="<= 1")
    figures.add("recovery_p50_s", percentile(delays, 0.5), unit="s")


def _kill_one(api: BackendApi) -> float:
    """Kill the worker of a task that was never lost before: one that is lost three times is quarantined."""
    until(lambda: bool(fresh_running(api)))
    victim = fresh_running(api)[0]
    worker = next(w for w in api.query.workers(living_only=True) if w.number == victim.worker)
    killed_us = clock.now().wall_us
    os.kill(int(worker.handle.split(":")[0]), signal.SIGKILL)
    until(lambda: ended_or_again(api, victim))
    again = api.query.task(victim.number)
    assert again is not None
    assert again.started_us is not None
    if again.attempt == victim.attempt:
        return _kill_one(api)  # it was done before the signal came
    return (again.started_us - killed_us) / 1e6


def efficiency(figures: Figures) -> None:
    """The demo's own figures, from its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "taskmaster_desktop", "demo", "--runtime", "process"]
        subprocess.run([*command, "--report-json", str(report)], check=True, stdout=subprocess.DEVNULL)
        told = json.loads(report.read_text())["figures"]
    for key in ("efficiency_1", "efficiency_3", "efficiency_5"):
        figures.add(key, told[key], unit="", aim=">= 0.95")


PARTS = {
    "throughput": throughput,
    "dispatch": dispatch,
    "backlog": backlog,
    "recovery": recovery,
    "efficiency": efficiency,
}
