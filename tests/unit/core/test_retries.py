"""Failures, timeouts, back-off, dead letters."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.core.retry import backoff_s
from taskmaster_desktop.backend.model import Outcome, TaskState
from tests.helpers.sim_coordinator import Coordinator


@pytest.mark.parametrize("failures", range(1, 40))
def test_back_off_doubles_within_its_jitter_and_is_capped(failures: int) -> None:
    base = min(2.0 ** (failures - 1), 300.0)
    waits = [backoff_s(1.0, failures, seed=seed) for seed in range(200)]
    assert all(0.75 * base <= wait <= 1.25 * base for wait in waits)
    assert max(waits) - min(waits) > 0.3 * base


def test_back_off_is_the_same_for_the_same_seed() -> None:
    assert backoff_s(1.0, 3, seed=7) == backoff_s(1.0, 3, seed=7)
    assert backoff_s(1.0, 3, seed=7) != backoff_s(1.0, 3, seed=8)


@pytest.mark.parametrize("first_s", [0.0, 300.0])
def test_back_off_at_the_ends_of_its_range(first_s: float) -> None:
    assert 0.75 * first_s <= backoff_s(first_s, 10, seed=1) <= 1.25 * first_s


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMEOUT, Outcome.OOM])
def test_a_failure_is_tried_again_until_no_retry_is_left(coordinator: Coordinator, outcome: Outcome) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=2)
    for failures in (1, 2):
        peer.run(outcome=outcome)
        row = coordinator.row(number)
        assert (row.state, row.failures, row.outcome) == (TaskState.PENDING, failures, outcome)
        wait_us = row.due_us - coordinator.now.wall_us
        assert 0.75 * 2 ** (failures - 1) <= wait_us / SECOND_US <= 1.25 * 2 ** (failures - 1)
        coordinator.advance(wait_us / SECOND_US - 0.001)
        peer.beat()
        assert coordinator.state(number) is TaskState.PENDING, "never early"
        coordinator.advance(0.002)
        assert coordinator.state(number) is TaskState.ASSIGNED
    peer.run(outcome=outcome)
    row = coordinator.row(number)
    assert (row.state, row.failures, row.attempt) == (TaskState.FAILED, 3, 3)
    assert coordinator.outcomes(number) == [outcome] * 3
    assert coordinator.worker(peer.number).failed == 3


def test_no_pause_between_retries_where_none_is_wanted(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=1, retry_delay_s=0.0)
    peer.run(outcome=Outcome.FAILED)
    coordinator.tick()
    assert coordinator.state(number) is TaskState.ASSIGNED


def test_a_retried_task_goes_before_younger_ones(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    first, second, third = coordinator.submit(3, retries=1, retry_delay_s=0.0)
    peer.run(outcome=Outcome.FAILED)
    peer.run()
    peer.run()
    assert peer.tasks == [first, second, first, third] or peer.tasks == [first, first, second, third]


def test_success_keeps_the_failures_of_before(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=3)
    peer.run(outcome=Outcome.FAILED)
    coordinator.advance(2)
    peer.run()
    row = coordinator.row(number)
    assert (row.state, row.failures, row.outcome, row.exit_code, row.reason, row.progress) == (
        TaskState.COMPLETED, 1, Outcome.COMPLETED, 0, "", 100.0,
    )  # fmt: skip


# === dead letters
def dead_letter(coordinator: Coordinator) -> int:
    (peer,) = coordinator.fleet(1)
    (number,) = coordinator.submit(retries=0)
    peer.run(outcome=Outcome.FAILED)
    assert coordinator.state(number) is TaskState.FAILED
    return number


def test_retry_of_a_dead_letter_gives_all_its_retries_back(coordinator: Coordinator) -> None:
    number = dead_letter(coordinator)
    task_id = coordinator.row(number).id
    assert coordinator.retry(number) == 1
    row = coordinator.row(number)
    assert (row.id, row.state, row.failures, row.deaths) == (task_id, TaskState.ASSIGNED, 0, 0)
    assert row.attempt == 2, "attempts count on"
    assert coordinator.store.batches[1].failed == 0


def test_discard_is_a_mark_and_not_a_state(coordinator: Coordinator) -> None:
    number = dead_letter(coordinator)
    assert coordinator.discard(number) == 1
    assert coordinator.row(number).discarded
    assert coordinator.state(number) is TaskState.FAILED
    assert (coordinator.totals.failed, coordinator.totals.discarded) == (1, 1)
    assert coordinator.discard(number) == 0


def test_a_discarded_one_may_be_retried(coordinator: Coordinator) -> None:
    number = dead_letter(coordinator)
    coordinator.discard(number)
    assert coordinator.retry(number) == 1
    assert not coordinator.row(number).discarded
    assert (coordinator.totals.failed, coordinator.totals.discarded) == (0, 0)


def test_retry_and_discard_leave_other_states_alone(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    completed, running, waiting, cancelled = coordinator.submit(4)
    coordinator.cancel(cancelled)
    peer.run()
    peer.start(peer.take())
    everything = (completed, running, waiting, cancelled)
    before = [coordinator.row(number) for number in everything]
    assert coordinator.retry(*everything) == 0
    assert coordinator.discard(*everything) == 0
    assert [coordinator.row(number) for number in everything] == before


def test_bulk_actions_count_what_they_changed(coordinator: Coordinator) -> None:
    (peer,) = coordinator.fleet(1)
    numbers = coordinator.submit(4)
    for outcome in (Outcome.FAILED, Outcome.COMPLETED, Outcome.FAILED, Outcome.FAILED):
        peer.run(outcome=outcome)
    assert coordinator.discard(numbers[0]) == 1
    assert coordinator.retry(*numbers, 999) == 3
    assert coordinator.totals.completed == 1
    assert coordinator.totals.failed == 0
