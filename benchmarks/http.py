"""The HTTP face of a running engine: batches, long lists, and what a busy reader costs everybody else."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx

from benchmarks.harness import online, until, warm_up
from benchmarks.report import Figures, percentile
from taskmaster_desktop.app import App
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.settings import load_settings

BATCHES = 200
LINES = 100_000
DISPATCHES = 200
READS_PER_S = 500
LIMIT_S = 120.0

clock = SystemClock()


def http(figures: Figures) -> None:
    with _serving() as app, httpx.Client(base_url=app.url, timeout=LIMIT_S) as client:
        warm_up(app.api)
        took = [_batch_of_50_ms(client) for _ in range(BATCHES)]
        figures.add("api_batch50_p50_ms", percentile(took, 0.5), unit="ms")
        figures.add("api_batch50_p99_ms", percentile(took, 0.99), unit="ms", aim="<= 20")
        until(lambda: app.api.totals.unfinished == 0)
        quiet, busy = [], []
        for _ in range(3):
            quiet.append(_dispatch_p50_ms(client, app.api))
            with _reading(app.url):
                busy.append(_dispatch_p50_ms(client, app.api))
        ratios = [with_readers / without for with_readers, without in zip(busy, quiet, strict=True)]
        figures.add("api_dispatch_ratio", percentile(ratios, 0.5), unit="", aim="<= 1.25")
        figures.add("api_ndjson_100k_s", _ndjson_s(client), unit="s", aim="<= 15")


@contextmanager
def _serving() -> Iterator[App]:
    with tempfile.TemporaryDirectory(prefix="taskmaster-bench-") as folder:
        wishes = {"data_dir": Path(folder) / "data", "workers": 3, "runtime": "process", "api_port": 0}
        app = App(load_settings(wishes))
        app.start()
        try:
            until(lambda: online(app.api) == 3)
            yield app
        finally:
            app.stop(grace_s=0)


def _batch_of_50_ms(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.post("/api/v1/batches", json={"command": "noop", "count": 50}).raise_for_status()
    return (time.perf_counter() - began) * 1000


def _dispatch_p50_ms(client: httpx.Client, api: BackendApi) -> float:
    """From the call of the submission to the body of the task."""
    delays = []
    for _ in range(DISPATCHES):
        called_us = clock.now().wall_us
        answer = client.post("/api/v1/batches", json={"command": "noop"}).raise_for_status().json()
        api.wait_batch(answer["batch"]).result(LIMIT_S)
        task = api.query.task(answer["first_task"])
        assert task is not None
        assert task.started_us is not None
        delays.append((task.started_us - called_us) / 1000)
    return percentile(delays, 0.5)


@contextmanager
def _reading(url: str) -> Iterator[None]:
    """Somebody who asks for the figures 500 times a second, from a process of their own."""
    context = multiprocessing.get_context("spawn")
    begun, done = context.Event(), context.Event()
    reader = context.Process(target=_read, args=(url, begun, done))
    reader.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        reader.join()


def _read(url: str, begun: Event, done: Event) -> None:
    with httpx.Client(base_url=url, timeout=LIMIT_S) as client:
        next_s = time.perf_counter()
        while not done.is_set():
            client.get("/api/v1/stats").raise_for_status()
            begun.set()
            next_s += 1 / READS_PER_S
            time.sleep(max(0.0, next_s - time.perf_counter()))


def _ndjson_s(client: httpx.Client) -> float:
    """So many different commands in one request, until all are on disk."""
    lines = b"".join(json.dumps(f"echo {number}").encode() + b"\n" for number in range(LINES))
    began = time.perf_counter()
    answer = client.post("/api/v1/batches", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.raise_for_status().json()["size"] == LINES
    return time.perf_counter() - began
