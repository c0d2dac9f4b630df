"""What `doctor` finds out about ways from containers to this machine, with real containers and real barriers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, WHEELS
from taskmaster_desktop.backend.containers.image import ensure_worker_image
from taskmaster_desktop.backend.containers.profile import KIND_IMAGE, LABEL
from taskmaster_desktop.backend.ports import SessionHandler
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.cli.checks.docker import docker_findings
from taskmaster_desktop.cli.checks.finding import Finding
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from taskmaster_desktop.settings import Settings
from tests.helpers.containers import short_folder
from tests.helpers.firewall import dropped
from tests.helpers.program import Program

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("worker_image")]

WAYS = ["container, socket", "container, bridge"]
PROBES = "tm-doc+"
"""The interfaces of doctor's own bridges."""


@pytest.fixture(scope="module")
def worker_image(docker_engine: docker.APIClient) -> str:
    api = DockerApi(find_endpoint(None))
    made = ensure_worker_image(
        api, base=BASE_IMAGE, wheels=WHEELS, labels={LABEL: KIND_IMAGE}, progress=lambda _: None
    )
    api.close()
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made
        assert [path.name for path in made.iterdir()] in ([], ["run"])


@pytest.fixture
def barred_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under SELinux: the folder is mounted, the socket in it may not be used."""
    start = GrpcDoor.start

    async def started(door: GrpcDoor, handler: SessionHandler, hosts: Sequence[str] = ()) -> None:
        await start(door, handler, hosts)
        (door.socket_folder / "worker.sock").chmod(0)

    monkeypatch.setattr(GrpcDoor, "start", started)


def ways_found(folder: Path, **wishes: str) -> dict[str, Finding]:
    settings = Settings(data_dir=folder, worker_base=BASE_IMAGE, **wishes)
    found = {finding.name: finding for finding in docker_findings(settings)}
    assert [found.pop(name).status for name in ("docker", "worker image")] == ["ok", "ok"]
    assert list(found) == WAYS
    return found


def statuses(found: dict[str, Finding]) -> list[str]:
    return [found[name].status for name in WAYS]


def test_both_ways_are_open(folder: Path, docker_engine: docker.APIClient) -> None:
    found = ways_found(folder)
    assert statuses(found) == ["ok", "ok"]
    assert all("mutual TLS" in finding.text for finding in found.values())
    assert not [row for row in docker_engine.networks() if row["Name"].startswith("tm-doc")]
    assert not [row for row in docker_engine.containers(all=True) if row["Names"][0].startswith("/tm-doc")]


def test_a_dropped_bridge_is_worth_a_warning(folder: Path) -> None:
    with dropped(PROBES):
        found = ways_found(folder)
    assert statuses(found) == ["ok", "warn"]
    assert "no answer from" in found["container, bridge"].text


@pytest.mark.usefixtures("barred_socket")
def test_a_barred_socket_is_worth_a_warning(folder: Path) -> None:
    found = ways_found(folder)
    assert statuses(found) == ["warn", "ok"]
    assert "Permission denied" in found["container, socket"].text
    assert "SELinux" in found["container, socket"].fix


@pytest.mark.usefixtures("barred_socket")
def test_with_neither_it_says_which_rule_to_open_and_the_rule_helps(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run/port").write_text("41977\n")
    with dropped(PROBES):
        found = ways_found(folder)
        assert statuses(found) == ["fail", "fail"]
        said = found["container, bridge"]
        tried = re.match(r"It tried ([0-9.]+):41977 through the interface tm-doc[0-9a-f]{5}\. ", said.fix)
        assert tried is not None
        assert f"no answer from {tried[1]}:41977 in time" in said.text
        rule = re.search(r"iptables -I INPUT .* -j ACCEPT", said.fix)
        assert rule is not None
        assert "--dport 41977 " in rule[0]
        subprocess.run(rule[0].split(), check=True)
        try:
            assert statuses(ways_found(folder)) == ["warn", "ok"]
        finally:
            subprocess.run(rule[0].replace("-I INPUT", "-D INPUT").split(), check=True)


@pytest.mark.usefixtures("barred_socket")
def test_without_a_network_the_socket_is_needed(folder: Path) -> None:
    settings = Settings(data_dir=folder, worker_base=BASE_IMAGE, network=False)
    (finding,) = list(docker_findings(settings))[2:]
    assert (finding.name, finding.status) == ("container, socket", "fail")


def test_the_program_shows_it_all(tmp_path: Path, folder: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with short_folder() as temporary:
        program = Program(work, temporary)
        program.environment["TASKMASTER_DESKTOP_WORKER_BASE"] = BASE_IMAGE
        done = program.run("doctor", "--json", "--runtime", "docker", "--data-dir", str(folder))
        program.assert_nothing_left()
    told = json.loads(done.out)
    assert (done.code, done.err, told["ok"]) == (0, "", True)
    named = {check["name"]: check["text"] for check in told["checks"]}
    assert re.match(r"Docker Engine \S+ \(API 1\.\d+\).* answers at unix:/", named["docker"])
    assert "is there" in named["worker image"]
    assert set(named) >= set(WAYS)
