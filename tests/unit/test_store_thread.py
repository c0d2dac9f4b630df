"""Where a group is written: here while the disk is quick and the group short, else on the store's thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.store_thread import QUICK_S, SHORT_ROWS, StoreThread


class SteppingClock:
    """Every reading is `step_s` later than the one before."""

    def __init__(self) -> None:
        self.step_s = 0.0
        self._now_s = 0.0

    def now(self) -> Moment:
        self._now_s += self.step_s
        return Moment(0, self._now_s)


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def thread(clock: SteppingClock) -> Iterator[StoreThread]:
    thread = StoreThread(clock)
    yield thread
    thread.close()


def here(thread: StoreThread, rows: int = 1) -> bool:
    """Whether a group of `rows` rows is written by who asks."""
    return thread.write(threading.get_ident, rows=rows).result() == threading.get_ident()


def test_a_short_group_is_written_by_who_asks_and_is_done_on_return(thread: StoreThread) -> None:
    done = thread.write(threading.get_ident, rows=SHORT_ROWS)
    assert done.done()
    assert done.result() == threading.get_ident()


def test_a_long_group_goes_to_the_thread(thread: StoreThread) -> None:
    assert not here(thread, rows=SHORT_ROWS + 1)


def test_other_calls_always_go_to_the_thread(thread: StoreThread) -> None:
    assert thread.submit(threading.get_ident).result() != threading.get_ident()


def test_a_slow_disk_is_left_to_the_thread_until_it_is_quick_again(
    thread: StoreThread, clock: SteppingClock
) -> None:
    assert here(thread)
    clock.step_s = 50 * QUICK_S
    assert here(thread)  # it could not be known
    assert not here(thread)
    clock.step_s = 0.0
    until_quick = next(tries for tries in range(1, 100) if here(thread))
    assert until_quick > 1
    assert here(thread)


def test_long_groups_say_nothing_about_the_disk(thread: StoreThread, clock: SteppingClock) -> None:
    clock.step_s = 50 * QUICK_S
    thread.write(threading.get_ident, rows=SHORT_ROWS + 1).result()
    clock.step_s = 0.0
    assert here(thread)


@pytest.mark.parametrize("rows", [1, SHORT_ROWS + 1])
def test_an_error_is_the_answer_wherever_it_was_met(thread: StoreThread, rows: int) -> None:
    def fail() -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        thread.write(fail, rows=rows).result()
