"""A stranger beside the demo: a process in a session of its own and files, which must be left alone.

The process even carries the mark of one of our workers. Main thread.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

MARK = "TASKMASTER_WORKER"


class Bystander:
    """
    Args:
        folder: the stranger's own; is made.
        inside: our data folder, where a file of the stranger lies too.
    """

    def __init__(self, folder: Path, inside: Path) -> None:
        self._folder = folder
        self._inside = inside / "not-ours.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True)
        self._inside.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / "notes.txt").write_text("This belongs to somebody else.\n", encoding="utf-8")
        self._inside.write_text("So does this.\n", encoding="utf-8")
        self._process = subprocess.Popen(
            ["sleep", "3600"],
            start_new_session=True,
            env={**os.environ, MARK: "worker-1"},
            cwd=self._folder,
        )

    def look(self) -> dict[str, str]:
        """What can be seen of it, by name."""
        assert self._process is not None
        code = self._process.poll()
        seen = {f"process {self._process.pid}": "running" if code is None else f"ended with {code}"}
        for file in (*sorted(self._folder.iterdir()), self._inside):
            if file.exists():
                content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
                seen[f"file {file.name}"] = f"{content} of {file.stat().st_mtime_ns}"
        return seen

    def stop(self) -> None:
        """The demo started it, so the demo ends it. May come twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def still_running(handles: tuple[str, ...]) -> tuple[str, ...]:
    """Which of our workers' processes (`pid:ticks since boot at its start`) exist; none where /proc is missing."""
    found = []
    for handle in handles:
        pid, _, started = handle.partition(":")
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if fields[19] == started and fields[0] != "Z":
            found.append(f"worker process {pid}")
    return tuple(found)
