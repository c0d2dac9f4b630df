"""The options that say what workers are made of, shared by the commands that start some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

Runtime = Annotated[
    str | None,
    typer.Option("--runtime", metavar="auto|docker|process", help="What starts workers (default: auto)."),
]
MapRuntime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="auto|docker|process",
        help="What starts workers (default: process, or as --image).",
    ),
]
Image = Annotated[
    str | None,
    typer.Option("--image", metavar="NAME", help="Run commands in this image; it needs nothing of ours."),
]
Mount = Annotated[
    list[str] | None,
    typer.Option(
        "--mount", metavar="DIR[:ro|:rw]", help="Show workers this folder, at its own path; may be repeated."
    ),
]
Network = Annotated[
    bool | None, typer.Option("--network/--no-network", help="Let commands reach a network (default: yes).")
]
Cpus = Annotated[str | None, typer.Option("--cpus", metavar="N", help="Processors of each container.")]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="Memory of each container, such as 512MiB.")
]
DockerHost = Annotated[
    str | None,
    typer.Option(
        "--docker-host", metavar="ADDRESS", help="The Docker Engine, such as unix:///path/docker.sock."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """As they were written; None where they were not."""

    runtime: str | None = None
    image: str | None = None
    mounts: tuple[str, ...] = ()
    network: bool | None = None
    cpus: str | None = None
    memory: str | None = None
    docker_host: str | None = None

    def flags(self, *, more_mounts: tuple[str, ...] = ()) -> dict[str, object]:
        """For `load_settings`."""
        return {
            "runtime": self.runtime,
            "image": self.image,
            "mounts": (*self.mounts, *more_mounts) or None,
            "network": self.network,
            "cpus": self.cpus,
            "memory": self.memory,
            "docker_host": self.docker_host,
        }
