"""`taskmaster events`: what happens in an instance, as it happens."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.server_events import ServerEvent
from taskmaster_desktop.cli.client.text import at_us, counted, visible
from taskmaster_desktop.cli.output import Output

MOST_NUMBERS = 8


def follow(client: Client, output: Output) -> int:
    """Until somebody ends it."""
    for event in client.events("/events"):
        _tell(output, event)
    return exit_codes.OK


def _tell(output: Output, event: ServerEvent) -> None:
    data = json.loads(event.data)
    output.json({"event": event.name, "id": event.id, **data})
    for text in lines_of(event.name, data):
        output.result(f"{_time_of(data):%H:%M:%S}  {text}")


def _time_of(data: dict[str, Any]) -> datetime:
    return at_us(data.get("at_us") or SystemClock().now().wall_us).astimezone()


def lines_of(name: str, data: dict[str, Any]) -> list[str]:
    """What is told of an event; nothing of one that only programs need."""
    if name == "log":
        return [f"{data['level']:<7}  {visible(data['message'])}"]
    if name == "added":
        return [f"info     batch {data['batch']}: {_range(data['first_task'], data['size'])}"]
    if name == "finished":
        return [
            f"{'success' if state == 'completed' else 'error' if state == 'failed' else 'info':<7}  "
            f"{state}: {_some(numbers)}"
            for state, numbers in data.items()
        ]
    if name in ("trouble", "resync"):
        return [f"{'error' if name == 'trouble' else 'warning':<7}  {visible(data['detail'])}"]
    if name == "recovered":
        return ["success  The database can be written again."]
    return []


def _range(first: int, size: int) -> str:
    return f"#{first}" if size == 1 else f"#{first} to #{first + size - 1} ({counted(size, 'task')})"


def _some(numbers: list[int]) -> str:
    shown = ", ".join(f"#{number}" for number in numbers[:MOST_NUMBERS])
    more = len(numbers) - MOST_NUMBERS
    return f"{shown} and {more:,} more" if more > 0 else shown
