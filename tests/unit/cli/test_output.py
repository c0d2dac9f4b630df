"""Results on one stream, everything else on the other; a reader that leaves ends the command quietly."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.failures import report_failure
from taskmaster_desktop.cli.map.bar import Bar, Progress, line_of
from taskmaster_desktop.cli.output import Output, OutputClosed


class Terminal(io.TextIOWrapper):
    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def test_plain() -> None:
    out, err = Terminal(), Terminal()
    output = Output(stdout=out, stderr=err)
    output.result("for people")
    output.json({"not": "shown"})
    output.note("on the way")
    output.problem("It broke.")
    assert out.text == "for people\n"
    assert err.text == "on the way\ntaskmaster: It broke.\n"


def test_json_keeps_standard_output_for_the_machine() -> None:
    out, err = Terminal(), Terminal()
    output = Output(as_json=True, stdout=out, stderr=err)
    output.result("for people")
    output.json({"name": "ü"})
    assert json.loads(out.text) == {"name": "ü"}
    assert err.text == ""


def test_a_closed_pipe_is_told_apart() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        output = Output(stdout=stream, stderr=stream)
        with pytest.raises(OutputClosed):
            output.data(b"x")
        output.note("nobody minds")
        assert report_failure(OutputClosed(), output) == exit_codes.OK  # standard output leads nowhere now
        stream.write("x")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("count is wrong.", field="count"), 2, "count is wrong."),
        (EnvironmentProblem("The disk is full.", fix="Free some."), 3, "The disk is full. Free some."),
    ],
)
def test_errors_are_one_sentence_and_a_code(error: BaseException, code: int, sentence: str) -> None:
    out, err = Terminal(), Terminal()
    assert report_failure(error, Output(stdout=out, stderr=err)) == code
    assert err.text == f"taskmaster: {sentence}\n"
    assert out.text == ""


def test_errors_are_told_to_machines_too() -> None:
    out, err = Terminal(), Terminal()
    report_failure(UserError("No."), Output(as_json=True, stdout=out, stderr=err))
    assert json.loads(out.text) == {"error": "No.", "exit_code": 2}


def test_a_bug_is_one_sentence_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_desktop.cli.failures.default_log_dir", lambda: tmp_path / "log")
    err = Terminal()
    with pytest.raises(KeyError) as caught:
        raise KeyError("deep inside")
    assert report_failure(caught.value, Output(stdout=Terminal(), stderr=err)) == exit_codes.BUG
    (log,) = (tmp_path / "log").iterdir()
    assert err.text.count("\n") == 1
    assert str(log) in err.text
    assert "Traceback" not in err.text
    assert "Traceback" in log.read_text(encoding="utf-8")


# === the progress line
def test_the_line_says_rate_and_time_left() -> None:
    line = line_of(Progress(done=50, failed=2, running=3, total=200), rate=10.0)
    assert line == "[######..................] 50/200  10.0/s  15 s left  3 running  2 failed"
    assert line_of(Progress(done=5, failed=0, running=1, total=None), rate=0.0) == "5 done  0.0/s  1 running"
    assert "2 h 46 min left" in line_of(Progress(done=0, failed=0, running=1, total=10_000), rate=1.0)
    assert "1 min 40 s left" in line_of(Progress(done=0, failed=0, running=1, total=100), rate=1.0)


def test_the_line_makes_way_for_text() -> None:
    out, err = Terminal(is_terminal=True), Terminal(is_terminal=True)
    clock = SystemClock()
    output = Output(stdout=out, stderr=err)
    bar = Bar(output, clock, shown=True)
    bar.update(Progress(done=0, failed=0, running=1, total=4))
    bar.update(Progress(done=1, failed=0, running=1, total=4))  # too soon
    assert err.text.count("\x1b[K") == 1
    output.result("text")
    assert err.text.endswith("\r\x1b[K")
    output.result("more")
    assert err.text.count("\x1b[K") == 2


def test_no_line_where_nobody_looks() -> None:
    err = Terminal()
    bar = Bar(Output(stdout=Terminal(), stderr=err), SystemClock(), shown=False)
    bar.update(Progress(done=0, failed=0, running=1, total=4))
    bar.clear()
    assert err.text == ""
