"""Names and lines become work, as much as there is room for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.map import feed as module
from taskmaster_desktop.cli.map.feed import NamesFeed, StreamFeed
from tests.helpers.eventually import eventually


def to_work(text: str) -> Work:
    return Work(command=text)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def taken(feed: StreamFeed) -> list[str]:
    found: list[str] = []

    def all_there() -> bool:
        found.extend(work.command or "" for work in feed.take(3))
        return feed.ended

    eventually(all_there)
    return found


def test_names() -> None:
    feed = NamesFeed(["a", "b", "c"], to_work)
    assert feed.total == 3
    assert [work.command for work in feed.take(2)] == ["a", "b"]
    assert not feed.ended
    assert [work.command for work in feed.take(2)] == ["c"]
    assert feed.ended


def test_a_broken_name_is_refused_before_anything_runs() -> None:
    with pytest.raises(UserError, match=r"Argument 2 is not valid UTF-8 \(b\\xff\)"):
        NamesFeed(["a", "b\udcff"], to_work)


@pytest.mark.parametrize(
    ("separator", "data"),
    [(b"\n", b"a\n\nb c\n   \nd"), (b"\0", b"a\0\0b c\0d\0")],
)
def test_items_of_a_stream(pipe: tuple[int, int], separator: bytes, data: bytes) -> None:
    woken = threading.Event()
    feed = StreamFeed(pipe[0], separator, to_work, woken.set)
    feed.start()
    assert feed.total is None
    os.write(pipe[1], data)
    os.close(pipe[1])
    assert taken(feed) == ["a", "b c", "d"]
    assert feed.total == 3
    assert woken.is_set()


def test_what_has_come_is_there_before_the_end(pipe: tuple[int, int]) -> None:
    feed = StreamFeed(pipe[0], b"\n", to_work, lambda: None)
    feed.start()
    os.write(pipe[1], b"first\nsec")
    found: list[Work] = []
    eventually(lambda: found.extend(feed.take(5)) or found)
    assert found == [Work(command="first")]
    assert not feed.ended
    os.write(pipe[1], b"ond\n")
    os.close(pipe[1])
    assert taken(feed) == ["second"]


def test_the_reader_waits_while_enough_has_collected(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_ITEMS", 5)
    monkeypatch.setattr(module, "READ_BYTES", 20)
    feed = StreamFeed(pipe[0], b"\n", to_work, lambda: None)
    feed.start()
    writer = threading.Thread(target=lambda: (os.write(pipe[1], b"x\n" * 1_000), os.close(pipe[1])))
    writer.start()
    eventually(lambda: len(feed._items) >= 5)
    assert len(feed._items) <= 15
    found = 0

    def drained() -> bool:
        nonlocal found
        found += len(feed.take(1000))
        return feed.ended

    eventually(drained)
    writer.join()
    assert found == 1_000


def test_a_broken_line_is_named(pipe: tuple[int, int]) -> None:
    feed = StreamFeed(pipe[0], b"\n", to_work, lambda: None)
    feed.start()
    os.write(pipe[1], b"fine\nbro\xffken\n")
    os.close(pipe[1])
    with pytest.raises(UserError, match=r"Item 2 of standard input is not valid UTF-8"):
        eventually(lambda: feed.take(5) and False)


def test_an_endless_line_is_refused(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 10)
    feed = StreamFeed(pipe[0], b"\n", to_work, lambda: None)
    feed.start()
    os.write(pipe[1], b"x" * 100)
    with pytest.raises(UserError, match="longer than"):
        eventually(lambda: feed.take(5) and False)
