"""`taskmaster wait`: until tasks, batches or everything has finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import MAX_TIMEOUT_S
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.ports import Clock
from taskmaster_desktop.cli import exit_codes, values
from taskmaster_desktop.cli.client.instance import ANSWER_LIMIT_S, Client, path_of
from taskmaster_desktop.cli.client.talking import batch_name, task_names
from taskmaster_desktop.cli.map.bar import Bar, Progress
from taskmaster_desktop.cli.output import Output

LONGEST_ASK_S = 20.0
"""The instance answers after so long at the latest, done or not."""
SHOWN_EVERY_S = 0.5
"""With a progress bar it is asked more often."""
LOOK_AGAIN_S = (0.05, 1.0)
"""What cannot be waited for is looked at again, less and less often."""
FINISHED = ("completed", "failed", "cancelled")


@dataclass(slots=True, kw_only=True)
class Standing:
    """How far it is."""

    total: int
    counts: dict[str, int]
    batches: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def finished(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> bool:
        return self.finished >= self.total

    def text(self) -> str:
        """Such as `48 completed, 2 failed`."""
        parts = [f"{count:,} {state}" for state, count in self.counts.items() if count]
        left = self.total - self.finished
        return ", ".join([*parts, f"{left:,} unfinished"] if left else parts) or "nothing to wait for"


Look = Callable[[float], Standing]
"""Looks how far it is; may wait for so many seconds until it is done."""


def wait(
    client: Client,
    output: Output,
    *,
    tasks: Sequence[str],
    batches: Sequence[str],
    everything: bool,
    timeout: str | None,
) -> int:
    """0 if all were completed, 1 if some were not, 124 after the time limit."""
    if sum(map(bool, (tasks, batches, everything))) != 1:
        raise UserError("Say what to wait for: tasks, --batch or --all.", field="TASK")
    limit_s = None
    if timeout is not None:
        limit_s = values.duration_s("--timeout", timeout, 0.0, MAX_TIMEOUT_S)
    if batches:
        look = _look_at_batches(client, [batch_name(text) for text in batches])
    elif tasks:
        look = _look_at_tasks(client, task_names(tasks))
    else:
        look = _look_at_all(client)
    standing = _until_done(client, output, look, limit_s, SystemClock())
    ok = standing.done and standing.counts["completed"] == standing.total
    code = exit_codes.OK if ok else exit_codes.TASK_FAILED if standing.done else exit_codes.TIMED_OUT
    output.result(f"{standing.text()}.")
    output.json(
        {
            "ok": ok,
            "timed_out": not standing.done,
            "total": standing.total,
            **standing.counts,
            "batches": standing.batches,
            "tasks": standing.tasks,
            "exit_code": code,
        }
    )
    return code


def _until_done(client: Client, output: Output, look: Look, limit_s: float | None, clock: Clock) -> Standing:
    bar = Bar(output, clock, shown=output.stderr_is_terminal and not output.as_json)
    longest_s = SHOWN_EVERY_S if output.stderr_is_terminal else LONGEST_ASK_S
    end_s = None if limit_s is None else clock.now().mono_s + limit_s
    patience_s = 0.0
    try:
        while True:
            standing = look(patience_s)
            left_s = None if end_s is None else end_s - clock.now().mono_s
            if standing.done or (left_s is not None and left_s <= 0):
                return standing
            patience_s = longest_s if left_s is None else min(longest_s, left_s)
            if output.stderr_is_terminal:
                bar.update(_progress(standing, client.get("/stats")["tasks"]["running"]))
    finally:
        bar.clear()


def _progress(standing: Standing, running: int) -> Progress:
    return Progress(
        done=standing.finished, failed=standing.counts["failed"], running=running, total=standing.total
    )


def _look_at_batches(client: Client, names: Sequence[str]) -> Look:
    known: dict[str, dict[str, Any]] = {}

    def look(patience_s: float) -> Standing:
        for name in names:
            if not known.get(name, {}).get("done"):
                known[name] = client.get(
                    path_of("batches", name, "wait"),
                    {"timeout_s": patience_s},
                    limit_s=patience_s + ANSWER_LIMIT_S,
                )
                patience_s = 0.0 if not known[name]["done"] else patience_s
        found = list(known.values())
        return Standing(
            total=sum(batch["size"] for batch in found),
            counts={state: sum(batch[state] for batch in found) for state in FINISHED},
            batches=found,
        )

    return look


def _look_at_tasks(client: Client, names: Sequence[str]) -> Look:
    known: dict[str, dict[str, Any]] = {}
    pause = _Pause()

    def look(patience_s: float) -> Standing:
        pause(patience_s)
        for name in names:
            if known.get(name, {}).get("state") not in FINISHED:
                known[name] = client.get(path_of("tasks", name))
        states = [task["state"] for task in known.values()]
        return Standing(
            total=len(states),
            counts={state: states.count(state) for state in FINISHED},
            tasks=list(known.values()),
        )

    return look


def _look_at_all(client: Client) -> Look:
    """Everything that is unfinished now, and what comes while it is waited for."""
    first: dict[str, int] = {}
    pause = _Pause()

    def look(patience_s: float) -> Standing:
        pause(patience_s)
        now = client.get("/stats")["tasks"]
        if not first:
            first.update(now)
        counts = {state: max(0, now[state] - first[state]) for state in FINISHED}
        left = now["pending"] + now["assigned"] + now["running"]
        return Standing(total=left + sum(counts.values()), counts=counts)

    return look


class _Pause:
    """Waits a little longer each time."""

    def __init__(self) -> None:
        self._next_s = LOOK_AGAIN_S[0]
        self._never = threading.Event()

    def __call__(self, most_s: float) -> None:
        if most_s > 0:
            self._never.wait(min(most_s, self._next_s))
            self._next_s = min(self._next_s * 1.5, LOOK_AGAIN_S[1])
