"""Strangers beside the demo, which must be left alone: a process with files, and where workers are containers
a container with a network and a volume. The process even carries the mark of one of our workers. Main thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from taskmaster_desktop.app import Docker, RuntimeChoice
from taskmaster_desktop.docker_ctl import DockerApi

MARK = "TASKMASTER_WORKER"


class Bystander(Protocol):
    def start(self) -> None: ...

    def look(self) -> dict[str, str]:
        """What can be seen of it, by name."""

    def stop(self) -> None:
        """The demo started it, so the demo ends it. May come twice."""


def bystanders_of(choice: RuntimeChoice, folder: Path, inside: Path) -> list[Bystander]:
    """Strangers of every kind that this runtime could do harm to."""
    strangers: list[Bystander] = [StrangeProcess(folder, inside)]
    if choice.docker is not None:
        strangers.append(StrangeContainer(choice.docker))
    return strangers


def look_at(bystanders: Sequence[Bystander]) -> dict[str, str]:
    return {name: what for bystander in bystanders for name, what in bystander.look().items()}


class StrangeProcess:
    """
    Args:
        folder: the stranger's own; is made.
        inside: our data folder, where a file of the stranger lies too.
    """

    def __init__(self, folder: Path, inside: Path) -> None:
        self._folder = folder
        self._inside = inside / "not-ours.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True)
        self._inside.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / "notes.txt").write_text("This belongs to somebody else.\n", encoding="utf-8")
        self._inside.write_text("So does this.\n", encoding="utf-8")
        self._process = subprocess.Popen(
            ["sleep", "3600"],
            start_new_session=True,
            env={**os.environ, MARK: "worker-1"},
            cwd=self._folder,
        )

    def look(self) -> dict[str, str]:
        assert self._process is not None
        code = self._process.poll()
        seen = {f"process {self._process.pid}": "running" if code is None else f"ended with {code}"}
        for file in (*sorted(self._folder.iterdir()), self._inside):
            if file.exists():
                content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
                seen[f"file {file.name}"] = f"{content} of {file.stat().st_mtime_ns}"
        return seen

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class StrangeContainer:
    """Named much like ours, but without our label; on an engine's client of its own."""

    def __init__(self, docker: Docker) -> None:
        self._api = DockerApi(docker.api.endpoint)
        self._image = docker.prepared.profile.image
        self._name = f"tm-stranger-{secrets.token_hex(4)}"
        self._container = ""

    def start(self) -> None:
        self._api.create_network(self._name, options={}, labels={}, subnet=None)
        self._api.create_volume(self._name, {})
        body = {
            "Image": self._image,
            "Entrypoint": ["sleep", "3600"],
            "OpenStdin": True,
            "HostConfig": {"NetworkMode": self._name, "Binds": [f"{self._name}:/data"], "Init": True},
        }
        self._container = self._api.run(self._name, body, b"").id

    def look(self) -> dict[str, str]:
        seen = self._api.look(self._container)
        network = self._api.network(self._name) or {}
        state = "gone" if seen is None else f"{seen.state} since {seen.started_s:.6f} as {seen.name}"
        return {
            f"container {self._name}": state,
            f"network {self._name}": str(network.get("Id", "gone"))[:12],
            f"volume {self._name}": "there" if self._api.has_volume(self._name) else "gone",
        }

    def stop(self) -> None:
        if self._container:
            self._api.remove(self._container)
        self._api.remove_network(self._name)
        self._api.remove_volume(self._name)
        self._api.close()


def still_running(choice: RuntimeChoice, handles: tuple[str, ...]) -> tuple[str, ...]:
    """Which of our workers still run, by the handles that the database has of them."""
    if choice.docker is None:
        return _running_processes(handles)
    with contextlib.closing(DockerApi(choice.docker.api.endpoint)) as api:
        found = [(handle, api.look(handle)) for handle in handles if handle]
    return tuple(f"container {handle[:12]}" for handle, seen in found if seen is not None and seen.alive)


def _running_processes(handles: tuple[str, ...]) -> tuple[str, ...]:
    """By `pid:ticks since boot at its start`; none where /proc is missing."""
    found = []
    for handle in handles:
        pid, _, started = handle.partition(":")
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if fields[19] == started and fields[0] != "Z":
            found.append(f"worker process {pid}")
    return tuple(found)
