"""Evidence of a small demo in which every promise held; tests break one thing at a time."""

from __future__ import annotations

from taskmaster_desktop.demo.evidence import Evidence, Killed, LedgerLine
from taskmaster_desktop.demo.measures import StoredAttempt, StoredTask, StoredWorker

SECOND = 1_000_000
FOREIGN = {"process 1": "running", "file notes.txt": "abc of 1"}


def task(
    number: int, *, attempt: int = 1, fence: int, state: str = "completed", failures: int = 0
) -> StoredTask:
    return StoredTask(number, 1, 0, state, attempt, fence, failures, 0)


def attempt(
    number: int, at_s: float, *, count: int = 1, fence: int, worker: int = 1, outcome: str = "completed"
) -> StoredAttempt:
    start = round(at_s * SECOND)
    end = start + SECOND
    return StoredAttempt(number, count, fence, worker, start - 1000, start, end, SECOND, outcome, "")


def lines(
    number: int, at_s: float, *, count: int = 1, fence: int, worker: int = 1, ended: bool = True
) -> list[LedgerLine]:
    start = round(at_s * SECOND)
    both = [
        LedgerLine("start", number, count, fence, f"worker-{worker}", start),
        LedgerLine("end", number, count, fence, f"worker-{worker}", start + SECOND - 500),
    ]
    return both if ended else both[:1]


def sound() -> Evidence:
    """Task 1 ran on worker 1; task 2 was killed with worker 2 at 11 s and ran again on worker 1 at 12 s."""
    return Evidence(
        acknowledged=(1, 2),
        tasks=(task(1, fence=101), task(2, attempt=2, fence=103)),
        attempts=(
            attempt(1, 10, fence=101),
            attempt(2, 10, fence=102, worker=2, outcome="lost"),
            attempt(2, 12, count=2, fence=103),
        ),
        workers=(
            StoredWorker(1, "worker-1", 0, SECOND, None, ""),
            StoredWorker(2, "worker-2", 0, SECOND, 11 * SECOND, "it was killed by order"),
        ),
        ledger=(
            *lines(1, 10, fence=101),
            *lines(2, 10, fence=102, worker=2, ended=False),
            *lines(2, 12, count=2, fence=103),
        ),
        heard_finished={1: 1, 2: 1},
        killed=(Killed(2, 1, 102, 2),),
        replayed=1,
        late_answers=1,
        foreign_before=FOREIGN,
        foreign_after=FOREIGN,
    )
