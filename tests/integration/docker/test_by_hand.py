"""What somebody does to containers in a terminal is seen, said and mended; a frozen worker answers too late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.model import Outcome, TaskState, WorkerRecord
from tests.helpers.containers import (
    SEEN_WITHIN_S,
    Containers,
    containers_of,
    running_containers,
    short_folder,
)
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually

pytestmark = pytest.mark.docker

BY_SIGKILL = "killed by SIGKILL"
REMOVED = "its container was removed by somebody else"
RESTARTED = "its container was restarted by somebody else"
TOLD_TO_STOP = "it was told by its system to stop"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def until_gone(running: Containers, worker: WorkerRecord) -> WorkerRecord:
    eventually(lambda: running.gone(worker), timeout_s=SEEN_WITHIN_S, what=f"{worker.name} is shown offline")
    gone = running.gone(worker)
    assert gone is not None
    return gone


def kill(client: docker.APIClient, container: str) -> None:
    client.kill(container, "SIGKILL")


def stop(client: docker.APIClient, container: str) -> None:
    client.stop(container, timeout=5)


def remove(client: docker.APIClient, container: str) -> None:
    client.remove_container(container, force=True)


def restart(client: docker.APIClient, container: str) -> None:
    client.restart(container, timeout=0)


# A look may come between the end and what follows it.
@pytest.mark.parametrize(
    ("deed", "reasons"),
    [
        (kill, {BY_SIGKILL}),
        (stop, {TOLD_TO_STOP}),
        (remove, {REMOVED, BY_SIGKILL}),
        (restart, {RESTARTED, TOLD_TO_STOP}),
    ],
)
def test_an_end_by_hand_is_said_and_mended(
    docker_engine: docker.APIClient, folder: Path, deed: Callable[..., None], reasons: set[str]
) -> None:
    with running_containers(folder, docker_engine, workers=1) as running:
        worker = running.workers()[0]
        deed(docker_engine, running.container(worker))
        gone = until_gone(running, worker)
        assert gone.ended in reasons
        assert worker.id not in running.engine.sightings
        assert f"{worker.name} is offline: {gone.ended}." in running.log()
        (other,) = running.until_online(1)
        assert other.number != worker.number
        eventually(
            lambda: len(containers_of(docker_engine, running.instance)) == 1,
            timeout_s=LIMIT_S,
            what="the old container is taken away",
        )
        assert running.lines("echo well") == ["well"]


def test_a_task_whose_container_is_killed_by_hand_starts_elsewhere(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    with running_containers(folder, docker_engine, workers=2) as running:
        number = running.submit("/bin/sleep 0.5").batch.first_task
        task = running.until_state(number, TaskState.RUNNING)
        worker = next(one for one in running.workers() if one.number == task.worker)
        kill(docker_engine, running.container(worker))
        task = running.until_finished(number)
        assert (task.state, task.attempt, task.deaths) == (TaskState.COMPLETED, 2, 1)


def test_a_new_name_is_shown_and_changes_nothing(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=1) as running:
        worker = running.workers()[0]
        container = running.container(worker)
        name = f"renamed-{running.instance[:8]}"
        docker_engine.rename(container, name)
        eventually(
            lambda: running.engine.sightings[worker.id].name == name,
            timeout_s=SEEN_WITHIN_S,
            what="the new name",
        )
        assert running.lines("echo well") == ["well"]
        assert running.workers()[0].number == worker.number


def test_a_short_pause_is_shown_and_costs_nothing(docker_engine: docker.APIClient, folder: Path) -> None:
    with running_containers(folder, docker_engine, workers=1) as running:
        number = running.submit("/bin/sleep 0.5; echo done").batch.first_task
        running.until_state(number, TaskState.RUNNING)
        worker = running.workers()[0]
        container = running.container(worker)
        for paused, deed in ((True, docker_engine.pause), (False, docker_engine.unpause)):
            deed(container)
            eventually(
                lambda paused=paused: running.engine.sightings[worker.id].paused is paused,
                timeout_s=SEEN_WITHIN_S,
                what=f"paused is {paused}",
            )
            assert [one.number for one in running.workers()] == [worker.number]
        task = running.until_finished(number)
        assert (task.state, task.attempt) == (TaskState.COMPLETED, 1)


def test_a_frozen_worker_is_lost_after_its_lease_and_its_task_runs_elsewhere(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    with running_containers(folder, docker_engine, workers=2) as running:
        number = running.submit("/bin/sleep 2; echo done").batch.first_task
        task = running.until_state(number, TaskState.RUNNING)
        worker = next(one for one in running.workers() if one.number == task.worker)
        docker_engine.pause(running.container(worker))
        paused_s = running.clock_s()
        eventually(
            lambda: running.task(number).attempt == 2,
            timeout_s=15,
            what="the task is given to another worker",
        )
        assert 8 < running.clock_s() - paused_s < 13
        assert Policy().lease_s == 10
        frozen = containers_of(docker_engine, running.instance, worker.id)
        assert all(row["State"] not in ("running", "paused") for row in frozen)  # so it cannot answer late
        task = running.until_finished(number)
        assert (task.state, task.attempt, task.deaths) == (TaskState.COMPLETED, 2, 1)
        assert [attempt.outcome for attempt in running.engine.query.attempts(number)] == [
            Outcome.LOST,
            Outcome.COMPLETED,
        ]
        assert running.output(number) == b"done\n"
