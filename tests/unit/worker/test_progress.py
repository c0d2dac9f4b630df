"""Progress lines among ordinary output, however the output is cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskmaster_worker.output import MAX_PROGRESS_LINE, ProgressFilter, ProgressNote, parse_progress


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (b"::progress 42", ProgressNote(42, "")),
        (b"::progress 42 ", ProgressNote(42, "")),
        (b"::progress 42 some text", ProgressNote(42, "some text")),
        (b"::progress\t7.5\tx", ProgressNote(7.5, "x")),
        (b"::progress 42 text\r", ProgressNote(42, "text")),
        (b"::progress 42\r", ProgressNote(42, "")),
        (b"::progress 250", ProgressNote(100, "")),
        (b"::progress -3", ProgressNote(0, "")),
        (b"::progress +3", ProgressNote(3, "")),
        (b"::progress 0", ProgressNote(0, "")),
        (b"::progress 1 \xff", ProgressNote(1, "�")),
        (b"::progress 1 " + b"x" * 500, ProgressNote(1, "x" * 200)),
        (b"::progress 1 " + b"x" * MAX_PROGRESS_LINE, None),
        (b"::progress", None),
        (b"::progress ", None),
        (b"::progress42", None),
        (b"::progress 42%", None),
        (b"::progress 4_2", None),
        (b"::progress nan", None),
        (b"::progress 1e2", None),
        (b"::progress 1234567890", None),
        (b" ::progress 42", None),
        (b"::Progress 42", None),
        (b"", None),
    ],
)
def test_one_line(line: bytes, note: ProgressNote | None) -> None:
    assert parse_progress(line) == note


@pytest.mark.parametrize(
    ("data", "passed_at_once"),
    [
        (b"plain", b"plain"),
        (b"::", b""),
        (b"::pro", b""),
        (b"::prompt", b"::prompt"),
        (b"::progress ", b""),
        (b"::progress 4", b""),
        (b"::progress 42 te", b""),
        (b"::progress x", b"::progress x"),
        (b"::progress 4x", b"::progress 4x"),
        (b"a\n::", b"a\n"),
        (b"a ::pro", b"a ::pro"),
        (b"::progress 1 " + b"x" * MAX_PROGRESS_LINE, b"::progress 1 " + b"x" * MAX_PROGRESS_LINE),
    ],
)
def test_only_what_may_be_progress_is_held_back(data: bytes, passed_at_once: bytes) -> None:
    sieve = ProgressFilter()
    assert sieve.feed(data) == passed_at_once


def expected(data: bytes) -> tuple[bytes, ProgressNote | None]:
    """By the plainest means: line by line over all of it."""
    kept, newest = b"", None
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        note = parse_progress(line.removesuffix(b"\n"))
        if note is None:
            kept += line
        else:
            newest = note
    return kept, newest


PIECES = st.lists(
    st.sampled_from(
        [
            b"\n",
            b"::progress",
            b"::",
            b"pro",
            b"gress",
            b" ",
            b"4",
            b"2",
            b".",
            b"-",
            b"\r",
            b"text",
            b"\t",
            b"x" * 600,
        ]
    )
    | st.binary(max_size=4),
    max_size=25,
).map(b"".join)


@given(data=PIECES, cuts=st.lists(st.integers(0, 2000), max_size=12))
@example(data=b"::progress 5", cuts=[3])
@example(data=b"::progress 5\n::progress 6 x\nrest", cuts=[1, 12, 13, 14])
@example(data=b"a\r\n::progress 5\r\n", cuts=[16])
def test_any_cutting_gives_the_same_result(data: bytes, cuts: list[int]) -> None:
    sieve = ProgressFilter()
    bounds = sorted({0, len(data), *(min(c, len(data)) for c in cuts)})
    passed = b"".join(sieve.feed(data[a:b]) for a, b in pairwise(bounds))
    passed += sieve.close()
    assert (passed, sieve.newest) == expected(data)
