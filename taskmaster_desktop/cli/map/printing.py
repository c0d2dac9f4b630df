"""Prints the output of finished tasks: in the order of the input or as they finish, plainly or as JSON.

Main thread. A task's output is printed in one piece when it is its turn.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from typing import Protocol

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.model import Outcome, Stream, TaskRecord
from taskmaster_desktop.backend.ports import Query
from taskmaster_desktop.cli.map.spool import Spool, Taken
from taskmaster_desktop.cli.output import Output

SHOWN_CHARS = 200


class Printer(Protocol):
    @property
    def waiting(self) -> int:
        """Tasks that are finished and not yet printed."""

    def start(self, first: int) -> None:
        """The number of the first task."""

    def finished(self, task: TaskRecord) -> None:
        """Prints what is due now."""

    def flush(self) -> None:
        """Prints all that is finished; nothing more will come."""

    def close(self, summary: Mapping[str, object]) -> None: ...


class _Ordered:
    """Decides whose turn it is; `_print` is told number and attempt."""

    def __init__(self, spool: Spool, output: Output, query: Query, *, in_input_order: bool) -> None:
        self._spool = spool
        self._output = output
        self._query = query
        self._in_input_order = in_input_order
        self._due = 0
        self._held: dict[int, int] = {}  # attempt by number

    @property
    def waiting(self) -> int:
        return len(self._held)

    def start(self, first: int) -> None:
        self._due = first

    def finished(self, task: TaskRecord) -> None:
        if not self._in_input_order:
            self._print(task.number, task.attempt)
            return
        self._held[task.number] = task.attempt
        while (attempt := self._held.pop(self._due, None)) is not None:
            self._print(self._due, attempt)
            self._due += 1

    def flush(self) -> None:
        for number in sorted(self._held):
            self._print(number, self._held.pop(number))

    def _print(self, number: int, attempt: int) -> None:
        taken = self._spool.take(number, attempt)
        try:
            self._show(number, taken)
        finally:
            taken.close()

    def _show(self, number: int, taken: Taken) -> None:
        raise NotImplementedError


class PlainPrinter(_Ordered):
    """Bytes as they came, each to its own stream."""

    def _show(self, number: int, taken: Taken) -> None:
        for stream, data in taken:
            if stream is Stream.STDOUT:
                self._output.data(data)
            else:
                self._output.note_data(data)
        if taken.gap:
            self._output.problem(f"some output of task {number} was lost.")

    def close(self, summary: Mapping[str, object]) -> None:
        """There is nothing to close."""


class JsonPrinter(_Ordered):
    """One JSON object in all, with one line for each task, written as they finish."""

    _opened = False

    def _show(self, number: int, taken: Taken) -> None:
        task = self._query.task(number)
        if task is None:
            return
        self._output.data(b",\n" if self._opened else b'{"tasks": [\n')
        self._opened = True
        self._output.data(_encoded(_facts(task) | _texts(taken)))

    def close(self, summary: Mapping[str, object]) -> None:
        head = b"\n]" if self._opened else b'{"tasks": []'
        self._output.data(head + b", " + _encoded(summary)[1:] + b"\n")


def describe(task: TaskRecord) -> str:
    """One line about a task that failed."""
    if task.outcome is Outcome.TIMEOUT:
        what = "timed out"
    elif task.outcome is Outcome.FAILED and task.exit_code is not None:
        what = f"failed with exit code {task.exit_code}"
    else:
        what = "failed"
    reason = f" ({task.reason})" if task.reason and not task.reason.startswith("exit") else ""
    return f"{what}{reason}: {command_text(task)}"


def command_text(task: TaskRecord) -> str:
    """The command on one line, shortened."""
    text = task.command
    if task.is_argv:
        words = json.loads(task.command)
        text = words[2] if words[:2] == ["/bin/sh", "-c"] and len(words) == 3 else shlex.join(words)
    text = text.replace("\n", "\\n")
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def _facts(task: TaskRecord) -> dict[str, object]:
    began, ended = task.started_us, task.finished_us
    return {
        "task": task.number,
        **({"argv": json.loads(task.command)} if task.is_argv else {"command": task.command}),
        "state": task.state.value,
        "outcome": task.outcome.value if task.outcome is not None else None,
        "exit_code": task.exit_code,
        "reason": task.reason,
        "attempts": task.attempt,
        "worker": task.worker,
        "duration_s": (ended - began) / SECOND_US if began is not None and ended is not None else None,
    }


def _texts(taken: Taken) -> dict[str, object]:
    """`stdout` and `stderr` as text, or as `..._base64` where they are not UTF-8."""
    pieces: dict[Stream, list[bytes]] = {Stream.STDOUT: [], Stream.STDERR: []}
    for stream, data in taken:
        pieces[stream].append(data)
    fields: dict[str, object] = {}
    for stream, found in pieces.items():
        whole = b"".join(found)
        try:
            fields[stream.value] = whole.decode()
        except UnicodeDecodeError:
            fields[f"{stream.value}_base64"] = base64.b64encode(whole).decode()
    return fields


def _encoded(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")
