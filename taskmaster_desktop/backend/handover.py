"""What a worker is handed over its standard input before it starts work; one format for all runtimes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from taskmaster_desktop.backend.ports import WorkerSecret


def bundle_of(
    secret: WorkerSecret, *, work_dir: str | None = None, env: Mapping[str, str] | None = None
) -> bytes:
    """4 bytes of length, big-endian, then JSON in UTF-8; some 3 KiB, well below what a pipe holds.

    In `work_dir` commands that name no folder get one of their own (None: in the system's temporary folder);
    `env` is for every command, beside what the agent itself hands on.
    """
    body = json.dumps(
        {
            "worker_id": secret.worker_id,
            "name": secret.name,
            "slots": secret.slots,
            "endpoints": list(secret.endpoints),
            "server_name": secret.server_name,
            "ca_pem": secret.ca_pem.decode("ascii"),
            "cert_pem": secret.cert_pem.decode("ascii"),
            "key_pem": secret.key_pem.decode("ascii"),
            "work_dir": work_dir,
            "env": dict(env or {}),
        }
    ).encode()
    return len(body).to_bytes(4, "big") + body
