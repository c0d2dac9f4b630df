"""The stores that the contract tests run on: one parameter for each database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskmaster_desktop.backend.store import OpenedStore, Retention, open_store
from tests.helpers.store_rows import Book

Opener = Callable[[], OpenedStore]


@pytest.fixture(params=["sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where `open_store` finds an empty database of the kind under test."""
    return str(tmp_path / request.param)


@pytest.fixture
def retention() -> Retention:
    return Retention()


@pytest.fixture
def opened(database: str, retention: Retention) -> Iterator[OpenedStore]:
    opened = open_store(database, retention=retention)
    opened.store.begin_epoch()
    yield opened
    opened.close()


@pytest.fixture
def book(opened: OpenedStore) -> Book:
    return Book(opened)
