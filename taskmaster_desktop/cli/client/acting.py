"""`taskmaster cancel`, `retry` and `discard`: tasks by name at once, by description after a count and a question."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.choosing import Chosen
from taskmaster_desktop.cli.client.instance import Client, path_of
from taskmaster_desktop.cli.client.text import counted
from taskmaster_desktop.cli.output import Output

MOST_NAMED = 1000
"""The API takes so many at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """
    Attributes:
        path: its name in the API and on the command line.
        done: what has happened to a task.
        everything: how to mean all that it can be done to.
        failed_only: described tasks are those that failed and were not discarded.
    """

    path: str
    done: str
    everything: str
    failed_only: bool


CANCEL = Action(path="cancel", done="cancelled", everything="--all", failed_only=False)
RETRY = Action(path="retry", done="put back into the queue", everything="--all-failed", failed_only=True)
DISCARD = Action(path="discard", done="discarded", everything="--all-failed", failed_only=True)


def act(client: Client, output: Output, action: Action, chosen: Chosen, *, dry_run: bool, yes: bool) -> int:
    """Exit code 0 also where there was nothing to do; 130 where the question was answered with no."""
    target = chosen.target(action.everything)
    if "filter" in target and action.failed_only:
        target["filter"]["dead_letters"] = True  # who has discarded some does not mean them
    if "filter" in target and not dry_run and not yes and not _agreed(client, output, action, target):
        return exit_codes.INTERRUPTED
    affected, unknown = _ask_for(client, action, target, dry_run=dry_run)
    if unknown:
        known = f"; {counted(affected, 'other task')} {_verb(affected, action, dry_run)}" if affected else ""
        raise NotFound(f"There is no task {', '.join(f'#{name}' for name in unknown)}{known}.", field="TASK")
    output.result(f"{counted(affected, 'task')} {_verb(affected, action, dry_run)}.")
    output.json({"affected": affected, "dry_run": dry_run})
    return exit_codes.OK


def _agreed(client: Client, output: Output, action: Action, target: dict[str, Any]) -> bool:
    """Say what it would hit, and ask. Raises UserError where nobody can be asked."""
    count, _ = _ask_for(client, action, target, dry_run=True)
    if count == 0:
        return True  # then the answer says so
    question = f"{counted(count, 'task')} would be {action.done}"
    if sys.stdin is None or not sys.stdin.isatty() or not output.stderr_is_terminal:
        raise UserError(f"{question}; add --yes to do it without being asked.", field="--yes")
    output.note_data(f"{question}. Go on? [y/N] ".encode())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _ask_for(
    client: Client, action: Action, target: dict[str, Any], *, dry_run: bool
) -> tuple[int, list[str]]:
    path = path_of("tasks", action.path)
    names = target.get("tasks")
    if names is None:
        return client.post(path, {**target, "dry_run": dry_run})["affected"], []
    affected, unknown = 0, []
    for start in range(0, len(names), MOST_NAMED):
        told = client.post(path, {"tasks": names[start : start + MOST_NAMED], "dry_run": dry_run})
        affected += told["affected"]
        unknown += told["unknown"]
    return affected, unknown


def _verb(count: int, action: Action, dry_run: bool) -> str:
    return f"would be {action.done}" if dry_run else f"{'was' if count == 1 else 'were'} {action.done}"
