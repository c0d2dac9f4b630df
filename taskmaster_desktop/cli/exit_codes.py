"""What a finished command tells the shell; the user guide lists the same numbers."""

from __future__ import annotations

OK = 0
TASK_FAILED = 1
WRONG_USAGE = 2
NO_ENGINE = 3
PROMISE_BROKEN = 4
BUG = 70
TIMED_OUT = 124
INTERRUPTED = 130
