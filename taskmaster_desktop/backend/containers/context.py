"""What the worker image is built from, and the name that follows from it. Reads files; any thread."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskmaster_desktop.backend.errors import EnvironmentProblem

WORKER_REPOSITORY = "taskmaster-worker"
RECIPE_FILES = ("Dockerfile", "bundle.py", "requirements.txt")
AGENT_PACKAGE = "taskmaster_worker"

_TAG_DIGITS = 16
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the recipe of the image and the agent's package lie."""

    recipe: Path
    agent: Path


def shipped_sources() -> Sources:
    """Those of this installation: beside the code in an installed wheel, else in the source tree."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "worker_image"
    if installed.is_dir():
        return Sources(recipe=installed, agent=package.parent / AGENT_PACKAGE)
    in_tree = package.parent / "worker_image"
    return Sources(recipe=in_tree, agent=in_tree / AGENT_PACKAGE)


def read_inputs(sources: Sources) -> dict[str, bytes]:
    """All that decides what is in the image, apart from its base, by its name in the build context.

    Raises:
        FileNotFoundError: a part is not there; the installation is damaged.
    """
    inputs = {name: (sources.recipe / name).read_bytes() for name in RECIPE_FILES}
    for path in sources.agent.rglob("*"):
        name = path.relative_to(sources.agent)
        if path.is_file() and "__pycache__" not in name.parts and path.suffix != ".pyc":
            inputs[f"{AGENT_PACKAGE}/{name.as_posix()}"] = path.read_bytes()
    if f"{AGENT_PACKAGE}/__main__.py" not in inputs:
        raise FileNotFoundError(f"{sources.agent} is missing from the installation")
    return inputs


def worker_image_tag(inputs: Mapping[str, bytes], *, base: str) -> str:
    """`taskmaster-worker:` and 16 hex digits that change with the base's name and with every input.

    The wheels have no part in it: the hashes in requirements.txt say what they are, wherever they come from.
    """
    digest = hashlib.sha256()
    for name, content in [("", base.encode()), *sorted(inputs.items())]:
        # With the lengths no two different lists give the same bytes.
        digest.update(b"%d %d " % (len(name.encode()), len(content)) + name.encode() + content)
    return f"{WORKER_REPOSITORY}:{digest.hexdigest()[:_TAG_DIGITS]}"


def build_context(inputs: Mapping[str, bytes], *, wheels: Path | None = None) -> bytes:
    """The tar for the engine's builder; the same inputs and wheels always give the same bytes.

    Args:
        inputs: as `read_inputs` returns them.
        wheels: folder with a wheel of everything that requirements.txt names; it may hold others too. Without it
            the build downloads them.

    Raises:
        EnvironmentProblem: the folder lacks one of them.
    """
    content = dict(inputs)
    if wheels is not None:
        for path in _locked_wheels(inputs["requirements.txt"].decode(), wheels):
            content[f"wheels/{path.name}"] = path.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(content.items()):
            # A new TarInfo has no time, no owner but root, and mode 0644.
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _locked_wheels(requirements: str, folder: Path) -> list[Path]:
    """The wheels in `folder` of the locked versions; for some there may be several, one per Python."""
    chosen: list[Path] = []
    for name, version in _PINNED.findall(requirements):
        found = sorted(path for path in folder.glob("*.whl") if _is_wheel_of(path, name, version))
        if not found:
            raise EnvironmentProblem(
                f"The folder {folder} holds no wheel of {name} {version}, which the worker image needs.",
                fix="Fill it where there is a network: "
                f"pip download --only-binary :all: -r requirements.txt -d {folder}, with the requirements.txt of "
                f"{shipped_sources().recipe}.",
            )
        chosen += found
    return chosen


def _is_wheel_of(path: Path, name: str, version: str) -> bool:
    found_name, _, rest = path.name.partition("-")
    return _normal(found_name) == _normal(name) and rest.startswith(f"{version}-")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
