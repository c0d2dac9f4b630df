"""Window alone, against a sorted list; reads are answered late, and rows change while they are under way."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskmaster_desktop.backend.core.window import READS_PER_WINDOW, Key, Window

CAPACITY = 4
SLICE = CAPACITY // READS_PER_WINDOW


def filled(*keys: Key, capacity: int = CAPACITY) -> Window:
    """A window that has read everything there is."""
    window = Window(capacity)
    assert window.wants_read() is not None
    window.put(window.fill(keys, complete=True))
    return window


def drained(window: Window) -> list[Key]:
    return [window.pop() for _ in range(len(window))]


def test_a_new_window_knows_nothing_and_wants_to_read() -> None:
    window = Window(CAPACITY)
    assert window.admit((0, 1)) is False
    assert window.wants_read() is not None
    assert window.wants_read() is None, "one read at a time"
    assert window.head() is None


def test_the_end_of_the_store_is_remembered() -> None:
    window = filled()
    assert window.wants_read() is None
    assert window.admit((5, 1))
    assert window.admit((0, 2))
    assert window.head() == (0, 2)
    assert drained(window) == [(0, 2), (5, 1)]


def test_a_full_window_leaves_the_rest_to_the_store() -> None:
    window = filled()
    admitted = [number for number in range(1, 10) if window.admit((0, number))]
    assert admitted == [1, 2, 3, 4]
    assert window.wants_read() is None
    window.pop()
    window.pop()
    assert window.wants_read() == ((0, 4), SLICE)


def test_urgent_keys_push_in_and_late_ones_are_given_up() -> None:
    window = filled(*[(0, number) for number in range(1, 5)])
    assert all(window.admit((-1, number)) for number in range(5, 10))
    assert list(window.trim()) == [(-1, 9), (0, 1), (0, 2), (0, 3), (0, 4)]
    assert len(window) == CAPACITY
    assert drained(window) == [(-1, 5), (-1, 6), (-1, 7), (-1, 8)]
    assert window.wants_read() == ((-1, 8), SLICE)


def test_trim_leaves_a_window_of_usual_size_alone() -> None:
    window = filled(*[(0, number) for number in range(8)])
    assert window.trim() == ()
    assert len(window) == 8


def test_what_came_during_a_read_bounds_its_answer() -> None:
    """(0, 3) was written after the read had looked, so the answer may lack it."""
    window = Window(CAPACITY)
    window.wants_read()
    assert window.admit((0, 3)) is False
    assert window.fill([(0, 1), (0, 5)], complete=True) == [(0, 1)]
    assert window.wants_read() == ((0, 1), SLICE)


def test_an_answer_of_which_nothing_can_be_used_is_asked_again() -> None:
    window = Window(CAPACITY)
    asked = window.wants_read()
    window.admit((0, 0))
    assert window.fill([(0, 1), (0, 2)], complete=True) == []
    assert window.wants_read() == asked


def test_what_is_given_up_during_a_read_bounds_its_answer() -> None:
    window = filled(*[(0, number) for number in range(10, 14)])
    assert not window.admit((0, 20))
    window.pop()
    window.pop()
    assert window.wants_read() is not None
    for number in range(7):
        assert window.admit((-1, number))
    assert list(window.trim()) == [(-1, 4), (-1, 5), (-1, 6), (0, 12), (0, 13)]
    assert window.fill([(0, 20)], complete=True) == []
    assert drained(window) == [(-1, 0), (-1, 1), (-1, 2), (-1, 3)]
    assert window.wants_read() == ((-1, 3), SLICE)


@pytest.mark.parametrize("capacity", [1, 2, 3])
def test_small_windows_work(capacity: int) -> None:
    window = Window(capacity)
    store = [(0, number) for number in range(10)]
    seen: list[Key] = []
    for _ in range(50):
        wanted = window.wants_read()
        if wanted is not None:
            after, limit = wanted
            page = [key for key in store if key > after][:limit]
            window.put(window.fill(page, complete=len(page) < limit))
        if len(window):
            seen.append(window.pop())
    assert seen == store


class WindowAgainstList(RuleBasedStateMachine):
    """The store is a set of keys; each write becomes visible to reads only when it is flushed.

    What must hold: popping gives the keys in order, as far as the store's reader could know; nothing is
    ever forgotten (at the end everything comes out), and nothing comes out twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(CAPACITY)
        self.pending: set[Key] = set()  # the truth
        self.held: set[Key] = set()  # in the window, as its owner knows
        self.dead: set[Key] = set()  # cancelled while in the window
        self.page: tuple[list[Key], bool] | None = None
        self.number = 0

    def _trim(self) -> None:
        self.held.difference_update(self.window.trim())

    @rule(ranks=st.lists(st.integers(-2, 2), min_size=1, max_size=6))
    def submit(self, ranks: list[int]) -> None:
        for rank in ranks:
            self.number += 1
            key = (rank, self.number)
            self.pending.add(key)
            if self.window.admit(key):
                self.held.add(key)
            self._trim()

    @rule(count=st.integers(1, 12))
    def submit_batch(self, count: int) -> None:
        """As the core does: it stops at the first key that is not admitted."""
        first = self.number + 1
        self.number += count
        keys = [(0, number) for number in range(first, first + count)]
        self.pending.update(keys)
        for key in keys:
            if not self.window.admit(key):
                break
            self.held.add(key)
            self._trim()

    @precondition(lambda self: self.page is None)
    @rule()
    def read(self) -> None:
        wanted = self.window.wants_read()
        if wanted is None:
            return
        after, limit = wanted
        found = sorted(key for key in self.pending if key > after)[:limit]
        self.page = (found, len(found) < limit)

    @precondition(lambda self: self.page is not None)
    @rule()
    def answer(self) -> None:
        assert self.page is not None
        keys, complete = self.page
        self.page = None
        taken = self.window.fill(keys, complete=complete)
        assert set(taken) <= set(keys)
        wanted = [key for key in taken if key in self.pending and key not in self.held]
        self.window.put(wanted)
        self.held.update(wanted)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.pending)))
        self.pending.discard(key)
        if key in self.held:
            self.held.discard(key)
            self.dead.add(key)

    @precondition(lambda self: len(self.window))
    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.window))):
            key = self.window.pop()
            if key in self.dead:
                continue
            assert key in self.held
            earlier = {other for other in self.pending if other < key}
            assert not earlier, f"{key} was given out before {sorted(earlier)}"
            self.held.discard(key)
            self.pending.discard(key)

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """A key that was given out before becomes pending again."""
        number = data.draw(st.integers(1, max(1, self.number)))
        key = (data.draw(st.integers(-2, 2)), number)
        if any(other[1] == number for other in self.pending | self.dead) or number > self.number:
            return
        self.pending.add(key)
        if self.window.admit(key):
            self.held.add(key)
        self._trim()

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.window) <= 3 * CAPACITY

    @invariant()
    def holds_what_is_pending(self) -> None:
        assert self.held <= self.pending

    def teardown(self) -> None:
        for _ in range(1_000):
            if self.page is not None:
                self.answer()
            self.read()
            if len(self.window):
                self.take(3)
            if self.window.exhausted:
                break
        assert not self.pending, "these were forgotten"


TestWindowAgainstList = WindowAgainstList.TestCase
TestWindowAgainstList.settings = settings(max_examples=100, stateful_step_count=40)
