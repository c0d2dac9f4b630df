"""How many workers to start or stop: desired, requested and observed in, a decision out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_START_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A worker that counts: starting (requested) or online (observed), not told to end.

    Attributes:
        load: tasks it holds.
    """

    number: int
    online: bool
    load: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    start: int = 0
    stop: tuple[int, ...] = ()


def decide(target: int, workers: Sequence[Candidate]) -> Decision:
    """Start what is missing, or stop what is too much: idle workers first, then the newest."""
    surplus = len(workers) - target
    if surplus <= 0:
        return Decision(start=-surplus)
    order = sorted(workers, key=lambda w: (w.load > 0, -w.number))
    return Decision(stop=tuple(w.number for w in order[:surplus]))


def start_pause_s(failed_starts: int) -> float:
    """How long to wait after so many starts in a row that came to nothing."""
    return 0.0 if failed_starts == 0 else min(0.5 * 2.0 ** (failed_starts - 1), MAX_START_PAUSE_S)
