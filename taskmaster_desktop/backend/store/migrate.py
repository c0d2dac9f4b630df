"""Brings a database to the schema of this program. Alembic is imported only where there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from taskmaster_desktop.backend.errors import EnvironmentProblem

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent / "migrations"
HEAD = "0001"
"""The newest revision; a test compares it with the scripts. Asking Alembic would cost 0.2 s at each start."""


def migrate(connection: sa.Connection) -> None:
    """Upgrade to `HEAD` inside the caller's transaction; raises EnvironmentProblem for a newer database."""
    revision = current_revision(connection)
    if revision == HEAD:
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise EnvironmentProblem(
            f"The database was written by a newer version of TaskMaster (its schema is {revision}, "
            f"this program knows up to {HEAD}).",
            fix="Install the newer version, or choose another folder with --data-dir.",
        )
    command.upgrade(config, HEAD)


def current_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = sa.table("alembic_version", sa.column("version_num"))
    return connection.execute(sa.select(version.c.version_num)).scalar_one_or_none()


def alembic_config(connection: sa.Connection) -> Config:
    """For Alembic's commands to work on `connection`, in the transaction it is in."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
