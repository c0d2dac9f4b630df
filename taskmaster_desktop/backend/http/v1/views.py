"""What answers look like. Times are UTC; of an environment only the names are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from taskmaster_desktop.backend.model import (
    ACTIVE_STATES,
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Level,
    Outcome,
    TaskOptions,
    TaskRecord,
    TaskState,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NameOf = Callable[[int | None], str | None]

AT = "2026-11-25T10:00:00.250000Z"
BATCH_ID = "019ab5b2-6f00-7cc1-8f6e-0d5f0a7b1c2d"
TASK_ID = "019ab5b2-6f01-7f3a-9c55-3f1d2e4a5b6c"
OPTIONS_EXAMPLE: dict[str, Any] = {
    "priority": 0, "retries": 2, "retry_delay_s": 1.0, "timeout_s": 600.0, "tags": ["video"],
    "env_names": ["API_KEY"], "cwd": None, "lossless_output": False,
}  # fmt: skip
BATCH_EXAMPLE: dict[str, Any] = {
    "number": 7, "id": BATCH_ID, "created_at": AT, "size": 50, "first_task": 1001, "last_task": 1050,
    "completed": 48, "failed": 1, "cancelled": 0, "unfinished": 1, "done": False, "options": OPTIONS_EXAMPLE,
}  # fmt: skip
TASK_EXAMPLE: dict[str, Any] = {
    "number": 1042, "id": TASK_ID, "batch": 7, "command": "ffmpeg -i in.mov out.mp4", "argv": None,
    "priority": 0, "state": "running", "created_at": AT, "run_at": None, "due_at": None, "attempt": 1,
    "worker": 2, "worker_name": "worker-2", "assigned_at": AT, "started_at": AT, "finished_at": None,
    "outcome": None, "exit_code": None, "reason": "", "failures": 0, "deaths": 0, "cancelling": False,
    "discarded": False, "progress": 42.0, "progress_text": "pass 1 of 2",
}  # fmt: skip
ATTEMPT_EXAMPLE: dict[str, Any] = {
    "attempt": 1, "worker": 2, "worker_name": "worker-2", "assigned_at": AT, "started_at": AT,
    "finished_at": "2026-11-25T10:00:03.250000Z", "duration_s": 3.0, "outcome": "failed", "exit_code": 1,
    "reason": "exit code 1", "output_bytes": 5120,
}  # fmt: skip


def example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(frozen=True, json_schema_extra={"examples": [value]})


def moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def maybe(us: int | None) -> datetime | None:
    return None if us is None else EPOCH + timedelta(microseconds=us)


def uuid_of(stored: bytes) -> UUID:
    return UUID(bytes=stored)


class Options(BaseModel):
    """What all tasks of a batch share."""

    model_config = example(OPTIONS_EXAMPLE)

    priority: int
    retries: int
    retry_delay_s: float
    timeout_s: float | None
    tags: list[str]
    env_names: list[str] = Field(description="Names of the variables that were set; values are not told.")
    cwd: str | None
    lossless_output: bool

    @classmethod
    def of(cls, options: TaskOptions) -> Options:
        return cls(
            priority=options.priority,
            retries=options.retries,
            retry_delay_s=options.retry_delay_s,
            timeout_s=options.timeout_s,
            tags=list(options.tags),
            env_names=[name for name, _ in options.env],
            cwd=options.cwd,
            lossless_output=options.lossless_output,
        )


class Batch(BaseModel):
    """Tasks that were submitted together; their numbers are consecutive."""

    model_config = example(BATCH_EXAMPLE)

    number: int
    id: UUID
    created_at: datetime
    size: int
    first_task: int
    last_task: int
    completed: int
    failed: int
    cancelled: int
    unfinished: int
    done: bool = Field(description="Every task is in a terminal state.")
    options: Options

    @classmethod
    def of(cls, batch: BatchRecord) -> Batch:
        unfinished = batch.size - batch.completed - batch.failed - batch.cancelled
        return cls(
            number=batch.number,
            id=UUID(bytes=batch.id),
            created_at=moment(batch.created_us),
            size=batch.size,
            first_task=batch.first_task,
            last_task=batch.first_task + batch.size - 1,
            completed=batch.completed,
            failed=batch.failed,
            cancelled=batch.cancelled,
            unfinished=unfinished,
            done=unfinished == 0,
            options=Options.of(batch.options),
        )


class Task(BaseModel):
    """A task with its current or last attempt."""

    model_config = example(TASK_EXAMPLE)

    number: int
    id: UUID
    batch: int = Field(description="Number of its batch.")
    command: str | None
    argv: list[str] | None
    priority: int
    state: TaskState
    created_at: datetime
    run_at: datetime | None = Field(description="The moment that was asked for.")
    due_at: datetime | None = Field(
        description="Not before then (delay or back-off); null where it may start."
    )
    attempt: int = Field(description="Number of the current or last attempt, 0 before the first.")
    worker: int | None
    worker_name: str | None
    assigned_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    outcome: Outcome | None = Field(description="How the last attempt that ended did.")
    exit_code: int | None
    reason: str
    failures: int = Field(description="Attempts that used up retries.")
    deaths: int = Field(description="Deaths of its worker that nobody ordered.")
    cancelling: bool
    discarded: bool
    progress: float = Field(description="Percent, as the command told it.")
    progress_text: str

    @classmethod
    def fields_of(cls, task: TaskRecord, name_of: NameOf) -> dict[str, Any]:
        return {
            "number": task.number,
            "id": task.uuid,
            "batch": task.batch,
            "command": None if task.is_argv else task.command,
            "argv": json.loads(task.command) if task.is_argv else None,
            "priority": -task.rank,
            "state": task.state,
            "created_at": moment(task.created_us),
            "run_at": maybe(task.run_at_us),
            "due_at": moment(task.due_us) if task.due_us and task.state is TaskState.PENDING else None,
            "attempt": task.attempt,
            "worker": task.worker,
            "worker_name": name_of(task.worker),
            "assigned_at": maybe(task.assigned_us),
            "started_at": maybe(task.started_us),
            "finished_at": maybe(task.finished_us),
            "outcome": task.outcome,
            "exit_code": task.exit_code,
            "reason": task.reason,
            "failures": task.failures,
            "deaths": task.deaths,
            "cancelling": task.cancelling,
            "discarded": task.discarded,
            "progress": task.progress,
            "progress_text": task.progress_text,
        }

    @classmethod
    def of(cls, task: TaskRecord, name_of: NameOf) -> Task:
        return cls(**cls.fields_of(task, name_of))


class TaskDetail(Task):
    """A task with what its batch says of it."""

    model_config = example({**TASK_EXAMPLE, "batch_id": BATCH_ID, "options": OPTIONS_EXAMPLE})

    batch_id: UUID | None
    options: Options | None


class Attempt(BaseModel):
    """One execution of a task; without outcome while it goes on."""

    model_config = example(ATTEMPT_EXAMPLE)

    attempt: int
    worker: int | None
    worker_name: str | None
    assigned_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_s: float | None = Field(description="How long the command ran, by the worker's clock.")
    outcome: Outcome | None
    exit_code: int | None
    reason: str
    output_bytes: int | None = Field(description="All that was written, kept or not.")

    @classmethod
    def of(cls, attempt: AttemptRecord, name_of: NameOf) -> Attempt:
        return cls(
            attempt=attempt.attempt,
            worker=attempt.worker,
            worker_name=name_of(attempt.worker),
            assigned_at=moment(attempt.assigned_us),
            started_at=maybe(attempt.started_us),
            finished_at=moment(attempt.finished_us),
            duration_s=attempt.duration_us / 1e6,
            outcome=attempt.outcome,
            exit_code=attempt.exit_code,
            reason=attempt.reason,
            output_bytes=attempt.output_bytes,
        )

    @classmethod
    def current(cls, task: TaskRecord, name_of: NameOf) -> Attempt | None:
        """The attempt that goes on, if one does; it is part of its task's row until it ends."""
        if task.state not in ACTIVE_STATES:
            return None
        return cls(
            attempt=task.attempt,
            worker=task.worker,
            worker_name=name_of(task.worker),
            assigned_at=maybe(task.assigned_us),
            started_at=maybe(task.started_us),
            finished_at=None,
            duration_s=None,
            outcome=None,
            exit_code=None,
            reason="",
            output_bytes=None,
        )


class Line(BaseModel):
    """A line of the activity log."""

    model_config = example(
        {"at": AT, "level": "warning", "kind": "kill", "message": "worker-2 is being killed by order.",
         "task": None, "worker": 2}
    )  # fmt: skip

    at: datetime
    level: Level
    kind: str
    message: str
    task: int | None
    worker: int | None

    @classmethod
    def of(cls, line: EventRecord) -> Line:
        return cls(
            at=moment(line.at_us),
            level=line.level,
            kind=line.kind,
            message=line.message,
            task=line.task,
            worker=line.worker,
        )
