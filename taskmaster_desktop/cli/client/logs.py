"""`taskmaster logs`: what a task has printed, and what it still prints."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster_desktop.cli import exit_codes, values
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.printed import Attempt, End, kept, live, put_out
from taskmaster_desktop.cli.client.talking import task_name
from taskmaster_desktop.cli.output import Output

MOST_ATTEMPTS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options as they were written."""

    task: str
    attempt: str | None
    follow: bool
    stdout: bool
    stderr: bool


def logs(client: Client, output: Output, wish: Wish) -> int:
    """0, whatever has become of the task."""
    name = task_name(wish.task)
    attempt = wish.attempt
    if attempt is not None:
        attempt = str(values.whole("--attempt", attempt, 1, MOST_ATTEMPTS))
    stream = None
    if wish.stdout != wish.stderr:
        stream = "stdout" if wish.stdout else "stderr"
    if not wish.follow:
        for piece in kept(client, name, attempt or "latest", stream):
            put_out(output, piece)
        return exit_codes.OK
    for heard in live(client, name, attempt, stream):
        if isinstance(heard, Attempt) and attempt is not None:
            break
        if output.as_json or not isinstance(heard, End):
            put_out(output, heard)
    return exit_codes.OK
