"""Options of the commands that talk to a running instance, as typer sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write the result for programs to standard output.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Talk to the instance that runs on this folder."),
]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Talk to the instance there, such as http://127.0.0.1:8081."),
]

# === what is submitted
CommandWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COMMAND]", show_default=False, help="One word: a line for the shell; several: as they are."
    ),
]
Argv = Annotated[bool, typer.Option("--argv", help="No shell: the words are executed as they are.")]
Count = Annotated[
    str, typer.Option("--count", "-n", metavar="N", help="How many tasks run the command (default: 1).")
]
ListFile = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", metavar="FILE", help="One command per line, or JSON lines; - is standard input."
    ),
]
SweepOver = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="NAME=V1,V2,...",
        help="One task for each value of {NAME} in the command; repeated: for each combination.",
    ),
]
Delay = Annotated[
    str | None, typer.Option("--delay", metavar="TIME", help="Start after so long: 30, 30s, 5m, 2h, 1d.")
]
RunAt = Annotated[
    str | None,
    typer.Option("--run-at", metavar="WHEN", help="Start then, such as 2030-01-01T03:00 (local time)."),
]
Priority = Annotated[
    str, typer.Option("--priority", metavar="N", help="High ones first, -10 to 10 (default: 0).")
]
Retries = Annotated[
    str, typer.Option("--retries", metavar="N", help="Try a failed command so often again (0 to 10).")
]
RetryDelay = Annotated[
    str | None,
    typer.Option(
        "--retry-delay", metavar="TIME", help="Wait so long before that, then twice as long (default: 1s)."
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="Stop an attempt after so long: 30, 30s, 5m, 2h."),
]
NewTags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TEXT", help="To find it again; may be repeated.")
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME[=VALUE]", help="Hand on (or set) a variable; may be repeated."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="TEXT", help="Submit only once, however often this is repeated."),
]
Cwd = Annotated[
    str | None,
    typer.Option("--cwd", metavar="DIR", help="Working folder (default: the current one)."),
]

# === which tasks are meant
TaskName = Annotated[
    str, typer.Argument(metavar="TASK", show_default=False, help="Number, #number or id of a task.")
]
TaskNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TASK]...", show_default=False, help="Numbers, #numbers or ids of tasks."),
]
States = Annotated[
    list[str] | None,
    typer.Option("--state", metavar="STATE", help="In this state; may be repeated for any of several."),
]
OfBatch = Annotated[
    str | None, typer.Option("--batch", metavar="BATCH", help="Of this batch, by number or id.")
]
WithTag = Annotated[str | None, typer.Option("--tag", metavar="TEXT", help="With this tag.")]
OnWorker = Annotated[
    str | None, typer.Option("--worker", metavar="WORKER", help="On this worker, by number or name.")
]
WithText = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="With this in the command, in any case.")
]
AllFailed = Annotated[bool, typer.Option("--all-failed", help="All that failed and were not discarded.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

# === the fleet
WorkerName = Annotated[
    str, typer.Argument(metavar="WORKER", show_default=False, help="Number or name of a worker.")
]
