"""From an exception to an exit code and one sentence; a traceback goes to a file, never to the terminal."""

from __future__ import annotations

import logging
import os
import tempfile
import traceback
from pathlib import Path

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.output import Output, OutputBroken, OutputClosed
from taskmaster_desktop.logs import TailHandler
from taskmaster_desktop.paths import default_log_dir


def report_failure(error: BaseException, output: Output) -> int:
    """Tell the user what happened and return the exit code."""
    if isinstance(error, OutputClosed):
        output.silence()
        return exit_codes.OK
    if isinstance(error, OutputBroken):
        output.silence()
        output.problem(str(error))
        return exit_codes.NO_ENGINE
    if isinstance(error, UserError):
        return _told(output, error, exit_codes.WRONG_USAGE)
    if isinstance(error, EnvironmentProblem):
        return _told(output, error, exit_codes.NO_ENGINE)
    where = _write_log(error)
    output.problem(f"Something went wrong that never should ({_name(error)}); the log is in {where}.")
    return exit_codes.BUG


def _told(output: Output, error: Exception, code: int) -> int:
    output.problem(str(error))
    output.json({"error": str(error), "exit_code": code})
    return code


def _name(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__


def _newest_lines() -> list[str]:
    return [
        f"{entry.level} {entry.logger}: {entry.message}"
        for handler in logging.getLogger().handlers
        if isinstance(handler, TailHandler)
        for entry in handler.entries_after(0)
    ]


def _write_log(error: BaseException) -> Path | str:
    """The traceback and the newest log lines, in a file of their own."""
    text = "\n".join([*_newest_lines(), "", *traceback.format_exception(error)])
    name = f"taskmaster-{SystemClock().now().wall_us // 1_000_000}-{os.getpid()}.log"
    for folder in (default_log_dir(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return folder / name
    return "no folder that could be written"
