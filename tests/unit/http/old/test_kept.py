"""An answer that is made once for all who ask while it is good."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, cast

import pytest

from taskmaster_desktop.backend.http.old import kept
from taskmaster_desktop.backend.http.old.kept import Kept


@dataclass
class Changing:
    """Of the whole API an answer looks at this alone."""

    changes: int = 1


class Maker:
    def __init__(self) -> None:
        self.made = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.fault: Exception | None = None

    def __call__(self) -> bytes:
        self.goes_on.wait(10)
        self.made += 1
        if self.fault is not None:
            raise self.fault
        return b"%d" % self.made


def keeping(make: Maker) -> tuple[Changing, Kept[bytes]]:
    api = Changing()
    return api, Kept(cast("Any", api), make)


async def test_it_is_made_again_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STEADY_S", 1000.0)
    monkeypatch.setattr(kept, "BUSY_S", 0.0)
    api, answer = keeping(make := Maker())
    assert [await answer.get() for _ in range(3)] == [b"1"] * 3
    api.changes += 1
    assert [await answer.get() for _ in range(3)] == [b"2"] * 3
    assert make.made == 2


async def test_on_a_busy_engine_it_may_be_a_moment_old_but_not_for_who_changed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "BUSY_S", 1000.0)
    api, answer = keeping(Maker())
    assert await answer.get() == b"1"
    api.changes += 1
    assert await answer.get() == b"1"
    assert await answer.get(exact=True) == b"2"
    api.changes += 1
    assert await answer.get() == b"2"
    answer.forget()
    assert await answer.get() == b"3"


async def test_it_does_not_stay_good_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STEADY_S", 0.0)
    _, answer = keeping(Maker())
    assert (await answer.get(), await answer.get()) == (b"1", b"2")


async def test_many_who_ask_at_once_wait_for_the_same() -> None:
    _, answer = keeping(make := Maker())
    make.goes_on.clear()
    asking = [asyncio.create_task(answer.get()) for _ in range(20)]
    await asyncio.sleep(0)
    make.goes_on.set()
    assert set(await asyncio.gather(*asking)) == {b"1"}


async def test_a_fault_is_not_kept() -> None:
    _, answer = keeping(make := Maker())
    make.fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await answer.get()
    make.fault = None
    assert await answer.get() == b"2"
