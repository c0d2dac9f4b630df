"""What differs between databases, behind one Protocol. `sqlite.py` implements it; PostgreSQL is to follow."""

from __future__ import annotations

from typing import Protocol

import sqlalchemy as sa

from taskmaster_desktop.backend.store.prepared import Cursor


class Dialect(Protocol):
    """One database's own ways. Owned by whoever opened the store; its engines belong to it.

    `writer` makes connections whose transactions exclude every other writer from their first statement
    on and are on disk once committed. `readers` makes connections that cannot write.
    """

    writer: sa.Engine
    readers: sa.Engine
    driver_error: type[Exception]

    def begin(self, cursor: Cursor) -> None:
        """Begin a transaction of the writer on the driver's own cursor; its connection commits it."""

    def upsert(self, table: sa.Table, key: str) -> sa.Insert:
        """Insert all columns, or update them all where `key` is there already."""

    def translate(self, error: Exception) -> Exception | None:
        """What to raise instead of an error of SQLAlchemy or of the driver: `EnvironmentProblem` or `StaleWrite`; None where it is a bug of ours.
        Decided by error codes, never by text."""

    def reclaim(self, connection: sa.Connection) -> bool:
        """Give some of the freed space back to the system; True while more is to do. Outside a transaction."""

    def settle(self, connection: sa.Connection) -> None:
        """Whatever is good to do while nothing is written; never waits for others. Outside a transaction."""

    def dispose(self) -> None:
        """Close all connections: the readers' first, the writer's last."""
