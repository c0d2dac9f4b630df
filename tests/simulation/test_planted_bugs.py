"""The simulation finds each of the classic bugs when it is put in."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.errors import InvariantViolation
from taskmaster_desktop.backend.ports import StaleWrite
from tests.helpers.sim_bugs import PLANTS
from tests.helpers.sim_run import simulate
from tests.helpers.sim_world import Broken

SEEDS = 1000


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANTS[name]
    plant.put_in(monkeypatch)
    for seed in range(SEEDS):
        try:
            simulate(seed, **plant.where)
        except (Broken, InvariantViolation, StaleWrite):
            return
    pytest.fail(f"{SEEDS} seeds did not notice: {name}")


def test_without_a_bug_the_same_plans_are_clean() -> None:
    for plant in PLANTS.values():
        for seed in range(4):
            simulate(seed, **plant.where)
