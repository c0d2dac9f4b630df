"""The database: SQLAlchemy Core over SQLite today, written so that PostgreSQL joins through the same code.

`open_store` is the way in. What is SQLite's own (pragmas, locking, error codes) lives in `sqlite.py` only.
"""

from taskmaster_desktop.backend.store.opening import OpenedStore, lock_folder, open_store
from taskmaster_desktop.backend.store.tidying import Retention

__all__ = ["OpenedStore", "Retention", "lock_folder", "open_store"]
