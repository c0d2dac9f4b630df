"""What workers say: they connect, report, give back, and fall silent."""

from __future__ import annotations

from dataclasses import dataclass

from taskmaster_desktop.backend.core import attempts
from taskmaster_desktop.backend.core.entities import Worker
from taskmaster_desktop.backend.core.instructions import AttemptRef, CloseSession, KillWorker
from taskmaster_desktop.backend.core.scaling import start_pause_s
from taskmaster_desktop.backend.core.state import State
from taskmaster_desktop.backend.core.stimuli import (
    OpenAttempt,
    RecallAnswer,
    RecallResult,
    Report,
    SessionClosed,
    SessionOpened,
)
from taskmaster_desktop.backend.core.transitions import WorkerStep
from taskmaster_desktop.backend.model import Level, TaskState, WorkerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reply to a hello that is not welcome."""

    reason: str
    permanent: bool


def opened(state: State, hello: SessionOpened) -> None:
    """A worker connected. Replies a Refusal, or None."""
    worker = state.worker_ids.get(hello.worker_id)
    if worker is None:
        state.out.reply = Refusal(
            reason="This engine does not know the worker, or has given it up.", permanent=True
        )
        return
    if worker.boot_id and worker.boot_id != hello.boot_id:
        state.out.reply = Refusal(reason="Another agent uses this worker's identity.", permanent=True)
        return
    if worker.session is not None:
        del state.sessions[worker.session]
        state.out.closes.append(CloseSession(session=worker.session, reason="replaced by a newer session"))
    worker.session = hello.session
    state.sessions[hello.session] = worker
    worker.boot_id = hello.boot_id
    worker.slots = hello.slots
    worker.silent_since_s = state.now.mono_s
    first = worker.online_us is None
    if first:
        worker.online_us = state.now.wall_us
        state.failed_starts = 0
    state.step_worker(worker, WorkerStep.CONNECT)
    if first or worker.adopted:
        message = _online_message(worker, first, hello.detour)
        state.log(Level.SUCCESS, "worker_online", message, worker=worker.number)
    worker.adopted = False
    if worker.state is WorkerState.DRAINING:
        state.sends(hello.session).drain = True
    _compare(state, worker, hello.attempts)
    if state.paused:
        attempts.recall(state, worker)


def _online_message(worker: Worker, first: bool, detour: str) -> str:
    if first:
        return f"{worker.name} is online{f' {detour}' if detour else ''}."
    return f"{worker.name} was still running and is adopted with {len(worker.tasks)} task(s)."


def _compare(state: State, worker: Worker, held: tuple[OpenAttempt, ...]) -> None:
    """Bring both sides' views of who holds what together."""
    told = {attempt.fence: attempt for attempt in held}
    sends = state.sends(worker.session) if worker.session is not None else None
    assert sends is not None
    for fence, task in list(worker.tasks.items()):
        attempt = told.pop(fence, None)
        if attempt is None:
            # An assignment that never arrived, or an attempt the agent has no memory of: it runs nowhere.
            attempts.lose(state, task, reason="the worker does not hold it", blamed=False)
            continue
        if attempt.started and task.state is TaskState.ASSIGNED:
            attempts.start(state, task, worker, attempt.started_us)
        task.recalling = False
        if task.cancelling and not attempt.finished:
            sends.cancel.append(task.ref())
    for attempt in told.values():
        if not attempt.finished:  # given to somebody else or cancelled meanwhile
            sends.cancel.append(AttemptRef(0, 0, attempt.fence))


def closed(state: State, end: SessionClosed) -> None:
    """The connection is gone; the worker may come back until its lease ends."""
    worker = state.sessions.pop(end.session, None)
    if worker is not None:
        worker.session = None


def report(state: State, told: Report) -> None:
    """One message of a worker, in the order of its fields; what names an old fence changes nothing."""
    worker = state.sessions.get(told.session)
    if worker is None:
        state.late_answers += len(told.finished)
        return
    worker.silent_since_s = state.now.mono_s
    for started in told.started:
        task = worker.tasks.get(started.fence)
        if task is not None and task.state is TaskState.ASSIGNED:
            attempts.start(state, task, worker, started.at_us)
    for progress in told.progress:
        task = worker.tasks.get(progress.fence)
        if task is not None:
            task.progress = progress.percent
            task.progress_text = progress.text
            state.touch(task)
    if told.finished:
        _finished(state, worker, told)
    for answer in told.recall_answers:
        _recall_answered(state, worker, answer)
    if told.heartbeat is not None:
        state.sends(told.session).heartbeat_ack = told.heartbeat.sequence
    if told.draining and worker.state is WorkerState.ONLINE:
        _draining(state, worker)


