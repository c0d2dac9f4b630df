"""The one way to the terminal: results on standard output, everything for people's eyes only on standard error.

Used by the main thread alone. With `--json` standard output carries nothing but the machine's part. A
reader that goes away (`| head`) raises `OutputClosed` at the next write, which ends the command quietly.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable
from typing import TextIO

from taskmaster_desktop.backend.errors import EnvironmentProblem

PREFIX = "taskmaster: "


class OutputClosed(Exception):
    """Nobody reads standard output any more."""


class OutputBroken(EnvironmentProblem):
    """What was printed could not be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The output cannot be written ({error.strerror or error}).",
            fix="Free some space where it goes, or send it elsewhere.",
        )


class Output:
    """
    Args:
        as_json: results are for a program; `result` for people is then left out.
    """

    def __init__(
        self, *, as_json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self.before_text: Callable[[], None] | None = None  # clears a progress line out of the way
        self._stdout = stdout or _open(sys.stdout)
        self._stderr = stderr or _open(sys.stderr)

    # === standard output
    def result(self, text: str) -> None:
        """A line of the result for people; nothing under --json."""
        if not self.as_json:
            self.data(f"{text}\n".encode(errors="replace"))

    def json(self, value: object) -> None:
        """The result for programs, one line; nothing without --json."""
        if self.as_json:
            self.data(json.dumps(value, ensure_ascii=False).encode(errors="replace") + b"\n")

    def data(self, data: bytes) -> None:
        """Bytes as they are, at once."""
        if self.before_text is not None and self.stdout_is_terminal:
            self.before_text()
        self._write(self._stdout, data)

    # === standard error
    def note(self, text: str) -> None:
        """A line about what is going on."""
        self.note_data(f"{text}\n".encode(errors="replace"))

    def problem(self, sentence: str) -> None:
        """What went wrong, in one sentence."""
        self.note(f"{PREFIX}{sentence}")

    def note_data(self, data: bytes) -> None:
        """Bytes of a command's standard error, as they are. A standard error that cannot be written hurts nobody."""
        if self.before_text is not None:
            self.before_text()
        with contextlib.suppress(OutputClosed, OutputBroken):
            self._write(self._stderr, data)

    # === the terminal
    @property
    def stdout_is_terminal(self) -> bool:
        return _is_terminal(self._stdout)

    @property
    def stderr_is_terminal(self) -> bool:
        return _is_terminal(self._stderr)

    @property
    def stdout_text(self) -> TextIO:
        """For a library that writes text itself (rich)."""
        return self._stdout

    @property
    def stderr_text(self) -> TextIO:
        return self._stderr

    @staticmethod
    def _write(stream: TextIO, data: bytes) -> None:
        try:
            stream.flush()
            stream.buffer.write(data)
            stream.buffer.flush()
        except ValueError as error:  # closed on our side
            raise OutputClosed from error
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):  # EIO: the terminal is gone
                raise OutputClosed from error
            raise OutputBroken(error) from error

    def silence(self) -> None:
        """After `OutputClosed`: keep the interpreter from complaining when it flushes at its end."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stdout.fileno())
            os.close(null)


def _open(stream: TextIO | None) -> TextIO:
    """The process's own stream, or nowhere if it was started without one."""
    return stream if stream is not None else open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
