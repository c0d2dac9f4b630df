"""The seven-step demo as users run it."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.helpers.eventually import eventually
from tests.helpers.program import LIMIT_S, Program

PROMISES = ["durable", "one_terminal_state", "fenced", "no_overlap", "lost_not_failed", "nothing_foreign"]
FIGURES = [
    "ready_s", "batch_50_ms", "efficiency_1", "efficiency_3", "efficiency_5", "recovery_s",
    "lost_tasks", "lost_attempts", "double_completed", "reassigned",
]  # fmt: skip


@pytest.mark.timeout(150)
def test_all_seven_steps(program: Program) -> None:
    done = program.run(
        "demo", "--json", "--report-json", "report.json", "--report-html", "report.html", limit_s=120
    )
    report = json.loads((program.work / "report.json").read_text())
    assert (done.code, report["ok"]) == (0, True), report
    assert json.loads(done.out) == report
    assert list(report) == ["ok", "runtime", "steps", "promises", "figures"]
    assert report["runtime"] == "process"
    assert report["promises"] == dict.fromkeys(PROMISES, True)
    assert list(report["figures"]) == FIGURES
    assert len(report["steps"]) == 7
    for step in report["steps"]:
        assert list(step) == ["name", "ok", "measured", "promised", "ideal"]
        assert step["ok"] is True
        for key in ("measured", "promised", "ideal"):
            assert isinstance(step[key]["value"], float)
            assert step[key]["unit"] in ("s", "ms")
    figures = report["figures"]
    assert (figures["lost_tasks"], figures["double_completed"]) == (0, 0)
    assert figures["lost_attempts"] == figures["reassigned"] >= 1
    for workers in (1, 3, 5):
        assert 0.5 < figures[f"efficiency_{workers}"] <= 1.0
    assert [line.split()[0] for line in done.err.splitlines()[:7]] == [f"{n}/7" for n in range(1, 8)]
    page = (program.work / "report.html").read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"https?:|<script", page)


def test_ctrl_c_ends_it_cleanly(program: Program) -> None:
    process = program.start("demo")
    eventually(lambda: sum("taskmaster_worker" in line for line in program.living()) == 3, timeout_s=LIMIT_S)
    os.killpg(process.pid, signal.SIGINT)
    done = program.finish(process, limit_s=15)
    assert (done.code, done.out) == (130, b"")
    assert done.err.endswith("taskmaster: interrupted; the demo's workers were ended.\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--runtime", "docker", "--docker-host", "unix:///no.sock"), 3, "No Docker Engine answers at"),
        (("--runtime", "magic"), 2, "runtime must be one of auto, docker and process"),
        (("--report-html", "no/such/folder/report.html"), 2, "The report cannot be written to"),
        (("--data-dir", "used"), 2, "The demo needs a folder of its own"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    program: Program, words: tuple[str, ...], code: int, said: str
) -> None:
    (program.work / "used").mkdir()
    (program.work / "used" / "taskmaster.db").touch()
    done = program.run("demo", *words)
    assert (done.code, done.out) == (code, b"")
    assert said in done.sentence
