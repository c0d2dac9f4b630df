"""Thousands of short lives of one instance, each from its seed, with everything going wrong that can.

A failure names its seed: `python -m tests.helpers.sim_run SEED` replays it. For a longer search:
`TASKMASTER_SIM_SEEDS=50000 pytest tests/simulation/test_seeds.py --timeout 0`.
"""

from __future__ import annotations

import os

import pytest

from tests.helpers.sim_run import simulate

SEEDS = int(os.environ.get("TASKMASTER_SIM_SEEDS", "1200"))
CHUNK = max(40, SEEDS // 100)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        simulate(seed)


@pytest.mark.parametrize("seed", [1, 22, 333])
def test_a_seed_replays_to_the_same_trace(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert first.world.digest() == second.world.digest()
    assert [row[2:] for row in first.store.tasks.values()] == [row[2:] for row in second.store.tasks.values()]
    assert len(first.world.trace) > 20


def test_seeds_differ() -> None:
    assert len({simulate(seed).world.digest() for seed in range(10)}) == 10


def test_the_runs_see_what_they_are_meant_to_see() -> None:
    """Trouble that never happens proves nothing."""
    kinds: set[str] = set()
    outcomes: set[str] = set()
    words: set[str] = set()
    for seed in range(60):
        simulation = simulate(seed)
        kinds |= {event.kind for event in simulation.store.events}
        outcomes |= {attempt.outcome for attempt in simulation.store.attempts}
        words |= {word for line in simulation.world.trace for word in line[1:] if isinstance(word, str)}
    assert {"worker_silent", "worker_offline", "task_quarantined", "kill", "scale", "queue"} <= kinds
    assert outcomes == {"completed", "failed", "timeout", "cancelled", "oom", "lost", "recalled"}
    assert {"engine crashes", "engine starts over:", "is paused for", "is cut off for", "stalls for"} <= words
