"""What workers in containers need of a Docker Engine. `docker_ctl.py` implements it, tests fake it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from taskmaster_desktop.backend.containers.truth import Seen


class Absent(Exception):
    """There is no such container, image, network or volume."""


class Conflict(Exception):
    """It cannot be done in this state, or the name is taken."""


class ContainerApi(Protocol):
    """Blocking; any thread. Raises EnvironmentProblem where no answer comes, or another one than it should."""

    def close(self) -> None: ...

    def info(self) -> Mapping[str, Any]: ...

    def events(self, instance: str) -> Iterator[Mapping[str, Any]]:
        """What happens to workers' containers, until the connection ends; `close()` of it ends it too."""

    def workers(self, instance: str) -> list[Mapping[str, Any]]:
        """All containers of the instance's workers, as the engine lists them."""

    def look(self, container: str) -> Seen | None:
        """None where it is gone."""

    def run(self, name: str, body: Mapping[str, Any], handed_over: bytes) -> Seen:
        """Create, start, hand over. On an error nothing is left. Raises `Absent`, `Conflict` too."""

    def signal(self, container: str, signal: str) -> None:
        """Raises `Absent` and `Conflict` where nothing runs any more."""

    def remove(self, container: str) -> None:
        """Kill it if it runs, and remove it."""

    def log(self, container: str, *, tail: int) -> bytes:
        """Its last lines."""

    def network(self, name: str) -> Mapping[str, Any] | None: ...

    def create_network(
        self, name: str, *, options: Mapping[str, str], labels: Mapping[str, str], subnet: str | None
    ) -> None: ...

    def remove_network(self, name: str) -> None: ...
