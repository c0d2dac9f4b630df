"""Between the worker protocol's messages and the project's plain types. Pure functions; any thread.

This is on the path of every task, hence the plain loops: one message carries many tasks, and each costs
a few microseconds. What a worker may not say raises `ProtocolError`; the door then closes that session.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.core.stimuli import (
    Finished,
    Heartbeat,
    OpenAttempt,
    OutputReport,
    Progress,
    RecallAnswer,
    RecallResult,
    Report,
    Started,
)
from taskmaster_desktop.backend.errors import TaskMasterError
from taskmaster_desktop.backend.model import Outcome, Stream, TaskOptions
from taskmaster_desktop.backend.ports import Admission, FailedWay, Hello
from taskmaster_desktop.backend.rpc._pb import worker_pb2 as pb

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 1

MAX_ASSIGNS = 256
"""Tasks in one message down; more go into further ones."""
MAX_ASSIGN_BYTES = 1 << 20
"""About how many bytes of tasks go into one message down; gRPC's own limit is 4 MiB."""
MAX_SLOTS = 1024
MAX_WAYS = 8
"""Ways in vain that are kept of a hello."""
MAX_TEXT = 1000
"""Characters kept of a reason or of a progress text."""
LAST_US = 253_402_300_799_999_999
"""The end of the year 9999, beyond which no date can be shown."""

_OUTCOMES: dict[int, Outcome] = {
    pb.OUTCOME_COMPLETED: Outcome.COMPLETED,
    pb.OUTCOME_FAILED: Outcome.FAILED,
    pb.OUTCOME_TIMEOUT: Outcome.TIMEOUT,
    pb.OUTCOME_CANCELLED: Outcome.CANCELLED,
    pb.OUTCOME_OOM: Outcome.OOM,
}
_STREAMS: dict[int, Stream] = {
    pb.OUTPUT_STREAM_STDOUT: Stream.STDOUT,
    pb.OUTPUT_STREAM_STDERR: Stream.STDERR,
}
_RECALL_RESULTS: dict[int, RecallResult] = {
    pb.RECALL_RESULT_RECALLED: RecallResult.RECALLED,
    pb.RECALL_RESULT_ALREADY_STARTED: RecallResult.ALREADY_STARTED,
    pb.RECALL_RESULT_UNKNOWN: RecallResult.UNKNOWN,
}
_PHASES = frozenset({pb.ATTEMPT_PHASE_WAITING, pb.ATTEMPT_PHASE_STARTED, pb.ATTEMPT_PHASE_FINISHED})


class ProtocolError(TaskMasterError):
    """The worker said what the protocol does not allow; one sentence for the log."""


# ------------------------------------------------------------ worker -> engine
def hello_from(message: pb.WorkerMessage) -> Hello:
    """The first message of a stream; its versions are the door's business.

    Raises:
        ProtocolError: it is no hello, or a field is out of range.
    """
    if not message.HasField("hello"):
        raise ProtocolError("The first message was not a hello.")
    hello = message.hello
    if not hello.worker_id or not hello.boot_id:
        raise ProtocolError("The hello lacks the worker id or the boot id.")
    if not 1 <= hello.slots <= MAX_SLOTS:
        raise ProtocolError(f"The hello offers {hello.slots} slots; 1 to {MAX_SLOTS} are possible.")
    return Hello(
        worker_id=_text(hello.worker_id),
        boot_id=_text(hello.boot_id),
        agent_version=_text(hello.agent_version),
        slots=hello.slots,
        hostname=_text(hello.hostname),
        pid=hello.pid,
        attempts=tuple(_open_attempt(item) for item in hello.open_attempts),
        endpoint=_text(hello.endpoint),
        failed_ways=tuple(
            FailedWay(_text(way.endpoint), _text(way.reason)) for way in hello.failed_ways[:MAX_WAYS]
        ),
    )


