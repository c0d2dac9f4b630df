"""Any image as a worker, chosen by the settings, and the sentences for what cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, BUSYBOX_IMAGE, WHEELS
from taskmaster_desktop.app import App, choose_runtime
from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.commands import SubmitBatch, Work
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.settings import Settings, load_settings
from tests.helpers.containers import short_folder
from tests.helpers.engines import LIMIT_S

pytestmark = pytest.mark.docker


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def settings(folder: Path, **more: object) -> Settings:
    given = {"data_dir": folder, "runtime": "docker", "workers": 1, "worker_base": BASE_IMAGE}
    return load_settings(given | {"worker_wheels": WHEELS} | more)


@contextmanager
def started(settings: Settings) -> Iterator[App]:
    app = App(settings)
    app.start()
    try:
        yield app
    finally:
        app.stop(grace_s=0)


def output_of(app: App, command: str) -> str:
    answer: Submitted = app.api.submit(SubmitBatch(works=[Work(command=command)])).result(LIMIT_S)
    assert app.api.wait_batch(answer.batch.number).result(LIMIT_S).completed == 1
    chunks = app.api.query.output(answer.batch.first_task, 1)
    return b"".join(chunk.data for chunk in chunks).decode()


def test_an_image_of_one_busybox_is_a_worker_without_a_network(
    docker_engine: docker.APIClient, folder: Path
) -> None:
    with started(settings(folder, image=BUSYBOX_IMAGE, network=False, slots=2)) as app:
        assert app.runtime.name == "docker"
        assert output_of(app, "busybox 2>&1 | head -1").startswith("BusyBox v")
        assert output_of(app, "ls /lib /usr/bin 2>&1; id -u").splitlines()[-1] == "1000"
        assert output_of(app, "echo a; echo b >&2").splitlines() == ["a", "b"]
        with pytest.raises(AssertionError):
            output_of(app, "(: > /opt/taskmaster/x)")


def test_the_choice_says_which_engine_and_why(docker_engine: docker.APIClient, folder: Path) -> None:
    choice = choose_runtime(settings(folder), progress=lambda _: None)
    choice.close()
    assert choice.name == "docker"
    version = docker_engine.version()["Version"]
    assert choice.why.startswith(f"Docker Engine {version} answers at ")


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"image": "no-such-image-anywhere:1"}, "no-such-image-anywhere:1"),
        ({"image": "Wrong Name"}, "Wrong Name is not a valid name of an image"),
        ({"docker_host": "unix:///tmp/no-such.sock"}, "No Docker Engine answers at unix:///tmp/no-such.sock"),
        ({"docker_host": "tcp://192.0.2.1:2375"}, "another machine"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_with_its_remedy(
    docker_engine: docker.APIClient, folder: Path, wish: dict[str, object], problem: str
) -> None:
    app = App(settings(folder, **wish))
    with pytest.raises(EnvironmentProblem) as caught:
        app.start()
    assert problem in str(caught.value)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("mount", ["/", "/etc", "/var/run", str(Path.home()), "/no/such/folder", "here"])
def test_a_mount_that_must_not_be_stops_the_start(
    docker_engine: docker.APIClient, folder: Path, mount: str
) -> None:
    with pytest.raises(UserError) as caught:
        App(settings(folder, mounts=[mount])).start()
    assert caught.value.field == "mounts"
    assert not list(folder.iterdir())


def test_where_no_engine_answers_the_choice_by_itself_is_processes(folder: Path) -> None:
    wished = settings(folder, runtime="auto", docker_host="unix:///tmp/no-such.sock")
    choice = choose_runtime(wished, progress=lambda _: None)
    assert choice.name == "process"
    assert choice.why == "No Docker Engine answers at unix:///tmp/no-such.sock"
