"""Short ways to build what the core is fed with, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster_desktop.backend.core.instructions import AttemptRef
from taskmaster_desktop.backend.core.stimuli import (
    Finished,
    Heartbeat,
    RecallAnswer,
    RecallResult,
    Started,
    Submit,
)
from taskmaster_desktop.backend.model import Outcome, TaskOptions

START_US = 1_800_000_000_000_000
"""Where the wall clock of a test begins."""


def submission(
    count: int = 1,
    *,
    command: str = "noop",
    works: Sequence[tuple[str, bool]] | None = None,
    options: TaskOptions | None = None,
    run_at_us: int | None = None,
) -> Submit:
    if works is not None:
        count = len(works)
    return Submit(
        batch_id=bytes(16),
        task_ids=b"".join(index.to_bytes(16, "big") for index in range(count)),
        works=works or [(command, False)],
        count=count,
        options=options or TaskOptions(),
        run_at_us=run_at_us,
    )


def started(ref: AttemptRef, at_us: int) -> Started:
    return Started(ref.task, ref.fence, at_us)


def finished(
    ref: AttemptRef,
    at_us: int,
    outcome: Outcome = Outcome.COMPLETED,
    *,
    duration_us: int = 1_000_000,
    never_started: bool = False,
) -> Finished:
    exit_code = {Outcome.COMPLETED: 0, Outcome.FAILED: 1}.get(outcome, 137)
    reason = "" if outcome is Outcome.COMPLETED else f"it ended as {outcome}"
    return Finished(
        ref.task,
        ref.fence,
        outcome,
        exit_code,
        reason,
        at_us,
        0 if never_started else duration_us,
        0,
        never_started,
    )


def answer(ref: AttemptRef, result: RecallResult = RecallResult.RECALLED) -> RecallAnswer:
    return RecallAnswer(ref.task, ref.fence, result)


def heartbeat(sequence: int = 1) -> Heartbeat:
    return Heartbeat(sequence, 0, 0, 0, 0, 0)
