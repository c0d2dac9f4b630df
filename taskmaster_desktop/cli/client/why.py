"""Why a task is not running, in one sentence, from what the instance says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskmaster_desktop.cli.client.text import counted, duration, local, moment, visible


def why_not_running(
    task: Mapping[str, Any], stats: Mapping[str, Any], fleet: Mapping[str, Any], now: datetime
) -> str:
    """Empty for a task that runs or has finished. `stats` and `fleet` are those of the API."""
    if task["state"] == "assigned":
        return (
            f"It has been given to {visible(task['worker_name'] or 'a worker')} and starts there any moment."
        )
    if task["state"] != "pending":
        return ""
    if stats["trouble"]:
        return str(stats["trouble"])
    due = moment(task["due_at"])
    if due is not None and due > now:
        wait = duration((due - now).total_seconds())
        why = "tried again" if task["failures"] else "started"
        return f"It is {why} in {wait}, at {local(task['due_at'])}."
    if stats["paused"]:
        return "The queue is paused; taskmaster resume lets tasks start."
    return _of_fleet(stats, fleet)


def _of_fleet(stats: Mapping[str, Any], fleet: Mapping[str, Any]) -> str:
    if fleet["trouble"]:
        return str(fleet["trouble"])
    if not fleet["online"]:
        if fleet["starting"]:
            return f"No worker is online yet; {counted(fleet['starting'], 'is', 'are')} starting."
        if not fleet["desired"]:
            return "There are no workers; taskmaster scale 3 starts some."
        return f"No worker is online, though {fleet['desired']} should be; taskmaster scale {fleet['desired']} starts them."
    busy = stats["tasks"]["running"] + stats["tasks"]["assigned"]
    return (
        f"It waits for its turn: {counted(fleet['online'], 'worker')} online, {busy:,} running, "
        f"{counted(stats['tasks']['pending'], 'task')} pending in all."
    )
