"""A Docker Engine that hangs or is restarted, while workers run: said in a sentence, waited out, blamed on nobody."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, WHEELS
from taskmaster_desktop.backend.commands import KillWorkerNow
from taskmaster_desktop.backend.containers.image import ensure_worker_image
from taskmaster_desktop.backend.containers.profile import KIND_IMAGE, LABEL
from taskmaster_desktop.backend.model import Outcome, TaskState
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from tests.helpers.containers import OWN_IMAGE, Containers, running_containers, short_folder
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually
from tests.helpers.second_engine import SecondEngine

pytestmark = pytest.mark.docker

SAID_WITHIN_S = 15.0
NO_NETWORK = replace(OWN_IMAGE, network=False)


@pytest.fixture(scope="module")
def second(docker_engine: docker.APIClient) -> Iterator[SecondEngine]:
    """An engine of our own that has the worker image."""
    api = DockerApi(find_endpoint(None))
    image = ensure_worker_image(
        api, base=BASE_IMAGE, wheels=WHEELS, labels={LABEL: KIND_IMAGE}, progress=lambda _: None
    )
    api.close()
    engine = SecondEngine()
    try:
        engine.start()
        client = engine.client()
        client.load_image(b"".join(docker_engine.get_image(image)))
        client.close()
        yield engine
    finally:
        engine.remove()


@pytest.fixture
def running(second: SecondEngine) -> Iterator[Containers]:
    client = second.client()
    with (
        short_folder() as folder,
        running_containers(folder, client, workers=2, profile=NO_NETWORK, host=second.url) as started,
    ):
        yield started
    client.close()


def start_two(running: Containers, command: str) -> range:
    submitted = running.submit(command, count=2)
    for number in submitted.task_numbers:
        running.until_state(number, TaskState.RUNNING)
    return submitted.task_numbers


def test_a_hung_engine_blocks_nothing_and_is_recovered_from(
    second: SecondEngine, running: Containers
) -> None:
    second.signal(signal.SIGSTOP)
    try:
        batch = running.submit("echo goes on", count=10)
        assert running.done(batch).completed == 10
        victim = running.workers()[0]
        running.engine.submit(KillWorkerNow(worker=victim.number)).result(1.0)
        eventually(lambda: running.engine.fleet_trouble, timeout_s=SAID_WITHIN_S, what="the trouble is said")
        assert running.engine.fleet_trouble == (
            f"The Docker Engine at {second.url} does not answer. "
            "See whether it hangs (systemctl status docker); work goes on by itself once it answers."
        )
        assert running.done(running.submit("noop", count=20)).completed == 20
    finally:
        second.signal(signal.SIGCONT)
    eventually(lambda: running.engine.fleet_trouble is None, timeout_s=LIMIT_S, what="it is well again")
    eventually(lambda: running.gone(victim), timeout_s=LIMIT_S, what="the order is carried out")
    assert victim.number not in [worker.number for worker in running.until_online(2)]
    log = running.log()
    assert sum(line.startswith("The Docker Engine at") for line in log) == 1
    assert log.count("The Docker Engine answers again.") == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_restarted_engine_is_to_blame_and_not_the_tasks(
    second: SecondEngine, running: Containers, how: signal.Signals
) -> None:
    numbers = start_two(running, "test $TASKMASTER_ATTEMPT = 2 || /bin/sleep 60")
    before = [worker.number for worker in running.workers()]
    second.end(how)
    eventually(lambda: running.engine.fleet_trouble, timeout_s=SAID_WITHIN_S, what="the trouble is said")
    assert str(running.engine.fleet_trouble).startswith(f"No Docker Engine answers at {second.url}.")
    second.start()
    for number in numbers:
        task = running.until_finished(number)
        assert (task.state, task.attempt, task.failures, task.deaths) == (TaskState.COMPLETED, 2, 0, 0)
        assert running.engine.query.attempts(number)[0].outcome is Outcome.LOST
    assert running.engine.fleet_trouble is None
    after = [worker.number for worker in running.until_online(2)]
    assert not set(before) & set(after)
    assert running.lines("echo well") == ["well"]
