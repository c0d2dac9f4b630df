"""The Docker runtime on an engine in memory: what it is told to do, what it sees, and what it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.containers import events, runtime
from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.preparing import Prepared
from taskmaster_desktop.backend.containers.profile import INSTANCE_LABEL, Profile
from taskmaster_desktop.backend.containers.runtime import ContainerRuntime
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import Level
from taskmaster_desktop.backend.ports import Ended
from tests.helpers.eventually import until
from tests.helpers.fake_containers import DOWN, GATEWAY, HUNG, FakeContainers, now_s
from tests.helpers.watching import Watching
from tests.helpers.worker_records import worker_record, worker_secret

INSTANCE = "12345678-aaaa"
NETWORK = "tm-12345678"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(events, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(events, "LONGEST_PAUSE_S", 0.02)


class Fleet:
    """A runtime with what it reported."""

    def __init__(self, api: FakeContainers, folder: Path, *, engine_id: str = "engine-1") -> None:
        self.api = api
        self.ended: list[tuple[str, Ended]] = []
        self.watching = Watching(lambda worker_id, ended: self.ended.append((worker_id, ended)))
        prepared = Prepared(
            profile=Profile(image="img:1", env={"TOKEN": "x"}), engine_id=engine_id, engine="", desktop=False
        )
        self.runtime = ContainerRuntime(
            api, prepared=prepared, instance=INSTANCE, data_dir=folder, clock=SystemClock()
        )
        self.runtime.watch(self.watching)

    async def launch(self, worker_id: str = "w1") -> str:
        secret = replace(worker_secret(worker_id), endpoints=("unix:/data/run/rpc/worker.sock",))
        return await self.runtime.launch(worker_record(worker_id), secret)

    async def one_end(self) -> Ended:
        await until(lambda: self.ended, timeout_s=20)  # two looks may be needed
        ((_, ended),) = self.ended
        return ended


@asynccontextmanager
async def fleet_of(api: FakeContainers, folder: Path, **more: str) -> AsyncIterator[Fleet]:
    fleet = Fleet(api, folder, **more)
    await fleet.runtime.start()
    try:
        await fleet.runtime.observe()
        await until(lambda: api.listeners == 1)
        yield fleet
    finally:
        await fleet.runtime.close()


@pytest.fixture
def api() -> FakeContainers:
    return FakeContainers()


@pytest.fixture
async def fleet(api: FakeContainers, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_of(api, tmp_path) as made:
        yield made


# === launching
async def test_a_worker_is_launched_once_whoever_asks(fleet: Fleet, api: FakeContainers) -> None:
    handles = await asyncio.gather(fleet.launch(), fleet.launch())
    handles.append(await fleet.launch())
    assert handles == [api.ids[0]] * 3
    assert len(api.ids) == 1
    name = fleet.runtime.sightings["w1"].name
    assert name.startswith("tm-12345678-w1-")
    assert fleet.runtime.listen_hosts == (GATEWAY,)


async def test_secret_and_environment_are_handed_over_and_not_in_the_body(
    fleet: Fleet, api: FakeContainers
) -> None:
    container = await fleet.launch()
    assert b"PRIVATE KEY" in api.handed_over[container]
    assert b'"TOKEN"' in api.handed_over[container]
    body = json.dumps(api.bodies[container])
    assert "PRIVATE KEY" not in body
    assert "TOKEN" not in body


async def test_a_name_that_is_taken_is_not_insisted_on(fleet: Fleet, api: FakeContainers) -> None:
    api.refusals.append(Conflict("the name is in use"))
    await fleet.launch()
    tried = [name for deed, name in api.asked if deed == "run"]
    assert len(set(tried)) == 2


@pytest.mark.expects_logs
async def test_a_network_that_was_taken_away_is_made_again_with_the_same_addresses(
    fleet: Fleet, api: FakeContainers
) -> None:
    api.take_networks_away()
    await fleet.launch()
    assert api.networks == {NETWORK}
    assert api.subnets == [None, "172.31.0.0/16"]


@pytest.mark.expects_logs
async def test_what_is_taken_away_again_and_again_fails_the_start(fleet: Fleet, api: FakeContainers) -> None:
    api.refusals += [Absent("no such image")] * 3
    with pytest.raises(EnvironmentProblem, match="taken away again and again"):
        await fleet.launch()
    assert (await fleet.launch()) == api.ids[0]


async def test_a_caller_that_loses_interest_leaves_a_watched_container(
    fleet: Fleet, api: FakeContainers
) -> None:
    api.held.clear()
    asking = asyncio.get_running_loop().create_task(fleet.launch())
    await until(lambda: api.asked)
    asking.cancel()
    api.held.set()
    await until(lambda: "w1" in fleet.runtime.sightings)
    api.end(api.ids[0], 1)
    assert (await fleet.one_end()).reason == "ended with exit code 1"


async def test_a_container_that_comes_while_a_list_is_made_is_not_taken_for_gone(
    fleet: Fleet, api: FakeContainers
) -> None:
    """The list was made before it came and is compared after."""
    listed = api.workers
    waiting, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(instance: str) -> list[object]:
        before = listed(instance)
        loop.call_soon_threadsafe(waiting.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
        return before  # type: ignore[return-value]

    api.workers = slow  # type: ignore[assignment,method-assign]
    await waiting.wait()
    await fleet.launch()
    api.workers = listed  # type: ignore[method-assign]
    go.set()
    await fleet.launch("w2")
    await until(lambda: len(fleet.runtime.sightings) == 2)
    assert fleet.ended == []
    assert len(api.ids) == 2


# === killing
async def test_a_kill_is_sent_and_its_end_is_by_order(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    await fleet.runtime.kill(worker_record("w1"))
    assert await fleet.one_end() == Ended(reason="killed by order")
    assert ("SIGKILL", container) in api.asked
    await until(lambda: not api.ids, what="it is taken away")


async def test_killing_a_worker_that_is_not_there_is_an_end(fleet: Fleet) -> None:
    await fleet.runtime.kill(worker_record("w9"))
    assert await fleet.one_end() == Ended(reason="it was not running")


async def test_a_worker_killed_while_it_is_launched_dies(fleet: Fleet, api: FakeContainers) -> None:
    api.held.clear()
    launching = asyncio.get_running_loop().create_task(fleet.launch())
    await until(lambda: api.asked)
    await fleet.runtime.kill(worker_record("w1"))
    api.held.set()
    await launching
    assert await fleet.one_end() == Ended(reason="killed by order")


async def test_a_kill_that_did_not_get_through_is_sent_again(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.trouble = HUNG
    await fleet.runtime.kill(worker_record("w1"))
    assert ("SIGKILL", container) not in api.asked
    api.trouble = None
    assert (await fleet.one_end()).reason == "killed by order"


async def test_terminate_sends_term_and_forgives_who_is_gone(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    await fleet.runtime.terminate(worker_record("w1"))
    await fleet.runtime.terminate(worker_record("w9"))
    assert [deed for deed in api.asked if deed[0] == "SIGTERM"] == [("SIGTERM", container)]
    api.end(container, 0)
    await fleet.runtime.terminate(worker_record("w1"))
    assert (await fleet.one_end()).clean


# === what is done by hand
async def test_a_container_removed_by_hand(fleet: Fleet, api: FakeContainers) -> None:
    api.take_away(await fleet.launch())
    assert await fleet.one_end() == Ended(reason="its container was removed by somebody else")


async def test_a_container_restarted_by_hand_is_taken_away(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.change(container, started_s=now_s() + 1)
    assert await fleet.one_end() == Ended(reason="its container was restarted by somebody else")
    await until(lambda: not api.ids)


async def test_a_container_paused_and_renamed_by_hand_is_shown_so(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.change(container, state="paused", name="mine now")
    await until(lambda: fleet.runtime.sightings["w1"].paused)
    assert fleet.runtime.sightings["w1"].name == "mine now"
    api.change(container, state="running")
    await until(lambda: not fleet.runtime.sightings["w1"].paused)
    assert fleet.ended == []


async def test_an_end_that_no_event_tells_of_is_seen_by_looking(fleet: Fleet, api: FakeContainers) -> None:
    api.end(await fleet.launch(), 137, oom=True, silently=True)
    assert (await fleet.one_end()).oom


async def test_a_container_of_ours_that_nobody_knows_is_taken_away(fleet: Fleet, api: FakeContainers) -> None:
    kept = await fleet.launch()
    api.add("w7")
    await until(lambda: api.ids == [kept])
    assert fleet.ended == []


async def test_the_log_is_kept_before_the_container_is_removed(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.logs[container] = b"last words\n"
    assert await fleet.runtime.log(worker_record("w1"), tail_bytes=6) == b"words\n"
    api.end(container, 1)
    await until(lambda: not api.ids)
    assert await fleet.runtime.log(worker_record("w1"), tail_bytes=100) == b"last words\n"
    assert await fleet.runtime.log(worker_record("w9"), tail_bytes=100) == b""


# === an engine in trouble
async def test_trouble_is_said_once_and_once_that_it_is_over(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    looks = 0

    def count(instance: str) -> list[object]:
        nonlocal looks
        looks += 1
        raise DOWN

    working, api.workers = api.workers, count  # type: ignore[assignment,method-assign]
    await until(lambda: looks > 3)
    assert fleet.watching.troubles == [str(DOWN)]
    api.workers = working  # type: ignore[method-assign]
    await until(lambda: len(fleet.watching.troubles) == 2)
    assert fleet.watching.troubles == [str(DOWN), None]
    assert fleet.watching.news == [
        (Level.ERROR, str(DOWN)),
        (Level.SUCCESS, "The Docker Engine answers again."),
    ]
    assert (api.ids, fleet.ended) == ([container], [])


async def test_who_ended_while_the_engine_was_away_is_excused(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.trouble = DOWN
    api.break_streams()
    await until(lambda: fleet.watching.troubles)
    api.end(container, 137, silently=True)
    api.trouble = None
    assert await fleet.one_end() == Ended(
        reason="the Docker Engine went down and took it along", excused=True
    )


async def test_who_ended_while_only_the_events_were_away_is_not(fleet: Fleet, api: FakeContainers) -> None:
    container = await fleet.launch()
    api.change(container, state="exited", exit_code=137, finished_s=now_s() - 60, silently=True)
    api.break_streams()
    assert (await fleet.one_end()).reason == "killed by SIGKILL"


async def test_a_container_that_cannot_be_removed_is_no_trouble_of_the_engine(
    fleet: Fleet, api: FakeContainers
) -> None:
    removed, tries = api.remove, 0

    def refuse(container: str) -> None:
        nonlocal tries
        tries += 1
        raise EnvironmentProblem("The Docker Engine refused: device or resource busy.", fix="")

    api.remove = refuse  # type: ignore[method-assign]
    api.end(await fleet.launch(), 1)
    await until(lambda: tries > 2)
    assert fleet.watching.troubles == []
    api.remove = removed  # type: ignore[method-assign]
    await until(lambda: not api.ids)
    assert len(fleet.ended) == 1


async def test_a_start_without_an_engine_leaves_nothing(api: FakeContainers, tmp_path: Path) -> None:
    api.trouble = DOWN
    fleet = Fleet(api, tmp_path)
    with pytest.raises(EnvironmentProblem, match="No Docker Engine"):
        await fleet.runtime.start()
    await fleet.runtime.close()


@pytest.mark.parametrize("labels", [{}, {INSTANCE_LABEL: "another"}])
async def test_a_network_of_somebody_else_with_our_name_is_neither_used_nor_taken_away(
    api: FakeContainers, tmp_path: Path, labels: dict[str, str]
) -> None:
    api.create_network(NETWORK, options={}, labels=labels, subnet=None)
    fleet = Fleet(api, tmp_path)
    with pytest.raises(EnvironmentProblem, match="not of this program"):
        await fleet.runtime.start()
    await fleet.runtime.close()
    assert api.networks == {NETWORK}


# === following another life
async def test_living_containers_are_adopted_and_dead_ones_are_taken_away(
    api: FakeContainers, tmp_path: Path
) -> None:
    living, dead = api.add("w1"), api.add("w2")
    api.logs[dead] = b"last words\n"
    api.end(dead, 75)
    async with fleet_of(api, tmp_path) as fleet:
        observed = await fleet.runtime.observe()
        assert [(one.id, one.handle, one.alive) for one in observed if one.alive] == [("w1", living, True)]
        assert set(fleet.runtime.sightings) == {"w1"}
        await until(lambda: api.ids == [living])
        assert await fleet.runtime.log(worker_record("w2"), tail_bytes=100) == b"last words\n"
        assert await fleet.launch() == living
        api.end(living, 3)
        assert (await fleet.one_end()).reason == "ended with exit code 3"


async def test_another_engine_at_the_same_address_is_said(api: FakeContainers, tmp_path: Path) -> None:
    for engine_id, said in (("engine-1", 0), ("engine-1", 0), ("engine-2", 1), ("engine-2", 0)):
        async with fleet_of(api, tmp_path, engine_id=engine_id) as fleet:
            assert len(fleet.watching.news) == said, engine_id


# === closing
async def test_closing_finishes_what_is_under_way_and_leaves_the_living(
    api: FakeContainers, tmp_path: Path
) -> None:
    async with fleet_of(api, tmp_path) as fleet:
        living, dead = await fleet.launch("w1"), await fleet.launch("w2")
        api.held.clear()
        api.end(dead, 1)
        await until(lambda: fleet.ended)
        launching = asyncio.get_running_loop().create_task(fleet.launch("w3"))
        await until(lambda: len([1 for deed, _ in api.asked if deed == "run"]) == 3)
        closing = asyncio.get_running_loop().create_task(fleet.runtime.close())
        await asyncio.to_thread(lambda: None)
        assert not closing.done()
        api.held.set()
        await closing
        assert api.ids == [living, await launching]
        assert api.closed
        assert fleet.runtime.sightings == {}


async def test_closing_does_not_wait_for_an_engine_that_hangs(
    api: FakeContainers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CLOSE_LIMIT_S", 0.1)
    async with fleet_of(api, tmp_path) as fleet:
        container = await fleet.launch()
        api.held.clear()
        api.end(container, 1)
        await until(lambda: fleet.ended)
        closing = asyncio.get_running_loop().create_task(fleet.runtime.close())
        await until(lambda: fleet.runtime._orders is None)
        api.held.set()
        await closing


async def test_it_may_be_closed_twice_and_started_again(api: FakeContainers, tmp_path: Path) -> None:
    async with fleet_of(api, tmp_path) as fleet:
        await fleet.runtime.close()
        assert api.networks == set()
        await fleet.runtime.close()
