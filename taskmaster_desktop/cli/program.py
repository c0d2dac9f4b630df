"""The commands and their options, as typer sees them, and the way from a command line to an exit code.

Here is only what help and completion need; each command imports its work when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from taskmaster_desktop import __version__
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client import commands_fleet, commands_tasks, commands_work
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.fleet_options import (
    Cpus,
    DockerHost,
    FleetOptions,
    Image,
    MapRuntime,
    Memory,
    Mount,
    Network,
    Runtime,
)
from taskmaster_desktop.cli.map_options import (
    MAP_HELP,
    Argv,
    AtATime,
    Env,
    KeepGoing,
    Null,
    Order,
    Retries,
    Timeout,
    Words,
)
from taskmaster_desktop.cli.output import Output

# Typer raises it for wrong usage, from wherever its version keeps click.
_WrongUsage: type[Exception] = next(
    kind
    for kind in typer.BadParameter.__mro__
    if kind.__name__ == "ClickException" and issubclass(kind, Exception)
)

Json = Annotated[bool, typer.Option("--json", help="Write the result for programs to standard output.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Keep everything in this folder.")
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="debug|info|warning|error", help="Show the log from this level on."),
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="text|json", help="How log lines look (default: text).")
]

cli = typer.Typer(
    name="taskmaster",
    help="Runs commands over a fleet of workers on your own machine.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str] | None) -> int:
    """Do what a command line says. Whatever goes wrong becomes one sentence and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(as_json="--json" in words)
    try:
        code = typer.main.get_command(cli).main(args=words, prog_name="taskmaster", standalone_mode=False)
    except _WrongUsage as error:
        sentence = _sentence_of(error)
        output.problem(sentence)
        output.json({"error": sentence, "exit_code": exit_codes.WRONG_USAGE})
        return exit_codes.WRONG_USAGE
    except Exception as error:  # noqa: BLE001 - the rim: nothing may end in a traceback
        from taskmaster_desktop.cli.failures import report_failure

        return report_failure(error, output)
    return code if isinstance(code, int) else exit_codes.OK


def _sentence_of(error: Any) -> str:
    text = " ".join(str(error.format_message()).split())
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "taskmaster"
    return f"{text.rstrip('.')}. Try: {path} --help"


def _version(wanted: bool) -> None:
    if wanted:
        Output().result(f"taskmaster {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> int:
    if context.invoked_subcommand is None:
        Output().note(context.get_help())
        raise typer.Exit(exit_codes.WRONG_USAGE)
    return exit_codes.OK


@cli.command()
def demo(
    runtime: Runtime = None,
    docker_host: DockerHost = None,
    report_json: Annotated[
        Path | None, typer.Option("--report-json", metavar="FILE", help="Also write the report as JSON.")
    ] = None,
    report_html: Annotated[
        Path | None, typer.Option("--report-html", metavar="FILE", help="Also write the report as a page.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> int:
    """Run the seven-step demo and report what was measured.

    Start, create 50 tasks, watch, scale to 1 and to 5, kill a worker in mid-task, make the fleet whole; then
    check each promise from the database and from what the tasks wrote themselves. Takes about 40 seconds.
    Uses a private temporary folder unless --data-dir names one.
    """
    from taskmaster_desktop.cli.demo import run_demo

    common = Common(json=json, data_dir=data_dir, log_level=log_level, log_format=log_format)
    return common.perform(
        lambda output: run_demo(
            common,
            output,
            fleet=FleetOptions(runtime=runtime, docker_host=docker_host),
            json_file=report_json,
            html_file=report_html,
        )
    )


@cli.command(name="map", help=MAP_HELP)
def map_(
    words: Words = None,
    argv: Argv = False,
    null: Null = False,
    workers: AtATime = None,
    retries: Retries = "0",
    timeout: Timeout = None,
    keep_going: KeepGoing = False,
    order: Order = "input",
    env: Env = None,
    runtime: MapRuntime = None,
    image: Image = None,
    mount: Mount = None,
    network: Network = None,
    cpus: Cpus = None,
    memory: Memory = None,
    docker_host: DockerHost = None,
    data_dir: DataDir = None,
    json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> int:
    """See MAP_HELP."""
    from taskmaster_desktop.cli.map.request import MapRequest, run_map

    common = Common(json=json, data_dir=data_dir, log_level=log_level, log_format=log_format)
    request = MapRequest(
        words=tuple(words or ()),
        argv=argv,
        null=null,
        workers=workers,
        retries=retries,
        timeout=timeout,
        keep_going=keep_going,
        order=order,
        env=tuple(env or ()),
        fleet=FleetOptions(
            runtime=runtime,
            image=image,
            mounts=tuple(mount or ()),
            network=network,
            cpus=cpus,
            memory=memory,
            docker_host=docker_host,
        ),
    )
    return common.perform(lambda output: run_map(common, output, request))


@cli.command()
def serve(
    workers: Annotated[
        str | None,
        typer.Option("--workers", "-w", metavar="N", help="Size of the fleet (default: as it was, else 3)."),
    ] = None,
    runtime: Runtime = None,
    image: Image = None,
    mount: Mount = None,
    network: Network = None,
    cpus: Cpus = None,
    memory: Memory = None,
    docker_host: DockerHost = None,
    port: Annotated[
        str | None,
        typer.Option("--port", metavar="N", help="Answer HTTP here (default: 8081; 0: a free one)."),
    ] = None,
    api: Annotated[bool | None, typer.Option("--api/--no-api", help="Answer HTTP (default: yes).")] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="At the end, let tasks run on for so long.")
    ] = "30s",
    data_dir: DataDir = None,
    json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> int:
    """Run the engine without a window until SIGTERM or Ctrl-C.

    The first signal lets workers finish what they run, the second ends everything within two seconds.
    """
    from taskmaster_desktop.cli.serve import run_serve

    common = Common(json=json, data_dir=data_dir, log_level=log_level, log_format=log_format)
    fleet = FleetOptions(
        runtime=runtime,
        image=image,
        mounts=tuple(mount or ()),
        network=network,
        cpus=cpus,
        memory=memory,
        docker_host=docker_host,
    )
    return common.perform(
        lambda output: run_serve(
            common, output, workers=workers, fleet=fleet, port=port, api=api, grace=grace
        )
    )


@cli.command()
def doctor(
    runtime: Runtime = None,
    docker_host: DockerHost = None,
    data_dir: DataDir = None,
    json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> int:
    """Check whether everything works on this machine, and say how to mend what does not."""
    from taskmaster_desktop.cli.doctor import run_doctor

    common = Common(json=json, data_dir=data_dir, log_level=log_level, log_format=log_format)
    fleet = FleetOptions(runtime=runtime, docker_host=docker_host)
    return common.perform(lambda output: run_doctor(common, output, fleet=fleet))


@cli.command()
def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    docker_host: DockerHost = None,
    data_dir: DataDir = None,
    json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> int:
    """Remove all containers, networks, volumes and images of TaskMaster from the Docker Engine, and nothing else.

    What an instance that is running needs stays. The worker image is built again when it is next needed.
    """
    from taskmaster_desktop.cli.cleanup import run_cleanup

    common = Common(json=json, data_dir=data_dir, log_level=log_level, log_format=log_format)
    return common.perform(
        lambda output: run_cleanup(common, output, docker_host=docker_host, dry_run=dry_run)
    )


for _commands in (commands_work, commands_tasks, commands_fleet):
    _commands.register(cli)