def _finished(state: State, worker: Worker, told: Report) -> None:
    acks = state.sends(told.session).result_acks
    for finished in told.finished:
        task = worker.tasks.get(finished.fence)
        if task is None:
            state.late_answers += 1
        else:
            attempts.finish(state, task, worker, finished)
        acks.append(finished.fence)
    state.put_worker(worker)


def _draining(state: State, worker: Worker) -> None:
    """Its system told it to stop: it leaves, and by nobody's order here."""
    worker.ended = worker.ended or "it was told by its system to stop"
    state.step_worker(worker, WorkerStep.DRAIN)
    text = f"{worker.name} was told by its system to stop."
    state.log(Level.WARNING, "worker_draining", text, worker=worker.number)


def _recall_answered(state: State, worker: Worker, answer: RecallAnswer) -> None:
    task = worker.tasks.get(answer.fence)
    if task is None:
        return
    task.recalling = False
    if answer.result is not RecallResult.ALREADY_STARTED and task.state is TaskState.ASSIGNED:
        attempts.give_back(state, task, reason="taken back before it started")


def check_leases(state: State) -> None:
    """Kill workers that have been silent for too long; where a death cannot be seen, wait it out."""
    now_s = state.now.mono_s
    for worker in list(state.workers.values()):
        if worker.ended and worker.state is not WorkerState.DRAINING:
            order_kill(state, worker)  # ordered in an earlier life, which may not have come to it
        silent_s = now_s - worker.silent_since_s
        if not worker.killing and now_s >= lease_end_s(state, worker):
            if worker.online_us is not None:
                text = f"{worker.name} has been silent for {silent_s:.0f} s and is being killed."
            else:
                text = f"{worker.name} did not connect within {silent_s:.0f} s and is being killed."
            state.log(Level.ERROR, "worker_silent", text, worker=worker.number)
            order_kill(state, worker)
        if not state.policy.confirms_death and now_s >= life_end_s(state, worker):
            ended(state, worker, reason="silent for longer than a worker lives alone", oom=False, clean=False)


def lease_end_s(state: State, worker: Worker) -> float:
    """When this worker is killed unless it is heard before."""
    starting = worker.state is WorkerState.STARTING
    return worker.silent_since_s + (state.policy.start_limit_s if starting else state.policy.lease_s)


def life_end_s(state: State, worker: Worker) -> float:
    """When it must have stopped by itself; one that never connected runs nothing, but may take its time."""
    alone_end_s = worker.silent_since_s + state.policy.self_stop_s + state.policy.self_stop_margin_s
    return max(alone_end_s, lease_end_s(state, worker))


def order_kill(state: State, worker: Worker) -> None:
    if not worker.killing:
        worker.killing = True
        state.out.actions.append(KillWorker(worker=worker.record()))


def ended(
    state: State, worker: Worker, *, reason: str, clean: bool, oom: bool, excused: bool = False
) -> None:
    """Its death is confirmed: what it held goes elsewhere."""
    blamed = not (clean or excused or worker.ended or worker.adopted or state.shutting_down)
    why = worker.ended or reason
    ordered = bool(worker.ended)
    for task in list(worker.tasks.values()):
        attempts.lose(state, task, reason=f"{worker.name} is gone: {why}", blamed=blamed, oom=oom)
    if worker.session is not None:
        del state.sessions[worker.session]
        state.out.closes.append(CloseSession(session=worker.session, reason="the worker has ended"))
        worker.session = None
    never_online = worker.state is WorkerState.STARTING
    if not state.self_heal and worker.counts:
        state.target = max(0, state.target - 1)
    worker.offline_us = state.now.wall_us
    worker.ended = why
    state.step_worker(worker, WorkerStep.END)
    del state.workers[worker.number]
    del state.worker_ids[worker.id]
    level = Level.INFO if clean or ordered else Level.ERROR
    state.log(level, "worker_offline", f"{worker.name} is offline: {why}.", worker=worker.number)
    if never_online and not ordered and not worker.adopted:
        _count_failed_start(state)


def _count_failed_start(state: State) -> None:
    """Workers that fail together, before the next try, count once."""
    if state.now.mono_s >= state.no_start_before_s:
        state.failed_starts += 1
        state.no_start_before_s = state.now.mono_s + start_pause_s(state.failed_starts)
