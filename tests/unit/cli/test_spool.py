"""Output waits on disk and comes back byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskmaster_desktop.backend.events import OutputArrived
from taskmaster_desktop.backend.model import Stream
from taskmaster_desktop.cli.map import spool as module
from taskmaster_desktop.cli.map.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path)
    yield made
    made.close()


def chunk(
    task: int, offset: int, data: bytes, *, attempt: int = 1, stream: Stream = Stream.STDOUT
) -> OutputArrived:
    return OutputArrived(task=task, attempt=attempt, stream=stream, offset=offset, data=data)


def taken(spool: Spool, task: int, attempt: int = 1) -> list[tuple[Stream, bytes]]:
    found = spool.take(task, attempt)
    pieces = list(found)
    found.close()
    return pieces


def test_streams_and_tasks_are_kept_apart(spool: Spool) -> None:
    spool.add(chunk(1, 0, b"one"))
    spool.add(chunk(2, 0, b"two"))
    spool.add(chunk(1, 3, b"err", stream=Stream.STDERR))
    assert taken(spool, 2) == [(Stream.STDOUT, b"two")]
    assert taken(spool, 1) == [(Stream.STDOUT, b"one"), (Stream.STDERR, b"err")]
    assert taken(spool, 1) == []


def test_what_is_sent_twice_is_kept_once(spool: Spool) -> None:
    spool.add(chunk(1, 0, b"abc"))
    spool.add(chunk(1, 0, b"abc"))
    spool.add(chunk(1, 1, b"bcde"))
    assert b"".join(data for _, data in taken(spool, 1)) == b"abcde"


def test_a_gap_is_noticed(spool: Spool) -> None:
    spool.add(chunk(1, 0, b"abc"))
    spool.add(chunk(1, 9, b"xyz"))
    assert spool.take(1, 1).gap


def test_only_the_newest_attempt_counts(spool: Spool) -> None:
    spool.add(chunk(1, 0, b"first"))
    spool.add(chunk(1, 0, b"second", attempt=2))
    spool.add(chunk(1, 5, b"late of the first"))
    assert taken(spool, 1, 2) == [(Stream.STDOUT, b"second")]


def test_an_attempt_that_printed_nothing_prints_nothing(spool: Spool) -> None:
    spool.add(chunk(1, 0, b"first"))
    assert taken(spool, 1, 2) == []


def test_files_are_given_up_when_nothing_in_them_is_wanted(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    for task in range(20):
        spool.add(chunk(task, 0, bytes([task]) * 10))
    assert spool.open_files == 20
    assert list(tmp_path.iterdir()) == []  # without a name, so nothing can be left behind
    for task in range(20):
        assert taken(spool, task) == [(Stream.STDOUT, bytes([task]) * 10)]
    assert spool.open_files == 1
    spool.add(chunk(30, 0, b"again"))
    assert taken(spool, 30) == [(Stream.STDOUT, b"again")]
