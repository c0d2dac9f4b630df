"""One look at the containers of an instance. Blocking; called on the runtime's looking thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskmaster_desktop.backend.containers.api import ContainerApi
from taskmaster_desktop.backend.containers.profile import WORKER_LABEL
from taskmaster_desktop.backend.containers.truth import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """
    Attributes:
        present: worker id by container id: all that the engine lists.
        seen: those that were looked at more closely, by container id.
    """

    present: Mapping[str, str]
    seen: Mapping[str, Seen]


def scan(api: ContainerApi, instance: str, *, hints: frozenset[str], full: bool) -> Scan:
    """List them, and look closely at those that do not simply run, that a hint names, or (`full`) at all.

    A container that goes between the list and the look counts as absent.
    """
    present: dict[str, str] = {}
    looked: dict[str, Seen] = {}
    for row in api.workers(instance):
        container, worker_id = row["Id"], row["Labels"].get(WORKER_LABEL, "")
        if full or container in hints or row["State"] != "running" or "(Paused)" in row["Status"]:
            found = api.look(container)
            if found is None:
                continue
            looked[container] = found
        present[container] = worker_id
    return Scan(present=present, seen=looked)
