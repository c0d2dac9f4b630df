"""Worker protocol <-> plain types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import Assignment, AttemptRef, Sends
from taskmaster_desktop.backend.model import BatchRecord, Outcome, Stream, TaskOptions
from taskmaster_desktop.backend.ports import Admission, FailedWay, Hello
from taskmaster_desktop.backend.rpc import convert
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb
from taskmaster_desktop.backend.rpc.convert import ProtocolError

BIG = 1 << 63  # one more than a database column holds
LATE = convert.LAST_US + 1


def hello(**changes: object) -> pb.WorkerMessage:
    message = pb.WorkerMessage(
        hello=pb.Hello(
            protocol_major=1, worker_id="w-1", boot_id="b-1", agent_version="0.1", slots=2, hostname="h", pid=9
        )
    )  # fmt: skip
    for name, value in changes.items():
        setattr(message.hello, name, value)
    return message


def test_hello() -> None:
    message = hello()
    message.hello.open_attempts.extend(
        [
            pb.OpenAttempt(task=1, attempt=1, fence=11, phase=pb.ATTEMPT_PHASE_WAITING),
            pb.OpenAttempt(task=2, attempt=1, fence=12, phase=pb.ATTEMPT_PHASE_STARTED, started_at_us=5),
            pb.OpenAttempt(task=3, attempt=1, fence=13, phase=pb.ATTEMPT_PHASE_FINISHED, started_at_us=6),
            pb.OpenAttempt(task=4, attempt=1, fence=14, phase=pb.ATTEMPT_PHASE_FINISHED),  # cancelled waiting
        ]
    )
    assert convert.hello_from(message) == Hello(
        worker_id="w-1", boot_id="b-1", agent_version="0.1", slots=2, hostname="h", pid=9,
        attempts=(
            stimuli.OpenAttempt(11, False, False, 0),
            stimuli.OpenAttempt(12, True, False, 5),
            stimuli.OpenAttempt(13, True, True, 6),
            stimuli.OpenAttempt(14, False, True, 0),
        ),
    )  # fmt: skip


def test_a_hello_tells_by_which_way_it_came() -> None:
    message = hello(endpoint="172.18.0.1:4000")
    message.hello.failed_ways.extend(
        pb.FailedWay(endpoint="unix:/a", reason=f"{'x' * 5000}\0{number}") for number in range(20)
    )
    came = convert.hello_from(message)
    assert came.endpoint == "172.18.0.1:4000"
    assert came.failed_ways == (FailedWay("unix:/a", "x" * 1000),) * 8


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (pb.WorkerMessage(session=1), "no"),
        (hello(worker_id=""), "lacks"),
        (hello(boot_id=""), "lacks"),
        (hello(slots=0), "0 slots"),
        (hello(slots=convert.MAX_SLOTS + 1), "slots"),
    ],
)
def test_wrong_hello(message: pb.WorkerMessage, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        convert.hello_from(message)


@pytest.mark.parametrize("phase", [pb.ATTEMPT_PHASE_UNSPECIFIED, 17])
def test_unknown_phase(phase: int) -> None:
    message = hello()
    message.hello.open_attempts.add(fence=1).phase = phase  # type: ignore[assignment]
    with pytest.raises(ProtocolError, match=f"phase {phase}"):
        convert.hello_from(message)


@pytest.mark.parametrize(("fence", "at_us"), [(BIG, 0), (1, -1), (1, LATE)])
def test_open_attempt_out_of_range(fence: int, at_us: int) -> None:
    message = hello()
    message.hello.open_attempts.add(fence=fence, phase=pb.ATTEMPT_PHASE_STARTED, started_at_us=at_us)
    with pytest.raises(ProtocolError, match="open attempt"):
        convert.hello_from(message)


def test_everything_a_worker_reports() -> None:
    message = pb.WorkerMessage(
        session=3,
        started=[pb.Started(task=1, attempt=2, fence=3, at_us=4)],
        progress=[pb.Progress(task=1, attempt=2, fence=3, percent=37.5, text="half"), pb.Progress(task=2, fence=4)],
        output=[
            pb.Output(task=1, attempt=2, fence=3, stream=pb.OUTPUT_STREAM_STDOUT, offset=0, data=b"a\0"),
            pb.Output(task=1, attempt=2, fence=3, stream=pb.OUTPUT_STREAM_STDERR, offset=2, data=b"b"),
        ],
        finished=[
            pb.Finished(
                task=1, attempt=2, fence=3, outcome=pb.OUTCOME_FAILED, exit_code=-1, reason="exit\0code",
                at_us=9, duration_us=5, output_bytes=3, never_started=True,
            ),
            pb.Finished(task=2, attempt=2, fence=4, outcome=pb.OUTCOME_COMPLETED, at_us=9, duration_us=5),
        ],
        recall_answers=[pb.RecallAnswer(task=5, attempt=1, fence=6, result=pb.RECALL_RESULT_RECALLED)],
        heartbeat=pb.Heartbeat(sequence=1, cpu_us=2, memory_bytes=3, running=4, waiting=5, oom_kills=6),
        draining=True,
    )  # fmt: skip
    assert convert.report_from(message) == stimuli.Report(
        session=3,
        started=[stimuli.Started(1, 3, 4)],
        progress=[stimuli.Progress(1, 3, 37.5, "half"), stimuli.Progress(2, 4, 0.0, "")],
        output=[
            stimuli.OutputReport(1, 2, 3, Stream.STDOUT, 0, b"a\0"),
            stimuli.OutputReport(1, 2, 3, Stream.STDERR, 2, b"b"),
        ],
        finished=[
            stimuli.Finished(1, 3, Outcome.FAILED, -1, "exit\ufffdcode", 9, 5, 3, True),
            stimuli.Finished(2, 4, Outcome.COMPLETED, 0, "", 9, 5, 0, False),
        ],
        recall_answers=[stimuli.RecallAnswer(5, 6, stimuli.RecallResult.RECALLED)],
        heartbeat=stimuli.Heartbeat(1, 2, 3, 4, 5, 6),
        draining=True,
    )


def test_an_empty_report() -> None:
    assert convert.report_from(pb.WorkerMessage(session=3)) == stimuli.Report(session=3)


def test_every_known_enum_value_is_understood() -> None:
    """A value added to worker.proto must be added here too."""
    assert set(convert._OUTCOMES) == set(pb.Outcome.values()) - {0}
    assert set(convert._STREAMS) == set(pb.OutputStream.values()) - {0}
    assert set(convert._RECALL_RESULTS) == set(pb.RecallResult.values()) - {0}
    assert set(convert._PHASES) == set(pb.AttemptPhase.values()) - {0}


def test_long_texts_are_cut() -> None:
    message = pb.WorkerMessage(
        session=1,
        progress=[pb.Progress(text="x" * 5000)],
        finished=[pb.Finished(outcome=pb.OUTCOME_FAILED, reason="é" * 5000)],
    )
    report = convert.report_from(message)
    assert len(report.progress[0].text) == len(report.finished[0].reason) == convert.MAX_TEXT


def test_the_edge_of_every_range_is_let_through() -> None:
    top = BIG - 1
    report = convert.report_from(
        pb.WorkerMessage(
            session=1,
            started=[pb.Started(task=top, fence=top, at_us=convert.LAST_US)],
            progress=[pb.Progress(percent=100.0)],
            output=[pb.Output(stream=pb.OUTPUT_STREAM_STDOUT, offset=top - 1, data=b"x")],
        )
    )
    assert report.started == [stimuli.Started(top, top, convert.LAST_US)]


def started(**fields: int) -> pb.WorkerMessage:
    return pb.WorkerMessage(session=1, started=[pb.Started(**fields)])


def progress(**fields: float) -> pb.WorkerMessage:
    return pb.WorkerMessage(session=1, progress=[pb.Progress(**fields)])  # type: ignore[arg-type]


def output(stream: int = 1, **fields: int | bytes) -> pb.WorkerMessage:
    return pb.WorkerMessage(session=1, output=[pb.Output(stream=stream, **fields)])  # type: ignore[arg-type]


def finished(outcome: int = 1, **fields: int) -> pb.WorkerMessage:
    return pb.WorkerMessage(session=1, finished=[pb.Finished(outcome=outcome, **fields)])  # type: ignore[arg-type]


def recalled(result: int = 1, **fields: int) -> pb.WorkerMessage:
    answer = pb.RecallAnswer(result=result, **fields)  # type: ignore[arg-type]
    return pb.WorkerMessage(session=1, recall_answers=[answer])


def heartbeat(**fields: int) -> pb.WorkerMessage:
    return pb.WorkerMessage(session=1, heartbeat=pb.Heartbeat(**fields))


WRONG: list[tuple[pb.WorkerMessage, str]] = [
    (hello(), "twice"),
    (started(task=BIG), "'started'"),
    (started(fence=BIG), "'started'"),
    (started(at_us=-1), "'started'"),
    (started(at_us=LATE), "'started'"),
    (progress(task=BIG), "'progress'"),
    (progress(percent=-0.1), "'progress'"),
    (progress(percent=100.5), "'progress'"),
    (progress(percent=math.nan), "'progress'"),
    (progress(percent=math.inf), "'progress'"),
    (output(stream=0), "stream 0"),
    (output(stream=3), "stream 3"),
    (output(fence=BIG), "'output'"),
    (output(offset=BIG - 1, data=b"x"), "'output'"),
    (finished(outcome=0), "outcome 0"),
    (finished(outcome=99), "outcome 99"),
    (finished(fence=BIG), "'finished'"),
    (finished(at_us=-5), "'finished'"),
    (finished(at_us=LATE), "'finished'"),
    (finished(duration_us=BIG), "'finished'"),
    (finished(output_bytes=BIG), "'finished'"),
    (recalled(result=0), "result 0"),
    (recalled(result=9), "result 9"),
    (recalled(fence=BIG), "'recall answer'"),
    (heartbeat(sequence=BIG), "'heartbeat'"),
    (heartbeat(memory_bytes=BIG), "'heartbeat'"),
]


@pytest.mark.parametrize(("message", "why"), WRONG, ids=[why for _, why in WRONG])
def test_what_a_worker_may_not_say(message: pb.WorkerMessage, why: str) -> None:
    with pytest.raises(ProtocolError, match=why) as caught:
        convert.report_from(message)
    assert str(caught.value).endswith(".")


# ------------------------------------------------------------ engine -> worker
def batch(**options: object) -> BatchRecord:
    return BatchRecord(
        1, bytes(16), 0, 1, 1, TaskOptions(**options), None, None, 0, 0, 0  # type: ignore[arg-type]
    )  # fmt: skip


def assignment(
    number: int = 1, command: str = "noop", *, argv: bool = False, of: BatchRecord | None = None
) -> Assignment:
    ref = AttemptRef(number, 2, 100 + number)
    return Assignment(ref, number.to_bytes(16, "big"), command, argv, batch() if of is None else of)


def messages(sends: Sends) -> list[pb.EngineMessage]:
    return list(convert.engine_messages(7, sends, kill_grace_ms=5000))


def one(sends: Sends) -> pb.EngineMessage:
    (message,) = messages(sends)
    return message


def test_a_plain_assignment() -> None:
    assert one(Sends(assign=[assignment()])) == pb.EngineMessage(
        session=7,
        assign=[
            pb.Assign(
                task=1, attempt=2, fence=101, task_id=bytes(15) + b"\1", command="noop", kill_grace_ms=5000
            )
        ],
    )


def test_an_assignment_with_all_options() -> None:
    of = batch(cwd="/tmp", env=(("A", "1"), ("B", "ü")), timeout_s=1.5, lossless_output=True)
    argv = ["echo", "$(touch x)", "", "ü"]
    message = one(Sends(assign=[assignment(1, json.dumps(argv), argv=True, of=of), assignment(2)]))
    assert message.assign[0] == pb.Assign(
        task=1, attempt=2, fence=101, task_id=bytes(15) + b"\1", argv=pb.Argv(items=argv), cwd="/tmp",
        env={"A": "1", "B": "ü"}, timeout_ms=1500, lossless_output=True, kill_grace_ms=5000,
    )  # fmt: skip
    assert message.assign[1].timeout_ms == 0
    assert not message.assign[1].env


@pytest.mark.parametrize(
    ("timeout_s", "timeout_ms"), [(None, 0), (0.1, 100), (0.0001, 1), (604_800.0, 604_800_000)]
)
def test_timeouts_in_milliseconds(timeout_s: float | None, timeout_ms: int) -> None:
    """0 means none, so a short one must not become 0."""
    assert one(Sends(assign=[assignment(of=batch(timeout_s=timeout_s))])).assign[0].timeout_ms == timeout_ms


def test_everything_else_an_engine_says() -> None:
    sends = Sends(
        recall=[AttemptRef(1, 2, 3)], cancel=[AttemptRef(4, 5, 6)], result_acks=[7, 8], output_acks={9: 10},
        drain=True, heartbeat_ack=11,
    )  # fmt: skip
    assert one(sends) == pb.EngineMessage(
        session=7,
        recall=[pb.Recall(task=1, attempt=2, fence=3)],
        cancel=[pb.Cancel(task=4, attempt=5, fence=6)],
        result_acks=[pb.ResultAck(fence=7), pb.ResultAck(fence=8)],
        output_acks=[pb.OutputAck(fence=9, offset=10)],
        drain=True,
        heartbeat_ack=11,
    )


def test_nothing_to_say_is_an_empty_message() -> None:
    assert one(Sends()) == pb.EngineMessage(session=7)


def numbers(sent: list[pb.EngineMessage]) -> list[list[int]]:
    return [[item.task for item in message.assign] for message in sent]


@pytest.mark.parametrize(
    ("count", "parts"), [(256, [256]), (257, [256, 1]), (512, [256, 256]), (600, [256, 256, 88])]
)
def test_many_tasks_are_split_by_count(count: int, parts: list[int]) -> None:
    sends = Sends(
        assign=[assignment(n) for n in range(1, count + 1)], cancel=[AttemptRef(1, 2, 101)], drain=True
    )
    sent = messages(sends)
    assert [len(message.assign) for message in sent] == parts
    assert [number for part in numbers(sent) for number in part] == list(range(1, count + 1))
    assert [len(message.cancel) for message in sent] == [0] * (len(parts) - 1) + [1]
    assert [message.drain for message in sent] == [False] * (len(parts) - 1) + [True]


def _ascii() -> list[Assignment]:
    return [assignment(n, "x" * 300_000) for n in range(4)]


def _umlauts() -> list[Assignment]:
    return [assignment(n, "ü" * 75_000) for n in range(4)]  # judged by the 4 bytes a character may take


def _env() -> list[Assignment]:
    of = batch(env=(("A", "x" * 300_000),))
    return [assignment(n, of=of) for n in range(4)]


@pytest.mark.parametrize("tasks", [_ascii, _umlauts, _env])
def test_large_tasks_are_split_by_size(tasks: Callable[[], list[Assignment]]) -> None:
    sent = messages(Sends(assign=tasks()))
    assert numbers(sent) == [[0, 1, 2], [3]]
    assert all(message.ByteSize() < convert.MAX_ASSIGN_BYTES for message in sent)


def test_a_task_larger_than_a_message_goes_alone() -> None:
    sent = messages(Sends(assign=[assignment(1), assignment(2, "x" * 2_000_000), assignment(3)]))
    assert numbers(sent) == [[1], [2], [3]]


def test_welcome_and_refusal() -> None:
    admission = Admission(session=4, instance="abc", heartbeat_interval_s=2.0, self_stop_s=0.5)
    assert convert.welcome(admission) == pb.EngineMessage(
        session=4,
        welcome=pb.Welcome(
            protocol_major=1, protocol_minor=1, instance="abc", heartbeat_interval_ms=2000, self_stop_ms=500
        ),
    )
    assert convert.refused("no", permanent=True) == pb.EngineMessage(
        refused=pb.Refused(reason="no", permanent=True)
    )
