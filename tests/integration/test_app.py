"""The composition root: what it starts it stops, in order, as often as it is asked to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from taskmaster_desktop.app import App, RuntimeChoice, choose_runtime
from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.commands import CancelTasks, ScaleFleet, SubmitBatch, Work
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem, UserError
from taskmaster_desktop.backend.model import TaskFilter, TaskState
from taskmaster_desktop.backend.store import lock_folder
from taskmaster_desktop.settings import Settings
from tests.helpers.eventually import eventually

LIMIT_S = 30.0


def settings(folder: Path, **more: object) -> Settings:
    return Settings(data_dir=folder, **{"runtime": "process", "api": False} | more)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_runtime_is_decided_once(tmp_path: Path) -> None:
    def choose(wanted: str) -> RuntimeChoice:
        nowhere = settings(tmp_path, runtime=wanted, docker_host=f"unix://{tmp_path}/no.sock")
        return choose_runtime(nowhere, progress=pytest.fail)

    assert choose("process").name == "process"
    auto = choose("auto")
    assert (auto.name, auto.why) == ("process", f"No Docker Engine answers at unix://{tmp_path}/no.sock")
    with pytest.raises(EnvironmentProblem, match="No Docker Engine answers") as caught:
        choose("docker")
    assert caught.value.fix


@pytest.mark.parametrize("wanted", ["auto", "docker"])
def test_a_folder_that_must_not_be_mounted_is_refused_before_anything_starts(
    tmp_path: Path, wanted: str
) -> None:
    app = App(settings(tmp_path / "data", runtime=wanted, mounts=("/etc",)))
    with pytest.raises(UserError, match="/etc may not be mounted") as caught:
        app.start()
    assert caught.value.field == "mounts"
    assert not (tmp_path / "data").exists()


def test_a_life(folder: Path) -> None:
    app = App(settings(folder, workers=1))
    with pytest.raises(RuntimeError):
        _ = app.api
    app.stop(grace_s=1)
    app.start()
    app.start()
    assert app.running
    answer: Submitted = app.api.submit(SubmitBatch(works=[Work(command="noop")], count=20)).result(LIMIT_S)
    assert app.api.wait_batch(answer.batch.number).result(LIMIT_S).completed == 20
    app.stop(grace_s=5)
    app.stop(grace_s=5)
    assert not app.running
    assert folder.stat().st_mode & 0o777 == 0o700

    app.start()
    task = app.api.query.task(1)
    assert task is not None
    assert task.state is TaskState.COMPLETED
    app.stop(grace_s=5)


def test_given_wishes_win_and_others_are_remembered(folder: Path) -> None:
    first = App(settings(folder))
    first.start()
    assert first.api.totals.desired == 3
    first.api.submit(ScaleFleet(workers=1)).result(LIMIT_S)
    first.stop(grace_s=0)
    second = App(settings(folder))
    second.start()
    assert second.api.totals.desired == 1
    second.stop(grace_s=0)
    third = App(settings(folder, workers=0, self_heal=False))
    third.start()
    assert (third.api.totals.desired, third.api.totals.self_heal) == (0, False)
    third.stop(grace_s=0)


def test_a_second_instance_is_refused_and_leaves_nothing(folder: Path) -> None:
    first, second = App(settings(folder, workers=0)), App(settings(folder, workers=0))
    first.start()
    before = threading.active_count()
    for _ in range(2):
        with pytest.raises(EnvironmentProblem, match="already running"):
            second.start()
    assert threading.active_count() == before
    assert not second.running
    first.stop(grace_s=0)
    second.start()
    second.stop(grace_s=0)


def test_a_database_elsewhere_leaves_the_folder_locked_too(folder: Path, tmp_path: Path) -> None:
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    app = App(settings(folder, workers=0, database_url=elsewhere))
    app.start()
    with pytest.raises(EnvironmentProblem, match="already running"):
        lock_folder(folder)
    app.stop(grace_s=0)
    lock_folder(folder).release()


def test_a_failing_start_undoes_what_was_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise EnvironmentProblem("No certificate.", fix="Make one.")

    app = App(settings(folder, workers=0))
    with monkeypatch.context() as patched:
        patched.setattr("taskmaster_desktop.backend.rpc.server.Authority.open", refuse)
        with pytest.raises(EnvironmentProblem, match="No certificate"):
            app.start()
    app.start()  # the lock was given back
    app.stop(grace_s=0)


def test_hurry_cuts_a_patient_stop_short(folder: Path) -> None:
    app = App(settings(folder, workers=1))
    app.start()
    app.api.submit(SubmitBatch(works=[Work(command="sleep 600")])).result(LIMIT_S)
    eventually(lambda: app.api.totals.running == 1, timeout_s=LIMIT_S)
    stopping = threading.Thread(target=app.stop, kwargs={"grace_s": 300})
    stopping.start()
    app.hurry()
    stopping.join(LIMIT_S)
    assert not stopping.is_alive()
    assert not app.running
    app.hurry()


def test_whoever_asks_while_it_stops_is_answered(folder: Path) -> None:
    app = App(settings(folder, workers=1))
    app.start()
    api = app.api
    api.submit(SubmitBatch(works=[Work(command="sleep 600")], count=3000)).result(LIMIT_S)
    app.hurry()
    asked = [api.submit(CancelTasks(chosen=TaskFilter())) for _ in range(50)]
    asked += [api.wait_batch(1), api.worker_log(1)]
    app.stop(grace_s=0)
    for future in asked:
        assert future.exception(LIMIT_S) is None or isinstance(future.exception(), EngineDown)
    with pytest.raises(EngineDown):
        api.submit(ScaleFleet(workers=1)).result(LIMIT_S)