def report_from(message: pb.WorkerMessage) -> Report:
    """Any later message.

    Raises:
        ProtocolError: an unknown enum value, a field out of range, or a second hello.
    """
    if message.HasField("hello"):
        raise ProtocolError("The worker said hello twice.")
    return Report(
        session=message.session,
        started=_started(message.started) if message.started else (),
        progress=_progress(message.progress) if message.progress else (),
        output=_output(message.output) if message.output else (),
        finished=_finished(message.finished) if message.finished else (),
        recall_answers=_recall_answers(message.recall_answers) if message.recall_answers else (),
        heartbeat=_heartbeat(message.heartbeat) if message.HasField("heartbeat") else None,
        draining=message.draining,
    )


# In the loops below one test serves several numbers: any of them beyond 63 bits, which no database
# column holds, or below zero leaves something after the shift.


def _open_attempt(item: pb.OpenAttempt) -> OpenAttempt:
    phase = item.phase
    if phase not in _PHASES:
        raise ProtocolError(f"An open attempt is in the unknown phase {phase}.")
    fence, at_us = item.fence, item.started_at_us
    if (fence | at_us) >> 63 or at_us > LAST_US:
        raise _out_of_range("open attempt")
    finished = phase == pb.ATTEMPT_PHASE_FINISHED  # perhaps cancelled while it waited
    started = phase == pb.ATTEMPT_PHASE_STARTED or (finished and at_us > 0)
    return OpenAttempt(fence, started, finished, at_us)


def _started(items: Iterable[pb.Started]) -> list[Started]:
    result = []
    for item in items:
        task, fence, at_us = item.task, item.fence, item.at_us
        if (task | fence | at_us) >> 63 or at_us > LAST_US:
            raise _out_of_range("started")
        result.append(Started(task, fence, at_us))
    return result


def _progress(items: Iterable[pb.Progress]) -> list[Progress]:
    result = []
    for item in items:
        task, fence, percent, text = item.task, item.fence, item.percent, item.text
        if (task | fence) >> 63 or not 0.0 <= percent <= 100.0:  # NaN fails the comparison too
            raise _out_of_range("progress")
        result.append(Progress(task, fence, percent, _text(text) if text else ""))
    return result


def _output(items: Iterable[pb.Output]) -> list[OutputReport]:
    result = []
    for item in items:
        stream = _STREAMS.get(item.stream)
        if stream is None:
            raise ProtocolError(f"Output came from the unknown stream {item.stream}.")
        task, fence, offset, data = item.task, item.fence, item.offset, item.data
        if (task | fence | offset + len(data)) >> 63:
            raise _out_of_range("output")
        result.append(OutputReport(task, item.attempt, fence, stream, offset, data))
    return result


def _finished(items: Iterable[pb.Finished]) -> list[Finished]:
    result = []
    outcomes = _OUTCOMES
    for item in items:
        outcome = outcomes.get(item.outcome)
        if outcome is None:
            raise ProtocolError(f"An attempt ended with the unknown outcome {item.outcome}.")
        task, fence, at_us = item.task, item.fence, item.at_us
        duration_us, size = item.duration_us, item.output_bytes
        if (task | fence | at_us | duration_us | size) >> 63 or at_us > LAST_US:
            raise _out_of_range("finished")
        if outcome is Outcome.COMPLETED:  # of most, and then the other fields have one meaning only
            result.append(Finished(task, fence, outcome, 0, "", at_us, duration_us, size, False))
        else:
            exit_code, reason, never_started = item.exit_code, _text(item.reason), item.never_started
            result.append(
                Finished(task, fence, outcome, exit_code, reason, at_us, duration_us, size, never_started)
            )
    return result


def _recall_answers(items: Iterable[pb.RecallAnswer]) -> list[RecallAnswer]:
    answers = []
    for item in items:
        result = _RECALL_RESULTS.get(item.result)
        if result is None:
            raise ProtocolError(f"A recall was answered with the unknown result {item.result}.")
        task, fence = item.task, item.fence
        if (task | fence) >> 63:
            raise _out_of_range("recall answer")
        answers.append(RecallAnswer(task, fence, result))
    return answers


