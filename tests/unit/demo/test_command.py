"""What `taskmaster demo` does with a report: files, streams and the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.demo import run_demo
from taskmaster_desktop.cli.fleet_options import FleetOptions
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.demo.report import DemoReport
from taskmaster_desktop.demo.run import Performance, commit_ms, machine_facts
from taskmaster_desktop.logs import remove_logging
from tests.helpers.demo_evidence import sound
from tests.unit.cli.test_output import Terminal
from tests.unit.demo.test_report import made

COMMON = Common(json=True, data_dir=None, log_level=None, log_format=None)


@pytest.fixture(autouse=True)
def log_taken_back() -> Iterator[None]:
    yield
    remove_logging()


def good() -> DemoReport:
    return replace(made(sound()), steps=())


@pytest.mark.parametrize(("late_answers", "code"), [(1, 0), (0, 4)])
def test_a_broken_promise_is_exit_code_4(
    late_answers: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = replace(sound(), late_answers=late_answers)
    report = replace(made(evidence), steps=())
    monkeypatch.setattr(Performance, "play", lambda _: report)
    out = Terminal()
    output = Output(as_json=True, stdout=out, stderr=Terminal())
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    assert run_demo(COMMON, output, fleet=FleetOptions(), json_file=json_file, html_file=html_file) == code
    told = json.loads(json_file.read_text(encoding="utf-8"))
    assert told == json.loads(out.text)
    assert told["ok"] is (code == 0)
    assert ("A promise was broken." in html_file.read_text(encoding="utf-8")) is (code == 4)


def test_for_people_it_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Performance, "play", lambda _: good())
    out = Terminal()
    run_demo(
        COMMON, Output(stdout=out, stderr=Terminal()), fleet=FleetOptions(), json_file=None, html_file=None
    )
    assert "All promises kept." in out.text


def test_a_commit_is_timed_and_leaves_nothing(tmp_path: Path) -> None:
    assert 0 < commit_ms(tmp_path, SystemClock()) < 1000
    assert list(tmp_path.iterdir()) == []
    assert dict(machine_facts())["SQLite"]
