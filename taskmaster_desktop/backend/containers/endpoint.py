"""Which Docker Engine is ours: the setting, then DOCKER_HOST, then the chosen context, then the usual sockets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from taskmaster_desktop.backend.errors import EnvironmentProblem

USUAL_SOCKET = "unix:///var/run/docker.sock"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    Attributes:
        why: one clause for people: where the address is from.
        tls: what the library wants for TLS; None without.
    """

    url: str
    why: str
    tls: Any = None


def usual_sockets(environment: Mapping[str, str], home: Path) -> list[Path]:
    """The system's, a rootless engine's, Docker Desktop's."""
    runtime_dir = environment.get("XDG_RUNTIME_DIR")
    return [
        Path("/var/run/docker.sock"),
        *([Path(runtime_dir, "docker.sock")] if runtime_dir else []),
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
    ]


def choose_endpoint(
    wanted: str | None,
    environment: Mapping[str, str],
    *,
    from_environment: Callable[[], Mapping[str, Any]],
    from_context: Callable[[], tuple[str, Mapping[str, Any]] | None],
    sockets: list[Path],
) -> Endpoint:
    """The first that says something.

    `from_environment` tells `base_url` and `tls` of DOCKER_HOST and its companions; `from_context` the name, and
    the same two, of a context other than the default one, or None.
    """
    if wanted:
        return Endpoint(url=wanted, why="as set")
    if environment.get("DOCKER_HOST"):
        given = from_environment()
        return Endpoint(url=given["base_url"], why="from DOCKER_HOST", tls=given.get("tls"))
    context = from_context()
    if context is not None:
        name, given = context
        return Endpoint(url=given["base_url"], why=f"from the Docker context {name}", tls=given.get("tls"))
    for socket in sockets:
        if socket.exists():
            return Endpoint(url=f"unix://{socket}", why="the usual socket")
    return Endpoint(url=USUAL_SOCKET, why="the usual socket")


def refuse_remote(url: str) -> None:
    """Workers talk back over a socket or an address of this machine, so the engine must run here."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "npipe", "http+unix"):
        return
    if parts.scheme == "ssh" or (parts.hostname or "") not in _LOCAL_NAMES:
        raise EnvironmentProblem(
            f"The Docker Engine at {url} runs on another machine, from where workers cannot reach this one.",
            fix="Name an engine of this machine with --docker-host, or use --runtime process.",
        )
