"""`taskmaster show`: all about one task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.client.instance import Client, path_of
from taskmaster_desktop.cli.client.talking import task_name
from taskmaster_desktop.cli.client.text import (
    age,
    at_us,
    command_of,
    duration,
    facts,
    local,
    seconds_between,
    state_of,
    table,
    visible,
)
from taskmaster_desktop.cli.client.why import why_not_running
from taskmaster_desktop.cli.output import Output

HEADS = ("TRY", "OUTCOME", "WORKER", "STARTED", "TIME", "EXIT", "OUTPUT", "REASON")


def show(client: Client, output: Output, task: str) -> int:
    name = task_name(task)
    found = client.get(path_of("tasks", name))
    attempts = client.get(path_of("tasks", name, "attempts"))["attempts"]
    stats, fleet = client.get("/stats"), client.get("/fleet")
    now = at_us(SystemClock().now().wall_us)
    why = why_not_running(found, stats, fleet, now)
    output.json({**found, "attempts": attempts, "why_not_running": why or None})
    for line in (*_facts(found, why, now), *_attempts(attempts, now)):
        output.result(line)
    return exit_codes.OK


def _facts(task: Mapping[str, Any], why: str, now: datetime) -> list[str]:
    options = task["options"] or {}
    return facts(
        [
            (f"#{task['number']}", _state(task)),
            ("why", why),
            ("command" if task["argv"] is None else "argv", _command(task)),
            ("progress", _progress(task)),
            ("exit code", "" if task["exit_code"] is None else str(task["exit_code"])),
            ("reason", visible(task["reason"])),
            ("worker", visible(task["worker_name"] or "")),
            ("batch", str(task["batch"])),
            ("created", _when(task["created_at"], now)),
            ("start at", local(task["run_at"])),
            ("started", _when(task["started_at"], now)),
            ("finished", _when(task["finished_at"], now)),
            ("took", _took(task, now)),
            ("priority", str(task["priority"] or "")),
            ("retries", _retries(task, options)),
            ("time limit", duration(options["timeout_s"]) if options.get("timeout_s") else ""),
            ("tags", visible(", ".join(options.get("tags", ())))),
            ("environment", visible(", ".join(options.get("env_names", ())))),
            ("folder", visible(options.get("cwd") or "")),
            ("id", task["id"]),
        ]
    )


def _state(task: Mapping[str, Any]) -> str:
    more = ", being cancelled" if task["cancelling"] else ", discarded" if task["discarded"] else ""
    return state_of(task["state"]) + more


def _command(task: Mapping[str, Any]) -> str:
    return command_of(task) if task["argv"] is None else visible(json.dumps(task["argv"], ensure_ascii=False))


def _progress(task: Mapping[str, Any]) -> str:
    if not task["progress"] and not task["progress_text"]:
        return ""
    return f"{task['progress']:g} % {visible(task['progress_text'])}".strip()


def _when(at: str | None, now: datetime) -> str:
    return "" if at is None else f"{local(at)} ({age(seconds_between(at, None, now))} ago)"


def _took(task: Mapping[str, Any], now: datetime) -> str:
    seconds = seconds_between(task["started_at"], task["finished_at"], now)
    return "" if seconds is None else duration(seconds) + ("" if task["finished_at"] else " so far")


def _retries(task: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    if not options.get("retries"):
        return ""
    return f"{options['retries']}, the first after {duration(options['retry_delay_s'])}; failed {task['failures']} times"


def _attempts(attempts: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    if not attempts:
        return []
    rows = [
        (
            str(attempt["attempt"]),
            attempt["outcome"] or "goes on",
            visible(attempt["worker_name"] or "-"),
            local(attempt["started_at"]) or "never",
            _attempt_time(attempt, now),
            "-" if attempt["exit_code"] is None else str(attempt["exit_code"]),
            "-" if attempt["output_bytes"] is None else f"{attempt['output_bytes']:,} B",
            visible(attempt["reason"]),
        )
        for attempt in attempts
    ]
    return ["", *table(HEADS, rows)]


def _attempt_time(attempt: Mapping[str, Any], now: datetime) -> str:
    if attempt["duration_s"] is not None:
        return duration(attempt["duration_s"])
    return duration(seconds_between(attempt["started_at"], attempt["finished_at"], now))
