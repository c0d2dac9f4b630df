"""The Docker Engine behind one thin, blocking face. The only importer of `docker`.

Each thread that calls has a client of its own, since the library is not thread-safe; what is raised is for
people. `backend/containers/runtime.py` makes workers of it.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import docker
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.context import ContextAPI
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool
from docker.utils import kwargs_from_env, version_lt

from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.endpoint import Endpoint, choose_endpoint, usual_sockets
from taskmaster_desktop.backend.containers.profile import INSTANCE_LABEL, KIND_WORKER, LABEL
from taskmaster_desktop.backend.containers.refusals import EngineRefusal
from taskmaster_desktop.backend.containers.truth import Seen, seen
from taskmaster_desktop.backend.errors import EnvironmentProblem

CALL_LIMIT_S = 10.0
OLDEST_API_VERSION = "1.24"


def find_endpoint(wanted: str | None) -> Endpoint:
    """Where the engine is looked for. Raises EnvironmentProblem where the Docker settings cannot be read."""

    def from_context() -> tuple[str, Mapping[str, Any]] | None:
        context = ContextAPI.get_current_context()
        if context.name == "default":
            return None
        return context.name, ContextAPI.kwargs_from_context(environment=os.environ)

    try:
        return choose_endpoint(
            wanted,
            os.environ,
            from_environment=kwargs_from_env,
            from_context=from_context,
            sockets=usual_sockets(os.environ, Path.home()),
        )
    except docker.errors.DockerException as error:
        raise EnvironmentProblem(
            f"The Docker settings of this user cannot be used ({error}).",
            fix="Mend DOCKER_HOST or the Docker context, or name the engine with --docker-host.",
        ) from error


class DockerApi:
    """One Docker Engine, for any thread. All calls block.

    Raises, all of them: EnvironmentProblem where the engine is absent, denied, hung or refuses; `Absent` and
    `Conflict` where that is all it says.
    """

    def __init__(self, endpoint: Endpoint, *, limit_s: float = CALL_LIMIT_S) -> None:
        self.endpoint = endpoint
        self._limit_s = limit_s
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._clients: list[docker.APIClient] = []  # changed under the lock
        self._version: str | None = None

    def close(self) -> None:
        """Close all connections; a later call makes new ones."""
        with self._lock:
            clients, self._clients = self._clients, []
            self._mine = threading.local()
        for client in clients:
            client.close()

    @contextlib.contextmanager
    def _image_client(self) -> Iterator[Any]:
        """As `_client`; what the engine says against an image leaves as `EngineRefusal`."""
        try:
            with self._client() as client:
                yield client
        except (Absent, Conflict) as error:
            raise EngineRefusal(str(error)) from error

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        """This thread's client; errors of the library leave as errors for people."""
        try:
            client = getattr(self._mine, "client", None)
            if client is None:
                client = self._mine.client = self._connect(self._version or self._agree_on_version())
                with self._lock:
                    self._clients.append(client)
            yield client
        except docker.errors.NotFound as error:
            raise Absent(_explanation(error)) from error
        except docker.errors.APIError as error:
            if error.status_code == requests.codes.conflict:
                raise Conflict(_explanation(error)) from error
            raise EngineRefusal(_explanation(error)) from error
        except (requests.RequestException, docker.errors.DockerException, OSError) as error:
            raise unreachable(error, self.endpoint.url) from error

    def _connect(self, version: str) -> docker.APIClient:
        client = docker.APIClient(
            base_url=self.endpoint.url,
            version=version,
            timeout=int(self._limit_s),
            tls=self.endpoint.tls or False,
            use_ssh_client=True,
        )
        if self.endpoint.url.startswith("unix://"):
            client.mount("http+docker://", _UnixAdapter(f"http+{self.endpoint.url}", int(self._limit_s)))
        return client

    def _agree_on_version(self) -> str:
        """The library takes whatever the server offers; it must not go beyond what it knows itself."""
        probe = self._connect(OLDEST_API_VERSION)
        try:
            theirs = probe.version(api_version=False)["ApiVersion"]
        finally:
            probe.close()
        self._version = (
            theirs if version_lt(theirs, DEFAULT_DOCKER_API_VERSION) else DEFAULT_DOCKER_API_VERSION
        )
        return self._version

    # === the engine
    def info(self) -> Mapping[str, Any]:
        with self._client() as client:
            return cast("Mapping[str, Any]", client.info())

    def events(self, instance: str) -> Iterator[Mapping[str, Any]]:
        """What happens to workers' containers, until the connection ends, which it may do silently.

        Closing the returned object from another thread ends it.
        """
        with self._client() as client:
            filters = {
                "type": "container",
                "label": [f"{LABEL}={KIND_WORKER}", f"{INSTANCE_LABEL}={instance}"],
            }
            return cast("Iterator[Mapping[str, Any]]", client.events(filters=filters, decode=True))

    # === images
    def image(self, name: str) -> Mapping[str, Any] | None:
        with contextlib.suppress(Absent), self._client() as client:
            return cast("Mapping[str, Any]", client.inspect_image(name))
        return None

    def build(
        self, context: bytes, *, tag: str, buildargs: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        with self._image_client() as client:
            yield from client.build(
                fileobj=io.BytesIO(context), custom_context=True, tag=tag, buildargs=dict(buildargs),
                labels=dict(labels), rm=True, forcerm=True, decode=True, timeout=None,
            )  # fmt: skip

    def pull(self, name: str) -> Iterator[Mapping[str, Any]]:
        with self._image_client() as client:
            repository, tag = docker.utils.parse_repository_tag(name)
            yield from client.pull(repository, tag=tag or "latest", stream=True, decode=True)

    # === workers' containers
    def workers(self, instance: str) -> list[Mapping[str, Any]]:
        """All containers of this instance's workers, running or not, as the engine lists them."""
        labels = [f"{LABEL}={KIND_WORKER}", f"{INSTANCE_LABEL}={instance}"]
        with self._client() as client:
            return cast("list[Mapping[str, Any]]", client.containers(all=True, filters={"label": labels}))

    def look(self, container: str) -> Seen | None:
        """None where it is gone."""
        with contextlib.suppress(Absent), self._client() as client:
            return seen(client.inspect_container(container))
        return None

    def run(self, name: str, body: Mapping[str, Any], handed_over: bytes) -> Seen:
        """Create a container, start it and give it what it reads first. On an error nothing is left of it."""
        with self._client() as client:
            created = client.create_container_from_config(dict(body), name)["Id"]
            try:
                # Attached before it starts: what is sent to a container that nobody is attached to is lost.
                stream = client.attach_socket(created, params={"stdin": 1, "stream": 1})
                try:
                    client.start(created)
                    _send(stream, handed_over)
                finally:
                    _hang_up(stream)
                return seen(client.inspect_container(created))
            except BaseException:
                with contextlib.suppress(docker.errors.APIError, requests.RequestException):
                    client.remove_container(created, force=True, v=True)
                raise

    def signal(self, container: str, signal: str) -> None:
        with self._client() as client:
            client.kill(container, signal)

    def pause(self, container: str) -> None:
        """Freeze it, as somebody at a terminal may."""
        with self._client() as client:
            client.pause(container)

    def remove(self, container: str) -> None:
        """Kill it if it runs, and remove it. One that is gone or going is fine."""
        with contextlib.suppress(Absent, Conflict), self._client() as client:
            client.remove_container(container, force=True, v=True)

    def log(self, container: str, *, tail: int) -> bytes:
        """The last lines; empty where there is none."""
        with contextlib.suppress(Absent, Conflict), self._client() as client:
            return cast("bytes", client.logs(container, stdout=True, stderr=True, tail=tail))
        return b""

    # === everything of ours, whoever made it
    def ours(self, kind: str) -> list[Mapping[str, Any]]:
        """Containers, networks, volumes or images that carry our label, as the engine lists them."""
        filters = {"label": LABEL}
        with self._client() as client:
            if kind == "containers":
                return cast("list[Mapping[str, Any]]", client.containers(all=True, filters=filters))
            if kind == "networks":
                return cast("list[Mapping[str, Any]]", client.networks(filters=filters))
            if kind == "volumes":
                return cast("list[Mapping[str, Any]]", client.volumes(filters=filters)["Volumes"] or [])
            return cast("list[Mapping[str, Any]]", client.images(filters=filters, all=True))

    # === networks and volumes
    def network(self, name: str) -> Mapping[str, Any] | None:
        with contextlib.suppress(Absent), self._client() as client:
            return cast("Mapping[str, Any]", client.inspect_network(name))
        return None

    def create_network(
        self, name: str, *, options: Mapping[str, str], labels: Mapping[str, str], subnet: str | None
    ) -> None:
        pools = [docker.types.IPAMPool(subnet=subnet)] if subnet is not None else None
        with self._client() as client:
            client.create_network(
                name, driver="bridge", options=dict(options), labels=dict(labels), check_duplicate=True,
                ipam=docker.types.IPAMConfig(pool_configs=pools),
            )  # fmt: skip

    def remove_network(self, name: str) -> None:
        with contextlib.suppress(Absent), self._client() as client:
            client.remove_network(name)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Does nothing where it exists."""
        with self._client() as client:
            client.create_volume(name, labels=dict(labels))

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        with self._client() as client:
            return cast("str", client.create_container_from_config(dict(body), name)["Id"])

    def has_volume(self, name: str) -> bool:
        with contextlib.suppress(Absent), self._client() as client:
            return bool(client.inspect_volume(name))
        return False

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(Absent), self._client() as client:
            client.remove_volume(name)

    def remove_image(self, name: str) -> None:
        with contextlib.suppress(Absent), self._client() as client:
            client.remove_image(name, noprune=True)

    def last_step(self, image: str) -> str:
        """The instruction that made an image what it is; empty where that is not known."""
        with contextlib.suppress(Absent), self._client() as client:
            steps = client.history(image)
            return str(steps[0].get("CreatedBy", "")) if steps else ""
        return ""

    @property
    def api_version(self) -> str:
        """The version of the API that is spoken; empty before the first answer."""
        return self._version or ""


# WORKAROUND: the library's connection does not close a socket that it cannot connect, so that each try while an
# engine restarts leaves one behind (https://github.com/docker/docker-py/pull/3356); and its adapter keeps a
# connection for each address it ever asked, up to 25 a client.
class _UnixConnection(UnixHTTPConnection):
    def connect(self) -> None:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.settimeout(self.timeout)
            door.connect(self.unix_socket)
        except BaseException:
            door.close()
            raise
        self.sock = door


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        return _UnixConnection(self.base_url, self.socket_path, cast("Any", self.timeout))


class _UnixAdapter(UnixHTTPAdapter):
    def get_connection(self, url: bytes | str, proxies: object = None) -> _UnixPool:
        with self.pools.lock:
            pool = self.pools.get(self.socket_path)
            if pool is None:
                pool = _UnixPool("", self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[self.socket_path] = pool
            return cast("_UnixPool", pool)


def _send(stream: Any, data: bytes) -> None:
    """`stream` is what `attach_socket` returns: a socket, or a file object around one."""
    connection = getattr(stream, "_sock", stream)
    connection.sendall(data)


def _hang_up(stream: Any) -> None:
    """Tell the other side that nothing more comes, and close the socket and the file object around it."""
    connection = getattr(stream, "_sock", stream)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
    stream.close()
    if type(connection) is socket.socket:
        # The library's response holds on to it until the garbage collector comes.
        descriptor = connection.detach()
        if descriptor >= 0:
            os.close(descriptor)
    connection.close()


# === errors for people
def unreachable(error: BaseException, url: str) -> EnvironmentProblem:
    """What it means that no answer came. Decided by the system's error, never by text."""
    if isinstance(error, requests.Timeout):
        return EnvironmentProblem(
            f"The Docker Engine at {url} does not answer.",
            fix="See whether it hangs (systemctl status docker); work goes on by itself once it answers.",
        )
    cause = _system_error(error)
    if isinstance(cause, PermissionError):
        return EnvironmentProblem(
            f"This user may not use the Docker Engine at {url}.",
            fix="Add the user to the group docker and log in again, use rootless Docker, or --runtime process.",
        )
    if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
        return EnvironmentProblem(
            f"No Docker Engine answers at {url}.", fix="Start Docker, or use --runtime process."
        )
    if cause is not None:
        return EnvironmentProblem(
            f"The connection to the Docker Engine at {url} broke ({cause.strerror or type(cause).__name__}).",
            fix="See whether it is running; work goes on by itself once it answers.",
        )
    return EnvironmentProblem(
        f"The Docker Engine at {url} cannot be used ({error}).",
        fix="See that the address is right and that a Docker Engine answers there.",
    )


def _system_error(error: BaseException | None) -> OSError | None:
    """The innermost error of the system's in what the library wrapped it in."""
    found: OSError | None = None
    waiting: list[object] = [error]
    known: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in known:
            continue
        known.add(id(one))
        if isinstance(one, OSError) and one.errno is not None:
            found = one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


def _explanation(error: docker.errors.APIError) -> str:
    return str(error.explanation or error).strip().splitlines()[0]
