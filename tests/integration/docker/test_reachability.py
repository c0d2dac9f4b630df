"""By which way workers in containers reach the engine when others are barred, and that nobody else gets in."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from tests.helpers.containers import OWN_IMAGE, Containers, networks_of, running_containers, short_folder
from tests.helpers.eventually import eventually
from tests.helpers.firewall import dropped

pytestmark = pytest.mark.docker

SOCKET = "unix:/run/taskmaster/worker.sock"
FIRST_CONTACT_S = 3.0
"""From the order for a worker to its being online; about 0.6 s where its first way is open."""


def bridge_of(running: Containers) -> tuple[str, str]:
    """The interface and the address of this machine on the instance's bridge."""
    (row,) = networks_of(running.client, running.instance)
    described = running.client.inspect_network(row["Id"])
    return described["Options"]["com.docker.network.bridge.name"], described["IPAM"]["Config"][0]["Gateway"]


def agents_log(running: Containers) -> str:
    (worker,) = running.workers()
    return running.client.logs(running.container(worker)).decode()


def came_by(running: Containers) -> str:
    """The endpoint of its session, as the agent says."""
    (endpoint,) = re.findall(r"session \d+ at (\S+)", agents_log(running))
    return str(endpoint)


def up_after_s(running: Containers) -> float:
    """Seconds from the order for one worker to its being online."""
    begun_s = running.clock_s()
    running.scale(1)
    running.until_online(1)
    return running.clock_s() - begun_s


def test_the_bridges_interface_has_the_networks_name(docker_engine: docker.APIClient) -> None:
    """So a firewall's rule for it stays true when the network is made anew."""
    with short_folder() as folder, running_containers(folder, docker_engine) as running:
        name, _ = bridge_of(running)
        assert name == f"tm-{running.instance[:8]}"
        assert Path("/sys/class/net", name).exists()


def test_with_the_bridge_dropped_workers_come_up_by_the_socket(docker_engine: docker.APIClient) -> None:
    with short_folder() as folder, running_containers(folder, docker_engine) as running:
        interface, gateway = bridge_of(running)
        with dropped(interface):
            assert up_after_s(running) < FIRST_CONTACT_S
            assert came_by(running) == SOCKET
            door = f"{gateway}:{(folder / 'run/port').read_text().strip()}"
            assert not reaches(running, door)
            assert running.lines("echo by the socket") == ["by the socket"]
            assert any(line.endswith(" is online.") for line in running.log())
        assert reaches(running, door)


def reaches(running: Containers, endpoint: str) -> bool:
    """Whether a command in a worker can connect there: proof that the rule does what it should."""
    host, _, port = endpoint.rpartition(":")
    tried = f"timeout 1 bash -c 'exec 3<>/dev/tcp/{host}/{port}' 2>/dev/null && echo yes || echo no"
    return running.lines(tried) == ["yes"]


def denied(door: Path) -> None:
    door.chmod(0)


def removed(door: Path) -> None:
    door.unlink()


def deserted(door: Path) -> None:
    """There is a socket, but nobody listens, as after a crash."""
    door.unlink()
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(door))
    door.chmod(0o666)


def no_socket(door: Path) -> None:
    door.unlink()
    door.write_bytes(b"not a socket")


@pytest.mark.parametrize("spoil", [denied, removed, deserted, no_socket], ids=lambda one: one.__name__)
def test_with_the_socket_unusable_workers_come_up_by_the_bridge(
    docker_engine: docker.APIClient, spoil: Callable[[Path], None]
) -> None:
    with short_folder() as folder, running_containers(folder, docker_engine) as running:
        _, gateway = bridge_of(running)
        spoil(folder / "run/rpc/worker.sock")
        assert up_after_s(running) < FIRST_CONTACT_S
        assert came_by(running).startswith(f"{gateway}:")
        assert f"{SOCKET} failed: UNAVAILABLE" in agents_log(running)
        assert running.lines("echo by the bridge") == ["by the bridge"]
        (said,) = [line for line in running.log() if "is online" in line]
        assert re.search(r" is online by the bridge \(the Unix socket: [a-z ]+\)\.$", said)


def test_a_socket_that_hangs_is_given_up(docker_engine: docker.APIClient) -> None:
    with short_folder() as folder, running_containers(folder, docker_engine) as running:
        _, gateway = bridge_of(running)
        door = folder / "run/rpc/worker.sock"
        door.unlink()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(door))
            door.chmod(0o666)
            silent.listen()
            assert up_after_s(running) < FIRST_CONTACT_S
        assert came_by(running).startswith(f"{gateway}:")
        assert f"no answer from {SOCKET} in time" in agents_log(running)


def test_with_no_way_left_a_worker_does_not_come_up_and_later_does(docker_engine: docker.APIClient) -> None:
    """As soon as a way is open again it is used, without a restart of anything."""
    with short_folder() as folder, running_containers(folder, docker_engine) as running:
        interface, gateway = bridge_of(running)
        (folder / "run/rpc/worker.sock").unlink()
        with dropped(interface):
            running.scale(1)

            def log() -> str:
                found = running.client.containers(filters={"network": f"tm-{running.instance[:8]}"})
                return running.client.logs(found[0]["Id"]).decode() if found else ""

            eventually(lambda: f"no answer from {gateway}:" in log(), timeout_s=30)
            assert running.workers() == []
        running.until_online(1)
        assert came_by(running).startswith(f"{gateway}:")


def test_without_a_network_the_socket_is_the_only_way(docker_engine: docker.APIClient) -> None:
    with (
        short_folder() as folder,
        running_containers(
            folder, docker_engine, workers=1, profile=replace(OWN_IMAGE, network=False)
        ) as running,
    ):
        assert networks_of(docker_engine, running.instance) == []
        assert came_by(running) == SOCKET
