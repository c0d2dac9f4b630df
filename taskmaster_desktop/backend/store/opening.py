"""The way in: folder, lock, schema, identity; then the writing and the reading side. Run by whoever starts up."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from filelock import FileLock, Timeout

from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.model import Totals
from taskmaster_desktop.backend.store import tables
from taskmaster_desktop.backend.store.dialect import Dialect
from taskmaster_desktop.backend.store.migrate import migrate
from taskmaster_desktop.backend.store.query import SqlQuery
from taskmaster_desktop.backend.store.sql import SqlStore
from taskmaster_desktop.backend.store.sqlite import SqliteDialect
from taskmaster_desktop.backend.store.tidying import Retention

DATABASE = "taskmaster.db"
LOCK = "taskmaster.lock"
DEFAULT_RETENTION = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStore:
    """An open database and the lock that keeps other instances out.

    Attributes:
        store: for one thread, the store writer.
        query: for any thread.
        instance_id: a UUID that this database has had since it was made.
    """

    store: SqlStore
    query: SqlQuery
    instance_id: str
    dialect: Dialect
    lock: FileLock

    def close(self) -> None:
        """Close every connection and let others in; may come twice, after the last call of the store."""
        self.store.close()
        self.dialect.dispose()
        self.lock.release()


def open_store(where: str | PathLike[str], *, retention: Retention = DEFAULT_RETENTION) -> OpenedStore:
    """Open the database of a data folder, making both where they are missing.

    `where` is the folder, or a URL such as `sqlite:////folder/file.db`. Raises EnvironmentProblem where
    another instance holds it or the folder, the file or its schema will not do.
    """
    file = _file_of(fspath(where))
    lock = lock_folder(file.parent)
    dialect = SqliteDialect(file)
    try:
        instance_id = _prepare(dialect)
    except BaseException:
        dialect.dispose()
        lock.release()
        raise
    return OpenedStore(
        store=SqlStore(dialect, retention),
        query=SqlQuery(dialect),
        instance_id=instance_id,
        dialect=dialect,
        lock=lock,
    )


def _file_of(where: str) -> Path:
    if "://" not in where:
        return Path(where).absolute() / DATABASE
    try:
        url = sa.make_url(where)
    except sa.exc.ArgumentError as error:
        raise UserError(f"{where!r} is not the address of a database.", field="database") from error
    if url.get_backend_name() != "sqlite" or not url.database:
        raise UserError("Only SQLite files can hold the database so far.", field="database")
    return Path(url.database).absolute()


def lock_folder(folder: Path) -> FileLock:
    """Keep other instances out of a folder, which is made where it is missing.

    The lock is the operating system's: it goes when its process goes, however that ends. Raises
    EnvironmentProblem where another instance has it or the folder will not do.
    """
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise EnvironmentProblem(
            f"Another TaskMaster is already running on the folder {folder}.",
            fix="Use or close that one, or choose another folder with --data-dir.",
        ) from error
    except OSError as error:
        raise EnvironmentProblem(
            f"The data folder {folder} cannot be used ({error.strerror}).",
            fix="Make it a folder that your user may write to, or choose another with --data-dir.",
        ) from error
    return lock


def _prepare(dialect: Dialect) -> str:
    """Bring the schema to head and return the id of the database, given to it on its first day."""
    instance = tables.instance
    try:
        with dialect.writer.connect() as connection, connection.begin():
            migrate(connection)
            found = connection.execute(sa.select(instance.c.id)).scalar_one_or_none()
            if found is None:
                found = str(uuid4())
                row = {"one": 1, "id": found, "epoch": 0, "output_bytes": 0, **Totals()._asdict()}
                connection.execute(sa.insert(instance).values(row))
            return found
    except sa.exc.DBAPIError as error:
        meaning = dialect.translate(error)
        if meaning is None:
            raise
        raise meaning from error
