"""The last words of workers whose containers are removed. Blocking; called on helper threads."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

log = logging.getLogger(__name__)

KEPT_LOGS = 50
MAX_BYTES = 256 * 1024


class WorkerLogs:
    """One file for each ended worker, the newest `KEPT_LOGS` of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def keep(self, worker_id: str, text: bytes) -> None:
        """A log that cannot be kept is no reason to stop."""
        with self._lock:
            self._keep(worker_id, text)

    def _keep(self, worker_id: str, text: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / f"{worker_id}.log").write_bytes(text[-MAX_BYTES:])
            files = sorted(self._folder.glob("*.log"), key=lambda file: file.stat().st_mtime_ns)
            for old in files[:-KEPT_LOGS]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("The log of worker %s could not be kept: %s", worker_id, error)

    def read(self, worker_id: str) -> bytes:
        """Empty where there is none."""
        try:
            return (self._folder / f"{worker_id}.log").read_bytes()
        except OSError:
            return b""
