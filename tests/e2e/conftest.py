"""Each test drives the real program; afterwards nothing of it may run and nothing may lie in its temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.program import Program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    work = tmp_path / "work"
    work.mkdir()
    temporary = Path(tempfile.mkdtemp(prefix="tm-e2e-"))
    made = Program(work, temporary)
    try:
        yield made
        made.assert_nothing_left()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
