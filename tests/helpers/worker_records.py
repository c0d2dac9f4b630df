"""Worker rows for tests of runtimes and of the door."""

from __future__ import annotations

from taskmaster_desktop.backend.model import WorkerRecord, WorkerState


def worker_record(worker_id: str = "worker-1", *, name: str = "w1", slots: int = 1) -> WorkerRecord:
    """A worker that is starting."""
    return WorkerRecord(
        number=1, id=worker_id, name=name, runtime="process", state=WorkerState.STARTING, slots=slots,
        handle="", boot_id="", started_us=0, online_us=None, offline_us=None, ended="", completed=0, failed=0,
    )  # fmt: skip
