"""Workers for tests of runtimes and of the door."""

from __future__ import annotations

import sys
from pathlib import Path

from taskmaster_desktop.backend.model import WorkerRecord, WorkerState
from taskmaster_desktop.backend.ports import WorkerSecret

STUB_AGENT = Path(__file__).with_name("stub_agent.py")
STUB_KEY = b"-----BEGIN PRIVATE KEY-----\nnobody may read this\n-----END PRIVATE KEY-----\n"


def worker_record(worker_id: str = "worker-1", *, name: str = "w1", slots: int = 1) -> WorkerRecord:
    """A worker that is starting."""
    return WorkerRecord(
        number=1, id=worker_id, name=name, runtime="process", state=WorkerState.STARTING, slots=slots,
        handle="", boot_id="", started_us=0, online_us=None, offline_us=None, ended="", completed=0, failed=0,
    )  # fmt: skip


def worker_secret(worker_id: str = "worker-1") -> WorkerSecret:
    """What a stub agent is handed; no door knows it."""
    return WorkerSecret(
        worker_id=worker_id, name="w1", slots=1, endpoints=("127.0.0.1:1",), server_name="x.taskmaster.invalid",
        ca_pem=b"ca", cert_pem=b"cert", key_pem=STUB_KEY,
    )  # fmt: skip


def stub_command(mode: str) -> tuple[str, ...]:
    """How to start the stub agent."""
    return (sys.executable, str(STUB_AGENT), mode)
