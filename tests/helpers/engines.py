"""A real engine on a folder of the test: real SQLite, real gRPC, real worker processes. Invariants are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import ScaleFleet, SubmitBatch, Work
from taskmaster_desktop.backend.core.policy import Policy
from taskmaster_desktop.backend.engine import Engine
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.model import (
    TERMINAL_STATES,
    BatchRecord,
    TaskOptions,
    TaskRecord,
    TaskState,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.ports import Store
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.backend.store import open_store
from taskmaster_desktop.backend.store_thread import StoreThread
from tests.helpers.eventually import eventually

LIMIT_S = 30.0


@dataclass(slots=True)
class Running:
    """A started engine and short ways to ask it."""

    engine: Engine

    def submit(
        self, *works: Work | str, count: int = 1, options: TaskOptions | None = None, **more: Any
    ) -> Submitted:
        batch = SubmitBatch(
            works=[Work(command=work) if isinstance(work, str) else work for work in works],
            count=count,
            options=options or TaskOptions(),
            **more,
        )
        answer = self.engine.submit(batch).result(LIMIT_S)
        assert isinstance(answer, Submitted)
        return answer

    def done(self, submitted: Submitted) -> BatchRecord:
        return self.engine.wait_batch(submitted.batch.number).result(LIMIT_S)

    def task(self, number: int) -> TaskRecord:
        task = self.engine.query.task(number)
        assert task is not None
        return task

    def until_state(self, number: int, *states: TaskState) -> TaskRecord:
        eventually(
            lambda: self.task(number).state in states, timeout_s=LIMIT_S, what=f"#{number} in {states}"
        )
        return self.task(number)

    def until_finished(self, number: int) -> TaskRecord:
        return self.until_state(number, *TERMINAL_STATES)

    def output(self, number: int) -> bytes:
        task = self.task(number)
        return b"".join(chunk.data for chunk in self.engine.query.output(number, task.attempt))

    def workers(self) -> list[WorkerRecord]:
        """Those that are online."""
        living = self.engine.query.workers(living_only=True)
        return [worker for worker in living if worker.state is WorkerState.ONLINE]

    def until_online(self, count: int) -> list[WorkerRecord]:
        eventually(lambda: len(self.workers()) == count, timeout_s=LIMIT_S, what=f"{count} workers online")
        return self.workers()

    def scale(self, workers: int) -> None:
        self.engine.submit(ScaleFleet(workers=workers)).result(LIMIT_S)


def pid_of(worker: WorkerRecord) -> int:
    return int(worker.handle.split(":")[0])


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def running_engine(
    folder: Path,
    *,
    workers: int = 0,
    slots: int = 1,
    wrap_store: Callable[[Store], Store] = lambda store: store,
    leave: bool = False,
) -> Iterator[Running]:
    """An engine on `folder`; with `leave` it ends as in a crash, its workers live on."""
    opened = open_store(folder)
    thread = StoreThread(SystemClock())
    runtime = ProcessRuntime(folder)
    engine = Engine(
        store=wrap_store(opened.store),
        store_thread=thread,
        query=opened.query,
        runtime=runtime,
        door=GrpcDoor(folder, opened.instance_id),
        clock=SystemClock(),
        policy=Policy(slots=slots, self_stop_s=runtime.self_stop_s, confirms_death=runtime.confirms_death),
        instance=opened.instance_id,
        validate=True,
    )
    running = Running(engine)
    try:
        engine.start()
        if workers:
            running.scale(workers)
            running.until_online(workers)
        yield running
    finally:
        if leave:
            engine.abandon()
        else:
            engine.stop(grace_s=0)
        thread.close()
        opened.close()
