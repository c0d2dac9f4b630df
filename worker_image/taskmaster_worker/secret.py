"""The start-up bundle: who this worker is, where its engine listens, and the keys to talk to it.

Owns the reading of standard input, before the event loop starts. The bundle stays in memory: nothing of it
is written to disk, environment or log.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import time
from dataclasses import dataclass, field
from typing import Any

LENGTH_BYTES = 4
MAX_BUNDLE_BYTES = 1 << 20
READ_TIMEOUT_S = 10.0
MAX_SLOTS = 1024


class BundleError(Exception):
    """No usable bundle arrived; the message is one sentence for people, without any secret."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All an agent is told at its start. `endpoints` are tried in order; commands get `env`, which may be secret."""

    worker_id: str
    name: str
    slots: int
    endpoints: tuple[str, ...]
    server_name: str
    ca_pem: bytes = field(repr=False)
    cert_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    work_dir: str | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False)


def read_bundle(fd: int, timeout_s: float = READ_TIMEOUT_S) -> Bundle:
    """Reads one bundle (4 bytes big-endian length, then JSON in UTF-8) from a pipe, socket or file.

    Does not wait for the end of input, which some container engines never deliver.

    Raises:
        BundleError: incomplete after `timeout_s`, cut short, too long or not what it should be.
    """
    deadline = time.monotonic() + timeout_s
    header = _read_exactly(fd, LENGTH_BYTES, deadline)
    length = int.from_bytes(header, "big")
    if not 0 < length <= MAX_BUNDLE_BYTES:
        raise BundleError(f"the start-up bundle claims {length} bytes; 1 to {MAX_BUNDLE_BYTES} are allowed")
    return parse_bundle(_read_exactly(fd, length, deadline))


def parse_bundle(text: bytes) -> Bundle:
    """The bundle in this JSON text; fields it does not know are ignored.

    Raises:
        BundleError: naming the first field that is missing or wrong.
    """
    try:
        fields = json.loads(text)
    except ValueError:
        raise BundleError("the start-up bundle is not JSON in UTF-8") from None
    if not isinstance(fields, dict):
        raise BundleError("the start-up bundle is not a JSON object")
    slots = fields.get("slots")
    if not isinstance(slots, int) or isinstance(slots, bool) or not 1 <= slots <= MAX_SLOTS:
        raise BundleError(f"`slots` in the start-up bundle must be 1 to {MAX_SLOTS}")
    endpoints = fields.get("endpoints")
    if (
        not isinstance(endpoints, list)
        or not endpoints
        or not all(isinstance(e, str) and e for e in endpoints)
    ):
        raise BundleError("`endpoints` in the start-up bundle must be a list of one or more addresses")
    work_dir = fields.get("work_dir")
    if work_dir is not None and not isinstance(work_dir, str):
        raise BundleError("`work_dir` in the start-up bundle must be text")
    return Bundle(
        worker_id=_text(fields, "worker_id"),
        name=_text(fields, "name"),
        slots=slots,
        endpoints=tuple(endpoints),
        server_name=_text(fields, "server_name"),
        ca_pem=_text(fields, "ca_pem").encode(),
        cert_pem=_text(fields, "cert_pem").encode(),
        key_pem=_text(fields, "key_pem").encode(),
        work_dir=work_dir or None,
        env=_texts(fields.get("env")),
    )


def _texts(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(
        isinstance(part, str) for pair in value.items() for part in pair
    ):
        raise BundleError("`env` in the start-up bundle must map names to text")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BundleError(f"`{name}` in the start-up bundle must be text and not empty")
    return value


def _read_exactly(fd: int, length: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < length:
        _wait_readable(fd, deadline)
        piece = os.read(fd, length - len(data))
        if not piece:
            raise BundleError("standard input ended before a whole start-up bundle arrived")
        data += piece
    return bytes(data)


def _wait_readable(fd: int, deadline: float) -> None:
    # A plain file cannot be waited for (PermissionError); reading one never blocks for long.
    with selectors.DefaultSelector() as selector, contextlib.suppress(PermissionError):
        selector.register(fd, selectors.EVENT_READ)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise BundleError("no whole start-up bundle arrived on standard input in time")
