"""`submit`, `run` and `wait`, as typer sees them."""

from __future__ import annotations

from typing import Annotated

import typer

from taskmaster_desktop.cli.client.options import (
    Argv,
    CommandWords,
    Count,
    Cwd,
    DataDir,
    Delay,
    Env,
    Json,
    Key,
    ListFile,
    NewTags,
    Priority,
    Retries,
    RetryDelay,
    RunAt,
    SweepOver,
    TaskNames,
    Timeout,
    Url,
)
from taskmaster_desktop.cli.client.talking import Remote

SUBMIT_HELP = """Hand in tasks to a running instance and print their numbers.

\b
taskmaster submit 'sha256sum *.iso'            one task; the line goes to the shell
taskmaster submit --count 50 demo-job          fifty of the same
taskmaster submit --file commands.txt          one task per line (JSON lines too); - is standard input
taskmaster submit 'train --lr {lr} --seed {s}' --sweep lr=0.1,0.01 --sweep s=1,2,3     all six

All or nothing: when numbers are printed, every task is on disk. A value of a sweep arrives as one word,
however the command quotes its {name}. Words that begin with a dash go after --.
"""

RUN_HELP = """Run one command on a running instance and wait for it.

Its output passes through as it comes, and its exit code is ours (128 and the number of the signal, where one
ended it). Ctrl-C cancels the task and exits with 130. 124: it timed out. What an attempt printed that was tried
again is printed too. A line "::progress 42" sets the progress and is not passed on.
"""


def register(cli: typer.Typer) -> None:
    cli.command(help=SUBMIT_HELP)(submit)
    cli.command(help=RUN_HELP)(run)
    cli.command()(wait)


def submit(
    words: CommandWords = None,
    count: Count = "1",
    file: ListFile = None,
    sweep: SweepOver = None,
    argv: Argv = False,
    delay: Delay = None,
    run_at: RunAt = None,
    priority: Priority = "0",
    retries: Retries = "0",
    retry_delay: RetryDelay = None,
    timeout: Timeout = None,
    tag: NewTags = None,
    env: Env = None,
    cwd: Cwd = None,
    key: Key = None,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """See SUBMIT_HELP."""
    from taskmaster_desktop.cli.client.submission import Wanted
    from taskmaster_desktop.cli.client.submit import submit as do

    wanted = Wanted(
        words=tuple(words or ()),
        argv=argv,
        count=count,
        file=file,
        sweep=tuple(sweep or ()),
        delay=delay,
        run_at=run_at,
        priority=priority,
        retries=retries,
        retry_delay=retry_delay,
        timeout=timeout,
        tags=tuple(tag or ()),
        env=tuple(env or ()),
        cwd=cwd,
    )
    remote = Remote(json=json, data_dir=data_dir, url=url)
    return remote.perform(lambda client, output: do(client, output, wanted, key))


def run(
    words: CommandWords = None,
    argv: Argv = False,
    priority: Priority = "0",
    retries: Retries = "0",
    retry_delay: RetryDelay = None,
    timeout: Timeout = None,
    tag: NewTags = None,
    env: Env = None,
    cwd: Cwd = None,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """See RUN_HELP."""
    from taskmaster_desktop.cli.client.running import run as do
    from taskmaster_desktop.cli.client.submission import Wanted

    wanted = Wanted(
        words=tuple(words or ()),
        argv=argv,
        priority=priority,
        retries=retries,
        retry_delay=retry_delay,
        timeout=timeout,
        tags=tuple(tag or ()),
        env=tuple(env or ()),
        cwd=cwd,
    )
    remote = Remote(json=json, data_dir=data_dir, url=url)
    return remote.perform(lambda client, output: do(client, output, wanted))


def wait(
    tasks: TaskNames = None,
    batch: Annotated[
        list[str] | None,
        typer.Option("--batch", metavar="BATCH", help="For all tasks of this batch; may be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Until nothing is unfinished.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Give up after so long and exit with 124.")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Wait until tasks have finished.

    Exits with 0 if all were completed, 1 if some failed or were cancelled, 124 after the time limit.
    """
    from taskmaster_desktop.cli.client.waiting import wait as do

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: do(
            client, output, tasks=tasks or (), batches=batch or (), everything=everything, timeout=timeout
        )
    )
