"""A real engine whose workers are real containers, and short ways to look at them from outside.

The client of the tests is not the one of the runtime: what a person does in a terminal is done with it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import docker.errors

from scripts.make_test_base import BASE_IMAGE, WHEELS
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.containers.preparing import prepare
from taskmaster_desktop.backend.containers.profile import INSTANCE_LABEL, WORKER_LABEL, Profile
from taskmaster_desktop.backend.containers.runtime import ContainerRuntime
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.engine import Engine
from taskmaster_desktop.backend.model import WorkerRecord
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.backend.store import open_store
from taskmaster_desktop.backend.store_thread import StoreThread
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from tests.helpers.engines import Running

OWN_IMAGE = Profile(image="")
SEEN_WITHIN_S = 3.0
"""What somebody does to a container by hand is shown right by then."""


@dataclass(slots=True)
class Containers(Running):
    """A started engine on containers.

    Attributes:
        client: for the tests' own questions and deeds.
        said: what was said while it made ready.
    """

    runtime: ContainerRuntime
    client: docker.APIClient
    instance: str
    said: list[str]

    def container(self, worker: WorkerRecord) -> str:
        """The id of its container."""
        found = containers_of(self.client, self.instance, worker.id)
        assert len(found) == 1, found
        return str(found[0]["Id"])

    def inspect(self, worker: WorkerRecord) -> dict[str, Any]:
        described: dict[str, Any] = self.client.inspect_container(self.container(worker))
        return described

    def lines(self, command: str) -> list[str]:
        """What a command prints, as one task that completes."""
        submitted = self.submit(command)
        assert self.done(submitted).completed == 1, self.output(submitted.batch.first_task)
        return self.output(submitted.batch.first_task).decode().splitlines()

    def clock_s(self) -> float:
        return SystemClock().now().mono_s

    def log(self) -> list[str]:
        """The activity log, oldest line first."""
        return [line.message for line in self.engine.query.events(limit=500)]

    def gone(self, worker: WorkerRecord) -> WorkerRecord | None:
        """Its record once it is offline."""
        for record in self.engine.query.workers(living_only=False):
            if record.number == worker.number and record.offline_us is not None:
                return record
        return None


def containers_of(client: docker.APIClient, instance: str, worker: str | None = None) -> list[dict[str, Any]]:
    labels = [f"{INSTANCE_LABEL}={instance}", *([f"{WORKER_LABEL}={worker}"] if worker else [])]
    found: list[dict[str, Any]] = client.containers(all=True, filters={"label": labels})
    return found


def networks_of(client: docker.APIClient, instance: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.networks(filters={"label": f"{INSTANCE_LABEL}={instance}"})
    return found


def sweep(client: docker.APIClient, instance: str) -> None:
    """Take away what an instance has left in the engine."""
    for row in containers_of(client, instance):
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_container(row["Id"], force=True, v=True)
    for row in networks_of(client, instance):
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_network(row["Id"])


@contextmanager
def short_folder() -> Iterator[Path]:
    """A data folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="tm-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_containers(
    folder: Path,
    client: docker.APIClient,
    *,
    workers: int = 0,
    slots: int = 1,
    lease_s: float = 10.0,
    self_stop_s: float = ContainerRuntime.self_stop_s,
    profile: Profile = OWN_IMAGE,
    host: str | None = None,
    leave: bool = False,
) -> Iterator[Containers]:
    """An engine on `folder` and on the Docker Engine at `host`; with `leave` it ends as in a crash.

    Ended properly, it must leave nothing in the Docker Engine.
    """
    said: list[str] = []
    api = DockerApi(find_endpoint(host))
    prepared = prepare(api, profile, base=BASE_IMAGE, wheels=WHEELS, progress=lambda s: said.append(s.text))
    opened = open_store(folder)
    thread = StoreThread(SystemClock())
    runtime = ContainerRuntime(
        api, prepared=prepared, instance=opened.instance_id, data_dir=folder, clock=SystemClock()
    )
    engine = Engine(
        store=opened.store,
        store_thread=thread,
        query=opened.query,
        runtime=runtime,
        door=GrpcDoor(folder, opened.instance_id),
        clock=SystemClock(),
        policy=replace(Policy(), slots=slots, runtime="docker", lease_s=lease_s, self_stop_s=self_stop_s),
        instance=opened.instance_id,
        validate=True,
    )
    running = Containers(engine, runtime, client, opened.instance_id, said)
    try:
        engine.start()
        if workers:
            running.scale(workers)
            running.until_online(workers)
        yield running
        if not leave:
            engine.stop(grace_s=0)
            assert containers_of(client, opened.instance_id) == []
            assert networks_of(client, opened.instance_id) == []
    finally:
        if leave:
            engine.abandon()
        else:
            engine.stop(grace_s=0)
        thread.close()
        opened.close()
        api.close()
        if not leave:
            sweep(client, opened.instance_id)
