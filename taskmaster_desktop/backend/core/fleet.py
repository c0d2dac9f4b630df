"""The size of the fleet: what people ask for, what runtimes report, and the pass that brings both together."""

from __future__ import annotations

from taskmaster_desktop.backend.core import sessions
from taskmaster_desktop.backend.core.entities import Worker
from taskmaster_desktop.backend.core.instructions import KillWorker, StartWorker, TerminateWorker
from taskmaster_desktop.backend.core.requests import recall_waiting
from taskmaster_desktop.backend.core.scaling import Candidate, decide
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.core.stimuli import (
    LaunchFailed,
    OrderKill,
    RuntimeNews,
    RuntimeReady,
    Scale,
    SetSelfHeal,
    Shutdown,
    StopWorker,
    WorkerEnded,
    WorkerLaunched,
)
from taskmaster_desktop.backend.core.transitions import WorkerStep
from taskmaster_desktop.backend.errors import NotFound
from taskmaster_desktop.backend.model import Level, WorkerRecord, WorkerState


def scale(state: State, request: Scale) -> None:
    """Set the desired size; the same number again makes a damaged fleet whole."""
    if state.desired != request.desired:
        state.log(Level.INFO, "scale", f"The fleet is scaled from {state.desired} to {request.desired}.")
    state.desired = state.target = request.desired
    _forget_failed_starts(state)


def set_self_heal(state: State, request: SetSelfHeal) -> None:
    if state.self_heal == request.self_heal:
        return
    state.self_heal = request.self_heal
    if request.self_heal:
        state.target = state.desired
    state.log(Level.INFO, "self_heal", f"Self-heal is {'on' if request.self_heal else 'off'}.")


def stop(state: State, request: StopWorker) -> None:
    """Graceful: the worker finishes what runs."""
    worker = _find(state, request.worker)
    if worker.counts:
        state.desired = max(0, state.desired - 1)
        state.target = max(0, state.target - 1)
        _drain(state, worker, "it was stopped")


def kill(state: State, request: OrderKill) -> None:
    """SIGKILL, by order: its tasks are not to blame."""
    worker = _find(state, request.worker)
    if worker.counts and not state.self_heal:
        state.target = max(0, state.target - 1)
    worker.ended = "it was killed by order"
    state.put_worker(worker)
    state.log(Level.WARNING, "kill", f"{worker.name} is being killed by order.", worker=worker.number)
    sessions.order_kill(state, worker)


def shutdown(state: State, _: Shutdown) -> None:
    """The engine is about to stop."""
    state.shutting_down = True
    recall_waiting(state)
    for worker in state.workers.values():
        if worker.state is not WorkerState.DRAINING:
            _drain(state, worker, "the engine is stopping")


def _find(state: State, number: int) -> Worker:
    worker = state.workers.get(number)
    if worker is None:
        raise NotFound(f"There is no living worker {number}.")
    return worker


def _drain(state: State, worker: Worker, why: str) -> None:
    worker.ended = worker.ended or why
    state.step_worker(worker, WorkerStep.DRAIN)
    state.log(
        Level.INFO,
        "worker_draining",
        f"{worker.name} finishes what it runs and ends: {why}.",
        worker=worker.number,
    )
    if worker.session is not None:
        state.sends(worker.session).drain = True
    else:
        state.out.actions.append(TerminateWorker(worker=worker.record()))


def launched(state: State, news: WorkerLaunched) -> None:
    worker = state.workers.get(news.worker)
    if worker is not None:
        worker.handle = news.handle
        state.put_worker(worker)
        # What was ordered while it was being launched may have found nobody.
        if worker.killing:
            state.out.actions.append(KillWorker(worker=worker.record()))
        elif worker.state is WorkerState.DRAINING and worker.session is None:
            state.out.actions.append(TerminateWorker(worker=worker.record()))


def launch_failed(state: State, news: LaunchFailed) -> None:
    worker = state.workers.get(news.worker)
    if worker is not None:
        sessions.ended(state, worker, reason=news.reason, clean=False, oom=False)


def worker_ended(state: State, news: WorkerEnded) -> None:
    worker = state.workers.get(news.worker)
    if worker is not None:
        sessions.ended(
            state, worker, reason=news.reason, clean=news.clean, oom=news.oom, excused=news.excused
        )


def runtime_news(state: State, news: RuntimeNews) -> None:
    state.log(news.level, "runtime", news.message)


def runtime_ready(state: State, _: RuntimeReady) -> None:
    _forget_failed_starts(state)


def _forget_failed_starts(state: State) -> None:
    state.failed_starts = 0
    state.no_start_before_s = 0.0


def reconcile(state: State) -> None:
    """Compare target and fleet; start what is missing, drain what is too much."""
    if state.shutting_down:
        return
    counting = [worker for worker in state.workers.values() if worker.counts]
    if len(counting) == state.target:
        return
    decision = decide(
        state.target,
        [
            Candidate(number=w.number, online=w.state is WorkerState.ONLINE, load=len(w.tasks))
            for w in counting
        ],
    )
    for number in decision.stop:
        _drain(state, state.workers[number], "the fleet was scaled down")
    if state.now.mono_s >= state.no_start_before_s:
        for _ in range(decision.start):
            _start_worker(state)


def _start_worker(state: State) -> None:
    number = state.next_worker
    state.next_worker += 1
    row = WorkerRecord(
        number, f"w{number}-e{state.epoch}", f"worker-{number}", state.policy.runtime, WorkerState.STARTING,
        state.policy.slots, "", "", state.now.wall_us, None, None, "", 0, 0,
    )  # fmt: skip
    worker = Worker(row, state.now.mono_s)
    state.workers[number] = worker
    state.worker_ids[worker.id] = worker
    state.put_worker(worker)
    state.out.actions.append(StartWorker(worker=row))
