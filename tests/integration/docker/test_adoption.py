"""Containers outlive the program: they finish, keep what came of it, and are found again; alone they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskmaster_desktop.backend.model import ACTIVE_STATES, Outcome, TaskState
from taskmaster_desktop.backend.store import open_store
from tests.helpers.containers import containers_of, running_containers, short_folder, sweep
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually

pytestmark = pytest.mark.docker

ALONE_TOO_LONG = 75
PROGRAM = """
import sys
from pathlib import Path
import docker
from taskmaster_desktop.backend.model import TaskState
from tests.helpers.containers import running_containers
with running_containers(Path(sys.argv[1]), docker.APIClient(), workers=2) as running:
    slow = running.submit("/bin/sleep 1.5; echo kept", count=2)
    for number in slow.task_numbers:
        running.until_state(number, TaskState.RUNNING)
    print("running", flush=True)
    while True:
        print(running.submit("demo-job --ms 30", count=5).batch.number, flush=True)
"""


@pytest.fixture
def folder(docker_engine: docker.APIClient) -> Iterator[Path]:
    """Whatever an abandoned engine leaves is taken away afterwards."""
    with short_folder() as made:
        yield made
        opened = open_store(made)
        opened.close()
        sweep(docker_engine, opened.instance_id)


def ids(client: docker.APIClient, instance: str) -> set[str]:
    return {row["Id"] for row in containers_of(client, instance)}


def test_living_containers_finish_and_are_adopted(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=2, leave=True) as running:
        done_alone = running.submit("/bin/sleep 0.3; echo alone").batch.first_task
        still_runs = running.submit("/bin/sleep 4; echo later").batch.first_task
        for number in (done_alone, still_runs):
            running.until_state(number, TaskState.RUNNING)
        before = ids(docker_engine, running.instance)
    with running_containers(folder, docker_engine) as running:
        running.until_online(2)
        for number, words in ((done_alone, b"alone\n"), (still_runs, b"later\n")):
            task = running.until_finished(number)
            assert (task.state, task.attempt) == (TaskState.COMPLETED, 1)
            assert [one.outcome for one in running.engine.query.attempts(number)] == [Outcome.COMPLETED]
            assert running.output(number) == words
        assert ids(docker_engine, running.instance) == before
        assert len(running.engine.query.workers(living_only=False)) == 2
        assert set(running.engine.sightings) == {worker.id for worker in running.workers()}


def test_after_sigkill_of_the_program_nothing_acknowledged_is_lost(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    lines = process.stdout.read().splitlines(keepends=True)
    acknowledged += [int(line) for line in lines if line.endswith("\n")]
    process.wait()
    process.stdout.close()

    with running_containers(folder, docker_engine) as running:
        for number in acknowledged:
            batch = running.engine.wait_batch(number).result(LIMIT_S)
            assert batch.completed == batch.size
        for number in (1, 2):
            task = running.until_finished(number)
            assert (task.state, task.attempt) == (TaskState.COMPLETED, 1)
        assert running.engine.totals.attempts_lost == 0
        assert len(running.engine.query.workers(living_only=False)) == 2


def test_a_container_that_died_with_the_program_is_found_dead_and_taken_away(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    with running_containers(folder, docker_engine, workers=1, leave=True) as running:
        number = running.submit("demo-job --ms 300").batch.first_task
        running.until_state(number, *ACTIVE_STATES)
        worker = running.workers()[0]
        container = running.container(worker)
    docker_engine.kill(container, "SIGKILL")
    with running_containers(folder, docker_engine) as running:
        task = running.until_finished(number)
        assert (task.state, task.attempt, task.deaths) == (TaskState.COMPLETED, 2, 0)
        eventually(lambda: container not in ids(docker_engine, running.instance), timeout_s=LIMIT_S)


def test_a_container_alone_for_too_long_ends_by_itself(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=2, self_stop_s=2, leave=True) as running:
        number = running.submit("/bin/sleep 30").batch.first_task
        running.until_state(number, TaskState.RUNNING)
        containers = ids(docker_engine, running.instance)
    eventually(
        lambda: all(not docker_engine.inspect_container(one)["State"]["Running"] for one in containers),
        timeout_s=LIMIT_S,
        what="both have ended",
    )
    codes = {docker_engine.inspect_container(one)["State"]["ExitCode"] for one in containers}
    assert codes == {ALONE_TOO_LONG}
    with running_containers(folder, docker_engine, workers=0) as running:
        eventually(lambda: running.task(number).attempt == 2, timeout_s=LIMIT_S, what="it starts elsewhere")
        assert running.task(number).deaths == 0
        eventually(lambda: not containers & ids(docker_engine, running.instance), timeout_s=LIMIT_S)
