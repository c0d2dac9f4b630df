"""Getting images through an engine that exists only in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.containers.context import read_inputs, shipped_sources, worker_image_tag
from taskmaster_desktop.backend.containers.image import (
    AGENT_COMMAND,
    AGENT_FOLDER,
    DEFAULT_BASE,
    EngineRefusal,
    ImageProgress,
    check_platform,
    ensure_image,
    ensure_worker_image,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem
from tests.helpers.source_rules import ROOT

BASE = "debian-python:1"
TAG = worker_image_tag(read_inputs(shipped_sources()), base=BASE)
LINUX = {"Os": "linux", "Architecture": "amd64"}
Line = Mapping[str, Any]


@dataclass
class FakeImages:
    """An engine's images. What it is asked to do is in `asked`; what it makes is there afterwards, unless the
    stream has an error or `loses` is set."""

    there: set[str] = field(default_factory=lambda: {BASE})
    pulling: list[Line | EnvironmentProblem] = field(default_factory=list)
    building: list[Line | EnvironmentProblem] = field(default_factory=list)
    loses: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def image(self, name: str) -> Line | None:
        return {"Id": name, **LINUX} if name in self.there else None

    def build(
        self, context: bytes, *, tag: str, buildargs: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[Line]:
        assert context
        self.asked.append(("build", tag, str(buildargs), str(labels)))
        return self._make(tag, self.building)

    def pull(self, name: str) -> Iterator[Line]:
        self.asked.append(("pull", name))
        return self._make(name, self.pulling)

    def _make(self, name: str, lines: list[Line | EnvironmentProblem]) -> Iterator[Line]:
        for line in lines:
            if isinstance(line, EnvironmentProblem):
                raise line
            yield line
        if not self.loses:
            self.there.add(name)


def build(api: FakeImages, told: list[ImageProgress] | None = None, **more: Any) -> str:
    told = [] if told is None else told
    return ensure_worker_image(api, base=BASE, labels={"a": "b"}, progress=told.append, **more)


def test_worker_image_is_built_once() -> None:
    api = FakeImages(building=[{"stream": "Step 1/2 : FROM x"}, {"stream": "Step 2/2 : USER 1000"}])
    told: list[ImageProgress] = []
    assert build(api, told, buildargs={"HTTPS_PROXY": "p"}) == TAG
    assert api.asked == [("build", TAG, f"{{'HTTPS_PROXY': 'p', 'BASE': '{BASE}'}}", "{'a': 'b'}")]
    assert [progress.fraction for progress in told] == [0.0, 0.5, 1.0]
    assert build(api) == TAG
    assert len(api.asked) == 1


def test_base_is_pulled_first() -> None:
    api = FakeImages(there=set())
    build(api)
    assert [asked[:2] for asked in api.asked] == [("pull", BASE), ("build", TAG)]


def test_base_that_cannot_be_pulled() -> None:
    api = FakeImages(there=set(), pulling=[EngineRefusal("manifest unknown")])
    with pytest.raises(EnvironmentProblem, match=f"There is no image {BASE}: its registry"):
        build(api)


def test_wheels_are_looked_at_before_anything_is_pulled(tmp_path: Path) -> None:
    api = FakeImages(there=set())
    with pytest.raises(EnvironmentProblem, match="holds no wheel of grpcio"):
        build(api, wheels=tmp_path)
    assert api.asked == []


def test_build_that_fails() -> None:
    error = {
        "errorDetail": {"message": "returned a non-zero code: 1"},
        "error": "returned a non-zero code: 1",
    }
    output = {"stream": "\x1b[91mThe agent does not start\n\x1b[0m"}
    api = FakeImages(building=[{"stream": "Step 1/1 : RUN make"}, output, error])
    with pytest.raises(EnvironmentProblem) as caught:
        build(api)
    start = "The worker image could not be built at `RUN make`: The agent does not start."
    assert str(caught.value) == f"{start} {caught.value.fix}"


def test_build_whose_end_is_lost() -> None:
    with pytest.raises(EnvironmentProblem, match=f"stopped before the image {TAG} was complete"):
        build(FakeImages(loses=True))


def test_engine_trouble_is_passed_on() -> None:
    api = FakeImages(building=[EnvironmentProblem("The engine is gone.", fix="Start it.")])
    with pytest.raises(EnvironmentProblem, match=re.escape("The engine is gone. Start it.")):
        build(api)


def test_image_that_is_there_is_not_pulled() -> None:
    api = FakeImages()
    assert ensure_image(api, BASE, progress=pytest.fail)["Id"] == BASE
    assert api.asked == []


def test_image_is_pulled_with_progress() -> None:
    layer = {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 2_000_000}}
    api = FakeImages(pulling=[{"status": "Pulling fs layer", "id": "a"}, layer, layer])
    told: list[ImageProgress] = []
    assert ensure_image(api, "node:20", progress=told.append)["Id"] == "node:20"
    assert [(progress.text, progress.fraction) for progress in told] == [
        ("Pulling node:20", None),
        ("Pulling node:20: 1 of 2 MB", 0.25),
        ("Pulled node:20", 1.0),
    ]


@pytest.mark.parametrize(
    "answer", [EngineRefusal("unauthorized: authentication required"), {"error": "unauthorized: log in"}]
)
def test_image_that_cannot_be_pulled(answer: Line | EnvironmentProblem) -> None:
    with pytest.raises(EnvironmentProblem, match="The registry of node:20 wants a login"):
        ensure_image(FakeImages(pulling=[answer]), "node:20", progress=lambda progress: None)


@pytest.mark.parametrize(
    ("image", "name", "sentence"),
    [
        ({"Os": "linux", "Architecture": "amd64", "Variant": "v1"}, "x", None),
        (
            {"Os": "linux", "Architecture": "arm64"},
            "node:20",
            "The image node:20 is for arm64, the worker agent here for amd64. Use an image for amd64,",
        ),
        (
            {"Os": "windows", "Architecture": "amd64", "RepoTags": ["nano:1"]},
            None,
            "The image nano:1 is for windows/amd64, the worker agent here for linux/amd64. Use",
        ),
        (
            {"Os": "linux", "Architecture": "arm", "RepoTags": None, "Id": "sha256:1"},
            None,
            "The image sha256:1 is for",
        ),
    ],
)
def test_platforms(image: Line, name: str | None, sentence: str | None) -> None:
    if sentence is None:
        check_platform(LINUX, image, name=name)
        return
    with pytest.raises(EnvironmentProblem) as caught:
        check_platform(LINUX, image, name=name)
    assert str(caught.value).startswith(sentence)


def test_dockerfile_agrees_with_the_code() -> None:
    dockerfile = (ROOT / "worker_image" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    entrypoint = re.search(r"^ENTRYPOINT \[(.*)\]$", dockerfile, re.MULTILINE)
    assert entrypoint is not None
    assert tuple(re.findall(r'"([^"]*)"', entrypoint[1])) == AGENT_COMMAND
    assert f"ARG BASE={DEFAULT_BASE}\n" in dockerfile
    assert f"COPY --from=builder {AGENT_FOLDER} {AGENT_FOLDER}" in dockerfile
