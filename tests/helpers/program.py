"""The real program in processes of its own, in a world of its own, and what it leaves there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.eventually import eventually

LIMIT_S = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a run ended."""

    code: int
    out: bytes
    err: str

    @property
    def sentence(self) -> str:
        """Standard error, which must be one line without a traceback."""
        assert "Traceback" not in self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


class Program:
    """Runs `taskmaster` with its own home and temporary folder, on processes unless a test says otherwise.

    Everything it starts inherits that temporary folder, by which leftovers are found.

    Args:
        work: where commands run.
        temporary: a short path, or workers could not use a Unix socket.
    """

    def __init__(self, work: Path, temporary: Path) -> None:
        self.work = work
        self.temporary = temporary
        home = work.parent / "home"
        home.mkdir(exist_ok=True)
        self.environment = (
            {
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("TASKMASTER_DESKTOP_", "XDG_"))
            }
            | {"HOME": str(home), "TMPDIR": str(temporary), "TASKMASTER_DESKTOP_RUNTIME": "process"}
            | {"TASKMASTER_DESKTOP_API_PORT": "0"}
        )

    def run(self, *words: str | bytes, stdin: bytes | None = None, limit_s: float = LIMIT_S) -> Done:
        process = self.start(*words, piped=stdin is not None)
        try:
            out, err = process.communicate(stdin, timeout=limit_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return Done(code=process.returncode, out=out, err=err.decode())

    def start(self, *words: str | bytes, piped: bool = False) -> subprocess.Popen[bytes]:
        """In a process group of its own, as a shell's job would be."""
        return subprocess.Popen(
            [sys.executable, "-m", "taskmaster_desktop", *words],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def finish(self, process: subprocess.Popen[bytes], limit_s: float = LIMIT_S) -> Done:
        out, err = process.communicate(timeout=limit_s)
        return Done(code=process.returncode, out=out, err=err.decode())

    def living(self) -> list[str]:
        """Processes of ours that run now, the program itself included."""
        mark = f"TMPDIR={self.temporary}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mark in (entry / "environ").read_bytes():
                        found.append(
                            (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        )
                except OSError:
                    continue
        return found

    def runs(self, *commands: str) -> bool:
        """Whether a process with each of these in its command line runs."""
        living = self.living()
        return all(any(command in line for line in living) for command in commands)

    def assert_nothing_left(self, *, folders_too: bool = True) -> None:
        eventually(lambda: not self.living(), what="no process left running")
        if folders_too:
            assert list(self.temporary.iterdir()) == []


def lines(done: Done) -> Sequence[str]:
    return done.out.decode().splitlines()
