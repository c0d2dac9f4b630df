"""What requests look like. The models say what may come; whether it may is said by `commands.py`, whose checks
have the better sentences, so that here almost anything is let through.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from taskmaster_desktop.backend import commands
from taskmaster_desktop.backend.commands import SubmitBatch, Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.sentences import first_mistake
from taskmaster_desktop.backend.http.v1.views import EPOCH
from taskmaster_desktop.backend.model import TaskOptions

Form = TypeVar("Form", bound=BaseModel)

_COMMAND = {"type": "string", "minLength": 1, "maxLength": commands.MAX_COMMAND_CHARS}
_ARGV = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Command = Annotated[
    Any, WithJsonSchema({**_COMMAND, "description": "A line for /bin/sh, or a built-in job."})
]
Argv = Annotated[
    Any, WithJsonSchema({**_ARGV, "description": "A program and its arguments, without a shell."})
]
Commands = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"oneOf": [_COMMAND, _ARGV]},
            "minItems": 1,
            "maxItems": commands.MAX_COUNT,
            "description": "Different commands, one task each: texts for the shell or lists without one.",
        }
    ),
]
Count = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 1,
            "maximum": commands.MAX_COUNT,
            "description": "How many tasks run the command.",
        }
    ),
]
Delay = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0,
            "maximum": commands.MAX_DELAY_S,
            "description": "Start after so many seconds.",
        }
    ),
]
RunAt = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "Start then: ISO 8601 with the offset from UTC. Not together with delay_s.",
        }
    ),
]
Priority = Annotated[
    Any, WithJsonSchema({"type": "integer", "minimum": -10, "maximum": 10, "description": "High ones first."})
]
Retries = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 0,
            "maximum": 10,
            "description": "Extra attempts after a failure or timeout.",
        }
    ),
]
RetryDelay = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0,
            "maximum": 300,
            "description": "First back-off in seconds, doubled for each further attempt.",
        }
    ),
]
Timeout = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0.1,
            "maximum": commands.MAX_TIMEOUT_S,
            "description": "Limit of one attempt in seconds.",
        }
    ),
]
Tags = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": commands.MAX_TAG_CHARS},
            "maxItems": commands.MAX_TAGS,
            "description": "To find the tasks again.",
        }
    ),
]
Env = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": commands.MAX_ENV_ENTRIES,
            "description": "Environment variables; the values are never told again.",
        }
    ),
]
Cwd = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 4096,
            "description": "Working folder, which the worker must be able to reach.",
        }
    ),
]
Switch = Annotated[Any, WithJsonSchema({"type": "boolean"})]

BATCH_EXAMPLES = {
    "one command many times": {"value": {"command": "demo-job", "count": 50}},
    "many commands": {
        "value": {
            "commands": ["sha256sum a.iso", ["sha256sum", "a file with spaces.iso"]],
            "retries": 2,
            "timeout_s": 600,
            "tags": ["checksums"],
        }
    },
    "later": {"value": {"argv": ["backup", "--all"], "run_at": "2030-01-01T03:00:00Z", "priority": 5}},
}


class OptionsForm(BaseModel):
    """What all tasks of a batch share; everything may be left out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"retries": 2, "tags": ["x"]}]})

    delay_s: Delay = 0.0
    run_at: RunAt = None
    priority: Priority = 0
    retries: Retries = 0
    retry_delay_s: RetryDelay = 1.0
    timeout_s: Timeout = None
    tags: Tags = ()
    env: Env = {}
    cwd: Cwd = None
    lossless_output: Switch = False

    def submission(self, works: Sequence[Work], *, count: Any, key: str | None) -> SubmitBatch:
        """The command, unchecked. Raises UserError where something cannot even be put into one."""
        return SubmitBatch(
            works=works,
            count=count,
            delay_s=self.delay_s,
            run_at_us=_moment_us(self.run_at),
            idempotency_key=key,
            options=TaskOptions(
                cwd=self.cwd,
                env=_pairs(self.env),
                priority=self.priority,
                retries=self.retries,
                retry_delay_s=self.retry_delay_s,
                timeout_s=self.timeout_s,
                tags=_tuple(self.tags),
                lossless_output=self.lossless_output,
            ),
        )


class BatchForm(OptionsForm):
    """A command for `count` tasks, or a list of commands."""

    command: Command = None
    argv: Argv = None
    commands: Commands = None
    count: Count = 1

    def to_command(self, key: str | None) -> SubmitBatch:
        given = [name for name in ("command", "argv", "commands") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError("Give one of command, argv and commands.", field="command")
        if self.commands is None:
            works = [Work(command=self.command, argv=_tuple(self.argv))]
        elif isinstance(self.commands, list):
            works = [work_of(item) for item in self.commands]
        else:
            raise UserError("commands must be a list.", field="commands")
        return self.submission(works, count=self.count, key=key)


def work_of(item: object) -> Work:
    """A text is a line for the shell, a list an argv. Raises UserError for anything else."""
    if isinstance(item, str):
        return Work(command=item)
    if isinstance(item, list):
        return Work(argv=tuple(item))
    raise UserError("Each command must be a text, or a list of texts.", field="commands")


def filled(form: type[Form], given: object) -> Form:
    """The form with what was given. Raises UserError."""
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise first_mistake([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None


def _tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _pairs(env: Any) -> tuple[tuple[str, str], ...]:
    """In order of name: the same variables in another order are the same wish."""
    if not isinstance(env, dict):
        raise UserError("env must be an object of names and texts.", field="env")
    return tuple(sorted(env.items()))


def _moment_us(text: Any) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return (at - EPOCH) // timedelta(microseconds=1)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError("run_at must be a moment such as 2030-01-01T03:00:00Z, with its offset.", field="run_at")
