"""Efficiency is taken from known durations and known pauses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_desktop.demo.measures import (
    balance,
    batch_phase,
    list_schedule_us,
    longest_idle_us,
    most_at_once,
    single_phase,
)
from tests.helpers.demo_evidence import SECOND, attempt


@pytest.mark.parametrize(
    ("durations", "machines", "expected"),
    [
        ([], 3, 0),
        ([5], 3, 5),
        ([3, 3, 3], 3, 3),
        ([3, 3, 3, 1], 3, 4),
        ([2, 3, 4, 6], 2, 9),
        ([1, 2, 3], 1, 6),
    ],
)
def test_list_scheduling(durations: list[int], machines: int, expected: int) -> None:
    assert list_schedule_us(durations, machines) == expected


@given(st.lists(st.integers(1, 1000), min_size=1), st.integers(1, 8))
def test_list_scheduling_is_between_its_bounds(durations: list[int], machines: int) -> None:
    ideal = list_schedule_us(durations, machines)
    assert max(*durations, sum(durations) / machines) <= ideal <= sum(durations) / machines + max(durations)


def test_a_batch_that_loses_time_is_less_efficient() -> None:
    attempts = [attempt(n, 10 + 1.25 * ((n - 1) // 2), fence=n, worker=n % 2 + 1) for n in range(1, 9)]
    phase = batch_phase(attempts, range(1, 9), 10 * SECOND, 2)
    assert phase.ideal_us == 4 * SECOND
    assert phase.makespan_us == round(4.75 * SECOND)
    assert phase.efficiency == pytest.approx(4 / 4.75)
    assert phase.per_s == pytest.approx(8 / 4.75)
    assert phase.ideal_per_s == pytest.approx(2)


def test_one_worker_is_measured_from_one_end_to_the_last() -> None:
    attempts = [attempt(n, n * 1.1, fence=n) for n in range(1, 8)]
    attempts.append(attempt(50, 3, fence=50, worker=2))
    phase = single_phase(attempts, 1, round(3.0 * SECOND), round(7.0 * SECOND))
    assert len(phase.durations) == 3  # tasks 3 to 5; the first end, of task 2, only begins the time
    assert phase.makespan_us == round(3.3 * SECOND)
    assert phase.efficiency == pytest.approx(3 / 3.3)


def test_one_worker_that_did_next_to_nothing() -> None:
    phase = single_phase([attempt(1, 1, fence=1)], 1, 0, 10 * SECOND)
    assert (phase.durations, phase.efficiency, phase.per_s, phase.ideal_per_s) == ((), 0.0, 0.0, 0.0)


def test_balance_and_pauses() -> None:
    attempts = [
        attempt(1, 1, fence=1),
        attempt(2, 1, fence=2, worker=2),
        attempt(3, 2.2, fence=3),
        attempt(4, 2.1, fence=4, worker=2, outcome="lost"),
    ]
    assert balance(attempts, range(1, 5)) == {1: 2, 2: 1}
    assert longest_idle_us(attempts, range(1, 5), [1, 2]) == 199_000
    assert longest_idle_us(attempts, range(1, 5), [2]) == 99_000
    assert most_at_once(attempts, range(1, 5)) == 1
    assert most_at_once([*attempts, attempt(2, 1.5, fence=9)], range(1, 5)) == 2
