"""Nobody but a worker of this instance gets a call to its handler, from wherever he knocks and with whatever he has."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, WHEELS
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.containers.image import AGENT_COMMAND, ensure_worker_image
from taskmaster_desktop.backend.containers.profile import KIND_IMAGE, LABEL
from taskmaster_desktop.backend.containers.surroundings import Surroundings
from taskmaster_desktop.backend.ports import WorkerSecret
from taskmaster_desktop.backend.rpc.security import Authority
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from tests.helpers.containers import short_folder
from tests.helpers.firewall import namespace
from tests.helpers.rpc_peer import RecordingHandler, as_somebody_else
from tests.helpers.shifted_clock import ShiftedClock
from tests.helpers.source_rules import ROOT
from tests.helpers.worker_records import worker_record

pytestmark = pytest.mark.docker

INSTANCE = "0000aaaa-strangers"
WORKER = "worker-1"
SCRIPT = (ROOT / "tests/helpers/stranger.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A door on the bridge of its instance, and who may and may not come in.

    Attributes:
        strangers: what they have, by what is wrong with it.
        image: one that can run the script of a stranger.
    """

    handler: RecordingHandler
    network: str
    endpoint: str
    guest: WorkerSecret
    strangers: dict[str, WorkerSecret]
    image: str


@pytest.fixture(scope="module")
def image(docker_engine: docker.APIClient) -> str:
    api = DockerApi(find_endpoint(None))
    made = ensure_worker_image(
        api, base=BASE_IMAGE, wheels=WHEELS, labels={LABEL: KIND_IMAGE}, progress=lambda _: None
    )
    api.close()
    return made


@pytest.fixture
def bridge() -> Iterator[tuple[str, str]]:
    """The name of an instance's network and the address of this machine on it."""
    api = DockerApi(find_endpoint(None))
    surroundings = Surroundings(api, instance=INSTANCE, data_dir=Path("/nowhere"), network=True)
    (gateway,) = surroundings.prepare()
    yield surroundings.network_name, gateway
    surroundings.dismantle()
    assert api.network(surroundings.network_name) is None
    api.close()


@pytest.fixture
async def house(bridge: tuple[str, str], image: str) -> AsyncIterator[House]:
    network, gateway = bridge
    handler = RecordingHandler()
    with short_folder() as folder:
        expired = Authority.open(folder / "tls", INSTANCE, ShiftedClock(days=-500)).issue(WORKER)
        door, other = GrpcDoor(folder, INSTANCE), GrpcDoor(folder / "other", "0000bbbb-other")
        await door.start(handler, [gateway])
        await other.start(RecordingHandler())
        guest = door.secret_for(worker_record(WORKER))
        stolen = other.secret_for(worker_record(WORKER))
        earlier = Authority.open(folder / "earlier", INSTANCE, SystemClock()).issue(WORKER)
        server = Authority.open(folder / "tls", INSTANCE, SystemClock()).server
        yield House(
            handler=handler,
            network=network,
            endpoint=next(one for one in guest.endpoints if one.startswith(f"{gateway}:")),
            guest=guest,
            strangers={
                "no TLS": replace(guest, ca_pem=b""),
                "no certificate": replace(guest, cert_pem=b"", key_pem=b""),
                "expired": replace(guest, cert_pem=expired.cert_pem, key_pem=expired.key_pem),
                "of an earlier authority": replace(guest, cert_pem=earlier.cert_pem, key_pem=earlier.key_pem),
                "of the server": replace(guest, cert_pem=server.cert_pem, key_pem=server.key_pem),
                "stolen": stolen,
                "stolen, and knows the way": as_somebody_else(guest, stolen),
            },
            image=image,
        )
        await door.close()
        await other.close()


Knock = Callable[[House, str], Awaitable[dict[str, str]]]
"""Knocks with all secrets, given as JSON; returns what came of each, by its name."""


def tries(house: House, *more: tuple[str, WorkerSecret]) -> str:
    return json.dumps(
        [
            {
                "name": name, "endpoint": house.endpoint, "server_name": secret.server_name, "worker": WORKER,
                "ca": secret.ca_pem.decode(), "cert": secret.cert_pem.decode(), "key": secret.key_pem.decode(),
            }
            for name, secret in (*house.strangers.items(), *more)
        ]
    )  # fmt: skip


def in_a_container(network: str | None) -> Knock:
    """On the default bridge where no network is named; `own` is the instance's."""

    def knock(house: House, secrets: str) -> str:
        command = [*AGENT_COMMAND[: AGENT_COMMAND.index("-m")], "-c", SCRIPT]
        docker_run = ["docker", "run", "--rm", "--env", "STRANGER", "--entrypoint", command[0]]
        place = ["--network", house.network] if network == "own" else []
        return _said([*docker_run, *place, house.image, *command[1:]], secrets)

    return lambda house, secrets: _in_thread(knock, house, secrets)


def in_a_namespace(house: House, secrets: str) -> Awaitable[dict[str, str]]:
    def knock(_: House, secrets: str) -> str:
        with namespace() as name:
            return _said(["ip", "netns", "exec", name, sys.executable, "-c", SCRIPT], secrets)

    return _in_thread(knock, house, secrets)


def on_this_machine(house: House, secrets: str) -> Awaitable[dict[str, str]]:
    return _in_thread(lambda _, secrets: _said([sys.executable, "-c", SCRIPT], secrets), house, secrets)


def _said(command: list[str], secrets: str) -> str:
    done = subprocess.run(
        command, env=os.environ | {"STRANGER": secrets}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _in_thread(knock: Callable[[House, str], str], house: House, secrets: str) -> dict[str, str]:
    said = await asyncio.to_thread(knock, house, secrets)
    return dict(line.split(": ", 1) for line in said.splitlines())


@pytest.mark.parametrize(
    "knock",
    [in_a_container(None), in_a_container("own"), in_a_namespace, on_this_machine],
    ids=["container beside", "container on the bridge", "network namespace", "this machine"],
)
async def test_no_call_of_a_stranger_reaches_the_handler(house: House, knock: Knock) -> None:
    told = await knock(house, tries(house))
    assert told == dict.fromkeys(house.strangers, "UNAVAILABLE")
    assert house.handler.hellos == []
    # The same way is open to a worker of this instance, so it was not the way that kept them out.
    told = await knock(house, tries(replace(house, strangers={}), ("guest", house.guest)))
    assert told == {"guest": "welcome"}
    assert [hello.worker_id for hello in house.handler.hellos] == [WORKER]


@pytest.mark.expects_logs
async def test_a_worker_cannot_pass_for_another_one(house: House) -> None:
    """A command that got at its worker's certificate is still only that worker."""
    secrets = json.loads(tries(replace(house, strangers={}), ("neighbour", house.guest)))
    secrets[0]["worker"] = "worker-2"
    told = await in_a_container("own")(house, json.dumps(secrets))
    assert told == {"neighbour": "refused"}
    assert house.handler.hellos == []
