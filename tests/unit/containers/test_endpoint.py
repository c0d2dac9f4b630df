"""Which engine is looked for, in which order, and that it must be of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.containers.endpoint import (
    Endpoint,
    choose_endpoint,
    refuse_remote,
    usual_sockets,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem

FROM_HOST = {"base_url": "tcp://127.0.0.1:2376", "tls": "certificates"}
FROM_CONTEXT = ("desktop-linux", {"base_url": "unix:///home/ann/.docker/desktop/docker.sock"})


def choose(
    wanted: str | None = None,
    *,
    host: str = "",
    context: tuple[str, Mapping[str, Any]] | None = None,
    sockets: tuple[Path, ...] = (),
) -> Endpoint:
    return choose_endpoint(
        wanted,
        {"DOCKER_HOST": host},
        from_environment=lambda: FROM_HOST,
        from_context=lambda: context,
        sockets=list(sockets),
    )


def test_the_setting_wins_then_the_environment_then_the_context_then_a_socket(tmp_path: Path) -> None:
    there = tmp_path / "docker.sock"
    there.touch()
    everything: dict[str, Any] = {"host": "tcp://x", "context": FROM_CONTEXT, "sockets": (there,)}
    assert choose("unix:///mine", **everything) == Endpoint(url="unix:///mine", why="as set")
    assert choose(**everything) == Endpoint(
        url="tcp://127.0.0.1:2376", why="from DOCKER_HOST", tls="certificates"
    )
    assert choose(**everything | {"host": ""}) == Endpoint(
        url="unix:///home/ann/.docker/desktop/docker.sock", why="from the Docker context desktop-linux"
    )
    assert choose(sockets=(tmp_path / "absent", there)) == Endpoint(
        url=f"unix://{there}", why="the usual socket"
    )


def test_where_nothing_is_found_the_usual_socket_is_named(tmp_path: Path) -> None:
    found = choose(sockets=(tmp_path / "absent",))
    assert found == Endpoint(url="unix:///var/run/docker.sock", why="the usual socket")


def test_sockets_of_rootless_engines_and_of_docker_desktop_are_known() -> None:
    home = Path("/home/ann")
    assert usual_sockets({"XDG_RUNTIME_DIR": "/run/user/1000"}, home) == [
        Path("/var/run/docker.sock"),
        Path("/run/user/1000/docker.sock"),
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
    ]
    assert Path("/run/user/1000/docker.sock") not in usual_sockets({}, home)


@pytest.mark.parametrize(
    "url",
    ["unix:///x", "npipe:////./pipe/docker", "tcp://localhost:1", "https://127.0.0.1:2376", "tcp://[::1]:1"],
)
def test_an_engine_of_this_machine_is_taken(url: str) -> None:
    refuse_remote(url)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://ann@localhost",
        "tcp://192.0.2.1:2375",
        "https://build.example:2376",
        "tcp://localhost.example:1",
    ],
)
def test_an_engine_of_another_machine_is_refused(url: str) -> None:
    with pytest.raises(EnvironmentProblem, match="on another machine") as caught:
        refuse_remote(url)
    assert caught.value.fix
