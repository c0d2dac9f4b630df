"""Writes a new Alembic revision from the difference between the last one and tables.py; see `make migration`.

The difference is taken against an empty SQLite database that is brought to the last revision first. Read the
result before you keep it: Alembic sees tables, columns and indexes, not the meaning of data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

MIGRATIONS = (
    Path(__file__).resolve().parent.parent / "taskmaster_desktop" / "backend" / "store" / "migrations"
)


def next_revision_id(config: Config) -> str:
    """Revisions are numbered in their order: 0001, 0002, ..."""
    existing = list(ScriptDirectory.from_config(config).walk_revisions())
    return f"{len(existing) + 1:04}"


def write_revision(message: str) -> None:
    """Adds one file to the versions folder."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with tempfile.TemporaryDirectory() as folder:
        engine = sqlalchemy.create_engine(f"sqlite:///{folder}/scratch.sqlite3")
        try:
            with engine.begin() as connection:
                # env.py uses the connection that it is handed, and so does the application.
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                command.revision(config, message, autogenerate=True, rev_id=next_revision_id(config))
        finally:
            engine.dispose()


def main() -> int:
    """Takes the message as the only argument."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("message", help="what the revision does")
    write_revision(parser.parse_args().message)
    return 0


if __name__ == "__main__":
    sys.exit(main())
