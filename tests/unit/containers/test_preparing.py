"""What kind of engine answers, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from taskmaster_desktop.backend.containers import preparing
from taskmaster_desktop.backend.containers.api import Conflict
from taskmaster_desktop.backend.containers.preparing import PreparingApi, prepare
from taskmaster_desktop.backend.containers.profile import Profile
from taskmaster_desktop.backend.errors import EnvironmentProblem

OURS = "taskmaster-worker:0123"


class Informed:
    """Answers what it was given about itself, and makes containers whose name is not `taken`."""

    def __init__(self, *, taken: str = "", **info: Any) -> None:
        self._info = {"OSType": "linux", "ID": "one", "ServerVersion": "20.10"} | info
        self._taken = taken
        self.made: list[str] = []
        self.removed: list[str] = []

    def info(self) -> Mapping[str, Any]:
        return self._info

    def image(self, name: str) -> Mapping[str, Any]:
        return {"Id": name}

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None: ...

    def create(self, name: str, _body: object) -> str:
        if name == self._taken:
            raise Conflict("the name is taken")
        self.made.append(name)
        return f"id of {name}"

    def remove(self, container: str) -> None:
        self.removed.append(container)


@pytest.mark.parametrize(
    ("info", "desktop", "as_us"),
    [
        ({}, False, False),
        ({"SecurityOptions": ["name=seccomp,profile=default"]}, False, False),
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, False, True),
        ({"OperatingSystem": "Docker Desktop"}, True, True),
    ],
)
def test_engines_whose_traffic_arrives_as_ours_are_known(
    monkeypatch: pytest.MonkeyPatch, info: dict[str, Any], desktop: bool, as_us: bool
) -> None:
    monkeypatch.setattr(preparing, "ensure_worker_image", lambda *_, **__: OURS)
    api = cast("PreparingApi", Informed(**info))
    prepared = prepare(api, Profile(image=""), base="b", wheels=None, progress=pytest.fail)
    assert (prepared.desktop, prepared.forwards_as_us) == (desktop, as_us)
    assert prepared.profile.image == OURS
    assert prepared.engine == "Docker Engine 20.10"


def test_an_engine_of_windows_containers_is_refused() -> None:
    api = cast("PreparingApi", Informed(OSType="windows"))
    with pytest.raises(EnvironmentProblem, match="Linux containers"):
        prepare(api, Profile(image=""), base="b", wheels=None, progress=pytest.fail)


def test_whoever_holds_the_name_of_the_filler_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ensure_worker_image", lambda *_, **__: OURS)
    monkeypatch.setattr(preparing, "ensure_image", lambda *_, **__: {})
    monkeypatch.setattr(preparing, "check_platform", lambda *_, **__: None)
    monkeypatch.setattr(preparing, "FILL_PAUSE_S", 0.0)
    api = Informed(taken="tm-agent-0123-filler")
    wished = Profile(image="debian")
    prepared = prepare(cast("PreparingApi", api), wished, base="b", wheels=None, progress=pytest.fail)
    assert prepared.profile.agent_volume == "tm-agent-0123"
    (made,) = api.made
    assert made.startswith("tm-agent-0123-filler-")
    assert api.removed == [f"id of {made}"]
