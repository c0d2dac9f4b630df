"""`taskmaster list`: tasks in a table, the newest first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli import exit_codes, values
from taskmaster_desktop.cli.client.choosing import Chosen
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.text import (
    age,
    at_us,
    command_of,
    duration,
    seconds_between,
    state_of,
    table,
    visible,
)
from taskmaster_desktop.cli.output import Output

PAGE = 1000
MAX_LISTED = 100_000
HEADS = ("TASK", "STATE", "WORKER", "TRY", "AGE", "TIME", "EXIT", "COMMAND")


def list_tasks(client: Client, output: Output, chosen: Chosen, limit: str) -> int:
    most = values.whole("--limit", limit, 1, MAX_LISTED)
    conditions = chosen.conditions()
    params = {**conditions, "newest_first": True}
    params["state"] = params.pop("states", None)
    tasks, more = fetch(client, params, most)
    output.json({"tasks": tasks, "more": more})
    if not tasks:
        output.note("There are no such tasks." if conditions else "There are no tasks yet.")
        return exit_codes.OK
    now = at_us(SystemClock().now().wall_us)
    width = shutil.get_terminal_size().columns if output.stdout_is_terminal else None
    output.result("\n".join(table(HEADS, [row_of(task, now) for task in tasks], width=width)))
    if more and output.stdout_is_terminal:
        output.note(f"There are more; --limit shows up to {MAX_LISTED:,}.")
    return exit_codes.OK


def fetch(client: Client, params: Mapping[str, object], most: int) -> tuple[list[dict[str, Any]], bool]:
    """At most so many tasks, and whether there are more. A page may be empty and still not the last."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get("/tasks", {**params, "cursor": cursor, "limit": min(PAGE, most + 1 - len(found))})
        found += page["tasks"]
        cursor = page["next"]
        if cursor is None or len(found) > most:
            return found[:most], len(found) > most


def row_of(task: Mapping[str, Any], now: datetime) -> Sequence[str]:
    state = state_of(task["state"])
    if task["cancelling"]:
        state += ", ending"
    elif task["state"] == "running" and task["progress"] > 0:
        state += f" {task['progress']:.0f}%"
    elif task["discarded"]:
        state += ", discarded"
    return (
        f"#{task['number']}",
        state,
        visible(task["worker_name"] or "-"),
        str(task["attempt"] or "-"),
        age(seconds_between(task["created_at"], None, now)),
        duration(seconds_between(task["started_at"], task["finished_at"], now)),
        "-" if task["exit_code"] is None else str(task["exit_code"]),
        command_of(task),
    )
