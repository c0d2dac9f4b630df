"""The worker image as a real engine builds it, without a network, and its agent in an image without a libc."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import docker
import docker.errors
import pytest

from scripts.make_test_base import BASE_IMAGE, BUSYBOX_IMAGE, WHEELS
from taskmaster_desktop.backend.containers.context import Sources, shipped_sources
from taskmaster_desktop.backend.containers.image import (
    AGENT_COMMAND,
    AGENT_FOLDER,
    EngineRefusal,
    ImageProgress,
    check_platform,
    ensure_image,
    ensure_worker_image,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem
from tests.helpers.eventually import eventually
from tests.helpers.fake_engine import bundle_fields, encode_bundle

pytestmark = pytest.mark.docker

NO_BUNDLE = 78
MAX_AGENT_BYTES = 60_000_000
LABEL = "io.taskmaster-desktop.test"
BUILDER_LABEL = "io.taskmaster-desktop=image-builder"
# Prints the environment that a command gets, started from within the interpreter of the agent.
PRINT_ENVIRONMENT = """
import grpc.aio, os, subprocess, sys
import taskmaster_worker.agent
ended = subprocess.run(["/bin/sh", "-c", "env"], env=os.environ, process_group=0, capture_output=True, check=True)
sys.stdout.buffer.write(ended.stdout)
"""


class Images:
    """`ImageApi` on the SDK's client."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client
        self.builds = 0

    def image(self, name: str) -> Mapping[str, Any] | None:
        try:
            description: Mapping[str, Any] = self._client.inspect_image(name)
        except docker.errors.ImageNotFound:
            return None
        return description

    def build(
        self, context: bytes, *, tag: str, buildargs: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        self.builds += 1
        yield from self._client.build(
            fileobj=io.BytesIO(context), custom_context=True, tag=tag, buildargs=dict(buildargs), labels=dict(labels),
            network_mode="none", rm=True, forcerm=True, decode=True,
        )  # fmt: skip

    def pull(self, name: str) -> Iterator[Mapping[str, Any]]:
        try:
            yield from self._client.pull(name, stream=True, decode=True)
        except docker.errors.APIError as error:
            raise EngineRefusal(error.explanation or str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Built:
    """A worker image, the folder of sources it was built from, and what was told meanwhile."""

    tag: str
    sources: Sources
    told: list[ImageProgress]


@pytest.fixture(scope="module")
def images(docker_engine: docker.APIClient) -> Images:
    return Images(docker_engine)


@pytest.fixture(scope="module")
def built(
    docker_engine: docker.APIClient, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    """A worker image that no one has built before, since its agent has one more file."""
    shipped = shipped_sources()
    folder = tmp_path_factory.mktemp("sources")
    for name in ("Dockerfile", "bundle.py", "requirements.txt"):
        shutil.copy(shipped.recipe / name, folder)
    agent = shutil.copytree(shipped.agent, folder / "taskmaster_worker")
    (agent / "unique.txt").write_text(uuid4().hex, encoding="ascii")
    sources = Sources(recipe=folder, agent=agent)
    left_before = leftovers(docker_engine)
    told: list[ImageProgress] = []
    tag = ensure_worker_image(
        images, base=BASE_IMAGE, labels={LABEL: "image"}, progress=told.append, wheels=WHEELS, sources=sources
    )
    yield Built(tag=tag, sources=sources, told=told)
    for image in (tag, *(leftovers(docker_engine) - left_before)):
        docker_engine.remove_image(image, force=True)


def leftovers(client: docker.APIClient) -> set[str]:
    """What the classic builder leaves of the builder stage."""
    return {image["Id"] for image in client.images(filters={"label": BUILDER_LABEL, "dangling": True})}


@pytest.fixture(scope="module")
def agent_volume(docker_engine: docker.APIClient, built: Built) -> Iterator[str]:
    """A volume that the engine has filled from the image; creating a container is enough, it is never started."""
    name = f"tm-test-{uuid4().hex[:8]}"
    docker_engine.create_volume(name, labels={LABEL: "volume"})
    try:
        config = docker_engine.create_host_config(binds=[f"{name}:{AGENT_FOLDER}"])
        filler = docker_engine.create_container(built.tag, host_config=config, labels={LABEL: "container"})
        docker_engine.remove_container(filler["Id"])
        yield name
    finally:
        docker_engine.remove_volume(name)


class Started:
    """A container with the hardened profile, removed at the end of the `with` block."""

    def __init__(
        self,
        client: docker.APIClient,
        image: str,
        *,
        volume: str | None = None,
        stdin: bool = False,
        **config: Any,
    ) -> None:
        self._client = client
        host = client.create_host_config(
            binds=[f"{volume}:{AGENT_FOLDER}:ro"] if volume else [],
            network_mode="none", cap_drop=["ALL"], security_opt=["no-new-privileges"], read_only=True,
            tmpfs={"/tmp": "rw,nosuid,nodev,mode=1777"}, init=True, mem_limit="256m", pids_limit=64,
        )  # fmt: skip
        self.id = client.create_container(
            image, host_config=host, labels={LABEL: "container"}, stdin_open=stdin, **config
        )["Id"]

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.remove_container(self.id, force=True)

    def start(self) -> None:
        self._client.start(self.id)

    def start_with_input(self, data: bytes) -> None:
        """The input goes on, as it does where an engine never tells its end."""
        stream = self._client.attach_socket(self.id, params={"stdin": 1, "stream": 1})
        self.start()
        stream._sock.sendall(data)
        stream._sock.close()
        stream.close()

    def end(self) -> tuple[int, str]:
        """Exit code and output, once it has ended."""
        code = self._client.wait(self.id, timeout=30)["StatusCode"]
        return code, self.output()

    def output(self) -> str:
        return self._client.logs(self.id).decode()


def test_build_tells_how_far_it_is(built: Built) -> None:
    fractions = [progress.fraction for progress in built.told]
    assert built.told[0].text.startswith("Building the worker image, step 1/")
    assert fractions == sorted(fractions, key=lambda fraction: fraction or 0)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_second_call_builds_nothing(images: Images, built: Built) -> None:
    before = images.builds
    again = ensure_worker_image(
        images, base=BASE_IMAGE, labels={}, progress=pytest.fail, wheels=None, sources=built.sources
    )
    assert (again, images.builds) == (built.tag, before)


def test_image_is_small_and_not_root(images: Images, built: Built) -> None:
    image, base = images.image(built.tag), images.image(BASE_IMAGE)
    assert image is not None
    assert base is not None
    config = image["Config"]
    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == "/workspace"
    assert tuple(config["Entrypoint"]) == AGENT_COMMAND
    assert not config["Cmd"]
    assert not config["Volumes"]
    assert config["Labels"] == {LABEL: "image", **dict([BUILDER_LABEL.split("=")])}
    assert image["Size"] - base["Size"] < MAX_AGENT_BYTES
    check_platform(image, base)


def test_agent_starts_in_its_own_image(docker_engine: docker.APIClient, built: Built) -> None:
    with Started(docker_engine, built.tag) as container:
        container.start()
        code, output = container.end()
    assert (code, "standard input ended before" in output) == (NO_BUNDLE, True), output


def test_commands_find_python_in_the_default_image(docker_engine: docker.APIClient, built: Built) -> None:
    with Started(
        docker_engine, built.tag, entrypoint=["/bin/sh", "-c", "id -u; python3 -V; touch x"]
    ) as container:
        container.start()
        code, output = container.end()
    assert output.startswith("1000\nPython 3."), output
    assert (code, "Read-only file system" in output) == (1, True), output


def test_agent_starts_where_there_is_no_libc(docker_engine: docker.APIClient, agent_volume: str) -> None:
    with Started(docker_engine, BUSYBOX_IMAGE, volume=agent_volume, entrypoint=AGENT_COMMAND) as container:
        container.start()
        code, output = container.end()
    assert (code, "standard input ended before" in output) == (NO_BUNDLE, True), output


def test_agent_calls_its_engine_where_there_is_no_libc(
    docker_engine: docker.APIClient, agent_volume: str
) -> None:
    bundle = encode_bundle(bundle_fields("unix:/run/nobody.sock"))
    entry = {"entrypoint": AGENT_COMMAND, "user": "1000:1000"}
    with Started(docker_engine, BUSYBOX_IMAGE, volume=agent_volume, stdin=True, **entry) as container:
        container.start_with_input(bundle)
        # Only grpc can say this.
        eventually(lambda: "connection to unix:/run/nobody.sock" in container.output(), timeout_s=20)
        docker_engine.kill(container.id, "TERM")
        code, output = container.end()
    assert (code, "drained" in output) == (0, True), output


def test_commands_are_not_touched_by_how_the_agent_starts(
    docker_engine: docker.APIClient, agent_volume: str
) -> None:
    command = [*AGENT_COMMAND[:-2], "-c", PRINT_ENVIRONMENT]
    # What a foreign image may have in its environment must not reach the agent.
    foreign = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "LD_LIBRARY_PATH": "/nowhere", "LANG": "x"}
    with Started(
        docker_engine, BUSYBOX_IMAGE, volume=agent_volume, entrypoint=command, environment=foreign
    ) as container:
        container.start()
        code, output = container.end()
    assert code == 0, output
    environment = dict(line.partition("=")[::2] for line in output.splitlines())
    assert environment.keys() <= {*foreign, "PATH", "HOME", "HOSTNAME", "SHLVL", "PWD"}, environment
    assert {name: environment[name] for name in foreign} == foreign


def test_build_that_fails_says_why(images: Images, built: Built) -> None:
    with pytest.raises(EnvironmentProblem, match=f"cannot be built on {BUSYBOX_IMAGE}, which has no Python"):
        ensure_worker_image(
            images, base=BUSYBOX_IMAGE, labels={}, progress=lambda progress: None, wheels=WHEELS,
            sources=built.sources,
        )  # fmt: skip


def test_image_that_cannot_be_pulled_is_one_sentence(images: Images) -> None:
    # A name that no registry can resolve.
    with pytest.raises(EnvironmentProblem) as caught:
        ensure_image(images, "registry.invalid/acme/x:1", progress=lambda progress: None)
    start = "The registry of registry.invalid/acme/x:1 cannot be reached from the engine."
    assert str(caught.value) == f"{start} {caught.value.fix}"
