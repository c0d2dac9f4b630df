"""What `doctor` says of a Docker Engine, without one."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.containers.endpoint import Endpoint
from taskmaster_desktop.backend.containers.preparing import Prepared
from taskmaster_desktop.backend.containers.profile import Profile
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.cli.checks import docker
from taskmaster_desktop.cli.checks.finding import Finding
from taskmaster_desktop.settings import Settings

PREPARED = Prepared(profile=Profile(image="x"), engine_id="", engine="", desktop=False)
SOCKET, LOOPBACK, GATEWAY = "unix:/data/run/rpc/worker.sock", "127.0.0.1:41981", "172.18.0.1:41981"
PROBLEM = EnvironmentProblem("No Docker Engine answers.", fix="Start Docker.")


@pytest.fixture(autouse=True)
def no_engine_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setattr(docker, "ENGINE_LIMIT_S", 1.0)


def findings(**wishes: Any) -> list[Finding]:
    return list(docker.docker_findings(Settings(**wishes)))


def test_on_processes_docker_is_no_matter() -> None:
    assert findings(runtime="process", docker_host="unix:///nowhere") == [
        Finding("docker", "ok", "not used: the runtime is set to process")
    ]


@pytest.mark.parametrize(("runtime", "status"), [("auto", "warn"), ("docker", "fail")])
@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///nowhere/docker.sock", "No Docker Engine answers at unix:///nowhere/docker.sock."),
        ("tcp://198.51.100.1:2375", "runs on another machine"),
        ("ssh://somebody@elsewhere", "runs on another machine"),
    ],
)
def test_an_engine_that_was_named_and_is_not_to_be_had(
    runtime: str, status: str, host: str, said: str
) -> None:
    (found,) = findings(runtime=runtime, docker_host=host)
    assert (found.name, found.status) == ("docker", status)
    assert said in found.text
    assert found.fix.endswith(".")
    assert found.fix not in found.text


def test_an_engine_that_hangs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        (found,) = findings(docker_host=f"unix://{tmp_path}/s")
    assert (found.status, found.text) == (
        "warn",
        f"The Docker Engine at unix://{tmp_path}/s does not answer.",
    )


@pytest.mark.parametrize(
    ("why", "there", "needed", "status"),
    [
        ("the usual socket", "nothing", False, "ok"),
        ("the usual socket", "nothing", True, "fail"),
        ("the usual socket", "left behind", False, "ok"),
        ("the usual socket", "listens", False, "warn"),
        ("from DOCKER_HOST", "nothing", False, "warn"),
        ("as set", "nothing", False, "warn"),
    ],
)
def test_a_missing_engine_is_news_where_somebody_counts_on_it(
    tmp_path: Path, why: str, there: str, needed: bool, status: str
) -> None:
    endpoint = Endpoint(url=f"unix://{tmp_path}/s", why=why)
    with socket.socket(socket.AF_UNIX) as maybe:
        if there != "nothing":
            maybe.bind(str(tmp_path / "s"))
        if there == "listens":
            maybe.listen()
        found = docker.silent_finding(endpoint, PROBLEM, needed=needed)
    assert found.status == status
    assert bool(found.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ({}, "28.1 (API 1.45) answers"),
        ({"OperatingSystem": "Docker Desktop"}, "28.1 (API 1.45) in Docker Desktop answers"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "28.1 (API 1.45), rootless answers"),
    ],
)
def test_the_engine_in_use_is_named_with_the_reason(info: Mapping[str, Any], kind: str) -> None:
    endpoint = Endpoint(url="unix:///run/user/1000/docker.sock", why="from the Docker context rootless")
    told = {"ServerVersion": "28.1", "NCPU": 4, "MemTotal": 8 << 30, **info}
    assert docker.engine_finding(endpoint, told, "1.45") == Finding(
        "docker",
        "ok",
        f"Docker Engine {kind} at unix:///run/user/1000/docker.sock, from the Docker context rootless; "
        "4 processor(s), 8.0 GiB of memory",
    )


@pytest.mark.parametrize(
    ("there", "base", "said"),
    [
        (True, False, "image:1 is there"),
        (False, True, "builds it on base:1, which is there"),
        (False, False, "builds it on base:1, which is pulled then"),
    ],
)
def test_the_worker_image(there: bool, base: bool, said: str) -> None:
    class Images:
        def image(self, _name: str) -> Mapping[str, Any] | None:
            return {} if base else None

    found = docker.image_finding(Images(), "image:1", there=there, base="base:1")
    assert (found.status, found.fix) == ("ok", "")
    assert said in found.text


@pytest.mark.parametrize(
    ("desktop", "network", "tried"),
    [
        (False, True, {"container, socket": SOCKET, "container, bridge": GATEWAY}),
        (False, False, {"container, socket": SOCKET}),
        (True, True, {"container, loopback": LOOPBACK}),
        (True, False, {}),
    ],
)
def test_the_ways_that_are_tried(desktop: bool, network: bool, tried: dict[str, str]) -> None:
    prepared = replace(PREPARED, desktop=desktop, profile=Profile(image="x", network=network))
    endpoints = (SOCKET, LOOPBACK) if desktop else (SOCKET, LOOPBACK, GATEWAY)
    ways = docker.container_ways(endpoints, prepared, bridge="tm-0123abcd", kept="")
    assert {way.name: way.endpoint for way in ways} == tried
    assert all(way.fix for way in ways)


@pytest.mark.parametrize(("kept", "narrow"), [("41981", True), ("41982", False), ("", False)])
def test_the_rule_to_open_names_the_port_where_that_stays(kept: str, narrow: bool) -> None:
    (way,) = docker.container_ways((GATEWAY,), PREPARED, bridge="tm-0123abcd", kept=kept)
    assert way.fix.startswith(f"It tried {GATEWAY} through the interface tm-0123abcd. ")
    for words in (
        f"iptables -I INPUT -i tm-+ -p tcp{' --dport 41981' * narrow} -j ACCEPT;",
        f"ufw allow in on tm-+{' to any port 41981 proto tcp' * narrow};",
        "firewall-cmd --permanent --zone=trusted --add-interface=tm-+",
    ):
        assert words in way.fix
    assert (" port " in way.fix) is ("--dport" in way.fix) is narrow


def test_the_port_of_the_users_instance_is_tried(tmp_path: Path) -> None:
    data_dir, folder = tmp_path / "data", tmp_path / "probe"
    folder.mkdir()
    assert docker._take_port(data_dir, folder) == ""
    (data_dir / "run").mkdir(parents=True)
    (data_dir / "run/port").write_text("41981\n")
    assert docker._take_port(data_dir, folder) == "41981"
    assert (folder / "run/port").read_text() == "41981\n"


def test_it_looks_where_the_data_folder_is_unless_that_leaves_no_room(tmp_path: Path) -> None:
    assert docker._place(Path("/")) == Path("/")
    assert docker._place(tmp_path / "missing") is None
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    assert docker._place(deep) is None
