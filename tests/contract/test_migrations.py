"""The migrations lead to exactly what `tables.py` says, and the program knows which is the newest."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import (
    AttemptRecord,
    BatchRecord,
    EventRecord,
    OutputChunk,
    TaskRecord,
    Totals,
    WorkerRecord,
)
from taskmaster_desktop.backend.store import migrate, open_store, tables
from taskmaster_desktop.backend.store.sqlite import SqliteDialect


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sa.Connection]:
    dialect = SqliteDialect(tmp_path / "migrated.db")
    with dialect.writer.connect() as connection, connection.begin():
        migrate.migrate(connection)
        yield connection
    dialect.dispose()


def schema(connection: sa.Connection) -> list[tuple[str, str, str]]:
    rows = connection.exec_driver_sql(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    )
    return sorted((kind, name, re.sub(r"\s+", " ", sql or "")) for kind, name, sql in rows)


def test_empty_to_head_is_what_the_tables_say(migrated: sa.Connection, tmp_path: Path) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True})
    assert compare_metadata(context, tables.metadata) == []

    dialect = SqliteDialect(tmp_path / "created.db")
    with dialect.writer.connect() as created, created.begin():
        tables.metadata.create_all(created)
        expected = schema(created)
    dialect.dispose()
    assert [entry for entry in schema(migrated) if entry[1] != "alembic_version"] == expected


def test_the_program_knows_the_newest_revision(migrated: sa.Connection) -> None:
    scripts = ScriptDirectory.from_config(migrate.alembic_config(migrated))
    assert scripts.get_heads() == [migrate.HEAD], "set HEAD in store/migrate.py to the new revision"
    assert migrate.current_revision(migrated) == migrate.HEAD


@pytest.mark.parametrize(
    ("table", "record"),
    [
        (tables.tasks, TaskRecord),
        (tables.batches, BatchRecord),
        (tables.attempts, AttemptRecord),
        (tables.workers, WorkerRecord),
        (tables.output, OutputChunk),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_columns_stand_in_the_order_of_the_record(table: sa.Table, record: type[tuple[object, ...]]) -> None:
    assert tuple(table.c.keys()) == record._fields  # type: ignore[attr-defined]


def test_the_other_tables_hold_their_records() -> None:
    assert tuple(tables.events.c.keys()) == ("seq", *EventRecord._fields)
    assert tuple(tables.instance.c.keys()) == ("one", "id", "epoch", "output_bytes", *Totals._fields)


def test_the_schema_suits_postgresql() -> None:
    """Nothing in it is SQLite's alone: the DDL and every statement compile for PostgreSQL too."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateTable

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    ddl = ""
    for table in tables.metadata.sorted_tables:
        ddl += str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            ddl += str(CreateIndex(index).compile(dialect=dialect))
    assert "BYTEA" in ddl
    assert "DOUBLE PRECISION" in ddl
    assert "STRICT" not in ddl
    assert "WHERE state = 'pending' AND due_us = 0" in ddl


def test_a_database_of_a_newer_program_is_refused_untouched(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    file = tmp_path / "taskmaster.db"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(EnvironmentProblem, match="newer version") as caught:
        open_store(tmp_path)
    assert "9999" in str(caught.value)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
        connection.execute("UPDATE alembic_version SET version_num = ?", (migrate.HEAD,))
    connection.close()
    open_store(tmp_path).close()  # the lock was let go


def test_a_current_database_opens_without_alembic(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    program = (
        "import sys; from taskmaster_desktop.backend.store import open_store;"
        f"open_store({str(tmp_path)!r}).close(); print('alembic' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
