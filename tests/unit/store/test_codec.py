"""Options survive their text form, and statements take parameters in the order they were promised."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import TaskOptions
from taskmaster_desktop.backend.ports import StaleWrite
from taskmaster_desktop.backend.store import codec, tables
from taskmaster_desktop.backend.store.prepared import Prepared
from taskmaster_desktop.backend.store.sqlite import SqliteDialect

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
options = st.builds(
    TaskOptions,
    cwd=st.none() | texts,
    env=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    priority=st.integers(-10, 10),
    retries=st.integers(0, 10),
    retry_delay_s=st.floats(0, 300),
    timeout_s=st.none() | st.floats(0.1, 604_800),
    tags=st.lists(texts, max_size=3).map(tuple),
    lossless_output=st.booleans(),
)


@given(options)
def test_options_survive_their_text_form(given_options: TaskOptions) -> None:
    text = codec.options_to_json(given_options)
    codec.options_from_json.cache_clear()
    assert codec.options_from_json(text) == given_options


def test_every_field_of_the_options_is_written() -> None:

    assert set(json.loads(codec.options_to_json(TaskOptions()))) == set(TaskOptions.__slots__)


def test_a_wrong_order_of_parameters_is_noticed() -> None:
    engine = sa.create_engine("sqlite://")
    statement = sa.insert(tables.batch_tags)
    assert (
        Prepared(engine, statement, ["tag", "batch"]).sql
        == "INSERT INTO batch_tags (tag, batch) VALUES (?, ?)"
    )
    with pytest.raises(AssertionError, match="bound as"):
        Prepared(engine, statement, ["batch", "tag"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("SQLITE_FULL", "full"),
        ("SQLITE_IOERR_WRITE", "failed"),
        ("SQLITE_IOERR_FSYNC", "failed"),
        ("SQLITE_BUSY_SNAPSHOT", "locked"),
        ("SQLITE_READONLY_DBMOVED", "cannot be written"),
        ("SQLITE_CANTOPEN_ISDIR", "cannot be opened"),
        ("SQLITE_CORRUPT_INDEX", "damaged"),
        ("SQLITE_NOTADB", "not a TaskMaster database"),
        ("SQLITE_PERM", "denied"),
    ],
)
def test_trouble_is_told_by_its_code(code: str, words: str) -> None:

    dialect = SqliteDialect(Path("/data/taskmaster.db"))
    raw = sqlite3.OperationalError("some text that means nothing")
    raw.sqlite_errorcode = getattr(sqlite3, code)
    for error in (raw, sa.exc.OperationalError("SELECT", (), raw)):
        meaning = dialect.translate(error)
        assert isinstance(meaning, EnvironmentProblem)
        assert words in str(meaning)
        assert "/data" in str(meaning)
        assert meaning.fix
    dialect.dispose()


def test_a_constraint_is_stale_and_the_rest_is_a_bug() -> None:

    dialect = SqliteDialect(Path("/data/taskmaster.db"))
    raw = sqlite3.IntegrityError("x")
    raw.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_UNIQUE
    assert isinstance(dialect.translate(raw), StaleWrite)
    raw.sqlite_errorcode = sqlite3.SQLITE_ERROR
    assert dialect.translate(raw) is None
    assert dialect.translate(sqlite3.ProgrammingError("no code")) is None
    dialect.dispose()
