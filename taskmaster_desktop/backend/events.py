"""What happened, in the past tense; told to subscribers after it is durable, on the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskmaster_desktop.backend.model import EventRecord, Stream, TaskRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksFinished:
    """These tasks reached a terminal state, as it is stored."""

    tasks: tuple[TaskRecord, ...]


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


Event = TasksFinished | OutputArrived | Logged | StoreFailed | StoreRecovered
Listener = Callable[[Event], None]
