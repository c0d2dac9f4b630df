"""`taskmaster submit`: hand in tasks and say their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.status import StatusLine
from taskmaster_desktop.cli.client.submission import Wanted, encoded, shared, works_of
from taskmaster_desktop.cli.client.text import counted
from taskmaster_desktop.cli.output import Output

PIECE = 500
"""So many commands go over the wire at once."""
LONG = 2_000
"""From so many on the way there is shown."""
MAX_KEY_CHARS = 200


def submit(client: Client, output: Output, wanted: Wanted, key: str | None) -> int:
    works, count = works_of(wanted)
    created = send(client, output, works, count=count, options=shared(wanted), key=key)
    first, last, size = created["first_task"], created["last_task"], created["size"]
    numbers = f"#{first}" if size == 1 else f"#{first} to #{last} ({counted(size, 'task')})"
    before = ", submitted before" if created["repeated"] else ""
    output.result(f"batch {created['batch']}: {numbers}{before}")
    output.json(created)
    return exit_codes.OK


def send(
    client: Client,
    output: Output,
    works: Sequence[Work],
    *,
    count: int,
    options: dict[str, Any],
    key: str | None,
) -> dict[str, Any]:
    """All or nothing; returns what the instance says of the batch."""
    _check_key(key)
    created: dict[str, Any]
    if len(works) == 1:
        [work] = works
        what = {"argv": list(work.argv)} if work.argv is not None else {"command": work.command}
        created = client.post("/batches", {**what, "count": count, **options}, key=key)
        return created
    status = StatusLine(output, shown=len(works) >= LONG)
    try:
        created = client.post_lines("/batches", _lines(works, options, status), key=key)
    finally:
        status.clear()
    return created


def _lines(works: Sequence[Work], options: dict[str, Any], status: StatusLine) -> Iterator[bytes]:
    yield json.dumps({"options": options}).encode() + b"\n"
    for start in range(0, len(works), PIECE):
        status.show(f"sending {counted(len(works), 'command')}: {100 * start // len(works)} %")
        yield b"".join(map(encoded, works[start : start + PIECE]))
    status.show(f"waiting until {counted(len(works), 'task')} are on disk")


def _check_key(key: str | None) -> None:
    """It travels in a header, which takes no more than visible ASCII."""
    if key is not None and not (
        0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable() and key == key.strip()
    ):
        raise UserError(
            f"--key must be 1 to {MAX_KEY_CHARS} visible characters without accents.", field="--key"
        )
