"""What of an attempt's output is kept, dropped and sent again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from taskmaster_worker.output import (
    BUFFER_BYTES,
    CHUNK_BYTES,
    HEAD_BYTES,
    STDERR,
    STDOUT,
    Chunk,
    OutputBuffer,
)

KIB = 1024


def take_all(buffer: OutputBuffer) -> list[Chunk]:
    chunks = []
    while buffer.has_unsent:
        chunks.append(buffer.take())
    return chunks


def spans(chunks: list[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.offset, chunk.end) for chunk in chunks]


def test_small_pieces_of_one_stream_travel_together() -> None:
    buffer = OutputBuffer(lossless=False)
    for stream, data in ((STDOUT, b"a"), (STDOUT, b"b"), (STDERR, b"c"), (STDOUT, b"d")):
        buffer.add(stream, data)
    assert [(c.stream, c.offset, bytes(c.data)) for c in take_all(buffer)] == [
        (STDOUT, 0, b"ab"),
        (STDERR, 2, b"c"),
        (STDOUT, 3, b"d"),
    ]


def test_nothing_is_added_to_a_chunk_that_was_sent() -> None:
    buffer = OutputBuffer(lossless=False)
    buffer.add(STDOUT, b"a")
    first = buffer.take()
    buffer.add(STDOUT, b"b")
    assert bytes(first.data) == b"a"
    assert spans(take_all(buffer)) == [(1, 2)]


def test_chunks_are_bounded() -> None:
    buffer = OutputBuffer(lossless=False)
    buffer.add(STDOUT, bytes(3 * CHUNK_BYTES + 5))
    assert [len(c.data) for c in take_all(buffer)] == [CHUNK_BYTES] * 3 + [5]


def test_a_full_lossy_buffer_drops_the_oldest_unsent_beyond_the_head() -> None:
    buffer = OutputBuffer(lossless=False)
    for _ in range(10 * 16):
        buffer.add(STDOUT, bytes(CHUNK_BYTES))
    assert not buffer.full
    assert buffer.total_bytes == 10 * HEAD_BYTES
    assert buffer.kept_bytes == BUFFER_BYTES
    chunks = take_all(buffer)
    assert spans(chunks[:16]) == [(n * CHUNK_BYTES, (n + 1) * CHUNK_BYTES) for n in range(16)]
    assert chunks[16].offset == 8 * HEAD_BYTES
    assert chunks[-1].end == 10 * HEAD_BYTES


def test_with_everything_sent_the_oldest_sent_beyond_the_head_goes() -> None:
    buffer = OutputBuffer(lossless=False)
    for _ in range(4 * 16):
        buffer.add(STDOUT, bytes(CHUNK_BYTES))
        take_all(buffer)
    assert buffer.kept_bytes <= BUFFER_BYTES
    buffer.unsend()
    chunks = take_all(buffer)
    assert chunks[15].end == HEAD_BYTES
    assert chunks[16].offset > HEAD_BYTES
    assert chunks[-1].end == buffer.total_bytes


def test_a_full_lossless_buffer_keeps_everything_and_says_so() -> None:
    buffer = OutputBuffer(lossless=True)
    while not buffer.full:
        buffer.add(STDOUT, bytes(CHUNK_BYTES))
    buffer.add(STDERR, b"last words")
    assert buffer.kept_bytes == buffer.total_bytes == BUFFER_BYTES + 10
    take_all(buffer)
    buffer.acknowledge(CHUNK_BYTES)
    assert not buffer.full


def test_acknowledging_in_the_middle_of_a_chunk_keeps_it() -> None:
    buffer = OutputBuffer(lossless=True)
    buffer.add(STDOUT, b"0123456789")
    buffer.acknowledge(5)
    assert spans(take_all(buffer)) == [(0, 10)]
    buffer.acknowledge(10)
    buffer.unsend()
    assert not buffer.has_unsent
    assert buffer.kept_bytes == 0


STEPS = st.lists(
    st.tuples(st.just("add"), st.sampled_from([STDOUT, STDERR]), st.integers(1, 300 * KIB))
    | st.tuples(st.sampled_from(["take", "unsend"]), st.just(0), st.just(0))
    | st.tuples(st.just("ack"), st.just(0), st.integers(0, 6 << 20)),
    max_size=60,
)


@given(lossless=st.booleans(), steps=STEPS)
def test_whatever_happens(lossless: bool, steps: list[tuple[str, int, int]]) -> None:
    """Offsets only grow, the head is whole, and what was acknowledged is not sent again."""
    buffer = OutputBuffer(lossless=lossless)
    acknowledged = 0
    for step, stream, number in steps:
        if step == "add":
            buffer.add(stream, bytes(number))
        elif step == "take" and buffer.has_unsent:
            buffer.take()
        elif step == "unsend":
            buffer.unsend()
        elif step == "ack":
            acknowledged = max(acknowledged, min(number, buffer.total_bytes))
            buffer.acknowledge(acknowledged)
    buffer.unsend()
    chunks = take_all(buffer)
    assert sum(len(c.data) for c in chunks) == buffer.kept_bytes
    assert all(a.end <= b.offset for a, b in pairwise(chunks))
    assert all(c.end > acknowledged for c in chunks)
    if not lossless:
        assert buffer.kept_bytes <= BUFFER_BYTES
    gaps = {a.end for a, b in pairwise(chunks) if a.end != b.offset}
    assert not gaps if lossless else all(gap >= HEAD_BYTES for gap in gaps)
    if chunks and buffer.total_bytes > acknowledged:
        assert chunks[-1].end == buffer.total_bytes
