"""A Docker Engine in memory: `ContainerApi` with the deeds of people who use a terminal beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.profile import WORKER_LABEL
from taskmaster_desktop.backend.containers.truth import Seen
from taskmaster_desktop.backend.errors import EnvironmentProblem

DOWN = EnvironmentProblem("No Docker Engine answers at unix:///fake.", fix="Start Docker.")
HUNG = EnvironmentProblem("The Docker Engine at unix:///fake does not answer.", fix="See whether it hangs.")
GATEWAY = "172.31.0.1"


class FakeStream:
    """The engine's events as the library gives them; ends when it is closed or the engine goes."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self.closed = False

    def tell(self, container: str) -> None:
        self._events.put({"Type": "container", "id": container})

    def close(self) -> None:
        self.closed = True
        self._events.put(None)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        while (event := self._events.get()) is not None:
            yield event


@dataclass
class FakeContainers:
    """Thread-safe.

    Attributes:
        trouble: what every call raises; None while the engine answers.
        held: set while calls go through; `run` and `log` wait for it.
        refusals: what the next calls of `run` raise.
        asked: names of the calls that change something, in order.
        logs: what containers say at the end, by id.
        subnets: those that networks were made with.
    """

    trouble: EnvironmentProblem | None = None
    held: threading.Event = field(default_factory=threading.Event)
    refusals: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    logs: dict[str, bytes] = field(default_factory=dict)
    subnets: list[str | None] = field(default_factory=list)
    bodies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    handed_over: dict[str, bytes] = field(default_factory=dict)
    closed: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._seen: dict[str, Seen] = {}
        self._networks: dict[str, Mapping[str, str]] = {}  # labels by name
        self._streams: list[FakeStream] = []
        self._made = 0
        self.held.set()

    # === ContainerApi
    def close(self) -> None:
        self.closed = True

    def info(self) -> Mapping[str, Any]:
        self._answer()
        return {"ID": "engine-1", "ServerVersion": "20.10"}

    def events(self, instance: str) -> Iterator[Mapping[str, Any]]:
        self._answer()
        stream = FakeStream()
        with self._lock:
            self._streams.append(stream)
        return stream  # type: ignore[return-value]

    def workers(self, instance: str) -> list[Mapping[str, Any]]:
        self._answer()
        with self._lock:
            return [self._row(one) for one in self._seen.values()]

    def look(self, container: str) -> Seen | None:
        self._answer()
        with self._lock:
            return self._seen.get(container)

    def run(self, name: str, body: Mapping[str, Any], handed_over: bytes) -> Seen:
        self._answer()
        with self._lock:
            self.asked.append(("run", name))
            if self.refusals:
                raise self.refusals.pop(0)
            if body["HostConfig"]["NetworkMode"] not in self._networks.keys() | {"none"}:
                raise Absent(f"network {body['HostConfig']['NetworkMode']} not found")
        self.held.wait(10)
        container = self.add(body["Labels"][WORKER_LABEL], name=name)
        self.bodies[container] = body
        self.handed_over[container] = handed_over
        return self._seen[container]

    def signal(self, container: str, signal: str) -> None:
        self._answer()
        with self._lock:
            self.asked.append((signal, container))
            if container not in self._seen:
                raise Absent("no such container")
            if not self._seen[container].alive:
                raise Conflict("it is not running")
        if signal == "SIGKILL":
            self.end(container, 137)

    def remove(self, container: str) -> None:
        self._answer()
        with self._lock:
            self.asked.append(("remove", container))
            self._seen.pop(container, None)

    def log(self, container: str, *, tail: int) -> bytes:
        self._answer()
        self.held.wait(10)
        return self.logs.get(container, b"")

    def network(self, name: str) -> Mapping[str, Any] | None:
        self._answer()
        with self._lock:
            if name not in self._networks:
                return None
            config = [{"Subnet": "172.31.0.0/16", "Gateway": GATEWAY}]
            return {"IPAM": {"Config": config}, "Labels": self._networks[name]}

    def create_network(
        self, name: str, *, options: Mapping[str, str], labels: Mapping[str, str], subnet: str | None
    ) -> None:
        self._answer()
        with self._lock:
            self._networks[name] = labels
            self.subnets.append(subnet)

    def remove_network(self, name: str) -> None:
        self._answer()
        with self._lock:
            self._networks.pop(name, None)

    # === what people and the system do
    @property
    def ids(self) -> list[str]:
        with self._lock:
            return list(self._seen)

    @property
    def networks(self) -> set[str]:
        return set(self._networks)

    def add(self, worker_id: str, *, name: str = "by-hand", state: str = "running") -> str:
        """A container of a worker; returns its id."""
        with self._lock:
            self._made += 1
            container = f"c{self._made}"
            self._seen[container] = Seen(
                id=container, name=name, worker_id=worker_id, state=state, exit_code=0, oom=False, error="",
                started_s=now_s(), finished_s=0.0,
            )  # fmt: skip
        self.tell(container)
        return container

    def end(self, container: str, exit_code: int, *, oom: bool = False, silently: bool = False) -> None:
        """`silently`: no event tells of it."""
        ended = {"state": "exited", "exit_code": exit_code, "oom": oom, "finished_s": now_s()}
        self.change(container, silently=silently, **ended)

    def change(self, container: str, *, silently: bool = False, **fields: Any) -> None:
        with self._lock:
            if container in self._seen:
                self._seen[container] = replace(self._seen[container], **fields)
        if not silently:
            self.tell(container)

    def take_away(self, container: str) -> None:
        with self._lock:
            self._seen.pop(container)
        self.tell(container)

    def take_networks_away(self) -> None:
        with self._lock:
            self._networks.clear()

    def tell(self, container: str) -> None:
        with self._lock:
            for stream in self._streams:
                stream.tell(container)

    def break_streams(self) -> None:
        """The connection of the events ends without a word."""
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            stream.close()

    @property
    def listeners(self) -> int:
        return sum(not stream.closed for stream in self._streams)

    def _answer(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    def _row(self, one: Seen) -> dict[str, Any]:
        status = "Up 1 second (Paused)" if one.paused else "Up 1 second"
        return {"Id": one.id, "Labels": {WORKER_LABEL: one.worker_id}, "State": one.state, "Status": status}


def now_s() -> float:
    return SystemClock().now().wall_us / 1e6
