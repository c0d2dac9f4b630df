"""A fresh engine with workers for each measurement, on a private folder of the same disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from taskmaster_desktop.app import App
from taskmaster_desktop.backend.api import BackendApi, Submitted
from taskmaster_desktop.backend.commands import SubmitBatch, Work
from taskmaster_desktop.backend.model import TaskFilter, TaskRecord, TaskState, WorkerState
from taskmaster_desktop.settings import load_settings

LIMIT_S = 600.0
NOOP = Work(command="noop")


@contextmanager
def engine(workers: int = 3) -> Iterator[BackendApi]:
    """An engine whose `workers` of one slot are online."""
    with tempfile.TemporaryDirectory(prefix="taskmaster-bench-") as folder:
        app = App(
            load_settings(
                {"data_dir": Path(folder) / "data", "workers": workers, "runtime": "process", "api": False}
            )
        )
        app.start()
        try:
            until(lambda: online(app.api) == workers)
            yield app.api
        finally:
            app.stop(grace_s=0)


def online(api: BackendApi) -> int:
    return sum(worker.state is WorkerState.ONLINE for worker in api.query.workers(living_only=True))


def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Look every 5 ms; raises TimeoutError."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the engine did not get there in time")
        time.sleep(0.005)


def submit(api: BackendApi, work: Work, count: int = 1) -> Future[Submitted]:
    return api.submit(SubmitBatch(works=[work], count=count))


def wait_all(api: BackendApi, futures: Sequence[Future[Submitted]]) -> None:
    """Until every task of every batch is in a terminal state, on disk."""
    for done in [api.wait_batch(future.result(LIMIT_S).batch.number) for future in futures]:
        done.result(LIMIT_S)


def warm_up(api: BackendApi) -> None:
    """Imports done, caches warm, the mean duration known."""
    wait_all(api, [submit(api, NOOP, 500)])


def fresh_running(api: BackendApi) -> list[TaskRecord]:
    """Running tasks that were never lost before: one that is lost three times is quarantined."""
    running = TaskFilter(states=frozenset({TaskState.RUNNING}))
    page = api.query.tasks(running, after=None, limit=10, newest_first=False)
    return [task for task in page.tasks if task.attempt == 1]


def ended_or_again(api: BackendApi, victim: TaskRecord) -> bool:
    """Whether a task has completed in the attempt it was in, or has started another."""
    task = api.query.task(victim.number)
    assert task is not None
    if task.attempt == victim.attempt:
        return task.state is TaskState.COMPLETED
    return task.started_us is not None
