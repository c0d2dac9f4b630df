"""Starting a worker's container and handing it its secret. Blocking; called on helper threads."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from taskmaster_desktop.backend.containers.api import Absent, Conflict, ContainerApi
from taskmaster_desktop.backend.containers.profile import Place, Profile, create_body, endpoints_inside
from taskmaster_desktop.backend.containers.surroundings import Surroundings
from taskmaster_desktop.backend.containers.truth import Seen
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.handover import bundle_of
from taskmaster_desktop.backend.model import WorkerRecord
from taskmaster_desktop.backend.ports import WorkerSecret

log = logging.getLogger(__name__)

TRIES = 3


class Launcher:
    """Makes the containers of one instance.

    Args:
        desktop: the engine runs in Docker Desktop's virtual machine, where a mounted socket leads nowhere.
    """

    def __init__(
        self,
        api: ContainerApi,
        *,
        profile: Profile,
        instance: str,
        data_dir: Path,
        surroundings: Surroundings,
        desktop: bool,
    ) -> None:
        self._api = api
        self._profile = profile
        self._instance = instance
        self._data_dir = data_dir
        self._surroundings = surroundings
        self._desktop = desktop

    def run(self, worker: WorkerRecord, secret: WorkerSecret) -> Seen:
        """Returns the running container. Raises EnvironmentProblem; then nothing is left of it."""
        socket_folder = None if self._desktop else _socket_folder(secret)
        place = Place(
            instance=self._instance,
            data_dir=str(self._data_dir),
            network=self._surroundings.network_name,
            socket_folder=socket_folder,
        )
        body = create_body(self._profile, place, worker_id=worker.id, name=worker.name)
        bundle = bundle_of(
            replace(secret, endpoints=self._ways(secret, socket_folder)), env=self._profile.env
        )
        for _ in range(TRIES):
            name = f"tm-{self._instance[:8]}-{worker.name}-{secrets.token_hex(3)}"
            try:
                return self._api.run(name, body, bundle)
            except Conflict as error:
                log.info("%s; the next name is tried", error)
            except Absent as error:
                log.warning("Something that a worker needs was taken away and is put back: %s", error)
                self._surroundings.prepare()
        raise EnvironmentProblem(
            "A worker's container could not be created: what it needs is taken away again and again.",
            fix="See what removes images, networks or containers of TaskMaster.",
        )

    def _ways(self, secret: WorkerSecret, socket_folder: str | None) -> tuple[str, ...]:
        ways = endpoints_inside(
            secret.endpoints, self._profile, socket_mounted=socket_folder is not None, desktop=self._desktop
        )
        if not ways:
            raise EnvironmentProblem(
                "No way leads from a container to this program.",
                fix="Switch the workers' network on, or choose a data folder with a shorter path.",
            )
        return ways


def _socket_folder(secret: WorkerSecret) -> str | None:
    """The folder, not the socket, is mounted: a mounted file goes stale when the engine restarts."""
    for endpoint in secret.endpoints:
        if endpoint.startswith("unix:"):
            return str(Path(unquote(endpoint.removeprefix("unix:"))).parent)
    return None
