"""Output: the first and the last MiB of each attempt are kept, whole chunks only, each byte once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_desktop.backend.model import OutputChunk, Stream
from taskmaster_desktop.backend.ports import StaleWrite
from taskmaster_desktop.backend.store import open_store
from taskmaster_desktop.backend.store.outputs import CUT_EVERY_BYTES, TAIL_BYTES
from taskmaster_desktop.backend.store.statements import HEAD_BYTES
from tests.helpers.store_rows import Book, chunk

MIB = 1024 * 1024
_task_numbers = itertools.count(1_000_000)


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """One store for many examples; each has a task of its own."""
    opened = open_store(tmp_path_factory.mktemp(request.param))
    opened.store.begin_epoch()
    yield Book(opened)
    opened.close()


def pattern(offset: int, size: int) -> bytes:
    """Bytes that say where they are, cheaply."""
    block = b"".join(n.to_bytes(4, "big") for n in range(offset // 4, (offset + size) // 4 + 1))
    return block[offset % 4 : offset % 4 + size]


def check_kept(kept: list[OutputChunk], total: int, *, slack: int) -> None:
    """Head and tail are there and say the right thing; between them whole chunks are gone at most."""
    end = 0
    for piece in kept:
        assert piece.offset >= end, "no byte twice, in order"
        assert piece.data == pattern(piece.offset, len(piece.data))
        if piece.offset > end:
            assert end >= min(HEAD_BYTES, total), "nothing of the head is missing"
            assert piece.offset <= total - TAIL_BYTES, "nothing of the tail is missing"
        end = piece.offset + len(piece.data)
    assert end == total
    tail = [piece for piece in kept if piece.offset >= HEAD_BYTES]
    if tail:
        first_end = tail[0].offset + len(tail[0].data)
        assert first_end > total - TAIL_BYTES - slack, "no more than a tail is kept"


sizes = st.lists(
    st.sampled_from((1, 100, 4096, 65_536, 300_000, MIB, MIB + 1)) | st.integers(1, 200_000), max_size=60
)


@settings(max_examples=40)
@given(sizes=sizes, group=st.integers(1, 20), again=st.integers(0, 5), forget=st.booleans())
def test_head_and_tail_are_kept(shared: Book, sizes: list[int], group: int, again: int, forget: bool) -> None:
    task = next(_task_numbers)
    offsets = [0, *itertools.accumulate(sizes)]
    chunks = [
        chunk(task, 1, offset, pattern(offset, size)) for offset, size in zip(offsets, sizes, strict=False)
    ]
    for start in range(0, len(chunks), group):
        # As after a lost answer: the last chunks come once more before new ones.
        shared.apply(output=chunks[max(0, start - again) : start + group])
        if forget:
            shared.store._output.forget()
        done = offsets[min(start + group, len(chunks))]
        check_kept(list(shared.query.output(task, 1)), done, slack=CUT_EVERY_BYTES)
    other = shared.submit(1)[0]
    shared.live(other)
    shared.apply(attempts=[shared.attempt(other)._replace(task=task, attempt=1)])
    check_kept(list(shared.query.output(task, 1)), offsets[-1], slack=CUT_EVERY_BYTES if forget else 0)


def stored_bytes(book: Book) -> int:
    with book.opened.dialect.readers.connect() as connection:
        return int(connection.exec_driver_sql("SELECT output_bytes FROM instance").scalar_one())


def real_bytes(book: Book) -> int:
    with book.opened.dialect.readers.connect() as connection:
        return int(
            connection.exec_driver_sql("SELECT coalesce(sum(length(data)), 0) FROM output").scalar_one()
        )


def test_the_size_of_all_output_is_kept(book: Book) -> None:
    for attempt in range(1, 4):
        for offset in range(0, 4 * MIB, 200_000):
            book.apply(output=[chunk(1, attempt, offset, pattern(offset, 200_000))])
            assert stored_bytes(book) == real_bytes(book)
    assert 0 < real_bytes(book) < 3 * (HEAD_BYTES + TAIL_BYTES + CUT_EVERY_BYTES + 200_000)


def test_both_streams_keep_their_order(book: Book) -> None:
    chunks = [
        chunk(1, 1, 0, b"out", Stream.STDOUT),
        chunk(1, 1, 3, b"err", Stream.STDERR),
        chunk(1, 1, 6, b"", Stream.STDOUT),
        chunk(1, 1, 6, b"out again", Stream.STDOUT),
    ]
    book.apply(output=chunks)
    assert list(book.query.output(1, 1)) == [chunks[0], chunks[1], chunks[3]]
    assert list(book.query.output(1, 2)) == []


def test_what_the_agent_dropped_leaves_a_gap(book: Book) -> None:
    book.apply(output=[chunk(1, 1, 0, b"abc"), chunk(1, 1, 100, b"xyz")])
    assert [(piece.offset, piece.data) for piece in book.query.output(1, 1)] == [(0, b"abc"), (100, b"xyz")]


def test_a_resend_with_other_borders_adds_only_what_is_new(book: Book) -> None:
    book.apply(output=[chunk(1, 1, 0, b"0123")])
    book.apply(output=[chunk(1, 1, 0, b"01"), chunk(1, 1, 2, b"234567")])
    assert b"".join(piece.data for piece in book.query.output(1, 1)) == b"01234567"


def test_a_rolled_back_chunk_can_be_sent_again(book: Book) -> None:
    book.submit(1)
    book.live(1)
    piece = chunk(2, 1, 0, b"data")
    with pytest.raises(StaleWrite):  # the attempt has ended already
        book.apply(output=[piece], attempts=[book.attempt(1)])
    assert list(book.query.output(2, 1)) == []
    book.apply(output=[piece])
    assert list(book.query.output(2, 1)) == [piece]


def test_output_survives_a_restart_of_the_engine_and_a_resend(database: str) -> None:
    opened = open_store(database)
    opened.store.begin_epoch()
    Book(opened).apply(output=[chunk(1, 1, 0, b"abc")])
    opened.close()
    opened = open_store(database)
    opened.store.begin_epoch()
    book = Book(opened)
    book.apply(output=[chunk(1, 1, 0, b"abc"), chunk(1, 1, 3, b"def")])
    assert [piece.data for piece in book.query.output(1, 1)] == [b"abc", b"def"]
    opened.close()
