"""Whose turn it is, and what a failed task is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.events import OutputArrived
from taskmaster_desktop.backend.model import Outcome, Stream, TaskRecord, TaskState
from taskmaster_desktop.cli.map.printing import JsonPrinter, PlainPrinter, describe
from taskmaster_desktop.cli.map.spool import Spool
from taskmaster_desktop.cli.output import Output
from tests.unit.cli.test_output import Terminal


def record(number: int, *, attempt: int = 1, **more: Any) -> TaskRecord:
    fields: dict[str, Any] = dict.fromkeys(TaskRecord._fields)
    fields |= {
        "number": number,
        "attempt": attempt,
        "command": f"job {number}",
        "is_argv": False,
        "reason": "",
    }
    fields |= {"state": TaskState.COMPLETED, "outcome": Outcome.COMPLETED, "exit_code": 0}
    return TaskRecord(**(fields | more))


class OneQuery:
    """Knows every task as completed."""

    def task(self, number: int) -> TaskRecord:
        return record(number)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path)
    for number in (7, 8, 9):
        made.add(
            OutputArrived(task=number, attempt=1, stream=Stream.STDOUT, offset=0, data=f"{number}\n".encode())
        )
    yield made
    made.close()


def test_in_the_order_of_the_input(spool: Spool) -> None:
    out = Terminal()
    printer = PlainPrinter(spool, Output(stdout=out, stderr=Terminal()), OneQuery(), in_input_order=True)  # type: ignore[arg-type]
    printer.start(7)
    printer.finished(record(9))
    printer.finished(record(8))
    assert (out.text, printer.waiting) == ("", 2)
    printer.finished(record(7))
    assert (out.text, printer.waiting) == ("7\n8\n9\n", 0)


def test_as_they_finish(spool: Spool) -> None:
    out = Terminal()
    printer = PlainPrinter(spool, Output(stdout=out, stderr=Terminal()), OneQuery(), in_input_order=False)  # type: ignore[arg-type]
    printer.start(7)
    for number in (9, 7, 8):
        printer.finished(record(number))
    assert out.text == "9\n7\n8\n"


def test_what_is_finished_is_printed_when_no_more_comes(spool: Spool) -> None:
    out = Terminal()
    printer = PlainPrinter(spool, Output(stdout=out, stderr=Terminal()), OneQuery(), in_input_order=True)  # type: ignore[arg-type]
    printer.start(7)
    printer.finished(record(9))
    printer.finished(record(8))
    printer.flush()
    assert out.text == "8\n9\n"


def test_json_is_one_object_with_a_line_for_each_task(spool: Spool) -> None:
    spool.add(OutputArrived(task=8, attempt=1, stream=Stream.STDERR, offset=2, data=b"\xff"))
    out = Terminal()
    printer = JsonPrinter(
        spool, Output(as_json=True, stdout=out, stderr=Terminal()), OneQuery(), in_input_order=True
    )  # type: ignore[arg-type]
    printer.start(7)
    for number in (7, 8):
        printer.finished(record(number))
    printer.close({"ok": True})
    told = json.loads(out.text)
    assert told["ok"] is True
    assert [(task["task"], task["stdout"]) for task in told["tasks"]] == [(7, "7\n"), (8, "8\n")]
    assert told["tasks"][1]["stderr_base64"] == "/w=="
    assert len(out.text.splitlines()) == 4


def test_json_of_nothing(spool: Spool) -> None:
    out = Terminal()
    printer = JsonPrinter(
        spool, Output(as_json=True, stdout=out, stderr=Terminal()), OneQuery(), in_input_order=True
    )  # type: ignore[arg-type]
    printer.close({"ok": True})
    assert json.loads(out.text) == {"tasks": [], "ok": True}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"outcome": Outcome.FAILED, "exit_code": 3}, "failed with exit code 3: job 1"),
        ({"outcome": Outcome.TIMEOUT, "reason": "after 5 s"}, "timed out (after 5 s): job 1"),
        ({"outcome": Outcome.LOST, "reason": "Quarantined."}, "failed (Quarantined.): job 1"),
        ({"outcome": Outcome.FAILED, "exit_code": 1, "command": "a\nb"}, "failed with exit code 1: a\\nb"),
        (
            {"outcome": Outcome.FAILED, "exit_code": 1, "is_argv": True, "command": '["ls", "a b"]'},
            "failed with exit code 1: ls 'a b'",
        ),
        (
            {
                "outcome": Outcome.FAILED,
                "exit_code": 1,
                "is_argv": True,
                "command": '["/bin/sh", "-c", "sleep 1; x"]',
            },
            "failed with exit code 1: sleep 1; x",
        ),
    ],
)
def test_a_failed_task_is_described(fields: dict[str, Any], text: str) -> None:
    assert describe(record(1, state=TaskState.FAILED, **fields)) == text
