"""The coordinator of the unit tests, validated once more when a test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.sim_coordinator import Coordinator


@pytest.fixture
def coordinator() -> Iterator[Coordinator]:
    made = Coordinator()
    yield made
    made.machine.validate()
