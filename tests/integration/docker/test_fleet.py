"""A fleet of containers as users drive it: scaled, stopped, killed, healed, out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from taskmaster_desktop.backend.commands import KillWorkerNow, SelfHeal, StopWorkerGently
from taskmaster_desktop.backend.model import Outcome, TaskState, WorkerRecord
from tests.helpers.containers import OWN_IMAGE, Containers, containers_of, running_containers, short_folder
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually

pytestmark = pytest.mark.docker

TOO_MUCH = """python3 -c 'b = [bytearray(2**20) for _ in range(4096)]'"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def holder(running: Containers, number: int) -> WorkerRecord:
    """The worker that runs a task."""
    task = running.until_state(number, TaskState.RUNNING)
    return next(worker for worker in running.workers() if worker.number == task.worker)


def test_a_fleet_grows_and_shrinks_and_leaves_nothing(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine) as running:
        for size in (5, 1, 0):
            running.scale(size)
            running.until_online(size)
            eventually(
                lambda size=size: len(containers_of(docker_engine, running.instance)) == size,
                timeout_s=LIMIT_S,
                what=f"{size} containers",
            )
        running.scale(5)
        running.until_online(5)
        batch = running.submit("demo-job --ms 50", count=30)
        assert running.done(batch).completed == 30
        assert sorted(worker.completed for worker in running.workers()) == [6, 6, 6, 6, 6]


def test_tasks_run_side_by_side_in_one_container_with_slots(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    with running_containers(folder, docker_engine, workers=1, slots=3) as running:
        batch = running.submit(
            "until [ $(ls /tmp/here-* | wc -l) = 3 ]; do touch /tmp/here-$$; done", count=3
        )
        assert running.done(batch).completed == 3


def test_a_stopped_worker_finishes_its_task_first(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=2) as running:
        number = running.submit("/bin/sleep 1; echo done").batch.first_task
        worker = holder(running, number)
        running.engine.submit(StopWorkerGently(worker=worker.number)).result(LIMIT_S)
        task = running.until_finished(number)
        assert (task.state, task.attempt) == (TaskState.COMPLETED, 1)
        eventually(lambda: running.gone(worker), timeout_s=LIMIT_S)
        assert len(running.workers()) == 1
        assert running.engine.totals.desired == 1


def test_the_task_of_a_killed_worker_starts_elsewhere(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=2) as running:
        number = running.submit("/bin/sleep 1").batch.first_task
        worker = holder(running, number)
        running.engine.submit(KillWorkerNow(worker=worker.number)).result(LIMIT_S)
        task = running.until_finished(number)
        assert (task.state, task.attempt, task.deaths) == (TaskState.COMPLETED, 2, 0)
        assert task.worker != worker.number
        assert [a.outcome for a in running.engine.query.attempts(number)] == [
            Outcome.LOST,
            Outcome.COMPLETED,
        ]
        assert len(running.until_online(2)) == 2


def test_a_fleet_heals_itself_unless_told_not_to(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=2) as running:
        for heals in (True, False):
            running.engine.submit(SelfHeal(on=heals)).result(LIMIT_S)
            victim = running.until_online(2)[0]
            docker_engine.kill(running.container(victim), "SIGKILL")
            eventually(lambda victim=victim: running.gone(victim), timeout_s=LIMIT_S)
            left = 2 if heals else 1
            running.until_online(left)
            assert len(containers_of(docker_engine, running.instance)) <= left + 1


def test_a_command_that_wants_too_much_memory_is_called_so(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    profile = replace(OWN_IMAGE, memory_bytes=128 * 2**20)
    with running_containers(folder, docker_engine, workers=1, profile=profile) as running:
        worker = running.workers()[0]
        number = running.submit(TOO_MUCH).batch.first_task
        task = running.until_finished(number)
        assert (task.state, task.outcome, task.attempt) == (TaskState.FAILED, Outcome.OOM, 1)
        assert running.lines("echo alive") == ["alive"]
        assert [one.number for one in running.workers()] == [worker.number]


def test_a_worker_that_memory_kills_is_called_so(docker_engine: docker.APIClient, folder: Path) -> None:
    """The host makes the agent the system's first choice, so that it dies of what its command takes."""
    profile = replace(OWN_IMAGE, memory_bytes=128 * 2**20)
    with running_containers(folder, docker_engine, workers=1, profile=profile) as running:
        number = running.submit(
            f"until test -e /tmp/go; do /bin/sleep 0.05; done; {TOO_MUCH}"
        ).batch.first_task
        worker = holder(running, number)
        prefer_the_agent(docker_engine, running.container(worker))
        go = docker_engine.exec_create(running.container(worker), ["touch", "/tmp/go"])
        docker_engine.exec_start(go)
        eventually(lambda: running.gone(worker), timeout_s=LIMIT_S)
        gone = running.gone(worker)
        assert gone is not None
        assert gone.ended == "killed by the system for want of memory"
        first = running.engine.query.attempts(number)[0]
        assert (first.outcome, running.task(number).deaths) == (Outcome.OOM, 1)


def prefer_the_agent(client: docker.APIClient, container: str) -> None:
    for pid, command in client.top(container, ps_args="-eo pid,args")["Processes"]:
        if command.startswith("/opt/taskmaster/"):
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
