"""The sentence about a task that is not running."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskmaster_desktop.cli.client.text import at_us
from taskmaster_desktop.cli.client.why import why_not_running

NOW = at_us(1_800_000_000_000_000)
TASK: dict[str, Any] = {"state": "pending", "due_at": None, "failures": 0, "worker_name": None}
STATS: dict[str, Any] = {
    "trouble": None, "paused": False, "tasks": {"pending": 12, "running": 3, "assigned": 0},
}  # fmt: skip
FLEET: dict[str, Any] = {"trouble": None, "online": 3, "starting": 0, "desired": 3}
LATER = (NOW + timedelta(seconds=90)).isoformat()
EARLIER = (NOW - timedelta(seconds=1)).isoformat()


@pytest.mark.parametrize(
    ("task", "stats", "fleet", "said"),
    [
        ({"state": "running"}, {}, {}, ""),
        ({"state": "failed"}, {"paused": True}, {}, ""),
        ({"state": "assigned", "worker_name": "worker-2"}, {}, {}, "given to worker-2"),
        ({}, {"trouble": "The disk is full."}, {}, "The disk is full."),
        ({"due_at": LATER}, {"paused": True}, {}, "It is started in 1m30s"),
        ({"due_at": LATER, "failures": 1}, {}, {}, "It is tried again in 1m30s"),
        ({"due_at": EARLIER}, {}, {}, "waits for its turn"),
        ({}, {"paused": True}, {}, "The queue is paused; taskmaster resume"),
        ({}, {}, {"trouble": "Docker does not answer."}, "Docker does not answer."),
        ({}, {}, {"online": 0, "starting": 1}, "No worker is online yet; 1 is starting."),
        ({}, {}, {"online": 0, "starting": 2}, "2 are starting"),
        ({}, {}, {"online": 0, "desired": 0}, "There are no workers; taskmaster scale 3"),
        ({}, {}, {"online": 0}, "though 3 should be; taskmaster scale 3"),
        ({}, {}, {}, "3 workers online, 3 running, 12 tasks pending in all."),
    ],
)
def test_why(task: dict[str, Any], stats: dict[str, Any], fleet: dict[str, Any], said: str) -> None:
    why = why_not_running(TASK | task, STATS | stats, FLEET | fleet, NOW)
    assert said in why
    assert bool(why) == bool(said)
