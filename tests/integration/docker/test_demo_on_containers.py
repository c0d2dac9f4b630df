"""The seven-step demo and the everyday job, on containers, as users run them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from scripts.make_test_base import BASE_IMAGE, BUSYBOX_IMAGE, WHEELS
from tests.helpers.program import Program

pytestmark = [pytest.mark.docker, pytest.mark.e2e]

LABEL = "io.taskmaster-desktop"


@pytest.fixture
def program(docker_engine: docker.APIClient, tmp_path: Path) -> Iterator[Program]:
    work = tmp_path / "work"
    work.mkdir()
    temporary = Path(tempfile.mkdtemp(prefix="tm-e2e-"))
    made = Program(work, temporary)
    made.environment |= {
        "TASKMASTER_DESKTOP_RUNTIME": "auto",
        "TASKMASTER_DESKTOP_WORKER_BASE": BASE_IMAGE,
        "TASKMASTER_DESKTOP_WORKER_WHEELS": str(WHEELS),
    }
    try:
        yield made
        made.assert_nothing_left()
        mine = {"label": f"{LABEL}.data-dir"}
        left = [row["Labels"] for row in docker_engine.containers(all=True, filters=mine)]
        left += [row["Labels"] for row in docker_engine.networks(filters=mine)]
        assert not [one for one in left if str(temporary) in one[f"{LABEL}.data-dir"]]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def test_all_seven_steps_and_every_promise(program: Program) -> None:
    done = program.run("demo", "--json", "--report-html", "report.html", limit_s=200)
    report = json.loads(done.out)
    assert (done.code, report["ok"], report["runtime"]) == (0, True, "docker"), done.err
    assert set(report["promises"].values()) == {True}
    assert [step["ok"] for step in report["steps"]] == [True] * 7
    figures = report["figures"]
    assert (figures["lost_tasks"], figures["double_completed"]) == (0, 0)
    assert figures["lost_attempts"] == figures["reassigned"] >= 1
    page = (program.work / "report.html").read_text()
    assert "a container with its network and its volume were not touched" in page


def test_commands_run_in_an_image_that_never_heard_of_us(program: Program) -> None:
    for name in ("a", "b c", "$(touch x)"):
        (program.work / name).write_text(name)
    program.work.chmod(0o755)
    words = ("map", "--image", BUSYBOX_IMAGE, "--no-network", "-w", "2", "wc -c {}")
    done = program.run(*words, "--", "a", "b c", "$(touch x)", limit_s=120)
    assert (done.code, done.err) == (0, ""), done.err
    assert done.out.decode().splitlines() == ["1 a", "3 b c", "10 $(touch x)"]
