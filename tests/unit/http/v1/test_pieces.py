"""Ranges of output: every byte once, gaps told, characters whole."""

from __future__ import annotations

import base64
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.backend.http.v1 import pieces
from taskmaster_desktop.backend.http.v1.pieces import Encoding, Part, Teller
from taskmaster_desktop.backend.model import OutputChunk, Stream, TaskState
from taskmaster_desktop.backend.ports import Query
from tests.helpers.http_v1 import task_row

OUT, ERR = Stream.STDOUT, Stream.STDERR


class Kept:
    """A query that answers with the whole output whatever is asked for, as it may."""

    def __init__(self, *chunks: tuple[int, Stream, bytes]) -> None:
        self._chunks = [OutputChunk(1, 1, offset, stream, data) for offset, stream, data in chunks]

    def output(self, number: int, attempt: int, *, start: int = 0) -> list[OutputChunk]:
        return self._chunks


KEPT = cast(Query, Kept((0, OUT, b"abc"), (3, OUT, b"de"), (5, ERR, b"EE"), (20, OUT, b"xyz")))


def test_all_of_it() -> None:
    found = pieces.read(KEPT, 1, 1, 0, 100, None)
    assert found.parts == [
        Part(0, 5, OUT, b"abcde"), Part(5, 2, ERR, b"EE"), Part(7, 13, None, b""), Part(20, 3, OUT, b"xyz"),
    ]  # fmt: skip
    assert (found.next_offset, found.at_end) == (23, True)


def test_one_stream() -> None:
    found = pieces.read(KEPT, 1, 1, 0, 100, ERR)
    assert [part.data for part in found.parts if part.stream] == [b"EE"]
    assert found.next_offset == 23


def test_from_the_middle_of_a_gap_and_beyond_the_end() -> None:
    found = pieces.read(KEPT, 1, 1, 10, 100, None)
    assert found.parts == [Part(10, 10, None, b""), Part(20, 3, OUT, b"xyz")]
    found = pieces.read(KEPT, 1, 1, 99, 100, None)
    assert (found.parts, found.next_offset, found.at_end) == ([], 99, True)


@given(st.lists(st.integers(1, 9), min_size=30, max_size=30))
def test_pages_of_any_size_make_the_whole(limits: list[int]) -> None:
    offset, read, gaps, at_end = 0, b"", 0, False
    for limit in limits:
        found = pieces.read(KEPT, 1, 1, offset, limit, None)
        assert sum(part.size for part in found.parts if part.stream) <= limit
        read += b"".join(part.data for part in found.parts)
        gaps += sum(part.size for part in found.parts if part.stream is None)
        offset, at_end = found.next_offset, found.at_end
    assert at_end
    assert (read, gaps, offset) == (b"abcdeEExyz", 13, 23)


@given(st.text(), st.text(), st.data())
def test_text_that_is_cut_anywhere_comes_out_whole(out: str, err: str, data: st.DataObject) -> None:
    teller = Teller(Encoding.TEXT)
    left = {OUT: out.encode(errors="replace"), ERR: err.encode(errors="replace")}
    whole = {OUT: left[OUT].decode(), ERR: left[ERR].decode()}
    told = {OUT: "", ERR: ""}
    while any(left.values()):
        stream = data.draw(st.sampled_from([one for one in left if left[one]]))
        size = data.draw(st.integers(1, len(left[stream])))
        piece = teller.piece(Part(0, size, stream, left[stream][:size]))
        left[stream] = left[stream][size:]
        assert piece.text is not None
        told[stream] += piece.text
    assert told == whole


def test_what_is_no_text_is_exact_in_base64() -> None:
    raw = bytes(range(256))
    piece = Teller(Encoding.BASE64).piece(Part(7, 256, ERR, raw))
    assert piece.text is None
    assert base64.b64decode(piece.data or "") == raw
    assert "\ufffd" in (Teller(Encoding.TEXT).piece(Part(7, 256, ERR, raw)).text or "")


def test_attempts_by_name() -> None:
    twice = task_row(attempt=2)
    assert pieces.attempt_number(twice, "latest") == pieces.attempt_number(twice, "2") == 2
    with pytest.raises(NotFound, match="Task 1 has attempts 1 to 2"):
        pieces.attempt_number(twice, "3")
    with pytest.raises(NotFound, match="no attempt yet"):
        pieces.attempt_number(task_row(attempt=0), "latest")
    with pytest.raises(UserError, match="attempt must be a number, or latest"):
        pieces.attempt_number(twice, "last")


def test_when_an_attempt_is_over() -> None:
    assert not pieces.is_over(task_row(attempt=2, state=TaskState.RUNNING), 2)
    assert pieces.is_over(task_row(attempt=2, state=TaskState.RUNNING), 1)
    assert pieces.is_over(task_row(attempt=2, state=TaskState.PENDING), 2)
    assert pieces.is_over(task_row(attempt=2, state=TaskState.FAILED), 2)
