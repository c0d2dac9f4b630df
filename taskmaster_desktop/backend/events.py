"""What happened, in the past tense; told to subscribers after it is durable, on the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Stream,
    TaskRecord,
    TaskState,
)


class TaskChange(NamedTuple):
    """A task's row beside the state it had before. Steps in quick succession come as one."""

    before: TaskState
    task: TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAdded:
    """A batch was stored; `first` is the row of its first task, as it was added."""

    batch: BatchRecord
    first: TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksChanged:
    """These tasks changed their state or their attempt; those that finished are told once more on their own."""

    changes: tuple[TaskChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksFinished:
    """These tasks reached a terminal state, as it is stored."""

    tasks: tuple[TaskRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptsEnded:
    """These attempts ended, each told once, whatever becomes of their tasks."""

    attempts: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputArrived:
    """A piece of output of a running attempt, in order and without gaps unless the agent had to drop some."""

    task: int
    attempt: int
    stream: Stream
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A new line of the activity log."""

    line: EventRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed:
    """Nothing can be written at the moment; the engine goes on by itself once it can."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecovered:
    """Writing works again; everything was read anew."""


Event = (
    TasksAdded | TasksChanged | TasksFinished | AttemptsEnded | OutputArrived | Logged | StoreFailed
    | StoreRecovered
)  # fmt: skip
Listener = Callable[[Event], None]
