"""What the next message holds, and what is kept for the next session."""

from __future__ import annotations

import pytest

from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.outbox import MESSAGE_ITEMS, MESSAGE_OUTPUT_BYTES, AttemptKey, Outbox, Result
from taskmaster_worker.output import CHUNK_BYTES, STDOUT, OutputBuffer, ProgressNote

SESSION = 5


def key(fence: int) -> AttemptKey:
    return AttemptKey(task=fence + 100, attempt=1, fence=fence)


def result(fence: int, outcome: pb.Outcome = pb.OUTCOME_COMPLETED) -> Result:
    return Result(*key(fence), outcome, 0, "", 20, 5, 0, False, 15)


def filled(size: int) -> OutputBuffer:
    buffer = OutputBuffer(lossless=True)
    buffer.add(STDOUT, bytes(size))
    return buffer


def taken(outbox: Outbox) -> pb.WorkerMessage:
    message, on_written = outbox.take(SESSION)
    assert message is not None
    assert message.session == SESSION
    for call in on_written:
        call()
    return message


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def test_nothing_waits(outbox: Outbox) -> None:
    assert outbox.take(SESSION) == (None, [])


def test_everything_that_waits_is_one_message(outbox: Outbox) -> None:
    written: list[int] = []
    outbox.add_started(key(1), 15, lambda: written.append(1))
    outbox.add_progress(key(1), ProgressNote(10, "old"))
    outbox.add_progress(key(1), ProgressNote(20, "new"))
    outbox.add_output(key(1), filled(10))
    outbox.add_result(result(1))
    outbox.add_done(result(2))
    outbox.add_recall_answer(key(3), pb.RECALL_RESULT_UNKNOWN)
    outbox.set_heartbeat(pb.Heartbeat(sequence=1))
    outbox.set_heartbeat(pb.Heartbeat(sequence=2))
    message = taken(outbox)
    assert written == [1]
    assert [s.fence for s in message.started] == [1, 2]
    assert [(p.percent, p.text) for p in message.progress] == [(20, "new")]
    assert [(o.fence, o.offset, len(o.data)) for o in message.output] == [(1, 0, 10)]
    assert [f.fence for f in message.finished] == [1, 2]
    assert [a.fence for a in message.recall_answers] == [3]
    assert message.heartbeat.sequence == 2
    assert outbox.take(SESSION) == (None, [])
    assert set(outbox.results) == {1, 2}


def test_a_result_waits_for_the_last_of_its_output(outbox: Outbox) -> None:
    outbox.add_output(key(1), filled(2 * MESSAGE_OUTPUT_BYTES + 1))
    outbox.add_result(result(1))
    outbox.add_result(result(2))
    messages = [taken(outbox) for _ in range(3)]
    assert [[f.fence for f in m.finished] for m in messages] == [[2], [], [1]]
    assert all(m.ByteSize() < MESSAGE_OUTPUT_BYTES + 2 * CHUNK_BYTES for m in messages)
    assert sum(len(o.data) for m in messages for o in m.output) == 2 * MESSAGE_OUTPUT_BYTES + 1
    assert not outbox.wake.is_set()


def test_who_prints_most_does_not_starve_the_others(outbox: Outbox) -> None:
    for fence in range(1, 41):
        outbox.add_output(key(fence), filled(8 * CHUNK_BYTES))
    seen = {o.fence for _ in range(3) for o in taken(outbox).output}
    assert seen == set(range(1, 41))


def test_messages_are_bounded_in_items(outbox: Outbox) -> None:
    for fence in range(MESSAGE_ITEMS + 10):
        outbox.add_result(result(fence))
    assert len(taken(outbox).finished) == MESSAGE_ITEMS
    assert outbox.wake.is_set()
    assert len(taken(outbox).finished) == 10


def test_results_are_sent_again_until_acknowledged(outbox: Outbox) -> None:
    outbox.add_done(result(1))
    outbox.add_result(result(2))
    taken(outbox)
    outbox.restart()
    assert outbox.acknowledge_result(1)
    assert not outbox.acknowledge_result(1)
    message = taken(outbox)
    assert [f.fence for f in message.finished] == [2]
    assert not message.started


def test_output_is_sent_again_from_where_it_was_acknowledged(outbox: Outbox) -> None:
    buffer = filled(3 * CHUNK_BYTES)
    outbox.add_output(key(1), buffer)
    taken(outbox)
    outbox.acknowledge_output(1, CHUNK_BYTES)
    outbox.acknowledge_output(99, 5)
    outbox.restart()
    assert [o.offset for o in taken(outbox).output] == [CHUNK_BYTES, 2 * CHUNK_BYTES]


def test_an_acknowledged_result_takes_its_output_along(outbox: Outbox) -> None:
    outbox.add_output(key(1), filled(5))
    outbox.add_result(result(1))
    taken(outbox)
    outbox.acknowledge_result(1)
    outbox.restart()
    assert outbox.take(SESSION) == (None, [])


def test_an_acknowledgement_of_something_unfinished_takes_nothing(outbox: Outbox) -> None:
    outbox.add_output(key(1), filled(5))
    assert not outbox.acknowledge_result(1)
    assert len(taken(outbox).output) == 1


def test_starts_and_answers_of_an_old_session_are_void(outbox: Outbox) -> None:
    """The hello of the new one tells both."""
    outbox.add_started(key(1), 15, pytest.fail)
    outbox.add_progress(key(1), ProgressNote(1, ""))
    outbox.add_recall_answer(key(2), pb.RECALL_RESULT_RECALLED)
    outbox.set_heartbeat(pb.Heartbeat(sequence=1))
    outbox.restart()
    assert outbox.take(SESSION) == (None, [])


def test_draining_is_said_once_in_every_session(outbox: Outbox) -> None:
    outbox.start_draining()
    assert taken(outbox).draining
    outbox.set_heartbeat(pb.Heartbeat(sequence=1))
    assert not taken(outbox).draining
    outbox.restart()
    assert taken(outbox).draining
