"""Alembic's part: `env.py` connects it with our engine, `versions` holds one script for each change."""
