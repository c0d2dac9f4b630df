"""One look at all containers: cheap where they simply run, close where something may have happened."""

from __future__ import annotations

from taskmaster_desktop.backend.containers.scan import Scan, scan
from taskmaster_desktop.backend.containers.truth import Seen
from tests.helpers.fake_containers import FakeContainers


class Counting(FakeContainers):
    """Notes who was looked at; those in `going` go between the list and the look."""

    def look(self, container: str) -> Seen | None:
        self.asked.append(("look", container))
        return None if container in self.logs else super().look(container)


def scanned(api: Counting, *hints: str, full: bool = False) -> tuple[Scan, list[str]]:
    api.asked.clear()
    return scan(api, "inst", hints=frozenset(hints), full=full), [name for _, name in api.asked]


def test_what_simply_runs_is_not_looked_at() -> None:
    api = Counting()
    first, second = api.add("w1"), api.add("w2")
    found, looked = scanned(api)
    assert (found.present, found.seen, looked) == ({first: "w1", second: "w2"}, {}, [])


def test_what_a_hint_names_or_does_not_run_is_looked_at() -> None:
    api = Counting()
    running, ended, paused = api.add("w1"), api.add("w2", state="exited"), api.add("w3", state="paused")
    assert set(scanned(api)[1]) == {ended, paused}
    assert set(scanned(api, running, "unknown")[1]) == {running, ended, paused}
    assert set(scanned(api, full=True)[1]) == {running, ended, paused}


def test_what_goes_between_list_and_look_is_absent() -> None:
    api = Counting()
    going = api.add("w1", state="removing")
    api.logs[going] = b""
    found, _ = scanned(api)
    assert (found.present, found.seen) == ({}, {})
