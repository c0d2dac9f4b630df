"""The report's JSON has the keys of the user guide; the page stands alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from taskmaster_desktop.demo.evidence import Evidence, read_ledger
from taskmaster_desktop.demo.page import report_page
from taskmaster_desktop.demo.report import DemoReport, Figure, Mark, Step
from taskmaster_desktop.demo.results import Results
from taskmaster_desktop.demo.scenario import STEP_NAMES, Moments
from taskmaster_desktop.demo.terminal import report_text, shown
from taskmaster_desktop.demo.verdicts import judge
from tests.helpers.demo_evidence import SECOND, sound


def made(evidence: Evidence, moments: Moments | None = None) -> DemoReport:
    results = Results(moments or Moments(born_us=1, problem="it <did> not start"), evidence, disk_ms=0.5)
    return DemoReport(
        runtime="process",
        runtime_why="because",
        steps=results.steps(),
        verdicts=judge(evidence),
        phases=results.phases,
        figures=results.figures(),
        balance=results.balance,
        evidence=evidence,
        marks=(Mark(at_us=2 * SECOND, text="scale 3 → 1"), Mark(at_us=3 * SECOND, text="kill <x>", bad=True)),
        machine=(("System", "Test"),),
        duration_s=30.0,
    )


def test_keys_of_the_json() -> None:
    told = made(sound()).to_json()
    assert list(told) == ["ok", "runtime", "steps", "promises", "figures"]
    steps = told["steps"]
    assert isinstance(steps, list)
    assert [step["name"] for step in steps] == [f"{n}. {name}" for n, name in enumerate(STEP_NAMES, 1)]
    for step in steps:
        assert list(step) == ["name", "ok", "measured", "promised", "ideal"]
        assert all(set(step[key]) == {"value", "unit"} for key in ("measured", "promised", "ideal"))
    assert told["promises"] == dict.fromkeys(
        ["durable", "one_terminal_state", "fenced", "no_overlap", "lost_not_failed", "nothing_foreign"], True
    )
    assert list(told["figures"]) == [  # type: ignore[call-overload]
        "ready_s", "batch_50_ms", "efficiency_1", "efficiency_3", "efficiency_5", "recovery_s",
        "lost_tasks", "lost_attempts", "double_completed", "reassigned",
    ]  # fmt: skip


def test_a_step_that_was_not_reached_is_not_ok() -> None:
    report = made(sound())
    assert not report.ok
    assert report.steps[0].problem == "it <did> not start"
    assert {step.problem for step in report.steps[1:]} == {"not reached"}


def test_a_step_is_ok_within_its_promise_only() -> None:
    step = Step(
        name="x", what="", measured=Figure(value=1.0, unit="s"), promised=Figure(value=1.0, unit="s"),
        ideal=Figure(value=None, unit="s"), ideal_is="",
    )  # fmt: skip
    assert step.ok
    assert not replace(step, measured=Figure(value=1.1, unit="s")).ok
    assert not replace(step, measured=Figure(value=None, unit="s")).ok
    assert not replace(step, problem="something").ok


def test_one_broken_promise_is_enough() -> None:
    whole = Moments(born_us=1, reached=7)
    report = made(replace(sound(), late_answers=0), whole)
    assert not report.verdicts["fenced"].ok
    assert not report.ok


def test_figures_count_from_rows_and_ledger() -> None:
    evidence = sound()
    figures = Results(Moments(kill_us=10_900_000), evidence, disk_ms=0.5).figures()
    assert (figures["lost_tasks"], figures["lost_attempts"]) == (0, 1)
    assert (figures["reassigned"], figures["double_completed"]) == (1, 0)
    assert figures["recovery_s"] == 1.1
    twice = replace(evidence, ledger=(*evidence.ledger, evidence.ledger[1]), acknowledged=(1, 2, 3))
    figures = Results(Moments(kill_us=10_900_000), twice, disk_ms=0.5).figures()
    assert (figures["lost_tasks"], figures["double_completed"]) == (1, 1)


def test_the_page_stands_alone() -> None:
    page = report_page(made(sound()))
    assert not re.search(r"https?:|src=|url\(|@import|<script|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert "it &lt;did&gt; not start" in page
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "kill &lt;x&gt;" in drawing
    assert len(re.findall(r'class="bar lost"', drawings[2])) == 1
    assert len(re.findall(r'class="bar completed"', drawings[2])) == 2


def test_the_page_of_an_empty_demo() -> None:
    nothing = replace(sound(), tasks=(), attempts=(), workers=(), ledger=(), acknowledged=(), killed=())
    assert "A promise was broken." in report_page(made(nothing))


def test_the_table_for_a_terminal() -> None:
    text = report_text(made(sound()), colour=False)
    assert "\x1b" not in text
    assert "not measured" in text
    assert "A promise was broken." in text
    assert "\x1b" in report_text(made(sound()), colour=True, width=80)


def test_figures_in_words() -> None:
    assert [shown(Figure(value=value, unit="s")) for value in (0.1234, 12.34, 123.4, None)] == [
        "0.12 s", "12.3 s", "123 s", "not measured",
    ]  # fmt: skip


def test_torn_lines_of_the_ledger_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    assert read_ledger(file) == ((), 0)
    good = '{"event":"start","task":1,"attempt":1,"fence":5,"worker":"worker-1","at_us":9}'
    file.write_text(f'{good}\n{{"event":"st\n{{"event":"end"}}\n{good}\n', encoding="utf-8")
    lines, torn = read_ledger(file)
    assert (len(lines), torn) == (2, 2)
    assert lines[0].worker == "worker-1"
