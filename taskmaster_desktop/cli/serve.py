"""`taskmaster serve`: an engine without a window, until it is told to stop. Main thread."""

from __future__ import annotations

import os

from taskmaster_desktop.app import App
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.cli import exit_codes, values
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.fleet_options import FleetOptions
from taskmaster_desktop.cli.interrupts import Interrupts
from taskmaster_desktop.cli.output import Output

MAX_GRACE_S = 86_400.0
LOOK_EVERY_S = 1.0
"""How often it is looked whether the engine has ended by itself; signals are noticed at once."""


def run_serve(
    common: Common,
    output: Output,
    *,
    workers: str | None,
    fleet: FleetOptions,
    port: str | None,
    api: bool | None,
    grace: str,
) -> int:
    """Returns 0 after a graceful end, 130 where a second signal cut it short."""
    grace_s = values.duration_s("--grace", grace, 0.0, MAX_GRACE_S)
    settings = common.settings(
        {"workers": workers, "api_port": port, "api": api, **fleet.flags()}, quiet=False
    )
    app = App(settings, progress=output.note)
    interrupts = Interrupts()
    with interrupts.telling(app.hurry):
        app.start()
        try:
            _say_ready(app, output)
            while not interrupts.wait(LOOK_EVERY_S):
                if not app.running:
                    raise EnvironmentProblem(
                        f"The engine has ended by itself ({app.fatal}).",
                        fix="See that no other TaskMaster uses this database, then start again.",
                    )
            running = app.api.totals.running + app.api.totals.assigned
            output.note(f"Stopping: {running} task(s) may run on for {grace_s:g} s; again ends them at once.")
        finally:
            app.stop(grace_s=grace_s if interrupts.count < 2 else 0.0)
    return exit_codes.OK if interrupts.count < 2 else exit_codes.INTERRUPTED


def _say_ready(app: App, output: Output) -> None:
    settings, choice, totals = app.settings, app.runtime, app.api.totals
    output.result(
        f"TaskMaster is ready: {totals.desired} worker(s) on the {choice.name} runtime ({choice.why}), "
        f"{totals.unfinished} unfinished task(s), data in {settings.data_dir}, process {os.getpid()}"
        f"{f', HTTP at {app.url}' if app.url else ''}."
    )
    output.json(
        {
            "ready": True,
            "pid": os.getpid(),
            "data_dir": str(settings.data_dir),
            "runtime": choice.name,
            "runtime_why": choice.why,
            "workers": totals.desired,
            "unfinished": totals.unfinished,
            "url": app.url,
        }
    )
