"""What is known after the demo, from three independent sources: the answers the callers got, the database as a
fresh read-only connection sees it once the engine has stopped, and the ledger that the tasks wrote themselves.

Nothing here uses the engine or the store's own code. Main thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from taskmaster_desktop.demo.measures import StoredAttempt, StoredTask, StoredWorker


class LedgerLine(NamedTuple):
    """A task noting by itself that an attempt of it began or ended."""

    event: str
    task: int
    attempt: int
    fence: int
    worker: str
    at_us: int


class Killed(NamedTuple):
    """An attempt whose worker was killed by order of the demo."""

    task: int
    attempt: int
    fence: int
    worker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    Attributes:
        acknowledged: numbers of all tasks whose submission was answered.
        heard_finished: how often an end was announced, by task.
        replayed: stale answers that the demo sent on purpose.
        late_answers: stale answers that the engine counted.
        torn_lines: lines of the ledger that cannot be read.
        foreign_before, foreign_after: what stood beside us, by name.
        left_running: processes of our workers that still run after the end.
    """

    acknowledged: tuple[int, ...]
    tasks: tuple[StoredTask, ...]
    attempts: tuple[StoredAttempt, ...]
    workers: tuple[StoredWorker, ...]
    ledger: tuple[LedgerLine, ...]
    heard_finished: Mapping[int, int]
    killed: tuple[Killed, ...]
    replayed: int
    late_answers: int
    foreign_before: Mapping[str, str]
    foreign_after: Mapping[str, str]
    torn_lines: int = 0
    left_running: tuple[str, ...] = field(default=())

    def attempts_of(self, task: int) -> list[StoredAttempt]:
        return [attempt for attempt in self.attempts if attempt.task == task]

    def ledger_of(self, task: int) -> list[LedgerLine]:
        return [line for line in self.ledger if line.task == task]


class StoredRows(NamedTuple):
    tasks: tuple[StoredTask, ...]
    attempts: tuple[StoredAttempt, ...]
    workers: tuple[StoredWorker, ...]
    handles: tuple[str, ...]
    late_answers: int


def read_database(file: Path) -> StoredRows:
    """All rows, through a connection that cannot write."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA query_only = ON")

        def rows(kind: type[NamedTuple], table: str) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT {', '.join(kind._fields)} FROM {table} ORDER BY 1, 2"
            ).fetchall()

        return StoredRows(
            tasks=tuple(StoredTask(*row) for row in rows(StoredTask, "tasks")),
            attempts=tuple(StoredAttempt(*row) for row in rows(StoredAttempt, "attempts")),
            workers=tuple(StoredWorker(*row) for row in rows(StoredWorker, "workers")),
            handles=tuple(row[0] for row in connection.execute("SELECT handle FROM workers").fetchall()),
            late_answers=connection.execute("SELECT late_answers FROM instance").fetchone()[0],
        )


def read_ledger(file: Path) -> tuple[tuple[LedgerLine, ...], int]:
    """The lines in the order they were written, and how many cannot be read."""
    lines, torn = [], 0
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            entry = json.loads(text)
            lines.append(LedgerLine(*(entry[name] for name in LedgerLine._fields)))
        except (ValueError, KeyError, TypeError):
            torn += 1
    return tuple(lines), torn
