"""Rows to records and back. Records go in by position as they are; rows come out with their types restored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    Level,
    Outcome,
    OutputChunk,
    Stream,
    TaskOptions,
    TaskRecord,
    TaskState,
    Totals,
    WorkerRecord,
    WorkerState,
)

Row = Sequence[Any]

# A dictionary is several times faster than calling the enum.
_STATES = {state.value: state for state in TaskState}
_OUTCOMES: dict[str | None, Outcome | None] = {None: None} | {outcome.value: outcome for outcome in Outcome}


@lru_cache(maxsize=256)
def options_to_json(options: TaskOptions) -> str:
    """Every field is written out: a default that changes later must not change what was submitted."""
    return json.dumps(
        {
            "cwd": options.cwd,
            "env": options.env,
            "priority": options.priority,
            "retries": options.retries,
            "retry_delay_s": options.retry_delay_s,
            "timeout_s": options.timeout_s,
            "tags": options.tags,
            "lossless_output": options.lossless_output,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


@lru_cache(maxsize=256)
def options_from_json(text: str) -> TaskOptions:
    stored = json.loads(text)
    stored["env"] = tuple((name, value) for name, value in stored["env"])
    stored["tags"] = tuple(stored["tags"])
    return TaskOptions(**stored)


def task(row: Row) -> TaskRecord:
    return TaskRecord._make((
        *row[:4], bool(row[4]), *row[5:8], _STATES[row[8]], *row[9:16], _OUTCOMES[row[16]], *row[17:21],
        bool(row[21]), bool(row[22]), *row[23:],
    ))  # fmt: skip


def batch_row(record: BatchRecord) -> tuple[object, ...]:
    return (*record[:5], options_to_json(record.options), *record[6:])


def batch(row: Row) -> BatchRecord:
    return BatchRecord._make((*row[:5], options_from_json(row[5]), *row[6:]))


def attempt(row: Row) -> AttemptRecord:
    return AttemptRecord._make((*row[:8], Outcome(row[8]), *row[9:]))


def worker(row: Row) -> WorkerRecord:
    return WorkerRecord._make((*row[:4], WorkerState(row[4]), *row[5:]))


def event(row: Row) -> EventRecord:
    return EventRecord._make((row[0], Level(row[1]), *row[2:]))


def chunk(row: Row) -> OutputChunk:
    return OutputChunk._make((*row[:3], Stream(row[3]), row[4]))


def totals(row: Row) -> Totals:
    stored = Totals(*row)
    return stored._replace(self_heal=bool(stored.self_heal), paused=bool(stored.paused))
