"""The command line. `main` is the entry; everything else is imported when it is needed, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and return its exit code."""
    try:
        from taskmaster_desktop.cli.program import run

        return run(arguments)
    except KeyboardInterrupt:  # before the command had begun to listen for it
        return 130
