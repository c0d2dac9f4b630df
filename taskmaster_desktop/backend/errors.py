"""The two kinds of trouble a person can do something about.

Everything else that is raised is a bug: it is logged with its traceback and shown as one short sentence.
"""

from __future__ import annotations


class TaskMasterError(Exception):
    """What this project raises on purpose; `str()` of it is one sentence for people."""


class UserError(TaskMasterError):
    """The request was wrong; nothing was done.

    Attributes:
        field: name of the field at fault as the caller wrote it, None where no single one is.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Conflict(UserError):
    """The request contradicts what is already there, such as an idempotency key with another body."""


class NotFound(UserError):
    """There is no such task, batch or worker."""


class EnvironmentProblem(TaskMasterError):
    """Something outside is in the way (disk full, database locked, no engine); mending it is enough.

    Attributes:
        fix: one sentence that says how.
    """

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(f"{message} {fix}".strip())
        self.fix = fix


class EngineDown(EnvironmentProblem):
    """The engine cannot take anything at the moment."""

    def __init__(self, message: str) -> None:
        super().__init__(message, fix="Try again in a moment.")


class InvariantViolation(TaskMasterError):
    """The core found its own state impossible: a bug, reported with the story of the task."""
