"""What a worker's container may do, as the body of the engine's create call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from taskmaster_desktop.backend.containers.image import AGENT_COMMAND, AGENT_FOLDER
from taskmaster_desktop.backend.containers.mounts import Mount, owner_of

LABEL = "io.taskmaster-desktop"
"""Everything of ours in an engine carries it; nothing without it is ever touched. Its value is a `KIND_*`."""
INSTANCE_LABEL = f"{LABEL}.instance"
WORKER_LABEL = f"{LABEL}.worker"
DATA_LABEL = f"{LABEL}.data-dir"
KIND_WORKER = "worker"
KIND_NETWORK = "network"
KIND_IMAGE = "image"
KIND_AGENT = "agent"

SOCKET_FOLDER = "/run/taskmaster"
SOCKET_NAME = "worker.sock"
HOME = "/home/taskmaster"
USER = (1000, 1000)
TMP_BYTES = 256 * 2**20
HOME_BYTES = 64 * 2**20
OPEN_FILES = 1024
NANO = 1_000_000_000
NETWORK_OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}
"""Containers on one bridge do not see each other."""
LOG_OPTIONS = {"max-size": "1m", "max-file": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The same for all workers of an instance.

    Attributes:
        image: what containers are made of.
        agent_volume: the volume that brings the agent along; None where the image holds it.
        cpus: processors, 1.5 for one and a half.
        memory_bytes: no swap beyond it.
        network: False leaves the Unix socket as the only way out.
        read_only: nothing can be written but /tmp, the home folder and mounts.
        env: for commands; handed over standard input, so it may hold secrets.
    """

    image: str
    agent_volume: str | None = None
    cpus: float = 1.0
    memory_bytes: int = 512 * 2**20
    pids: int = 256
    network: bool = True
    read_only: bool = True
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What ties a container to its instance.

    Attributes:
        socket_folder: the folder of this machine with the door's socket; None where there is none.
    """

    instance: str
    data_dir: str
    network: str
    socket_folder: str | None

    @property
    def labels(self) -> dict[str, str]:
        return {INSTANCE_LABEL: self.instance, DATA_LABEL: self.data_dir}


def create_body(profile: Profile, place: Place, *, worker_id: str, name: str) -> dict[str, Any]:
    """The JSON of `POST /containers/create`. Nothing in it is secret: everybody who reaches the engine reads it."""
    uid, gid = owner_of(profile.mounts) or USER
    return {
        "Image": profile.image,
        "Entrypoint": list(AGENT_COMMAND),
        "Cmd": [],
        "User": f"{uid}:{gid}",
        "WorkingDir": "/tmp",
        # What an image preloads is built for its own libraries, not for the agent's.
        "Env": [f"HOME={HOME}", f"TASKMASTER_WORKER={name}", "LANG=C.UTF-8", "LD_PRELOAD="],
        "Labels": {LABEL: KIND_WORKER, WORKER_LABEL: worker_id, **place.labels},
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "HostConfig": _host_config(profile, place, uid, gid),
    }


def _host_config(profile: Profile, place: Place, uid: int, gid: int) -> dict[str, Any]:
    binds = [mount.bind for mount in profile.mounts]
    if place.socket_folder is not None:
        binds.append(f"{place.socket_folder}:{SOCKET_FOLDER}:ro")
    if profile.agent_volume is not None:
        binds.append(f"{profile.agent_volume}:{AGENT_FOLDER}:ro,nocopy")
    return {
        "Init": True,  # a first process that passes signals on and reaps
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": profile.read_only,
        "Tmpfs": {
            "/tmp": f"rw,nosuid,nodev,exec,size={TMP_BYTES},mode=1777",
            HOME: f"rw,nosuid,nodev,exec,size={HOME_BYTES},mode=0700,uid={uid},gid={gid}",
        },
        "Binds": binds,
        "NetworkMode": place.network if profile.network else "none",
        "NanoCpus": round(profile.cpus * NANO),
        "Memory": profile.memory_bytes,
        "MemorySwap": profile.memory_bytes,
        "PidsLimit": profile.pids,
        "Ulimits": [
            {"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
        "RestartPolicy": {"Name": "no"},  # who runs is decided here
    }


def endpoints_inside(
    endpoints: tuple[str, ...], profile: Profile, *, socket_mounted: bool, desktop: bool
) -> tuple[str, ...]:
    """The door's endpoints as they are called from inside a container, in the order they are tried.

    The socket first: it needs no port and passes no firewall. Then the bridge's gateway. The loopback is
    reached only where Docker Desktop forwards to it.
    """
    inside = [f"unix:{SOCKET_FOLDER}/{SOCKET_NAME}"] if socket_mounted else []
    if profile.network:
        for endpoint in endpoints:
            if endpoint.startswith("unix:"):
                continue
            host, _, port = endpoint.rpartition(":")
            if host != "127.0.0.1":
                inside.append(endpoint)
            elif desktop:
                inside.append(f"host.docker.internal:{port}")
    return tuple(inside)
