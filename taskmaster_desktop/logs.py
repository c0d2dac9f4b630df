"""Logging: one set-up function, two line formats and a bounded tail in memory that views pull from.

Modules log with `logging.getLogger(__name__)` and put facts into `extra`: `logger.info("Task assigned.",
extra={"task": 1042, "worker": "w3"})`. Times are UTC. Handlers are used by every thread.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

LogFormat = Literal["text", "json"]
TAIL_CAPACITY = 2000

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS = "_taskmaster_handler"


@dataclass(frozen=True, kw_only=True)
class TailEntry:
    """One log record as views need it.

    Attributes:
        number: position in the log since the start of the process, from 1, without gaps.
        wall_us: UTC microseconds since 1970.
        message: the text with its traceback, if any.
    """

    number: int
    wall_us: int
    level: str
    logger: str
    message: str
    facts: Mapping[str, object]


class TailHandler(logging.Handler):
    """Keeps the newest records. Any thread writes, under the handler's lock; any thread may read."""

    def __init__(self, capacity: int = TAIL_CAPACITY) -> None:
        super().__init__()
        self._entries: deque[TailEntry] = deque(maxlen=capacity)
        self._last_number = 0

    @property
    def last_number(self) -> int:
        """Number of the newest entry, 0 while there is none; a change means there is something to pull."""
        return self._last_number

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = _with_traceback(record)
        except Exception:  # noqa: BLE001 - logging must never raise into the caller
            self.handleError(record)
            return
        # Handler.handle holds the lock here, so numbers have no gaps and entries are in order.
        self._last_number += 1
        self._entries.append(
            TailEntry(
                number=self._last_number,
                wall_us=int(record.created * 1_000_000),
                level=record.levelname,
                logger=record.name,
                message=message,
                facts=_facts(record),
            )
        )

    def entries_after(self, number: int) -> list[TailEntry]:
        """All kept entries newer than `number`, oldest first; 0 means everything that is kept."""
        self.acquire()
        try:
            return [entry for entry in self._entries if entry.number > number]
        finally:
            self.release()


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, facts; what follows a line break is indented."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        line = f"{_utc(record)} {record.levelname:<7} {record.name}: {_with_traceback(record)}{facts}"
        return line.replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object per line; facts stand beside the standard keys and never replace them."""

    def format(self, record: logging.LogRecord) -> str:
        standard: dict[str, object] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            standard["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**_facts(record), **standard}, default=str, ensure_ascii=False)


def configure_logging(*, level: str, log_format: LogFormat, stream: TextIO | None = None) -> TailHandler:
    """Sends the process's log to `stream` (standard error) and to a tail, which is returned.

    Calling it again replaces what the previous call set up and nothing else. `level` is a level name in
    any case.
    """
    remove_logging()
    lines = logging.StreamHandler(stream or sys.stderr)
    lines.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    tail = TailHandler()
    root = logging.getLogger()
    for handler in (lines, tail):
        setattr(handler, _OURS, True)
        root.addHandler(handler)
    root.setLevel(level.upper())
    # Tells every start at INFO that it looked for migrations.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return tail


def remove_logging() -> None:
    """Takes back what `configure_logging` added; the level stays."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, _OURS, False):
            root.removeHandler(handler)
            handler.close()


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_traceback(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.exc_info:
        message += "\n" + logging.Formatter().formatException(record.exc_info)
    return message
