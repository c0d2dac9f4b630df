"""All that is SQLite's own: pragmas, how transactions begin, space, and what its error codes mean.

Exactly one connection writes and checkpoints (several doing so at once may corrupt the file in versions
before 3.51.3, https://www.sqlite.org/wal.html#the_wal_reset_bug); readers never checkpoint and are closed
before the writer.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import NullPool, QueuePool

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import Level, Outcome, Stream, TaskState, WorkerState
from taskmaster_desktop.backend.ports import StaleWrite
from taskmaster_desktop.backend.store.prepared import Cursor

BUSY_TIMEOUT_MS = 5000
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
AUTOCHECKPOINT_PAGES = 4000
WRITER_CACHE_KIB = 8192
RECLAIM_PAGES = 256
BEGIN_WRITING = "BEGIN IMMEDIATE"

WRITER_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # counts only before the first table is made
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit survives loss of power
    f"busy_timeout = {BUSY_TIMEOUT_MS}",
    f"journal_size_limit = {JOURNAL_SIZE_LIMIT}",
    f"wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}",
    f"cache_size = -{WRITER_CACHE_KIB}",
    "secure_delete = OFF",  # some systems turn it on; wiping what is deleted costs a write of each page
)
READER_PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT_MS}",
    "query_only = ON",
    "wal_autocheckpoint = 0",
)


def adapt_quickly() -> None:
    """Tell the driver how to bind the types our rows are made of.

    It binds them right without, but only after a failing attribute look-up for each value that is not
    exactly int, float or str: 0.9 us for each None, bool, bytes or enum, measured on CPython 3.11, which
    was a third of all time spent on a task. The adapters are for the whole process and change no meaning.
    """
    nothing: dict[None, None] = {}
    sqlite3.register_adapter(type(None), nothing.get)
    sqlite3.register_adapter(bool, int)
    sqlite3.register_adapter(bytes, bytes)
    for kind in (TaskState, Outcome, WorkerState, Level, Stream):
        sqlite3.register_adapter(kind, str.__str__)


class SqliteDialect:
    """One database file. Makes no connection before it is asked for one."""

    def __init__(self, file: Path) -> None:
        adapt_quickly()
        self.driver_error: type[Exception] = sqlite3.Error
        self.file = file
        self.writer = self._engine(WRITER_PRAGMAS, BEGIN_WRITING, poolclass=NullPool)
        self.readers = self._engine(
            READER_PRAGMAS, "BEGIN", poolclass=QueuePool, pool_size=4, max_overflow=12
        )

    def _engine(self, pragmas: tuple[str, ...], begin: str, **pool: Any) -> sa.Engine:
        # isolation_level None: the driver must not begin transactions by itself, since a transaction that
        # starts reading and then writes fails at once, whatever busy_timeout says.
        arguments = {"isolation_level": None, "check_same_thread": False}
        url = sa.URL.create("sqlite", database=str(self.file))
        engine = sa.create_engine(url, connect_args=arguments, **pool)

        def configure(connection: sqlite3.Connection, _record: object) -> None:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}").fetchall()

        def start(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        sa.event.listen(engine, "connect", configure)
        sa.event.listen(engine, "begin", start)
        return engine

    def begin(self, cursor: Cursor) -> None:
        cursor.execute(BEGIN_WRITING, ())

    def upsert(self, table: sa.Table, key: str) -> sa.Insert:
        statement = insert(table)
        new = {column.name: statement.excluded[column.name] for column in table.c if column.name != key}
        return statement.on_conflict_do_update(index_elements=[key], set_=new)

    def translate(self, error: Exception) -> Exception | None:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", None)
        if code is None:
            return None
        primary = code & 0xFF
        if primary == sqlite3.SQLITE_CONSTRAINT:
            return StaleWrite(f"a row contradicts one that is stored: {cause}")
        trouble = _TROUBLE.get(primary)
        if trouble is None:
            return None
        message, fix = trouble
        return EnvironmentProblem(message.format(file=self.file), fix=fix.format(folder=self.file.parent))

    def reclaim(self, connection: sa.Connection) -> bool:
        driver = _driver(connection)
        if _number(driver, "freelist_count") == 0:
            return False
        # It yields a row without columns for each page; only executescript steps through those.
        driver.executescript(f"PRAGMA incremental_vacuum({RECLAIM_PAGES})")
        return _number(driver, "freelist_count") > 0

    def settle(self, connection: sa.Connection) -> None:
        """Move everything from the log into the file and empty the log, unless a reader is in the way."""
        driver = _driver(connection)
        driver.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}").fetchall()

    def dispose(self) -> None:
        self.readers.dispose()
        self.writer.dispose()


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _number(driver: sqlite3.Connection, pragma: str) -> int:
    return int(driver.execute(f"PRAGMA {pragma}").fetchone()[0])


_TROUBLE = {
    sqlite3.SQLITE_FULL: (
        "The disk that holds {file} is full.",
        "Free some space on the disk of {folder}; work goes on by itself then.",
    ),
    sqlite3.SQLITE_IOERR: (
        "Reading or writing {file} failed.",
        "Check that the disk of {folder} is healthy, mounted and not full.",
    ),
    sqlite3.SQLITE_BUSY: (
        "The database {file} is locked by another program.",
        "Close whatever else has the file open, such as a database browser.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "The database {file} is locked by another program.",
        "Close whatever else has the file open, such as a database browser.",
    ),
    sqlite3.SQLITE_READONLY: (
        "The database {file} cannot be written.",
        "Make the file and the folder {folder} writable for your user, or choose another with --data-dir.",
    ),
    sqlite3.SQLITE_PERM: (
        "Access to {file} was denied.",
        "Make the file and the folder {folder} writable for your user, or choose another with --data-dir.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The database {file} cannot be opened.",
        "Check that the folder {folder} exists and that your user may write there, or choose another with --data-dir.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "The database {file} is damaged.",
        "Put a backup in its place, or start afresh with another --data-dir.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "{file} is not a TaskMaster database.",
        "Move it away, or choose another folder with --data-dir.",
    ),
}
