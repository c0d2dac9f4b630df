"""`scale`, `kill`, `drain`, `pause`, `resume`, `workers`, `stats`, `events`, `token` and `openapi`, as typer sees them."""

from __future__ import annotations

from typing import Annotated

import typer

from taskmaster_desktop.cli.client.options import DataDir, Json, Url, WorkerName
from taskmaster_desktop.cli.client.talking import Remote


def register(cli: typer.Typer) -> None:
    for command in (scale, kill, drain, pause, resume, workers, stats, events, token, openapi):
        cli.command()(command)


def scale(
    count: Annotated[str, typer.Argument(metavar="N", show_default=False, help="0 to 50.")],
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Set the size of the fleet. The same size again makes a damaged fleet whole."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.scale(client, output, count)
    )


def kill(worker: WorkerName, url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Kill a worker at once, with all it runs. Its tasks go to others; the fleet keeps its size."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.kill(client, output, worker)
    )


def drain(worker: WorkerName, url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Let a worker finish what it runs, then end it. The fleet is one smaller."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.drain(client, output, worker)
    )


def pause(url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Start no more tasks; what runs goes on."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.hold(client, output, paused=True)
    )


def resume(url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Start tasks again after a pause."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.hold(client, output, paused=False)
    )


def workers(
    gone_too: Annotated[bool, typer.Option("--all", help="Also those that are offline.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """List the workers."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(
        lambda client, output: fleet.workers(client, output, gone_too=gone_too)
    )


def stats(url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Show how many tasks are in which state, and the size of the fleet."""
    from taskmaster_desktop.cli.client import fleet

    return Remote(json=json, data_dir=data_dir, url=url).perform(fleet.stats)


def events(url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Print what happens, as it happens, until Ctrl-C; with --json one object on each line."""
    from taskmaster_desktop.cli.client.happenings import follow

    return Remote(json=json, data_dir=data_dir, url=url).perform(follow)


def token(data_dir: DataDir = None, json: Json = False) -> int:
    """Print the token of an instance, which lets anybody in who knows it.

    Programs of the same user need none on Linux. Only the owner of the data folder can read it.
    """
    from taskmaster_desktop.cli.client.documents import print_token

    return print_token(Remote(json=json, data_dir=data_dir, url=None))


def openapi(url: Url = None, data_dir: DataDir = None, json: Json = False) -> int:
    """Print the description of the HTTP API (OpenAPI 3.1, JSON)."""
    from taskmaster_desktop.cli.client.documents import print_openapi

    return Remote(json=json, data_dir=data_dir, url=url).perform(print_openapi)
