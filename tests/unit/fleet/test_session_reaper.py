"""Waiting for the last process of a session, without processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskmaster_desktop.backend.fleet import session_reaper
from taskmaster_desktop.backend.fleet.session_reaper import end_session


class Looks:
    """Answers what each look finds; an exception is raised."""

    def __init__(self, *answers: int | OSError) -> None:
        self.answers = list(answers)

    async def __call__(self, _look: Callable[[], int]) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def test_it_returns_at_the_first_empty_look() -> None:
    looks = Looks(0, 1)
    await end_session(42, looks, worker_id="w-1")
    assert looks.answers == [1]


async def test_it_looks_until_nothing_is_left() -> None:
    looks = Looks(3, 1, 1, 0)
    await end_session(42, looks, worker_id="w-1")
    assert looks.answers == []


@pytest.mark.expects_logs
async def test_not_being_able_to_look_is_no_proof_of_death(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks(OSError(24, "Too many open files"), 1, 0)
    await end_session(42, looks, worker_id="w-1")
    assert looks.answers == []
    assert "Too many open files" in caplog.text


@pytest.mark.expects_logs
async def test_what_does_not_end_is_complained_about_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_reaper, "COMPLAIN_AFTER_S", 0.0)
    monkeypatch.setattr(session_reaper, "LONGEST_PAUSE_S", 0.001)
    await end_session(42, Looks(1, 1, 1, 0), worker_id="w-1")
    assert caplog.text.count("does not end although it was killed") == 1
