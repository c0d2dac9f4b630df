"""Taking away what instances have left in a Docker Engine, and nothing else. Blocking.

Ours is what carries our label with a value that we gave it. What is made from our image, be it a container or
another image, inherits the image's label; it is somebody else's and stays. So does what an instance that runs
now needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.context import WORKER_REPOSITORY
from taskmaster_desktop.backend.containers.profile import DATA_LABEL, KIND_IMAGE, LABEL
from taskmaster_desktop.backend.containers.refusals import EngineRefusal

Kind = Literal["containers", "networks", "volumes", "images"]
KINDS: tuple[Kind, ...] = ("containers", "networks", "volumes", "images")
"""In the order in which they can go."""
KIND_BUILDER = "image-builder"
"""The label of what a build leaves behind; worker_image/Dockerfile sets it."""
AT_A_TIME = 4

_INHERITED = (KIND_IMAGE, KIND_BUILDER)
_TAG = re.compile(rf"{re.escape(WORKER_REPOSITORY)}:[0-9a-f]{{16}}")
_LAST_STEP = f"LABEL {LABEL}={KIND_IMAGE}"

Row = Mapping[str, Any]


class CleanupApi(Protocol):
    """What is needed of an engine. Raises EnvironmentProblem; removing what is gone is fine."""

    def ours(self, kind: str) -> list[Mapping[str, Any]]:
        """All that carries the label, with any value, as the engine lists it."""

    def remove(self, container: str) -> None: ...

    def network(self, name: str) -> Mapping[str, Any] | None: ...

    def remove_network(self, name: str) -> None: ...

    def remove_volume(self, name: str) -> None:
        """Raises `Conflict` where it is in use."""

    def remove_image(self, name: str) -> None:
        """A name or an id; its parents stay. Raises `Conflict` where it is in use."""

    def last_step(self, image: str) -> str:
        """The instruction that made an image what it is; empty where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """
    Attributes:
        id: by which it is removed.
        name: for people.
    """

    kind: Kind
    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something that stays although it carries the label, and why, as a clause."""

    kind: Kind
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    Attributes:
        going: in the order in which they can go.
        spared: of each folder that is left alone why that is, as the beginning of a sentence, and how many
            containers stay for it.
    """

    going: tuple[Thing, ...]
    kept: tuple[Kept, ...]
    spared: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened to the things of a plan; `failed` are those that the engine refused to remove."""

    removed: tuple[Thing, ...]
    kept: tuple[Kept, ...]
    failed: tuple[Kept, ...]


def make_plan(
    api: CleanupApi, claim: Callable[[str], str | None], *, more_folders: Iterable[str] = ()
) -> Plan:
    """Look at everything of ours and decide.

    Args:
        api: the engine.
        claim: makes sure that no instance runs on a data folder, or says why that cannot be had, such as "The
            instance on /data is running".
        more_folders: where an instance may run besides those that the labels name.
    """
    containers, networks = api.ours("containers"), api.ours("networks")
    folders = {_folder(row) for row in (*containers, *networks)} | set(more_folders)
    refusals = {folder: claim(folder) for folder in sorted(folders - {""})}
    reasons = {folder: why for folder, why in refusals.items() if why is not None}
    plan = _Planning(reasons)
    # The engine lists in no order that lasts.
    for row in sorted(containers, key=_name_of):
        plan.container(row)
    for row in sorted(networks, key=_name_of):
        if _folder(row) not in reasons:
            plan.goes("networks", row["Id"], _name_of(row))
    for name in sorted(row["Name"] for row in api.ours("volumes")):
        plan.volume(name)
    for row in _children_first(api.ours("images")):
        plan.image(row, api.last_step)
    return plan.made()


class _Planning:
    """Collects the parts of a plan. `reasons`: why folders are left alone."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self._reasons = reasons
        self._counts = dict.fromkeys(reasons, 0)
        self._going: list[Thing] = []
        self._kept: list[Kept] = []
        self._users: dict[str, str] = {}  # by a volume's name or an image's id: who uses it, as a clause

    def goes(self, kind: Kind, id_: str, name: str) -> None:
        self._going.append(Thing(kind=kind, id=id_, name=name))

    def container(self, row: Row) -> None:
        name, folder = _name_of(row), _folder(row)
        if _value(row) in _INHERITED:
            self._uses(row, f"the container {name}, which is not of this program, uses it")
        elif folder in self._reasons:
            self._counts[folder] += 1
            self._uses(row, f"the instance on {folder} uses it")
        else:
            self.goes("containers", row["Id"], name)

    def volume(self, name: str) -> None:
        why = self._users.get(name) or self._hidden_user()
        if why is not None:
            self._kept.append(Kept(kind="volumes", name=name, why=why))
        else:
            self.goes("volumes", name, name)

    def image(self, row: Row, last_step: Callable[[str], str]) -> None:
        """Names that we gave go; without any name it goes where it is the end or a step of a build of ours.

        Those that are made from an image must have been here before.
        """
        id_ = row["Id"]
        names = sorted(name for name in row.get("RepoTags") or () if name != "<none>:<none>")
        ours = [name for name in names if _TAG.fullmatch(name)]
        unnamed = not names and (_value(row) == KIND_BUILDER or _LAST_STEP in last_step(id_))
        why = self._users.get(id_) or self._hidden_user()
        if why is not None or ours != names or not (names or unnamed):
            self._users.setdefault(
                row.get("ParentId", ""), f"the image {(*names, _short(id_))[0]} is made from it"
            )
        for name in ours:
            if why is not None:
                self._kept.append(Kept(kind="images", name=name, why=why))
            else:
                self.goes("images", name, name)
        if unnamed and why is None:
            self.goes("images", id_, _short(id_))

    def made(self) -> Plan:
        spared = {folder: (why, self._counts[folder]) for folder, why in self._reasons.items()}
        return Plan(going=tuple(self._going), kept=tuple(self._kept), spared=spared)

    def _uses(self, row: Row, why: str) -> None:
        self._users[row["ImageID"]] = why
        for mount in row.get("Mounts") or ():
            if mount.get("Type") == "volume":
                self._users[mount["Name"]] = why

    def _hidden_user(self) -> str | None:
        """An instance without a container now may be about to start some, of whatever image."""
        for folder, count in self._counts.items():
            if count == 0:
                return f"the instance on {folder} may need it"
        return None


