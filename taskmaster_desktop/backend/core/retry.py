"""When a failed attempt is tried again."""

from __future__ import annotations

from random import Random

MAX_BACKOFF_S = 300.0
JITTER = 0.25


def backoff_s(first_s: float, failures: int, *, seed: int) -> float:
    """Seconds to wait after the `failures`-th failure (from 1): exponential, capped, +-25 % jitter.

    The jitter depends on `seed` alone, so the same history gives the same wait.
    """
    base = min(first_s * 2.0 ** (failures - 1), MAX_BACKOFF_S)
    return base * Random(seed).uniform(1 - JITTER, 1 + JITTER)
