"""Waiting for a batch: whatever the order in which its row and its last commit are heard of."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, cast

import pytest

from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core.instructions import BatchCounts
from taskmaster_desktop.backend.errors import NotFound
from taskmaster_desktop.backend.model import BatchRecord, TaskOptions
from taskmaster_desktop.backend.requests import Requests

OPEN = BatchRecord(7, b"b" * 16, 1, 1, 3, TaskOptions(), None, None, 1, 0, 0)
DONE = BatchCounts(2, 1, 0)


class Reading:
    """Stands in for the coordinator: its one read is answered when the test says so."""

    def __init__(self) -> None:
        self.answer: Future[BatchRecord | None] = Future()
        self.reads = 0

    def read(self, _: object) -> Future[BatchRecord | None]:
        self.reads += 1
        return self.answer


class Bench:
    def __init__(self) -> None:
        self.reading = Reading()
        self.tasks: list[asyncio.Task[None]] = []
        self.requests = Requests(cast(Coordinator, self.reading), self._spawn)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def wait(self) -> Future[BatchRecord]:
        future: Future[BatchRecord] = Future()
        self.requests.wait_batch(7, future)
        return future

    async def answer(self, batch: BatchRecord | None) -> None:
        await asyncio.sleep(0)
        self.reading.answer.set_result(batch)
        await asyncio.gather(*self.tasks)


async def test_the_last_commit_is_heard_before_the_row() -> None:
    bench = Bench()
    waiting = bench.wait()
    bench.requests.committed({7: DONE})
    assert not waiting.done()
    await bench.answer(OPEN)
    assert waiting.result(0)[-3:] == tuple(DONE)


async def test_the_row_is_heard_before_the_last_commit() -> None:
    bench = Bench()
    waiting, other = bench.wait(), bench.wait()
    await bench.answer(OPEN)
    bench.requests.committed({7: BatchCounts(2, 0, 0), 8: BatchCounts(1, 0, 0)})
    assert not waiting.done()
    bench.requests.committed({7: DONE})
    assert waiting.result(0) == other.result(0)
    assert bench.reading.reads == 1


async def test_a_batch_that_was_done_long_ago() -> None:
    bench = Bench()
    waiting = bench.wait()
    await bench.answer(OPEN._replace(completed=3))
    assert waiting.result(0).completed == 3


async def test_there_is_no_such_batch() -> None:
    bench = Bench()
    waiting = bench.wait()
    await bench.answer(None)
    with pytest.raises(NotFound):
        waiting.result(0)