def carry_out(api: CleanupApi, plan: Plan) -> Outcome:
    """Remove what goes. What has been removed meanwhile is fine, what is used by others stays.

    Raises EnvironmentProblem where the engine does not answer any more.
    """
    removed: list[Thing] = []
    kept = list(plan.kept)
    failed: list[Kept] = []

    def attempt(thing: Thing) -> tuple[Thing, str | None, bool]:
        try:
            why = _remove(api, thing)
        except Absent:
            return thing, None, True
        except Conflict as conflict:
            return thing, f"it is in use ({_clause(conflict)})", True
        except EngineRefusal as refusal:
            return thing, refusal.words.strip().rstrip("."), False
        return thing, why, True

    with ThreadPoolExecutor(max_workers=AT_A_TIME, thread_name_prefix="cleanup") as pool:
        for group in _groups(plan.going):
            for thing, why, fine in pool.map(attempt, group):
                if why is None:
                    removed.append(thing)
                else:
                    (kept if fine else failed).append(Kept(kind=thing.kind, name=thing.name, why=why))
    return Outcome(removed=tuple(removed), kept=tuple(kept), failed=tuple(failed))


def _groups(going: Sequence[Thing]) -> Iterable[list[Thing]]:
    """What may go at the same time: all of a kind, but images one after the other, for one stands on another."""
    for kind in KINDS:
        things = [thing for thing in going if thing.kind == kind]
        if kind == "images":
            yield from ([thing] for thing in things)
        elif things:
            yield things


def _remove(api: CleanupApi, thing: Thing) -> str | None:
    """Why it stays after all; None where it is gone."""
    if thing.kind == "containers":
        api.remove(thing.id)
    elif thing.kind == "networks":
        if (api.network(thing.id) or {}).get("Containers"):
            return "a container that is not of this program is on it"
        api.remove_network(thing.id)
    elif thing.kind == "volumes":
        api.remove_volume(thing.id)
    else:
        api.remove_image(thing.id)
    return None


def _children_first(images: Sequence[Row]) -> list[Row]:
    parents = {row["Id"]: row.get("ParentId", "") for row in images}

    def depth(id_: str) -> int:
        steps = 0
        while id_ in parents:
            id_, steps = parents[id_], steps + 1
        return steps

    return sorted(images, key=lambda row: (-depth(row["Id"]), row["Id"]))


def _value(row: Row) -> str:
    return str((row.get("Labels") or {}).get(LABEL, ""))


def _folder(row: Row) -> str:
    """The data folder of its instance; empty where none is named, and for what only inherited the label."""
    return "" if _value(row) in _INHERITED else str((row.get("Labels") or {}).get(DATA_LABEL, ""))


def _name_of(row: Row) -> str:
    """Of a container or a network."""
    names = row.get("Names") or [row.get("Name") or _short(row["Id"])]
    return str(names[0]).lstrip("/")


def _short(id_: str) -> str:
    return id_.removeprefix("sha256:")[:12]


def _clause(error: Exception) -> str:
    return str(error).strip().rstrip(".")
