"""The table of attempts, with executions that only note what is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.attempts import AttemptTable, RunningAttempt, WorkError
from taskmaster_worker.outbox import Outbox


class FakeExecution:
    def __init__(self, assign: pb.Assign, run: RunningAttempt) -> None:
        self.run = run
        self.assign = assign
        self.calls: list[str] = []

    def start(self) -> None:
        if self.assign.command == "bad":
            raise WorkError(127, "cannot")
        self.calls.append("start")

    def stop(self, grace_s: float) -> None:
        self.calls.append(f"stop {grace_s}")

    def kill(self) -> None:
        self.calls.append("kill")

    def resume(self) -> None:
        self.calls.append("resume")


class Bench:
    """A table, its outbox and what was launched."""

    def __init__(self, slots: int) -> None:
        self.outbox = Outbox()
        self.launched: dict[int, FakeExecution] = {}
        self.table = AttemptTable(slots=slots, outbox=self.outbox, launcher=self._launch)
        self.table.session_began()

    def _launch(self, assign: pb.Assign, run: RunningAttempt) -> FakeExecution:
        execution = self.launched[assign.fence] = FakeExecution(assign, run)
        return execution

    def assign(self, *fences: int, command: str = "x") -> None:
        assigns = [pb.Assign(task=f, attempt=1, fence=f, command=command, kill_grace_ms=1500) for f in fences]
        self.table.handle(pb.EngineMessage(assign=assigns))

    def cancel(self, fence: int) -> None:
        self.table.handle(pb.EngineMessage(cancel=[pb.Cancel(fence=fence)]))

    def write(self) -> pb.WorkerMessage:
        """One write of the session that came through."""
        message, on_written = self.outbox.take(1)
        for call in on_written:
            call()
        return message or pb.WorkerMessage()

    def phases(self) -> dict[int, int]:
        return {a.fence: a.phase for a in self.table.open_attempts()}


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def in_loop(loop: asyncio.AbstractEventLoop, slots: int = 1) -> Bench:
    async def make() -> Bench:
        return Bench(slots)

    return loop.run_until_complete(make())


def test_nothing_is_executed_before_its_start_was_written(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    assert bench.launched == {}
    assert [s.fence for s in bench.write().started] == [1]
    assert bench.launched[1].calls == ["start"]


def test_a_start_whose_write_failed_is_told_by_the_next_hello(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    bench.outbox.take(1)
    bench.table.session_ended()
    assert bench.phases() == {1: pb.ATTEMPT_PHASE_STARTED}
    bench.outbox.restart()
    assert bench.launched == {}
    bench.table.session_began()
    assert bench.launched[1].calls == ["start"]
    bench.table.session_began()
    assert bench.launched[1].calls == ["start"]


def test_nothing_starts_without_a_session(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1, 2)
    bench.write()
    bench.table.session_ended()
    bench.launched[1].run.ended(0, "")
    assert bench.phases() == {1: pb.ATTEMPT_PHASE_FINISHED, 2: pb.ATTEMPT_PHASE_WAITING}
    bench.outbox.restart()
    bench.table.session_began()
    message = bench.write()
    assert [s.fence for s in message.started] == [2]
    assert [f.fence for f in message.finished] == [1]


def test_an_end_and_the_next_start_travel_together(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1, 2)
    bench.write()
    bench.launched[1].run.ended(3, "exit code 3")
    message = bench.write()
    assert [(f.fence, f.outcome, f.reason) for f in message.finished] == [
        (1, pb.OUTCOME_FAILED, "exit code 3")
    ]
    assert [s.fence for s in message.started] == [2]


def test_noops_between_commands_keep_their_order(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    bench.assign(2, 3, command="noop")
    bench.assign(4)
    bench.write()
    assert bench.table.waiting == 3
    bench.launched[1].run.ended(0, "")
    assert [s.fence for s in bench.write().started] == [2, 3, 4]
    assert (bench.table.running, bench.table.waiting) == (1, 0)


def test_cancelled_between_start_and_execution(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    bench.cancel(1)
    message = bench.write()
    assert bench.launched == {}
    assert [(f.outcome, f.never_started, f.duration_us) for f in message.finished] == [
        (pb.OUTCOME_CANCELLED, False, 0)
    ]


def test_assigned_and_cancelled_in_one_message_never_starts(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    assign = pb.Assign(task=1, attempt=1, fence=1, command="x")
    bench.table.handle(pb.EngineMessage(assign=[assign], cancel=[pb.Cancel(fence=1)]))
    message = bench.write()
    assert not message.started
    assert [(f.outcome, f.never_started) for f in message.finished] == [(pb.OUTCOME_CANCELLED, True)]


def test_the_first_reason_to_stop_stays(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    bench.write()
    bench.cancel(1)
    bench.launched[1].run.stop(pb.OUTCOME_TIMEOUT, "too long")
    assert bench.launched[1].calls == ["start", "stop 1.5"]
    bench.launched[1].run.ended(137, "ended by signal SIGKILL")
    ended = bench.write().finished[0]
    assert (ended.outcome, ended.exit_code, ended.reason) == (pb.OUTCOME_CANCELLED, 137, "cancelled")


def test_what_cannot_be_started_fails_and_frees_its_slot(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1, command="bad")
    bench.assign(2)
    bench.write()
    message = bench.write()
    assert [(f.exit_code, f.reason) for f in message.finished] == [(127, "cannot")]
    assert bench.launched[2].calls == ["start"]


def test_out_of_memory(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1)
    bench.write()
    bench.launched[1].run.ended(137, "no memory", out_of_memory=True)
    assert bench.write().finished[0].outcome == pb.OUTCOME_OOM


def test_draining_gives_back_what_waits_and_what_comes_later(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    bench.assign(1, 2)
    bench.write()
    bench.table.handle(pb.EngineMessage(drain=True))
    bench.assign(3)
    assert [a.fence for a in bench.write().recall_answers] == [2, 3]
    assert not bench.table.drained
    bench.launched[1].run.ended(0, "")
    assert not bench.table.drained
    bench.table.handle(pb.EngineMessage(result_acks=[pb.ResultAck(fence=1)]))
    assert bench.table.drained


def test_after_the_end_nothing_is_started(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop, slots=2)
    bench.assign(1)
    bench.write()
    bench.assign(2, 3)
    bench.table.kill_all()
    bench.write()
    bench.launched[1].run.ended(137, "")
    bench.write()
    assert list(bench.launched) == [1]
    assert bench.launched[1].calls == ["start", "kill"]


def test_a_full_lossless_buffer_pauses_until_acknowledged(loop: asyncio.AbstractEventLoop) -> None:
    bench = in_loop(loop)
    assign = pb.Assign(task=1, attempt=1, fence=1, command="x", lossless_output=True)
    bench.table.handle(pb.EngineMessage(assign=[assign]))
    bench.write()
    run = bench.launched[1].run
    assert run.output(1, bytes(1 << 20))
    assert not run.output(1, bytes(2 << 20))
    bench.table.handle(pb.EngineMessage(output_acks=[pb.OutputAck(fence=1, offset=10)]))
    assert bench.launched[1].calls == ["start"]
    bench.table.handle(pb.EngineMessage(output_acks=[pb.OutputAck(fence=1, offset=1 << 20)]))
    assert bench.launched[1].calls == ["start", "resume"]
