"""The inputs of the worker image: its name follows from them, and the build context is always the same bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from taskmaster_desktop.backend.containers.context import (
    Sources,
    build_context,
    read_inputs,
    shipped_sources,
    worker_image_tag,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem
from tests.helpers.source_rules import ROOT

LOCKED = b"grpcio==1.2.3 \\\n    --hash=sha256:00\ntyping-extensions==4.0 \\\n    --hash=sha256:11\n"
WHEELS = ("grpcio-1.2.3-cp311-cp311-linux_x86_64.whl", "typing_extensions-4.0-py3-none-any.whl")
INPUTS = {
    "Dockerfile": b"FROM x",
    "bundle.py": b"pass",
    "requirements.txt": LOCKED,
    "taskmaster_worker/__init__.py": b"",
    "taskmaster_worker/__main__.py": b"main()",
}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A tree with `INPUTS` and with what must not get in."""
    for name, content in INPUTS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    agent = tmp_path / "taskmaster_worker"
    (agent / "__pycache__").mkdir()
    (agent / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    (agent / "left.pyc").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    return Sources(recipe=tmp_path, agent=agent)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in (
        *WHEELS,
        "grpcio-1.2.30-cp311-cp311-linux_x86_64.whl",
        "numpy-2.0-cp311-cp311-linux_x86_64.whl",
    ):
        (folder / name).write_bytes(name.encode())
    return folder


def test_inputs_are_the_recipe_and_the_agent(sources: Sources) -> None:
    assert read_inputs(sources) == INPUTS


def test_shipped_inputs_are_complete() -> None:
    inputs = read_inputs(shipped_sources())
    agent = {
        path.relative_to(ROOT / "worker_image").as_posix()
        for path in (ROOT / "worker_image" / "taskmaster_worker").rglob("*.py")
    }
    assert {"Dockerfile", "bundle.py", "requirements.txt", *agent} <= set(inputs)


def test_damaged_installation(sources: Sources) -> None:
    with pytest.raises(FileNotFoundError, match="missing from the installation"):
        read_inputs(Sources(recipe=sources.recipe, agent=sources.recipe / "absent"))


@pytest.mark.parametrize("name", INPUTS)
def test_tag_changes_with_every_input(name: str) -> None:
    changed = INPUTS | {name: INPUTS[name] + b" "}
    assert worker_image_tag(changed, base="b") != worker_image_tag(INPUTS, base="b")


@pytest.mark.parametrize(
    "other",
    [
        {name: content for name, content in INPUTS.items() if name != "taskmaster_worker/__init__.py"},
        INPUTS | {"taskmaster_worker/new.py": b""},
        # The same bytes in another file.
        INPUTS | {"taskmaster_worker/__init__.py": b"main()", "taskmaster_worker/__main__.py": b""},
    ],
)
def test_tag_changes_with_the_files(other: dict[str, bytes]) -> None:
    assert worker_image_tag(other, base="b") != worker_image_tag(INPUTS, base="b")


def test_tag_is_stable() -> None:
    backwards = dict(reversed(INPUTS.items()))
    assert worker_image_tag(backwards, base="b") == worker_image_tag(INPUTS, base="b")
    assert worker_image_tag(INPUTS, base="b") == "taskmaster-worker:7cf75e7356a149dd"
    assert worker_image_tag(INPUTS, base="c") != worker_image_tag(INPUTS, base="b")


def test_context_is_the_same_bytes_whatever_the_file_system_says(sources: Sources) -> None:
    before = build_context(read_inputs(sources))
    for path in sources.recipe.rglob("*"):
        path.touch()
        path.chmod(0o700)
    assert build_context(dict(reversed(read_inputs(sources).items()))) == before


def test_context_of_an_offline_build(wheels: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(build_context(INPUTS, wheels=wheels))) as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == sorted([*INPUTS, *(f"wheels/{name}" for name in WHEELS)])
    assert {(entry.mtime, entry.mode, entry.uid, entry.gid, entry.uname) for entry in entries} == {
        (0, 0o644, 0, 0, "")
    }


def test_missing_wheel_is_named(wheels: Path) -> None:
    (wheels / WHEELS[0]).unlink()
    with pytest.raises(EnvironmentProblem, match=r"holds no wheel of grpcio 1\.2\.3,"):
        build_context(INPUTS, wheels=wheels)
