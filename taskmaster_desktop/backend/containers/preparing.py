"""Making ready before the first container: the engine, the images, the agent for foreign images. Blocking."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from taskmaster_desktop.backend.containers.api import Conflict, ContainerApi
from taskmaster_desktop.backend.containers.image import (
    AGENT_FOLDER,
    ImageApi,
    check_platform,
    ensure_image,
    ensure_worker_image,
)
from taskmaster_desktop.backend.containers.image_progress import ProgressSink
from taskmaster_desktop.backend.containers.profile import KIND_AGENT, KIND_IMAGE, LABEL, Profile
from taskmaster_desktop.backend.errors import EnvironmentProblem

DESKTOP = "Docker Desktop"
ROOTLESS = "name=rootless"
FILL_TRIES = 50
FILL_PAUSE_S = 0.2


class PreparingApi(ContainerApi, ImageApi, Protocol):
    """What of an engine is needed before there are workers."""

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Does nothing where it exists."""

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """A container that is not started; returns its id. Raises `Conflict` where the name is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """
    Attributes:
        profile: with the image, and the agent's volume where the image does not hold the agent.
        engine_id: changes when another engine answers at the same address.
        engine: for people, such as "Docker Engine 20.10.24".
        desktop: it is Docker Desktop, whose containers live in a virtual machine.
        rootless: it runs as this user.
    """

    profile: Profile
    engine_id: str
    engine: str
    desktop: bool
    rootless: bool = False

    @property
    def forwards_as_us(self) -> bool:
        """Traffic of containers may reach the loopback as if this user had sent it."""
        return self.desktop or self.rootless


def prepare(
    api: PreparingApi, wished: Profile, *, base: str, wheels: Path | None, progress: ProgressSink
) -> Prepared:
    """`wished.image` is the user's image, or empty for our own.

    Raises EnvironmentProblem: no engine, no image to be had, another platform.
    """
    info = api.info()
    if info.get("OSType", "linux") != "linux":
        raise EnvironmentProblem(
            "The Docker Engine runs Windows containers, and workers are Linux containers.",
            fix="Switch Docker to Linux containers, or use --runtime process.",
        )
    own = ensure_worker_image(api, base=base, wheels=wheels, labels={LABEL: KIND_IMAGE}, progress=progress)
    profile = replace(wished, image=own)
    if wished.image:
        theirs = ensure_image(api, wished.image, progress=progress)
        check_platform(api.image(own) or {}, theirs, name=wished.image)
        profile = replace(wished, agent_volume=_agent_volume(api, own))
    return Prepared(
        profile=profile,
        engine_id=str(info.get("ID", "")),
        engine=f"Docker Engine {info.get('ServerVersion', '')}".strip(),
        desktop=info.get("OperatingSystem") == DESKTOP,
        rootless=ROOTLESS in (info.get("SecurityOptions") or ()),
    )


def _agent_volume(api: PreparingApi, own: str) -> str:
    """The agent's folder of our image as a volume: an engine fills an empty one from the image it is first
    mounted into, when the container is made; it need not even run."""
    name = f"tm-agent-{own.rpartition(':')[2]}"
    api.create_volume(name, {LABEL: KIND_AGENT})
    body = {
        "Image": own,
        "Labels": {LABEL: KIND_AGENT},
        "HostConfig": {"Binds": [f"{name}:{AGENT_FOLDER}"], "NetworkMode": "none"},
    }
    for _ in range(FILL_TRIES):
        try:
            helper = api.create(f"{name}-filler", body)
            break
        except Conflict:  # another instance is at it; its volume is full when its helper is gone
            time.sleep(FILL_PAUSE_S)
    else:
        # Left by a start that was cut short, or somebody else's: a name is no reason to take it away.
        helper = api.create(f"{name}-filler-{secrets.token_hex(3)}", body)
    api.remove(helper)
    return name