def _heartbeat(item: pb.Heartbeat) -> Heartbeat:
    if (item.sequence | item.cpu_us | item.memory_bytes | item.oom_kills) >> 63:
        raise _out_of_range("heartbeat")
    return Heartbeat(
        item.sequence, item.cpu_us, item.memory_bytes, item.running, item.waiting, item.oom_kills
    )


def _text(value: str) -> str:
    """What a worker wrote for people, bounded, and without NUL, which PostgreSQL refuses."""
    return value[:MAX_TEXT].replace("\0", "\ufffd")


def _out_of_range(part: str) -> ProtocolError:
    return ProtocolError(f"A number in the part '{part}' is out of range.")


# ------------------------------------------------------------ engine -> worker
def welcome(admission: Admission) -> pb.EngineMessage:
    return pb.EngineMessage(
        session=admission.session,
        welcome=pb.Welcome(
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            instance=admission.instance,
            heartbeat_interval_ms=round(admission.heartbeat_interval_s * 1000),
            self_stop_ms=round(admission.self_stop_s * 1000),
        ),
    )


def refused(reason: str, *, permanent: bool) -> pb.EngineMessage:
    return pb.EngineMessage(refused=pb.Refused(reason=reason, permanent=permanent))


def engine_messages(session: int, sends: Sends, *, kill_grace_ms: int) -> Iterator[pb.EngineMessage]:
    """`sends` as one message, or as several where it holds too many or too large tasks for one.

    Everything but the tasks is in the last message, because a recall, a cancel or a drain may mean a
    task that is assigned in the same `sends`.
    """
    message = pb.EngineMessage(session=session)
    count = size = shared_size = 0
    options: TaskOptions | None = None
    shared: pb.Assign | None = None
    for (task, attempt, fence), task_id, command, is_argv, batch in sends.assign:
        if batch.options is not options:  # neighbours are mostly of one batch
            options = batch.options
            shared = _shared_part(options)
            shared_size = shared.ByteSize() if shared is not None else 0
        item_size = shared_size + (len(command) if command.isascii() else 4 * len(command))
        if count == MAX_ASSIGNS or (count and size + item_size > MAX_ASSIGN_BYTES):
            yield message
            message = pb.EngineMessage(session=session)
            count = size = 0
        count += 1
        size += item_size
        assign = message.assign.add(
            task=task, attempt=attempt, fence=fence, task_id=task_id, kill_grace_ms=kill_grace_ms
        )
        if is_argv:
            assign.argv.items.extend(json.loads(command))
        else:
            assign.command = command
        if shared is not None:
            assign.MergeFrom(shared)
    _add_the_rest(message, sends)
    yield message


def _shared_part(options: TaskOptions) -> pb.Assign | None:
    """What all tasks of a batch have in common; None where that is nothing."""
    timeout_s = options.timeout_s
    shared = pb.Assign(
        cwd=options.cwd or "",
        env=dict(options.env),
        timeout_ms=max(1, round(timeout_s * 1000)) if timeout_s is not None else 0,
        lossless_output=options.lossless_output,
    )
    return shared if shared.ByteSize() else None


def _add_the_rest(message: pb.EngineMessage, sends: Sends) -> None:
    for task, attempt, fence in sends.recall:
        message.recall.add(task=task, attempt=attempt, fence=fence)
    for task, attempt, fence in sends.cancel:
        message.cancel.add(task=task, attempt=attempt, fence=fence)
    add_result_ack = message.result_acks.add
    for fence in sends.result_acks:
        add_result_ack().fence = fence
    for fence, offset in sends.output_acks.items():
        message.output_acks.add(fence=fence, offset=offset)
    if sends.drain:
        message.drain = True
    if sends.heartbeat_ack:
        message.heartbeat_ack = sends.heartbeat_ack
