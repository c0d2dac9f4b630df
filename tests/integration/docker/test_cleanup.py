"""`taskmaster cleanup` on an engine of its own: all of ours goes, and what stands beside is as it was to the byte."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, BUSYBOX_IMAGE
from taskmaster_desktop.backend.containers.profile import KIND_WORKER, LABEL
from tests.helpers.containers import OWN_IMAGE, Containers, running_containers, short_folder
from tests.helpers.program import Done, Program, lines
from tests.helpers.second_engine import SecondEngine

pytestmark = pytest.mark.docker

ALIKE = {
    f"{LABEL}x": KIND_WORKER,
    f"{LABEL}-other": KIND_WORKER,
    f"{LABEL}.instance": "0123",
    f"{LABEL}.worker": "w-1",
    "taskmaster-desktop": KIND_WORKER,
}
"""Labels that only begin alike."""
SLEEP = ["/bin/busybox", "sleep", "600"]


@pytest.fixture(scope="module")
def second(docker_engine: docker.APIClient) -> Iterator[SecondEngine]:
    """An engine of our own that has nothing but the two base images."""
    engine = SecondEngine()
    try:
        engine.start()
        client = engine.client()
        for image in (BASE_IMAGE, BUSYBOX_IMAGE):
            client.load_image(b"".join(docker_engine.get_image(image)))
        client.close()
        yield engine
    finally:
        engine.remove()


@pytest.fixture
def client(second: SecondEngine) -> Iterator[docker.APIClient]:
    client = second.client()
    yield client
    client.close()


@pytest.fixture
def program(tmp_path: Path, second: SecondEngine) -> Iterator[Program]:
    work = tmp_path / "work"
    work.mkdir()
    with short_folder() as temporary:
        made = Program(work, temporary)
        made.environment["TASKMASTER_DESKTOP_DOCKER_HOST"] = second.url
        yield made


@pytest.fixture
def strangers(client: docker.APIClient) -> Iterator[None]:
    """Things of somebody else with names and labels as close to ours as they get."""
    client.create_network("tm-01234567", labels=ALIKE)
    client.create_volume("tm-agent-0123456789abcdef", labels=ALIKE)
    client.tag(BUSYBOX_IMAGE, "taskmaster-worker", "0123456789abcdef")
    client.tag(BUSYBOX_IMAGE, "taskmaster-worker", "mine")
    binds = ["tm-agent-0123456789abcdef:/opt/taskmaster"]
    made = [
        client.create_container(
            BUSYBOX_IMAGE, SLEEP, name=f"tm-01234567-worker-1-{name}", labels=ALIKE,
            host_config=client.create_host_config(binds=binds, network_mode=network),
        )["Id"]
        for name, network in (("runs", "none"), ("ended", "none"), ("created", "tm-01234567"))
    ]  # fmt: skip
    for container in made[:2]:
        client.start(container)
    client.kill(made[1])
    client.wait(made[1])
    yield
    for container in made:
        client.remove_container(container, force=True)
    client.remove_network("tm-01234567")
    client.remove_volume("tm-agent-0123456789abcdef")
    client.remove_image("taskmaster-worker:0123456789abcdef")
    client.remove_image("taskmaster-worker:mine")


def described(client: docker.APIClient, container: str) -> dict[str, Any]:
    """As the engine describes it, apart from the order of mounts, which is another one each time."""
    said: dict[str, Any] = client.inspect_container(container)
    return said | {"Mounts": sorted(said["Mounts"], key=lambda mount: str(mount["Destination"]))}


def everything(client: docker.APIClient) -> str:
    """All there is in an engine, as it describes it itself."""
    return json.dumps(
        [
            [described(client, row["Id"]) for row in client.containers(all=True)],
            sorted((client.inspect_network(row["Id"]) for row in client.networks()), key=lambda one: one["Id"]),
            sorted(client.volumes()["Volumes"] or [], key=lambda one: str(one["Name"])),
            sorted((client.inspect_image(row["Id"]) for row in client.images(all=True)), key=lambda one: one["Id"]),
        ],
        sort_keys=True,
        indent=1,
    )  # fmt: skip


def crashed(second: SecondEngine, client: docker.APIClient, *images: str) -> None:
    """Instances whose program was killed; their workers live on."""
    for image in images:
        with (
            short_folder() as folder,
            running_containers(
                folder,
                client,
                workers=2,
                profile=replace(OWN_IMAGE, image=image),
                host=second.url,
                leave=True,
            ),
        ):
            pass  # it is left as in a crash


def told(done: Done) -> dict[str, Any]:
    assert (done.code, done.err) == (0, "")
    parsed: dict[str, Any] = json.loads(done.out)
    return parsed


def counts(by_kind: dict[str, list[str]]) -> dict[str, int]:
    return {kind: len(names) for kind, names in by_kind.items()}


@pytest.mark.usefixtures("strangers")
def test_all_of_ours_goes_and_nothing_else(
    second: SecondEngine, client: docker.APIClient, program: Program
) -> None:
    before = everything(client)
    assert lines(program.run("cleanup")) == ["There is nothing to remove."]
    crashed(second, client, "", BUSYBOX_IMAGE)
    with_ours = everything(client)
    planned = told(program.run("cleanup", "--dry-run", "--json"))["would_remove"]
    assert everything(client) == with_ours
    assert counts(planned) | {"images": 0} == {"containers": 4, "networks": 2, "volumes": 1, "images": 0}
    assert len(planned["images"]) > 1  # what the build left, too
    listed = lines(program.run("cleanup", "--dry-run"))
    assert {line.split()[1] for line in listed[:-1]} == {name for names in planned.values() for name in names}

    removed = told(program.run("cleanup", "--json"))
    assert removed["removed"] == planned
    assert (removed["kept"], removed["failed"], removed["spared"]) == ([], [], [])
    assert everything(client) == before
    assert lines(program.run("cleanup")) == ["There is nothing to remove."]


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("image", ["", BUSYBOX_IMAGE], ids=["own image", "foreign image"])
def test_a_running_instance_keeps_what_it_has(
    second: SecondEngine, client: docker.APIClient, program: Program, image: str
) -> None:
    crashed(second, client, "", BUSYBOX_IMAGE)
    profile = replace(OWN_IMAGE, image=image)
    with (
        short_folder() as folder,
        running_containers(folder, client, workers=2, profile=profile, host=second.url) as running,
    ):
        before = workers_of(running)
        done = program.run("cleanup")
        said = lines(done)
        assert done.code == 0
        assert f"The instance on {folder} is running; its 2 containers stay." in said
        assert said[-1].startswith("Removed 4 containers, 2 networks")
        assert workers_of(running) == before
        goes_on(running)
    assert counts(told(program.run("cleanup", "--json"))["removed"])["containers"] == 0
    assert lines(program.run("cleanup")) == ["There is nothing to remove."]


def workers_of(running: Containers) -> list[dict[str, Any]]:
    return [described(running.client, running.container(worker)) for worker in running.workers()]


def goes_on(running: Containers) -> None:
    """The instance works, and can start more of the same."""
    assert running.lines("echo well") == ["well"]
    running.scale(3)
    running.until_online(3)


def test_what_others_made_of_our_image_stays(
    second: SecondEngine, client: docker.APIClient, program: Program
) -> None:
    crashed(second, client, "")
    (ours,) = [
        tag
        for row in client.images(filters={"label": LABEL})
        for tag in row["RepoTags"]
        if tag.startswith("taskmaster-worker:")
    ]
    theirs = client.create_container(ours, ["sleep", "600"], entrypoint=[], name="theirs")["Id"]
    client.start(theirs)
    recipe = io.BytesIO(f"FROM {ours}\nENV DERIVED=1\n".encode())
    list(client.build(fileobj=recipe, tag="derived:1", rm=True, decode=True))
    list(client.build(fileobj=io.BytesIO(f"FROM {ours}\nENV DERIVED=2\n".encode()), rm=True, decode=True))
    kept = [described(client, theirs)]
    of_label = {"label": LABEL}
    kept += [client.inspect_image(row["Id"]) for row in client.images(filters=of_label) if ours not in row["RepoTags"]
             and client.history(row["Id"])[0]["CreatedBy"].count("DERIVED")]  # fmt: skip
    assert len(kept) == 3
    answer = told(program.run("cleanup", "--json"))
    assert counts(answer["removed"])["containers"] == 2
    assert {one["name"]: one["why"] for one in answer["kept"]} == {
        ours: "the container theirs, which is not of this program, uses it"
    }
    assert [described(client, theirs), *(client.inspect_image(one["Id"]) for one in kept[1:])] == kept
    client.remove_container(theirs, force=True)
    assert "made from it" in json.dumps(told(program.run("cleanup", "--json"))["kept"])
    for one in kept[1:]:
        client.remove_image(one["Id"], noprune=True)
    assert ours in told(program.run("cleanup", "--json"))["removed"]["images"]
    assert client.images(filters=of_label) == []
