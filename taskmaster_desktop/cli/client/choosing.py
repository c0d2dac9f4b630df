"""Which tasks a command means: those that are named, or all that fit a description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.model import TaskState
from taskmaster_desktop.cli.client.talking import batch_name, task_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The options as they were written."""

    names: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    batch: str | None = None
    tag: str | None = None
    worker: str | None = None
    text: str | None = None
    dead_letters: bool = False
    everything: bool = False

    def conditions(self) -> dict[str, Any]:
        """For the API: those that were given. Raises UserError."""
        given = {
            "batch": None if self.batch is None else batch_name(self.batch),
            "tag": self.tag,
            "worker": self.worker,
            "text": self.text,
        }
        found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if self.states:
            found["states"] = list(states_of(self.states))
        if self.dead_letters:
            found["dead_letters"] = True
        return found

    def target(self, example: str) -> dict[str, Any]:
        """`{"tasks": [...]}` or `{"filter": {...}}`. Raises UserError where both or none is named.

        Args:
            example: how to mean everything.
        """
        conditions = self.conditions()
        described = bool(conditions) or self.everything
        if self.names and described:
            raise UserError("Give either tasks or a description of them, not both.", field="TASK")
        if self.names:
            return {"tasks": task_names(self.names)}
        if not described:
            raise UserError(
                f"Say which tasks: their numbers, or such as --batch 7 or {example}.", field="TASK"
            )
        return {"filter": conditions}


def states_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated or parted by commas. Raises UserError."""
    words = [word for text in given for word in text.lower().split(",")]
    for word in words:
        if word not in list(TaskState):
            raise UserError(f"--state must be one of {', '.join(TaskState)}, not {word!r}.", field="--state")
    return tuple(dict.fromkeys(words))
