"""What survives: death of the engine with workers living on, a failing disk, another engine taking over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskmaster_desktop.backend.core.instructions import Changes
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.model import Outcome, TaskState
from taskmaster_desktop.backend.ports import StaleEpoch, Store
from tests.helpers.engines import LIMIT_S, pid_of, running_engine
from tests.helpers.eventually import eventually

ENGINE_OF_ITS_OWN = """
import sys
from pathlib import Path
from tests.helpers.engines import running_engine
with running_engine(Path(sys.argv[1]), workers=2) as engine:
    slow = engine.submit("sleep 1.5", count=2)
    for number in slow.task_numbers:
        engine.until_state(number, *__import__("taskmaster_desktop.backend.model", fromlist=["x"]).ACTIVE_STATES)
    print("running", flush=True)
    while True:
        print(engine.submit("demo-job --ms 30", count=5).batch.number, flush=True)
"""


def test_sigkill_of_the_engine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE_OF_ITS_OWN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    acknowledged += [
        int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
    ]
    process.wait()
    process.stdout.close()

    with running_engine(tmp_path) as engine:
        for number in acknowledged:
            batch = engine.engine.wait_batch(number).result(LIMIT_S)
            assert batch.completed == batch.size
        for number in (1, 2):  # they ran while the engine died: adopted, not started again
            task = engine.until_finished(number)
            assert (task.state, task.attempt) == (TaskState.COMPLETED, 1)
            assert [a.outcome for a in engine.engine.query.attempts(number)] == [Outcome.COMPLETED]
        assert engine.engine.totals.attempts_lost == 0
        assert engine.engine.query.totals() == engine.engine.totals


def test_a_worker_that_died_with_the_engine_is_found_dead_at_once(tmp_path: Path) -> None:
    with running_engine(tmp_path, workers=1, leave=True) as engine:
        number = engine.submit("demo-job --ms 200").batch.first_task
        engine.until_state(number, TaskState.RUNNING)
        worker = engine.workers()[0]
    os.kill(pid_of(worker), signal.SIGKILL)
    with running_engine(tmp_path) as engine:
        task = engine.until_finished(number)
        assert (task.state, task.attempt, task.deaths) == (TaskState.COMPLETED, 2, 0)


class FailingStore:
    """Passes everything on, except the one commit that is told to fail."""

    def __init__(self, store: Store, error: Exception) -> None:
        self._store = store
        self._error = error
        self.fail_next = False

    def apply(self, changes: Changes) -> None:
        if self.fail_next and changes.new:
            self.fail_next = False
            raise self._error
        self._store.apply(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.expects_logs
def test_a_failed_commit_is_told_and_recovered_from(tmp_path: Path) -> None:
    stores: list[FailingStore] = []

    def wrap(store: Store) -> Store:
        stores.append(FailingStore(store, EnvironmentProblem("The disk is full.", fix="Make room.")))
        return stores[0]  # type: ignore[return-value]

    with running_engine(tmp_path, workers=2, wrap_store=wrap) as engine:
        running = engine.submit("sleep 1").batch.first_task
        engine.until_state(running, TaskState.RUNNING)
        stores[0].fail_next = True
        with pytest.raises(EnvironmentProblem, match="disk is full"):
            engine.submit("noop", count=10)
        eventually(lambda: engine.engine.trouble is None, timeout_s=LIMIT_S)
        assert engine.done(engine.submit("noop", count=10)).completed == 10
        assert (
            engine.until_finished(running).attempt == 1
        )  # it ran on, was found again, and not started twice
        assert engine.engine.query.totals().tasks == 11


@pytest.mark.expects_logs
def test_an_engine_whose_epoch_is_over_stops(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        with sqlite3.connect(tmp_path / "taskmaster.db") as other:
            other.execute("UPDATE instance SET epoch = epoch + 1")
        other.close()
        with pytest.raises(EnvironmentProblem, match="taken over"):
            engine.submit("noop")
        eventually(lambda: not engine.engine.running, timeout_s=LIMIT_S)
        assert isinstance(engine.engine.fatal, StaleEpoch)
