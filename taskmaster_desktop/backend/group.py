"""One group commit: what many stimuli led to, written in one transaction and carried out after it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from taskmaster_desktop.backend.core.instructions import (
    Changes,
    CloseSession,
    Read,
    ReadReady,
    RuntimeAction,
    Sends,
)
from taskmaster_desktop.backend.core.state import Instructions
from taskmaster_desktop.backend.events import TaskChange
from taskmaster_desktop.backend.model import LoadedTasks, TaskRecord
from taskmaster_desktop.backend.ports import Store

StoreCall = Callable[[Store], Any]


@dataclass(slots=True, kw_only=True)
class Group:
    """Collected on the engine's loop; `write` alone runs on the store's thread.

    Attributes:
        replies: callers to be answered, each with its answer.
        calls: reads of the store for somebody, each with who waits for it.
    """

    changes: Changes = field(default_factory=Changes)
    sends: dict[int, Sends] = field(default_factory=dict)
    closes: list[CloseSession] = field(default_factory=list)
    actions: list[RuntimeAction] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    calls: list[tuple[StoreCall, Future[Any]]] = field(default_factory=list)
    finished: list[TaskRecord] = field(default_factory=list)
    replies: list[tuple[Future[Any], Any]] = field(default_factory=list)

    def add(self, instructions: Instructions) -> None:
        self.changes.merge(instructions.changes)
        for session, sends in instructions.sends.items():
            self.send(session, sends)
        self.closes += instructions.closes
        self.actions += instructions.actions
        self.reads += instructions.reads
        self.finished += instructions.finished

    def send(self, session: int, sends: Sends) -> None:
        waiting = self.sends.get(session)
        if waiting is None:
            self.sends[session] = sends
        else:
            waiting.merge(sends)

    def changed_tasks(self) -> tuple[TaskChange, ...]:
        """Those whose state or attempt is another now; progress alone does not count."""
        return tuple(
            TaskChange(guard.state, record)
            for record, guard in self.changes.tasks.values()
            if guard is not None and (guard.state is not record.state or guard.fence != record.fence)
        )

    @property
    def idle(self) -> bool:
        """Nothing to write, read or do."""
        return not (
            self.changes
            or self.sends
            or self.closes
            or self.actions
            or self.reads
            or self.calls
            or self.replies
        )

    @property
    def needs_store(self) -> bool:
        return bool(self.changes or self.reads or self.calls)

    @property
    def rows(self) -> int:
        """How much there is to write and to read, in rows to write: one costs as much as four to read."""
        return self.changes.rows + sum(read.limit for read in self.reads) // 4

    def write(self, store: Store) -> tuple[list[LoadedTasks], list[Any]]:
        """Commit, then read what was asked for. An error of a read counts as one of the commit."""
        if self.changes:
            store.apply(self.changes)
        pages = [
            store.read_ready(read) if isinstance(read, ReadReady) else store.read_delayed(read)
            for read in self.reads
        ]
        return pages, [call(store) for call, _ in self.calls]

    def answer(self) -> None:
        """Tell the callers: what they asked for is durable."""
        for future, reply in self.replies:
            if future.set_running_or_notify_cancel():
                future.set_result(reply)
        self.replies.clear()

    def fail(self, error: BaseException) -> None:
        """Tell everybody who still waits that nothing of it happened."""
        for future, _ in self.replies:
            future.set_exception(error)
        for _, future in self.calls:
            future.set_exception(error)
