"""Commands on their way to the core: identity, idempotency, bulk actions, and who waits for a batch.

`prepare` runs on the caller's thread; everything else on the engine's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from uuid_utils import uuid7

from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.commands import (
    MAX_DELAY_S,
    CancelTasks,
    Command,
    KillWorkerNow,
    PauseQueue,
    RetryTasks,
    ScaleFleet,
    SelfHeal,
    StopWorkerGently,
    SubmitBatch,
    TaskAction,
)
from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import BatchCounts
from taskmaster_desktop.backend.core.stimuli import Stimulus, Submit
from taskmaster_desktop.backend.errors import Conflict, NotFound, TaskMasterError, UserError
from taskmaster_desktop.backend.model import BatchRecord, TaskFilter
from taskmaster_desktop.backend.ports import Store

Spawn = Callable[[Coroutine[Any, Any, None]], None]
SLICE = 1_000
"""How many tasks a bulk action loads at once."""


class Requests:
    def __init__(self, coordinator: Coordinator, spawn: Spawn) -> None:
        self._coordinator = coordinator
        self._spawn = spawn
        self._keys: dict[str, Future[Any]] = {}  # idempotency keys whose batch is on its way to the disk
        self._waiting: dict[int, _Wait] = {}

    # === entering
    def prepare(self, command: Command) -> Command | tuple[Submit, float]:
        """What can be done before the loop is needed: ids, and rows as they will be stored."""
        if not isinstance(command, SubmitBatch):
            return command
        return (
            Submit(
                batch_id=uuid7().bytes,
                task_ids=b"".join([uuid7().bytes for _ in range(command.size)]),
                works=[work.stored() for work in command.works],
                count=command.size,
                options=command.options,
                run_at_us=command.run_at_us,
                idempotency_key=command.idempotency_key,
                body_hash=command.body_hash() if command.idempotency_key is not None else None,
            ),
            command.delay_s,
        )

    def take(self, request: Command | tuple[Submit, float], future: Future[Any]) -> None:
        """Let a prepared command happen; the future gets its answer or its error."""
        try:
            if isinstance(request, tuple):
                self._submit(*request, future)
            elif isinstance(request, TaskAction):
                self._spawn(self._act(request, future))
            else:
                self._coordinator.answer(future, self._coordinator.feed(_stimulus(request)))
        except TaskMasterError as error:
            future.set_exception(error)

    # === batches
    def _submit(self, submit: Submit, delay_s: float, future: Future[Any]) -> None:
        latest_us = self._coordinator.now_us() + round(MAX_DELAY_S * SECOND_US)
        if submit.run_at_us is not None and submit.run_at_us > latest_us:
            raise UserError("run_at must be at most 365 days from now.", field="run_at")
        if delay_s:
            submit = replace(submit, run_at_us=self._coordinator.now_us() + round(delay_s * SECOND_US))
        if submit.idempotency_key is None:
            self._submit_new(submit, future)
        else:
            self._spawn(self._submit_once(submit, submit.idempotency_key, future))

    def _submit_new(self, submit: Submit, future: Future[Any]) -> None:
        batch = self._coordinator.feed(submit)
        self._coordinator.answer(future, Submitted(batch, repeated=False))

    async def _submit_once(self, submit: Submit, key: str, future: Future[Any]) -> None:
        try:
            while key in self._keys:
                await asyncio.wait([asyncio.wrap_future(self._keys[key])])
            self._keys[key] = future
            try:
                known = await asyncio.wrap_future(
                    self._coordinator.read(lambda store: store.find_by_key(key))
                )
                if known is None:
                    self._submit_new(submit, future)
                    await asyncio.wait([asyncio.wrap_future(future)])
                elif known.body_hash == submit.body_hash:
                    future.set_result(Submitted(known, repeated=True))
                else:
                    raise Conflict(
                        "This idempotency key was used with another request. Choose a new key.",
                        field="idempotency_key",
                    )
            finally:
                del self._keys[key]
        except TaskMasterError as error:
            if not future.done():
                future.set_exception(error)

    # === existing tasks
    async def _act(self, action: TaskAction, future: Future[int]) -> None:
        kind: Callable[..., Stimulus]
        if isinstance(action, CancelTasks):
            kind = stimuli.Cancel
        else:
            kind = stimuli.Retry if isinstance(action, RetryTasks) else stimuli.Discard
        try:
            if action.chosen is not None:
                affected = await self._act_on_filter(kind, action.chosen)
            else:
                affected = 0
                for start in range(0, len(action.numbers or ()), SLICE):
                    affected += await self._act_on(kind, (action.numbers or ())[start : start + SLICE])
            future.set_result(affected)
        except TaskMasterError as error:
            future.set_exception(error)

    async def _act_on_filter(self, kind: Callable[..., Stimulus], chosen: TaskFilter) -> int:
        affected = after = 0
        while True:
            find = partial(_find_numbers, chosen=chosen, after=after)
            numbers = await asyncio.wrap_future(self._coordinator.read(find))
            if not numbers:
                return affected
            affected += await self._act_on(kind, numbers)
            after = numbers[-1]

    async def _act_on(self, kind: Callable[..., Stimulus], numbers: Sequence[int]) -> int:
        loaded = await asyncio.wrap_future(self._coordinator.load(numbers))
        durable: Future[int] = Future()
        self._coordinator.answer(durable, self._coordinator.feed(kind(tasks=loaded)))
        return await asyncio.wrap_future(durable)

    # === waiting
    def wait_batch(self, number: int, future: Future[BatchRecord]) -> None:
        # Registered before the batch is read: it may be done before the answer is heard.
        wait = self._waiting.setdefault(number, _Wait())
        wait.futures.append(future)
        if len(wait.futures) == 1:
            self._spawn(self._learn_size(number, wait))

    async def _learn_size(self, number: int, wait: _Wait) -> None:
        try:
            batch = await asyncio.wrap_future(self._coordinator.read(lambda store: store.batch(number)))
            if batch is None:
                raise NotFound(f"There is no batch {number}.", field="batch")
        except TaskMasterError as error:
            self._waiting.pop(number, None)
            for future in wait.futures:
                future.set_exception(error)
        else:
            wait.batch = batch
            self._end_wait_if_done(number, wait)

    def committed(self, counts: Mapping[int, BatchCounts]) -> None:
        """These counters are durable now."""
        if not self._waiting:
            return
        for number, newest in counts.items():
            wait = self._waiting.get(number)
            if wait is not None:
                wait.counts = newest
                self._end_wait_if_done(number, wait)

    def _end_wait_if_done(self, number: int, wait: _Wait) -> None:
        batch = wait.batch
        if batch is None:
            return
        if wait.counts is not None and sum(wait.counts) == batch.size:
            batch = batch._replace(**wait.counts._asdict())
        if batch.completed + batch.failed + batch.cancelled == batch.size:
            del self._waiting[number]
            for future in wait.futures:
                future.set_result(batch)

    def look_again(self) -> None:
        """After a start-over: a commit that was reported as failed may have finished a batch all the same."""
        for number, wait in self._waiting.items():
            if wait.batch is not None:  # the others are being read, and hear of the failure by themselves
                wait.batch = None
                self._spawn(self._learn_size(number, wait))

    def close(self, error: TaskMasterError) -> None:
        """Tell everybody who still waits that it is over."""
        waiting, self._waiting = self._waiting, {}
        for wait in waiting.values():
            for future in wait.futures:
                future.set_exception(error)


@dataclass(slots=True)
class _Wait:
    """Who waits for a batch, and what is known of it: its row as first read, its newest counters."""

    futures: list[Future[BatchRecord]] = field(default_factory=list)
    batch: BatchRecord | None = None
    counts: BatchCounts | None = None


def _find_numbers(store: Store, *, chosen: TaskFilter, after: int) -> Sequence[int]:
    return store.find_numbers(chosen, after, SLICE)


def _stimulus(command: Command) -> Stimulus:
    if isinstance(command, ScaleFleet):
        return stimuli.Scale(desired=command.workers)
    if isinstance(command, KillWorkerNow):
        return stimuli.OrderKill(worker=command.worker)
    if isinstance(command, StopWorkerGently):
        return stimuli.StopWorker(worker=command.worker)
    if isinstance(command, PauseQueue):
        return stimuli.SetPaused(paused=command.paused)
    assert isinstance(command, SelfHeal)
    return stimuli.SetSelfHeal(self_heal=command.on)
