"""SQLAlchemy statements compiled once and run on the driver's own cursor, with rows of values as they are.

SQLAlchemy takes 40 to 60 us to execute a statement, SQLite 5 (measured; docs/decisions/0003-store.md). So the
write path lets it write the SQL, once, and runs that itself. The order of the parameters is fixed when a
statement is prepared, and checked, so that a named tuple can be bound without touching its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPICursor as Cursor

__all__ = ["Cursor", "Prepared"]

Row = tuple[Any, ...]


class Prepared:
    """A statement for one database, whose parameters are the columns or names of `order`, by position."""

    __slots__ = ("sql",)

    def __init__(
        self,
        engine: sa.Engine,
        statement: sa.Insert | sa.Update | sa.Delete | sa.Select[Any],
        order: Sequence[str],
    ) -> None:
        dialect = engine.dialect
        if not dialect.positional:
            # Such as psycopg, whose default is named: "format" is its positional style.
            dialect = type(dialect)(paramstyle="format")  # type: ignore[call-arg]
        columns = None
        if isinstance(statement, sa.Insert | sa.Update):
            columns = [name for name in order if name in statement.table.c]
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        if list(compiled.positiontup) != list(order):
            raise AssertionError(f"parameters are bound as {compiled.positiontup}, not {list(order)}")
        self.sql = str(compiled)

    def run(self, cursor: Cursor, row: Row) -> int:
        """Execute for one row; returns how many rows it touched."""
        cursor.execute(self.sql, row)
        return cursor.rowcount

    def run_many(self, cursor: Cursor, rows: Sequence[Row]) -> int:
        """Execute for each of `rows`, at least one; returns how many rows were touched in all."""
        cursor.executemany(self.sql, rows)
        return cursor.rowcount

    def values(self, cursor: Cursor, row: Row) -> list[Any]:
        """The first column of everything that it yields."""
        cursor.execute(self.sql, row)
        return [found[0] for found in cursor.fetchall()]
