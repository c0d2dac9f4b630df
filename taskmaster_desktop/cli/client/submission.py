"""What `submit` and `run` hand in: commands from the command line, a file or a sweep, and what they share.

Everything is checked here as far as it can be, so that a mistake is named as it was written.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from taskmaster_desktop.backend.commands import MAX_COUNT, MAX_DELAY_S, MAX_TIMEOUT_S, Work
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.cli import values
from taskmaster_desktop.cli.client.sweep import Sweep
from taskmaster_desktop.cli.template import shell_work

STDIN = "-"
MAX_RETRY_DELAY_S = 300.0
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options as they were written; those of `run` are a part of them."""

    words: tuple[str, ...]
    argv: bool = False
    count: str = "1"
    file: str | None = None
    sweep: tuple[str, ...] = ()
    delay: str | None = None
    run_at: str | None = None
    priority: str = "0"
    retries: str = "0"
    retry_delay: str | None = None
    timeout: str | None = None
    tags: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str | None = None


def works_of(wanted: Wanted) -> tuple[list[Work], int]:
    """The commands, and how often each is run. Raises UserError."""
    count = values.whole("--count", wanted.count, 1, MAX_COUNT)
    words = wanted.words
    source = wanted.file if wanted.file is not None else STDIN if words == (STDIN,) else None
    if source is not None:
        if words not in ((), (STDIN,)):
            raise UserError("Give either a command or --file, not both.", field="--file")
        for option, given in (("--sweep", wanted.sweep), ("--argv", wanted.argv), ("--count", count > 1)):
            if given:
                raise UserError(f"{option} goes with a command, not with a list of them.", field=option)
        return _listed(source), 1
    if not words:
        raise UserError("There is no command; give one, or a list with --file.", field="command")
    if wanted.sweep:
        if count > 1:
            raise UserError("--count goes with a single command, not with --sweep.", field="--count")
        sweep = Sweep.parse(wanted.sweep)
        filled = sweep.of_argv(words) if wanted.argv else sweep.of_command(_line(words))
        return list(_checked(filled)), 1
    work = Work(argv=words) if wanted.argv else shell_work(_line(words))
    return list(_checked([work])), count


def _line(words: tuple[str, ...]) -> str:
    """One word is a line for the shell; several are words that no shell may change."""
    return words[0] if len(words) == 1 else shlex.join(words)


def _checked(works: Iterable[Work]) -> Iterator[Work]:
    for work in works:
        work.check()
        yield work


def encoded(work: Work) -> bytes:
    """As a line of a stream."""
    item = list(work.argv) if work.argv is not None else work.command
    return json.dumps(item).encode() + b"\n"


def shared(wanted: Wanted) -> dict[str, Any]:
    """What all tasks share, for the API. Raises UserError."""
    options: dict[str, Any] = {
        "cwd": folder_of(wanted.cwd),
        "priority": values.whole("--priority", wanted.priority, -10, 10),
        "retries": values.whole("--retries", wanted.retries, 0, 10),
        "tags": list(wanted.tags),
        "env": dict(values.variables("--env", wanted.env)),
    }
    if wanted.delay is not None and wanted.run_at is not None:
        raise UserError("Give either --delay or --run-at, not both.", field="--run-at")
    if wanted.delay is not None:
        options["delay_s"] = values.duration_s("--delay", wanted.delay, 0.0, MAX_DELAY_S)
    if wanted.run_at is not None:
        options["run_at"] = _moment(wanted.run_at)
    if wanted.retry_delay is not None:
        options["retry_delay_s"] = values.duration_s(
            "--retry-delay", wanted.retry_delay, 0.0, MAX_RETRY_DELAY_S
        )
    if wanted.timeout is not None:
        options["timeout_s"] = values.duration_s("--timeout", wanted.timeout, 0.1, MAX_TIMEOUT_S)
    return options


def folder_of(given: str | None) -> str:
    """Absolute, since the worker is somewhere else; it need not exist here."""
    try:
        folder = os.path.abspath(given or ".")  # noqa: PTH100 - links stay as they were named
        folder.encode()
    except OSError as error:
        raise EnvironmentProblem(
            "The current folder does not exist any more.", fix="Go to another one."
        ) from error
    except UnicodeEncodeError:
        raise UserError("The name of the working folder is not valid UTF-8.", field="--cwd") from None
    return folder


def _moment(text: str) -> str:
    """ISO 8601; without an offset it is this machine's time."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().isoformat()
    except (ValueError, OverflowError, OSError):
        raise UserError(
            f"--run-at must be a moment such as 2030-01-01T03:00 or 2030-01-01T03:00:00Z, not {text!r}.",
            field="--run-at",
        ) from None


# === lists
def _listed(source: str) -> list[Work]:
    if source != STDIN:
        try:
            with Path(source).open("rb") as file:
                return _read(file, source)
        except OSError as error:
            raise UserError(
                f"--file {source} cannot be read: {error.strerror or error}.", field="--file"
            ) from error
    if sys.stdin is None:
        raise UserError("There is no standard input.", field="--file")
    return _read(sys.stdin.buffer, "standard input")


def _read(file: BinaryIO, name: str) -> list[Work]:
    """Commands, one a line; JSON if the first of them is. Empty lines are passed over."""
    works: list[Work] = []
    as_json: bool | None = None
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        try:
            if len(line) > MAX_LINE_BYTES:
                raise UserError("it is longer than 1 MiB.")
            text = line.decode().strip()
            if not text:
                continue
            if as_json is None:
                as_json = _is_json(text)
            if len(works) == MAX_COUNT:
                raise UserError(f"at most {MAX_COUNT:,} tasks go into one batch.")
            work = _from_json(text) if as_json else shell_work(text)
            work.check()
        except UnicodeDecodeError:
            raise UserError(f"Line {number:,} of {name} is not valid UTF-8.", field="--file") from None
        except UserError as error:
            raise UserError(f"Line {number:,} of {name}: {error}", field="--file") from None
        works.append(work)
    if not works:
        raise UserError(f"There is no command in {name}.", field="--file")
    return works


def _is_json(text: str) -> bool:
    """`{ ls; }` is a command of the shell."""
    try:
        item = json.loads(text)
    except ValueError:
        return False
    return isinstance(item, list | dict | str)


def _from_json(text: str) -> Work:
    try:
        item = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError("it is not valid JSON, as the first one is.") from None
    if isinstance(item, str):
        return shell_work(item)
    if isinstance(item, list):
        return Work(argv=tuple(item))
    if not isinstance(item, dict) or len(item) != 1 or not set(item) <= {"command", "argv"}:
        raise UserError('it must be {"command": "..."}, {"argv": [...]}, a text or a list of texts.')
    argv, command = item.get("argv"), item.get("command")
    if isinstance(argv, list):
        return Work(argv=tuple(argv))
    return shell_work(command) if isinstance(command, str) else Work(command=command)
