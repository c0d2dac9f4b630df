"""The options of `map`, and its help."""

from __future__ import annotations

from typing import Annotated

import typer

MAP_HELP = """Run one command for each argument, N at a time, and pass on all they print.

\b
taskmaster map 'sha256sum {}' FILES...       one command per file; {} is the file's name, quoted
find . -print0 | taskmaster map -0 'gzip {}'  one argument per line (or NUL) of standard input
taskmaster map < commands.txt                 one command per line of standard input
taskmaster map --argv -- gzip -9 {} ::: FILES...   no shell: arguments are handed over as they are

--image runs the commands in containers of any image, which sees the current folder at its own path.
Arguments that begin with a dash go after --. Commands run in the current folder. A line that reads
"::progress 42" sets a task's progress and is not passed on; of a command that is tried again, the output
of the last attempt is. Stops at the first failure unless --keep-going. Exit codes: 0 all well, 1 a
command failed, 2 wrong usage, 3 no engine, 124 timed out, 130 interrupted.
"""

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TEMPLATE] [ARGUMENTS]", show_default=False, help="See above."),
]
Argv = Annotated[
    bool, typer.Option("--argv", help="No shell: PROGRAM ARGS... [::: ARGUMENTS...] is executed as it is.")
]
Null = Annotated[
    bool, typer.Option("--null", "-0", help="Standard input is separated by NUL, not by line ends.")
]
AtATime = Annotated[
    str | None, typer.Option("--workers", "-w", metavar="N", help="How many at a time (default: CPUs).")
]
Retries = Annotated[
    str, typer.Option("--retries", metavar="N", help="Try a failed command so often again (0 to 10).")
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="Stop an attempt after so long: 30, 30s, 5m, 2h."),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", "-k", help="Do the rest although a command has failed.")
]
Order = Annotated[
    str, typer.Option("--order", metavar="input|done", help="Print output in this order (default: input).")
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME[=VALUE]", help="Hand on (or set) a variable; may be repeated."),
]
