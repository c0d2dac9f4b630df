"""Run by Alembic for each command; `migrate.py` hands it the connection, in a transaction."""

from __future__ import annotations

from alembic import context

from taskmaster_desktop.backend.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table: Alembic copies it instead
    transactional_ddl=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
