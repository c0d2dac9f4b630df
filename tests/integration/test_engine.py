"""The engine with everything real: tasks from submission to result, and what goes wrong on the way."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend import events
from taskmaster_desktop.backend.commands import (
    CancelTasks,
    DiscardTasks,
    KillWorkerNow,
    PauseQueue,
    RetryTasks,
    SelfHeal,
    StopWorkerGently,
    SubmitBatch,
    Work,
)
from taskmaster_desktop.backend.errors import Conflict, NotFound, UserError
from taskmaster_desktop.backend.model import Outcome, TaskFilter, TaskOptions, TaskState, WorkerState
from tests.helpers.engines import LIMIT_S, pid_of, running_engine, runs
from tests.helpers.eventually import eventually


def test_a_batch_runs_and_says_how_it_went(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=2) as engine:
        submitted = engine.submit("echo out; echo err >&2; exit 3")
        assert engine.done(submitted).failed == 1
        number = submitted.batch.first_task
        task = engine.task(number)
        assert (task.state, task.outcome, task.exit_code) == (TaskState.FAILED, Outcome.FAILED, 3)
        chunks = engine.engine.query.output(number, 1)
        assert {chunk.stream.value: chunk.data for chunk in chunks} == {
            "stdout": b"out\n",
            "stderr": b"err\n",
        }


def test_argv_is_executed_as_it_is(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        submitted = engine.submit(Work(argv=("printf", "%s|", "$(id)", "a b", "")))
        engine.done(submitted)
        assert engine.output(submitted.batch.first_task) == b"$(id)|a b||"


def test_round_robin_uses_every_worker(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=3) as engine:
        submitted = engine.submit("sleep 0.2", count=9)
        engine.done(submitted)
        assert sorted(worker.completed for worker in engine.workers()) == [3, 3, 3]


def test_slots_run_side_by_side(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1, slots=3) as engine:
        submitted = engine.submit("sleep 5", count=3)
        for number in submitted.task_numbers:
            engine.until_state(number, TaskState.RUNNING)
        engine.engine.submit(CancelTasks(numbers=tuple(submitted.task_numbers))).result(LIMIT_S)
        assert engine.done(submitted).cancelled == 3


def test_retries_are_used_up_and_a_dead_letter_can_be_revived(tmp_path: Path) -> None:
    marker = tmp_path / "now"
    command = f"test -e {marker}"
    with running_engine(tmp_path / "data", workers=1) as engine:
        submitted = engine.submit(command, options=TaskOptions(retries=2, retry_delay_s=0.01))
        engine.done(submitted)
        number = submitted.batch.first_task
        assert [a.outcome for a in engine.engine.query.attempts(number)] == [Outcome.FAILED] * 3
        marker.touch()
        assert engine.engine.submit(RetryTasks(chosen=TaskFilter(dead_letters=True))).result(LIMIT_S) == 1
        assert engine.until_state(number, TaskState.COMPLETED).attempt == 4


def test_discarded_dead_letters_are_left_alone(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        engine.done(engine.submit("exit 1", count=3))
        assert engine.engine.submit(DiscardTasks(numbers=(1, 2))).result(LIMIT_S) == 2
        assert engine.engine.totals.discarded == 2
        assert engine.engine.submit(RetryTasks(chosen=TaskFilter(dead_letters=True))).result(LIMIT_S) == 1


def test_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        submitted = engine.submit("/bin/sleep 60 & /bin/sleep 60; wait", options=TaskOptions(timeout_s=0.2))
        engine.done(submitted)
        assert engine.task(submitted.batch.first_task).outcome is Outcome.TIMEOUT


def test_cancel_in_every_state(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        running = engine.submit("sleep 60").batch.first_task
        waiting = engine.submit("sleep 60").batch.first_task
        delayed = engine.submit("sleep 60", delay_s=60).batch.first_task
        engine.until_state(running, TaskState.RUNNING)
        action = CancelTasks(numbers=(running, waiting, delayed, 999))
        assert engine.engine.submit(action).result(LIMIT_S) == 3
        for number in (running, waiting, delayed):
            assert engine.until_finished(number).state is TaskState.CANCELLED
        assert engine.engine.submit(action).result(LIMIT_S) == 0


def test_a_delay_is_never_cut_short_and_kept_to_50_ms(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        engine.done(engine.submit("noop"))
        submitted = engine.submit("noop", delay_s=0.3)
        engine.done(submitted)
        task = engine.task(submitted.batch.first_task)
        assert task.run_at_us is not None
        assert task.started_us is not None
        assert task.run_at_us - task.created_us == pytest.approx(300_000, abs=1000)
        assert task.started_us >= task.run_at_us


def test_priorities_come_first(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        engine.engine.submit(PauseQueue(paused=True)).result(LIMIT_S)
        low = engine.submit("noop", options=TaskOptions(priority=-1)).batch.first_task
        high = engine.submit("noop", options=TaskOptions(priority=5)).batch.first_task
        assert engine.task(high).state is TaskState.PENDING
        engine.engine.submit(PauseQueue(paused=False)).result(LIMIT_S)
        assert engine.until_finished(high).fence < engine.until_finished(low).fence


def test_an_idempotency_key_gives_the_first_answer_again(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        batch = SubmitBatch(works=[Work(command="noop")], count=3, idempotency_key="key")
        answers = [engine.engine.submit(batch) for _ in range(8)]  # most of them while the first is under way
        results = [answer.result(LIMIT_S) for answer in answers]
        assert len({result.batch.id for result in results}) == 1
        assert [result.repeated for result in results].count(False) == 1
        other = SubmitBatch(works=[Work(command="noop")], count=4, idempotency_key="key")
        with pytest.raises(Conflict):
            engine.engine.submit(other).result(LIMIT_S)
        assert engine.engine.totals.tasks == 3


def test_bad_input_creates_nothing(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        bad: list[dict[str, Any]] = [
            {"works": []},
            {"works": [Work(command="")]},
            {"works": [Work(command="x" * 40_000)]},
            {"works": [Work()]},
            {"works": [Work(command="x")], "count": 0},
            {"works": [Work(command="x")], "count": 10**9},
            {"works": [Work(command="x")], "delay_s": float("nan")},
            {"works": [Work(command="x")], "run_at_us": 10**18},
            {"works": [Work(command="x")], "options": TaskOptions(retries=11)},
        ]
        for fields in bad:
            with pytest.raises(UserError):
                engine.engine.submit(SubmitBatch(**fields)).result(LIMIT_S)
        with pytest.raises(NotFound):
            engine.engine.submit(KillWorkerNow(worker=7)).result(LIMIT_S)
        with pytest.raises(NotFound):
            engine.engine.wait_batch(99).result(LIMIT_S)
        assert engine.engine.query.totals().tasks == 0


def test_a_killed_worker_loses_nothing_and_is_not_blamed(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=2) as engine:
        engine.engine.submit(SelfHeal(on=False)).result(LIMIT_S)
        submitted = engine.submit("demo-job --ms 400", count=4)
        victim = engine.workers()[0]
        eventually(lambda: engine.engine.totals.running == 2, timeout_s=LIMIT_S)
        engine.engine.submit(KillWorkerNow(worker=victim.number)).result(LIMIT_S)
        assert engine.done(submitted).completed == 4
        lost = [
            a
            for n in submitted.task_numbers
            for a in engine.engine.query.attempts(n)
            if a.outcome is Outcome.LOST
        ]
        assert len(lost) == 1
        assert engine.task(lost[0].task).failures == engine.task(lost[0].task).deaths == 0
        assert engine.engine.totals.desired == 2
        assert len(engine.workers()) == 1


def test_a_task_that_kills_its_workers_is_quarantined(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        submitted = engine.submit("kill -9 $PPID; sleep 60")
        task = engine.until_finished(submitted.batch.first_task)
        assert task.state is TaskState.FAILED
        assert task.reason.startswith("Quarantined")
        assert task.failures == 0
        assert len(engine.engine.query.attempts(task.number)) == 3


def test_a_command_that_outlives_its_agent_never_runs_beside_its_second_attempt(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    # The second attempt finds the folder that the first one left, and ends with 9.
    command = f"mkdir {lock} || exit 9; echo $$ > {lock}/pid; sleep 300"
    with running_engine(tmp_path / "data", workers=1) as engine:
        number = engine.submit(command).batch.first_task
        eventually(lambda: (lock / "pid").exists() and (lock / "pid").read_text().strip(), timeout_s=LIMIT_S)
        first = int((lock / "pid").read_text())
        agent = engine.workers()[0]
        alive_when_given_up: list[bool] = []

        def watch(event: events.Event) -> None:
            if isinstance(event, events.Logged) and event.line.kind == "worker_offline":
                alive_when_given_up.append(runs(first))

        engine.engine.subscribe(watch)
        os.kill(pid_of(agent), signal.SIGKILL)
        task = engine.until_finished(number)
        assert task.exit_code == 9
        assert alive_when_given_up[0] is False


def test_stopping_a_worker_lets_it_finish(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=2) as engine:
        submitted = engine.submit("demo-job --ms 300", count=2)
        eventually(lambda: engine.engine.totals.running == 2, timeout_s=LIMIT_S)
        worker = engine.workers()[0]
        engine.engine.submit(StopWorkerGently(worker=worker.number)).result(LIMIT_S)
        assert engine.done(submitted).completed == 2
        eventually(lambda: len(engine.engine.query.workers(living_only=True)) == 1, timeout_s=LIMIT_S)
        assert engine.engine.totals.desired == 1
        assert all(len(engine.engine.query.attempts(n)) == 1 for n in submitted.task_numbers)


def test_a_frozen_worker_is_killed_after_its_lease_and_its_task_goes_elsewhere(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=2) as engine:
        submitted = engine.submit("demo-job --ms 700", count=2)
        eventually(lambda: engine.engine.totals.running == 2, timeout_s=LIMIT_S)
        os.kill(pid_of(engine.workers()[0]), signal.SIGSTOP)
        assert engine.done(submitted).completed == 2
        attempts = [a for n in submitted.task_numbers for a in engine.engine.query.attempts(n)]
        lost = next(a for a in attempts if a.outcome is Outcome.LOST)
        assert lost.finished_us - lost.assigned_us >= 9_000_000


def test_scaling_brings_workers_up_and_down(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1) as engine:
        engine.scale(3)
        engine.until_online(3)
        engine.scale(0)
        eventually(lambda: not engine.engine.query.workers(living_only=True), timeout_s=LIMIT_S)
        gone = engine.engine.query.workers(living_only=False)
        assert [worker.state for worker in gone] == [WorkerState.OFFLINE] * 3


def test_a_failing_listener_hurts_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[events.Event] = []
    finished = threading.Event()

    def good(event: events.Event) -> None:
        heard.append(event)
        if isinstance(event, events.TasksFinished):
            finished.set()

    with running_engine(tmp_path, workers=1) as engine:
        stop = engine.engine.subscribe(good)
        engine.done(engine.submit("noop"))
        assert finished.wait(LIMIT_S)
        stop()
        count = len(heard)
        engine.done(engine.submit("noop"))
        assert len(heard) == count


def test_a_stopped_engine_answers_with_one_sentence(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        pass
    future: Future[Any] = engine.engine.submit(SubmitBatch(works=[Work(command="noop")]))
    with pytest.raises(Exception, match="not running"):
        future.result(LIMIT_S)


def test_live_output_is_whole(tmp_path: Path) -> None:
    size = 20_000_000
    received = bytearray()

    def collect(event: events.Event) -> None:
        if isinstance(event, events.OutputArrived):
            received.extend(event.data)

    with running_engine(tmp_path, workers=1) as engine:
        engine.engine.subscribe(collect)
        command = f"head -c {size} /dev/zero | tr '\\0' 'x'"
        submitted = engine.submit(command, options=TaskOptions(lossless_output=True))
        engine.done(submitted)
        number = submitted.batch.first_task
        assert len(received) == size
        assert engine.engine.query.attempts(number)[0].output_bytes == size
        kept = sum(len(chunk.data) for chunk in engine.engine.query.output(number, 1))
        assert 2 * 2**20 <= kept < 2 * 2**20 + 128 * 1024
