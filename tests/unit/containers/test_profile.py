"""Every line that keeps a worker's container in its place, and that nothing secret is among them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from taskmaster_desktop.backend.containers.image import AGENT_COMMAND, AGENT_FOLDER
from taskmaster_desktop.backend.containers.mounts import Mount
from taskmaster_desktop.backend.containers.profile import Place, Profile, create_body, endpoints_inside

PROFILE = Profile(image="img:1", env={"TOKEN": "secret-text"})
PLACE = Place(instance="inst-1", data_dir="/data", network="tm-inst", socket_folder="/data/run/rpc")
SOCKET = "unix:/data/run/rpc/worker.sock"


def body(profile: Profile = PROFILE, place: Place = PLACE) -> dict[str, Any]:
    return create_body(profile, place, worker_id="w1-e1", name="worker-1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CapDrop", ["ALL"]),
        ("SecurityOpt", ["no-new-privileges"]),
        ("ReadonlyRootfs", True),
        ("Init", True),
        ("PidsLimit", 256),
        ("Memory", 512 * 2**20),
        ("MemorySwap", 512 * 2**20),
        ("NanoCpus", 1_000_000_000),
        ("NetworkMode", "tm-inst"),
        ("RestartPolicy", {"Name": "no"}),
        ("LogConfig", {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}),
        ("Binds", ["/data/run/rpc:/run/taskmaster:ro"]),
        (
            "Ulimits",
            [{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "core", "Soft": 0, "Hard": 0}],
        ),
    ],
)
def test_a_line_of_the_host_config(name: str, value: object) -> None:
    assert body()["HostConfig"][name] == value


def test_nothing_widens_what_the_lines_narrow() -> None:
    forbidden = {"Privileged", "CapAdd", "Devices", "PidMode", "IpcMode", "UsernsMode", "UTSMode", "CgroupnsMode",
                 "PortBindings", "PublishAllPorts", "VolumesFrom", "AutoRemove", "ExtraHosts"}  # fmt: skip
    assert not forbidden & body()["HostConfig"].keys()


def test_temporary_folders_are_small_and_carry_no_privilege() -> None:
    tmpfs = body()["HostConfig"]["Tmpfs"]
    assert set(tmpfs) == {"/tmp", "/home/taskmaster"}
    for options in tmpfs.values():
        assert {"nosuid", "nodev"} <= set(options.split(","))
        assert "size=" in options


def test_the_agent_runs_as_nobody_special_and_is_handed_its_secret() -> None:
    made = body()
    assert made["User"] == "1000:1000"
    assert (made["OpenStdin"], made["StdinOnce"], made["AttachStdin"]) == (True, True, True)
    assert (made["Entrypoint"], made["Cmd"]) == (list(AGENT_COMMAND), [])
    assert made["Healthcheck"] == {"Test": ["NONE"]}
    assert made["Labels"] == {
        "io.taskmaster-desktop": "worker",
        "io.taskmaster-desktop.worker": "w1-e1",
        "io.taskmaster-desktop.instance": "inst-1",
        "io.taskmaster-desktop.data-dir": "/data",
    }


def test_nothing_secret_is_in_the_body() -> None:
    text = json.dumps(body())
    assert "secret-text" not in text
    assert "TOKEN" not in text
    assert "secret-text" not in repr(body())


def test_choices_of_the_user_are_kept() -> None:
    mounts = (Mount(path="/srv/in", read_only=True), Mount(path="/srv/out", read_only=False))
    chosen = replace(
        PROFILE, cpus=1.5, memory_bytes=2**30, pids=99, network=False, read_only=False, mounts=mounts[:1],
        agent_volume="tm-agent-1",
    )  # fmt: skip
    host = body(chosen)["HostConfig"]
    assert (host["NanoCpus"], host["PidsLimit"], host["NetworkMode"]) == (1_500_000_000, 99, "none")
    assert host["Memory"] == host["MemorySwap"] == 2**30
    assert host["ReadonlyRootfs"] is False
    assert host["Binds"] == [
        "/srv/in:/srv/in:ro",
        "/data/run/rpc:/run/taskmaster:ro",
        f"tm-agent-1:{AGENT_FOLDER}:ro,nocopy",
    ]


INSIDE = "unix:/run/taskmaster/worker.sock"
DOOR = (SOCKET, "127.0.0.1:5000", "172.20.0.1:5000")


@pytest.mark.parametrize(
    ("network", "mounted", "desktop", "inside"),
    [
        (True, True, False, (INSIDE, "172.20.0.1:5000")),
        (False, True, False, (INSIDE,)),
        (True, False, True, ("host.docker.internal:5000", "172.20.0.1:5000")),
        (False, False, True, ()),
        (True, False, False, ("172.20.0.1:5000",)),
    ],
)
def test_the_ways_out_of_a_container(
    network: bool, mounted: bool, desktop: bool, inside: tuple[str, ...]
) -> None:
    profile = replace(PROFILE, network=network)
    assert endpoints_inside(DOOR, profile, socket_mounted=mounted, desktop=desktop) == inside
