"""The figures of workers last as long as somebody speaks for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core.stimuli import Heartbeat, Report
from taskmaster_desktop.backend.links import Links

BEAT = Heartbeat(sequence=1, cpu_us=2, memory_bytes=3, running=0, waiting=0, oom_kills=0)


class StubCoordinator:
    """Knows which worker a session belongs to, and forgets it when told."""

    running = True

    def __init__(self) -> None:
        self.workers: dict[int, int] = {}
        self.machine = SimpleNamespace(worker_of=self.workers.get)

    def feed(self, _stimulus: object) -> None: ...

    def now_us(self) -> int:
        return 7


def links_of(coordinator: StubCoordinator) -> Links:
    return Links(cast("Coordinator", coordinator), instance="here", self_stop_s=60.0)


def speak(links: Links, session: int) -> None:
    links._links[session] = cast("Any", object())
    links.report(Report(session=session, heartbeat=BEAT))


def test_figures_go_with_the_session() -> None:
    coordinator = StubCoordinator()
    coordinator.workers[10] = 1
    links = links_of(coordinator)
    speak(links, 10)
    assert (links.usage, links.heard) == ({1: BEAT}, {1: 7})
    links.closed(10)
    assert (links.usage, links.heard) == ({}, {})


def test_figures_go_also_where_the_core_has_forgotten_the_worker_before_the_stream_ended() -> None:
    coordinator = StubCoordinator()
    coordinator.workers[10] = 1
    links = links_of(coordinator)
    speak(links, 10)
    coordinator.workers.clear()
    links.closed(10)
    assert (links.usage, links.heard) == ({}, {})


def test_the_end_of_an_old_session_leaves_the_figures_of_the_new_one() -> None:
    coordinator = StubCoordinator()
    coordinator.workers[10] = 1
    links = links_of(coordinator)
    speak(links, 10)
    coordinator.workers[11] = 1
    speak(links, 11)
    links.closed(10)
    assert links.usage == {1: BEAT}
    links.closed(11)
    assert links.usage == {}
