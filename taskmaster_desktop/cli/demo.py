"""`taskmaster demo`: plays it, prints the report, writes the files that were asked for. Main thread."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.errors import EngineDown, EnvironmentProblem, UserError
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.common import Common, own_folder
from taskmaster_desktop.cli.fleet_options import FleetOptions
from taskmaster_desktop.cli.interrupts import Interrupts
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.demo.report import DemoReport
from taskmaster_desktop.demo.run import Performance, make_ledger_folder
from taskmaster_desktop.demo.screen import Screen
from taskmaster_desktop.demo.stage import Interrupted


def run_demo(
    common: Common, output: Output, *, fleet: FleetOptions, json_file: Path | None, html_file: Path | None
) -> int:
    """Exit code 0 only where every step and every promise held."""
    for file in (json_file, html_file):
        _check_writable(file)
    with own_folder(None) as side:
        settings = common.settings(
            {
                "data_dir": common.data_dir or side / "data",
                **fleet.flags(more_mounts=(f"{make_ledger_folder(side)}:rw",)),
                "workers": 3,
                "slots": 1,
                "self_heal": False,
                "api_port": 0,
            },
            quiet=True,
        )
        interrupts = Interrupts()
        performance = Performance(
            settings,
            side,
            SystemClock(),
            Screen(output),
            wanted_out=lambda: interrupts.wanted,
            progress=output.note,
        )
        try:
            with interrupts.telling(performance.app.hurry):
                report = performance.play()
        except (Interrupted, EngineDown):
            if not interrupts.wanted:
                raise
            output.problem("interrupted; the demo's workers were ended.")
            return exit_codes.INTERRUPTED
    _show(report, output, json_file, html_file)
    return exit_codes.OK if report.ok else exit_codes.PROMISE_BROKEN


def _show(report: DemoReport, output: Output, json_file: Path | None, html_file: Path | None) -> None:
    from taskmaster_desktop.demo.terminal import report_text

    if json_file is not None:
        _write(json_file, json.dumps(report.to_json(), indent=2) + "\n")
    if html_file is not None:
        from taskmaster_desktop.demo.page import report_page

        _write(html_file, report_page(report))
    colour = output.stdout_is_terminal and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size().columns if output.stdout_is_terminal else None
    output.result(report_text(report, colour=colour, width=width))
    output.json(report.to_json())
    for file in (json_file, html_file):
        if file is not None:
            output.note(f"Report written to {file}")


def _check_writable(file: Path | None) -> None:
    """Before a minute is spent. Raises UserError."""
    if file is None:
        return
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UserError(
            f"The report cannot be written to {file}: there is no such folder to put it in.", field="report"
        )
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UserError(
            f"The report cannot be written to {file}: writing there is not permitted.", field="report"
        )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(
            f"The report could not be written to {file}: {error.strerror}.",
            fix="Choose another place for it.",
        ) from error
