"""What a worker process leaves on disk: its log, its working folder, and the trace by which the next
engine finds it. Blocking functions, called on the runtime's helper threads."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

log = logging.getLogger(__name__)

TRACE_NAME = "agent.json"
LOG_NAME = "agent.log"
WORK_NAME = "work"

_WORKER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Which process a worker is; nothing secret.

    Attributes:
        started: of the process, in ticks since boot.
        boot_id: which boot of the machine; after another one, id and ticks mean nothing.
        ended: why it ended, once that is confirmed.
    """

    worker_id: str
    name: str
    pid: int
    started: int
    boot_id: str
    ended: str | None = None

    @property
    def handle(self) -> str:
        return f"{self.pid}:{self.started}"


class WorkerFolders:
    """One folder per worker under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, worker_id: str) -> Path:
        """The worker's folder, made anew with an empty working folder in it."""
        folder = self.folder(worker_id)
        for path in (self.root, folder, folder / WORK_NAME):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def folder(self, worker_id: str) -> Path:
        if not _WORKER_ID.fullmatch(worker_id):
            raise ValueError(f"not a worker id: {worker_id!r}")
        return self.root / worker_id

    def write(self, trace: Trace) -> None:
        """In one step: a reader sees the old trace or the new one."""
        path = self.folder(trace.worker_id) / TRACE_NAME
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(trace)), encoding="utf-8")
        temporary.replace(path)

    def mark_ended(self, trace: Trace, reason: str) -> None:
        """So that nobody looks for its process again. Its working folder is of no more use."""
        self.write(replace(trace, ended=reason))
        shutil.rmtree(self.folder(trace.worker_id) / WORK_NAME, ignore_errors=True)

    def read(self, worker_id: str) -> Trace | None:
        """None where there is no trace, or no usable one."""
        path = self.folder(worker_id) / TRACE_NAME
        try:
            return Trace(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("The trace %s of a worker cannot be read: %s", path, error)
            return None

    def traces(self) -> list[Trace]:
        return [trace for name in self._names() if (trace := self.read(name)) is not None]

    def prune(self, *, keep: int, in_use: Collection[str]) -> None:
        """Removes the folders of ended workers but the newest `keep`."""
        ended = [name for name in self._names() if name not in in_use and self._has_ended(name)]
        ended.sort(key=self._changed, reverse=True)
        for name in ended[keep:]:
            shutil.rmtree(self.root / name, ignore_errors=True)

    def log_tail(self, worker_id: str, tail_bytes: int) -> bytes:
        try:
            with (self.folder(worker_id) / LOG_NAME).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - tail_bytes))
                return file.read(tail_bytes)
        except OSError:
            return b""

    def last_log_line(self, worker_id: str) -> str:
        """The last line that says anything, shortened; empty where there is none."""
        lines = self.log_tail(worker_id, 8192).decode("utf-8", errors="replace").splitlines()
        for line in reversed(lines):
            if line.strip():
                return line.strip()[:_LONGEST_LINE]
        return ""

    def _names(self) -> list[str]:
        try:
            names = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return []
        return [name for name in names if _WORKER_ID.fullmatch(name)]

    def _has_ended(self, worker_id: str) -> bool:
        """A folder without a trace is of a launch that was cut short, before its agent had its secret."""
        trace = self.read(worker_id)
        return trace is None or trace.ended is not None

    def _changed(self, worker_id: str) -> float:
        folder = self.root / worker_id
        for path in (folder / TRACE_NAME, folder):
            try:
                return path.stat().st_mtime
            except OSError:
                continue
        return 0.0
