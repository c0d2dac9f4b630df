"""What kind of engine answers, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from taskmaster_desktop.backend.containers import preparing
from taskmaster_desktop.backend.containers.preparing import PreparingApi, prepare
from taskmaster_desktop.backend.containers.profile import Profile
from taskmaster_desktop.backend.errors import EnvironmentProblem


class Informed:
    """Answers what it was given about itself."""

    def __init__(self, **info: Any) -> None:
        self._info = {"OSType": "linux", "ID": "one", "ServerVersion": "20.10"} | info

    def info(self) -> Mapping[str, Any]:
        return self._info


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
    monkeypatch.setattr(preparing, "ensure_worker_image", lambda *_, **__: "ours:1")
    api = cast("PreparingApi", Informed(**info))
    prepared = prepare(api, Profile(image=""), base="b", wheels=None, progress=pytest.fail)
    assert (prepared.desktop, prepared.forwards_as_us) == (desktop, as_us)
    assert prepared.profile.image == "ours:1"
    assert prepared.engine == "Docker Engine 20.10"


def test_an_engine_of_windows_containers_is_refused() -> None:
    api = cast("PreparingApi", Informed(OSType="windows"))
    with pytest.raises(EnvironmentProblem, match="Linux containers"):
        prepare(api, Profile(image=""), base="b", wheels=None, progress=pytest.fail)
