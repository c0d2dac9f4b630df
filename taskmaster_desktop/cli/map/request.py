"""From the words of a `map` command line to a run: which work, how, and on which engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taskmaster_desktop.app import App
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import MAX_TIMEOUT_S, MAX_WORKERS
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.model import TaskOptions
from taskmaster_desktop.backend.store.opening import DATABASE, open_store
from taskmaster_desktop.cli import values
from taskmaster_desktop.cli.common import Common, own_folder
from taskmaster_desktop.cli.fleet_options import FleetOptions
from taskmaster_desktop.cli.map.feed import Feed, NamesFeed, StreamFeed, ToWork, check_text
from taskmaster_desktop.cli.map.run import MapPlan, MapRun
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.cli.template import MARK, ArgvTemplate, ShellTemplate, has_mark, shell_work

PARTING = ":::"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRequest:
    """The options of `map` as they were written."""

    words: tuple[str, ...]
    argv: bool
    null: bool
    workers: str | None
    retries: str
    timeout: str | None
    keep_going: bool
    order: str
    env: tuple[str, ...]
    fleet: FleetOptions


def run_map(common: Common, output: Output, request: MapRequest) -> int:
    """Everything is checked before an engine starts. Returns the exit code."""
    plan = MapPlan(
        options=_options(request),
        keep_going=request.keep_going,
        in_input_order=values.choice("--order", request.order, ("input", "done")) == "input",
    )
    to_work, names = _template(request)
    workers = request.workers if request.workers is not None else min(os.cpu_count() or 1, MAX_WORKERS)
    if request.workers is not None:
        values.whole("--workers", request.workers, 1, MAX_WORKERS)
    if common.data_dir is not None:
        _refuse_leftovers(common.data_dir)
    with own_folder(common.data_dir) as folder:
        settings = common.settings(
            {
                "data_dir": folder,
                "workers": workers,
                "self_heal": True,
                "api": False,
                **_fleet_flags(request.fleet),
            },
            quiet=True,
        )
        run = MapRun(App(settings, progress=output.note), plan, output, SystemClock(), folder)
        return run.go(_feed(request, names, to_work, run.wake, output))


def _fleet_flags(fleet: FleetOptions) -> dict[str, object]:
    """Local processes unless containers are asked for; those see the current folder, where commands run."""
    runtime = fleet.runtime or ("docker" if fleet.image is not None else "process")
    here = () if runtime == "process" else (f"{_current_folder()}:rw",)
    return fleet.flags(more_mounts=here) | {"runtime": runtime}


def _refuse_leftovers(folder: Path) -> None:
    """Raises UserError where an earlier run left tasks that would run beside ours."""
    if not (folder / DATABASE).exists():
        return
    store = open_store(folder)
    try:
        left = store.query.totals().unfinished
    finally:
        store.close()
    if left:
        raise UserError(
            f"{folder} holds {left} unfinished task(s) of an earlier run; finish them with taskmaster serve, "
            "or choose another folder.",
            field="--data-dir",
        )


def _options(request: MapRequest) -> TaskOptions:
    timeout_s = None
    if request.timeout is not None:
        timeout_s = values.duration_s("--timeout", request.timeout, 0.1, MAX_TIMEOUT_S)
    return TaskOptions(
        cwd=_current_folder(),
        env=values.variables("--env", request.env),
        retries=values.whole("--retries", request.retries, 0, 10),
        timeout_s=timeout_s,
        lossless_output=True,
    )


def _current_folder() -> str:
    try:
        folder = os.getcwd()  # noqa: PTH109 - the text of it is what is wanted
    except OSError as error:
        raise EnvironmentProblem(
            "The current folder does not exist any more.", fix="Go to another one."
        ) from error
    check_text(folder, "The name of the current folder")
    return folder


def _template(request: MapRequest) -> tuple[ToWork, tuple[str, ...] | None]:
    """How an argument becomes work, and the arguments if they stand on the command line."""
    words = request.words
    if request.argv:
        program, names = _parted(words)
        if not program:
            raise UserError(
                "--argv needs a program, such as: map --argv -- gzip {} ::: FILES", field="template"
            )
        if not has_mark(program):
            raise UserError(f"The --argv template has no {MARK} for the argument.", field="template")
        for word in program:
            check_text(word, "The template")
        return ArgvTemplate(program).fill, names
    if not words:
        return shell_work, None
    template, names = words[0], words[1:]
    check_text(template, "The template")
    if MARK not in template:
        raise UserError(
            f"The template has no {MARK} for the argument, such as: 'sha256sum {MARK}'.", field="template"
        )
    return ShellTemplate.parse(template).fill, names or None


def _parted(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    if PARTING not in words:
        return words, None
    at = words.index(PARTING)
    return words[:at], words[at + 1 :]


def _feed(
    request: MapRequest,
    names: tuple[str, ...] | None,
    to_work: ToWork,
    wake: Callable[[], None],
    output: Output,
) -> Feed:
    if names is not None:
        return NamesFeed(names, to_work)
    if sys.stdin is None:
        raise UserError("There are no arguments and no standard input.", field="arguments")
    if sys.stdin.isatty():
        output.note("Reading from the terminal, one line each; end with Ctrl-D.")
    feed = StreamFeed(sys.stdin.fileno(), b"\0" if request.null else b"\n", to_work, wake)
    feed.start()
    return feed
