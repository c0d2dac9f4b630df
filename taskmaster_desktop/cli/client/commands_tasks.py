"""`list`, `show`, `logs`, `cancel`, `retry` and `discard`, as typer sees them."""

from __future__ import annotations

from typing import Annotated

import typer

from taskmaster_desktop.cli.client.options import (
    AllFailed,
    DataDir,
    DryRun,
    Json,
    OfBatch,
    OnWorker,
    States,
    TaskName,
    TaskNames,
    Url,
    WithTag,
    WithText,
    Yes,
)
from taskmaster_desktop.cli.client.talking import Remote


def register(cli: typer.Typer) -> None:
    cli.command(name="list")(list_)
    for command in (show, logs, cancel, retry, discard):
        cli.command()(command)


def list_(
    state: States = None,
    batch: OfBatch = None,
    tag: WithTag = None,
    worker: OnWorker = None,
    text: WithText = None,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Failed for good and not discarded.")
    ] = False,
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N", help="At most so many (default: 50).")
    ] = "50",
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """List tasks, the newest first. All conditions hold together."""
    from taskmaster_desktop.cli.client.choosing import Chosen
    from taskmaster_desktop.cli.client.listing import list_tasks

    chosen = Chosen(
        states=tuple(state or ()), batch=batch, tag=tag, worker=worker, text=text, dead_letters=dead_letters
    )
    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: list_tasks(client, output, chosen, limit)
    )


def show(task: TaskName, url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Show all about a task: its attempts, and why it is not running."""
    from taskmaster_desktop.cli.client.showing import show as do

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: do(client, output, task)
    )


def logs(
    task: TaskName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the task has finished.")
    ] = False,
    attempt: Annotated[
        str | None, typer.Option("--attempt", metavar="N", help="Of this attempt (default: the newest).")
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what went to standard output.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what went to standard error.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Print what a task has written, each byte to the stream it came from."""
    from taskmaster_desktop.cli.client.logs import Wish
    from taskmaster_desktop.cli.client.logs import logs as do

    wish = Wish(task=task, attempt=attempt, follow=follow, stdout=stdout, stderr=stderr)
    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: do(client, output, wish)
    )


def cancel(
    tasks: TaskNames = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are not finished.")] = False,
    state: States = None,
    batch: OfBatch = None,
    tag: WithTag = None,
    worker: OnWorker = None,
    text: WithText = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Cancel tasks that are not finished; what runs of them is ended.

    Named by number they are cancelled at once. Described by options it is said how many they are, and asked
    once; where nobody can be asked, --yes is needed.
    """
    from taskmaster_desktop.cli.client.acting import CANCEL, act
    from taskmaster_desktop.cli.client.choosing import Chosen

    chosen = Chosen(
        names=tuple(tasks or ()),
        states=tuple(state or ()),
        batch=batch,
        tag=tag,
        worker=worker,
        text=text,
        everything=everything,
    )
    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: act(client, output, CANCEL, chosen, dry_run=dry_run, yes=yes)
    )


def retry(
    tasks: TaskNames = None,
    all_failed: AllFailed = False,
    batch: OfBatch = None,
    tag: WithTag = None,
    worker: OnWorker = None,
    text: WithText = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Put failed tasks back into the queue, with all their retries.

    Named by number that happens at once. Described by options (of which those that were discarded are no part) it
    is said how many they are, and asked once; where nobody can be asked, --yes is needed.
    """
    from taskmaster_desktop.cli.client.acting import RETRY, act
    from taskmaster_desktop.cli.client.choosing import Chosen

    chosen = Chosen(
        names=tuple(tasks or ()), batch=batch, tag=tag, worker=worker, text=text, everything=all_failed
    )
    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: act(client, output, RETRY, chosen, dry_run=dry_run, yes=yes)
    )


def discard(
    tasks: TaskNames = None,
    all_failed: AllFailed = False,
    batch: OfBatch = None,
    tag: WithTag = None,
    worker: OnWorker = None,
    text: WithText = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Hide failed tasks from the dead letters; they stay failed.

    Named by number that happens at once. Described by options it is said how many they are, and asked once; where
    nobody can be asked, --yes is needed.
    """
    from taskmaster_desktop.cli.client.acting import DISCARD, act
    from taskmaster_desktop.cli.client.choosing import Chosen

    chosen = Chosen(
        names=tuple(tasks or ()), batch=batch, tag=tag, worker=worker, text=text, everything=all_failed
    )
    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: act(client, output, DISCARD, chosen, dry_run=dry_run, yes=yes)
    )
