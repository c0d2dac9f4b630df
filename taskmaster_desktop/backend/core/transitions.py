"""The one transition table: every way a task or a worker may change its state. Drawn in docs/state_machine.md."""

from __future__ import annotations

from enum import StrEnum

from taskmaster_desktop.backend.model import TaskState, WorkerState


class TaskStep(StrEnum):
    """Why a task changes its state."""

    ASSIGN = "assign"  # a worker was chosen, a fence given
    START = "start"  # the worker reported that it begins
    COMPLETE = "complete"  # exit code 0
    FAIL = "fail"  # failed or timed out, and no retry is left
    RETRY = "retry"  # failed or timed out; back into the queue after its back-off
    LOSE = "lose"  # its worker is gone; back into the queue, uncharged
    QUARANTINE = "quarantine"  # its workers died too often
    RECALL = "recall"  # it never started; back into the queue
    CANCEL = "cancel"  # somebody asked for it
    REVIVE = "revive"  # somebody retries a dead letter


class WorkerStep(StrEnum):
    """Why a worker changes its state."""

    CONNECT = "connect"  # a session was opened, the first or a later one
    DRAIN = "drain"  # it takes no more work
    END = "end"  # nothing of it runs any more


_T, _S = TaskState, TaskStep
TASK_TRANSITIONS: dict[tuple[TaskState, TaskStep], TaskState] = {
    (_T.PENDING, _S.ASSIGN): _T.ASSIGNED,
    (_T.PENDING, _S.CANCEL): _T.CANCELLED,
    (_T.ASSIGNED, _S.START): _T.RUNNING,
    (_T.ASSIGNED, _S.RECALL): _T.PENDING,
    (_T.ASSIGNED, _S.CANCEL): _T.CANCELLED,
    (_T.RUNNING, _S.COMPLETE): _T.COMPLETED,
    (_T.RUNNING, _S.FAIL): _T.FAILED,
    (_T.RUNNING, _S.RETRY): _T.PENDING,
    (_T.RUNNING, _S.LOSE): _T.PENDING,
    (_T.RUNNING, _S.QUARANTINE): _T.FAILED,
    (_T.RUNNING, _S.CANCEL): _T.CANCELLED,
    (_T.FAILED, _S.REVIVE): _T.PENDING,
}

_W, _D = WorkerState, WorkerStep
WORKER_TRANSITIONS: dict[tuple[WorkerState, WorkerStep], WorkerState] = {
    (_W.STARTING, _D.CONNECT): _W.ONLINE,
    (_W.STARTING, _D.DRAIN): _W.DRAINING,
    (_W.STARTING, _D.END): _W.OFFLINE,
    (_W.ONLINE, _D.CONNECT): _W.ONLINE,
    (_W.ONLINE, _D.DRAIN): _W.DRAINING,
    (_W.ONLINE, _D.END): _W.OFFLINE,
    (_W.DRAINING, _D.CONNECT): _W.DRAINING,
    (_W.DRAINING, _D.DRAIN): _W.DRAINING,
    (_W.DRAINING, _D.END): _W.OFFLINE,
}
