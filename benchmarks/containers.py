"""Workers as containers: how fast a fleet comes, goes and heals, beside plain containers of the same engine.

Skipped with the reason where no Docker Engine answers. `TASKMASTER_DESKTOP_WORKER_BASE` and `..._WHEELS` say
what the worker image is built from, as for the program itself.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    LIMIT_S,
    NOOP,
    ended_or_again,
    engine,
    fresh_running,
    online,
    submit,
    until,
    wait_all,
    warm_up,
)
from benchmarks.report import Figures, percentile, say
from taskmaster_desktop.app import App
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import ScaleFleet, Work
from taskmaster_desktop.backend.containers.profile import DATA_LABEL
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import Outcome
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from taskmaster_desktop.settings import load_settings

FLEET = 5
ROUNDS = 5
KILLS = 20
CYCLES = 20
THROUGHPUT_ROUNDS = 3
THROUGHPUT_TASKS = 20_000

clock = SystemClock()


def containers(figures: Figures) -> None:
    try:
        _measure(figures)
    except EnvironmentProblem as problem:
        say(f"  not measured: {problem}")


def _measure(figures: Figures) -> None:
    with _fleet() as app:
        _up_and_down(app, figures)
        _leaks(app, figures)
    with _fleet(workers=3) as app:
        _recovery(app.api, figures)
        _pause(app.api, figures)
    _throughput(figures)


@contextmanager
def _fleet(workers: int = 0) -> Iterator[App]:
    with tempfile.TemporaryDirectory(prefix="taskmaster-bench-") as folder:
        app = App(
            load_settings(
                {"data_dir": Path(folder) / "data", "workers": workers, "runtime": "docker", "api": False}
            ),
            progress=lambda text: say(f"  {text}"),
        )
        app.start()
        try:
            until(lambda: online(app.api) == workers)
            yield app
        finally:
            app.stop(grace_s=0)


def _scale(api: BackendApi, workers: int) -> float:
    """Seconds until exactly so many are online and nobody else is left."""
    began = time.perf_counter()
    api.submit(ScaleFleet(workers=workers)).result(LIMIT_S)
    until(lambda: online(api) == workers == len(api.query.workers(living_only=True)))
    return time.perf_counter() - began


def _up_and_down(app: App, figures: Figures) -> None:
    """In turn with plain containers, because the machine's speed varies."""
    docker = app.runtime.docker
    assert docker is not None
    plain_s, up_s, down_s = [], [], []
    for _ in range(ROUNDS):
        plain_s.append(_plain_containers(docker.prepared.profile.image))
        up_s.append(_scale(app.api, FLEET))
        down_s.append(_scale(app.api, 0))
    figures.add("docker_up_5_s", percentile(up_s, 0.5), unit="s", aim="<= 4")
    figures.add("docker_down_5_s", percentile(down_s, 0.5), unit="s", aim="<= 3")
    figures.add("docker_plain_5_s", percentile(plain_s, 0.5), unit="s")
    ratios = [up / plain for up, plain in zip(up_s, plain_s, strict=True)]
    figures.add("docker_up_ratio", percentile(ratios, 0.5), unit="", aim="<= 2")


def _plain_containers(image: str) -> float:
    """Five at once by the engine's own command line, doing nothing."""
    command = ["docker", "run", "--detach", "--init", "--entrypoint", "sleep", image, "600"]
    began = time.perf_counter()
    starting = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(FLEET)]
    names = [process.communicate()[0].strip() for process in starting]
    took = time.perf_counter() - began
    assert all(process.returncode == 0 for process in starting), "the engine's own command line failed"
    subprocess.run(["docker", "rm", "--force", *names], stdout=subprocess.DEVNULL, check=True)
    return took


def _leaks(app: App, figures: Figures) -> None:
    """What 20 cycles leave behind: threads, descriptors, containers, networks."""
    docker = app.runtime.docker
    assert docker is not None
    api = docker.api
    _scale(app.api, FLEET)
    _scale(app.api, 0)
    until(lambda: not _of(app, api.ours("containers")))
    before = _held(app, api)
    for _ in range(CYCLES):
        _scale(app.api, FLEET)
        _scale(app.api, 0)
    until(lambda: not _of(app, api.ours("containers")))
    after = _held(app, api)
    figures.add(
        "docker_leaks", sum(max(0, after[name] - before[name]) for name in before), unit="", aim="<= 0"
    )


def _of(app: App, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of this instance."""
    return [row for row in rows if row["Labels"].get(DATA_LABEL) == str(app.settings.data_dir)]


def _held(app: App, api: DockerApi) -> dict[str, int]:
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "containers": len(_of(app, api.ours("containers"))),
        "networks": len(_of(app, api.ours("networks"))),
    }


def _recovery(api: BackendApi, figures: Figures) -> None:
    """SIGKILL of a container by somebody else, to the next start of its task; the others are busy too."""
    submit(api, Work(command="demo-job"), 1000).result(LIMIT_S)
    docker = DockerApi(find_endpoint(None))
    try:
        delays = [_strike(api, docker, "SIGKILL")[1] for _ in range(KILLS)]
    finally:
        docker.close()
    figures.add("docker_recovery_max_s", max(delays), unit="s", aim="<= 1")
    figures.add("docker_recovery_p50_s", percentile(delays, 0.5), unit="s")


def _pause(api: BackendApi, figures: Figures) -> None:
    """A frozen container: when its attempt counts as lost, and when the task starts elsewhere."""
    docker = DockerApi(find_endpoint(None))
    try:
        lost_s, elsewhere_s = _strike(api, docker, "pause")
    finally:
        docker.close()
    figures.add("docker_pause_lost_s", lost_s, unit="s", aim="<= 12")
    figures.add("docker_pause_elsewhere_s", elsewhere_s, unit="s", aim="<= 15")


def _strike(api: BackendApi, docker: DockerApi, how: str) -> tuple[float, float]:
    """Hit the container of a task that was never lost before; seconds to its loss and to its next start."""
    until(lambda: len(fresh_running(api)) > 0)
    victim = fresh_running(api)[0]
    worker = next(w for w in api.query.workers(living_only=True) if w.number == victim.worker)
    struck_us = clock.now().wall_us
    if how == "pause":
        docker.pause(worker.handle)
    else:
        docker.signal(worker.handle, how)
    until(lambda: ended_or_again(api, victim))
    again = api.query.task(victim.number)
    assert again is not None
    if again.attempt == victim.attempt:
        return _strike(api, docker, how)  # it was done before the blow came
    assert again.started_us is not None
    attempt = api.query.attempts(victim.number)[0]
    assert attempt.outcome is Outcome.LOST
    return (attempt.finished_us - struck_us) / 1e6, (again.started_us - struck_us) / 1e6


def _throughput(figures: Figures) -> None:
    """No-op tasks in batches on three containers, in turn with three processes."""
    ratios = []
    for _ in range(THROUGHPUT_ROUNDS):
        with engine() as api:
            by_processes = _noops_per_s(api)
        with _fleet(workers=3) as app:
            by_containers = _noops_per_s(app.api)
        ratios.append(by_containers / by_processes)
    figures.add("docker_noop_batch_per_s", by_containers, unit="tasks/s")
    figures.add("docker_throughput_ratio", percentile(ratios, 0.5), unit="", aim=">= 0.8")


def _noops_per_s(api: BackendApi) -> float:
    warm_up(api)
    began = time.perf_counter()
    wait_all(api, [submit(api, NOOP, 1000) for _ in range(THROUGHPUT_TASKS // 1000)])
    return THROUGHPUT_TASKS / (time.perf_counter() - began)
