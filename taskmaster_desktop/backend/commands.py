"""What callers may ask for. Button, HTTP route, command line and test all build the same objects.

`check()` of a command raises UserError with the field and the allowed range; the engine calls it before
anything happens. Ranges are those of the user guide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.model import TaskFilter, TaskOptions, TaskState

MAX_COUNT = 100_000
MAX_COMMAND_CHARS = 32_768
MAX_DELAY_S = 365 * 86_400.0
MAX_TIMEOUT_S = 7 * 86_400.0
MAX_ENV_ENTRIES = 64
MAX_ENV_BYTES = 32 * 1024
MAX_TAGS = 20
MAX_TAG_CHARS = 64
MAX_KEY_CHARS = 200
MAX_WORKERS = 50
MAX_NUMBER = 2**63 - 1
LAST_US = 253_402_300_799_999_999
"""The end of the year 9999, beyond which no date can be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One command: a line for `/bin/sh -c` (or a built-in job), or argv executed as it is."""

    command: str | None = None
    argv: tuple[str, ...] | None = None

    def check(self) -> None:
        if (self.command is None) == (self.argv is None):
            raise UserError("Give either command or argv, not both.", field="command")
        if self.command is not None:
            _text("command", self.command, 1, MAX_COMMAND_CHARS)
            if not self.command.strip():
                raise UserError("command must not be blank.", field="command")
            return
        argv: object = self.argv
        if not isinstance(argv, tuple) or not argv or not all(isinstance(item, str) for item in argv):
            raise UserError("argv must be a list of at least one text.", field="argv")
        _text("argv", "".join(argv), 1, MAX_COMMAND_CHARS)
        if not argv[0]:
            raise UserError("argv must begin with the name of a program.", field="argv")

    def stored(self) -> tuple[str, bool]:
        """(command, is_argv) as a task's row carries it."""
        if self.argv is not None:
            return json.dumps(self.argv, ensure_ascii=False), True
        assert self.command is not None
        return self.command, False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitBatch:
    """Create tasks: `works` names one command for `count` tasks, or `count` is 1 and each work is a task.

    Replies: `Submitted`. With an idempotency key, the same body again gets the first answer.
    """

    works: Sequence[Work]
    count: int = 1
    options: TaskOptions = field(default_factory=TaskOptions)
    delay_s: float = 0.0
    run_at_us: int | None = None
    idempotency_key: str | None = None

    def check(self) -> None:
        if not _is_list(self.works) or not self.works:
            raise UserError("There is no command to run.", field="command")
        _whole("count", self.count, 1, MAX_COUNT)
        if self.count > 1 and len(self.works) > 1:
            raise UserError("count goes with a single command only.", field="count")
        if len(self.works) > MAX_COUNT:
            raise UserError(f"At most {MAX_COUNT:,} commands in one request.", field="command")
        for work in self.works:
            if not isinstance(work, Work):
                raise UserError("Each command must be a text or an argv.", field="command")
            work.check()
        _check_options(self.options)
        _number("delay_s", self.delay_s, 0, MAX_DELAY_S)
        if self.run_at_us is not None:
            if self.delay_s:
                raise UserError("Give either delay_s or run_at, not both.", field="run_at")
            if not _is_whole(self.run_at_us, 0, LAST_US):
                raise UserError("run_at must be a moment between the years 1970 and 9999.", field="run_at")
        if self.idempotency_key is not None:
            _text("idempotency_key", self.idempotency_key, 1, MAX_KEY_CHARS)

    @property
    def size(self) -> int:
        return max(self.count, len(self.works))

    def body_hash(self) -> bytes:
        """The same for the same request; tells a repeated key from a misused one."""
        timeout_s = self.options.timeout_s
        options = replace(
            self.options,
            retry_delay_s=float(self.options.retry_delay_s),  # 5 and 5.0 are the same wish
            timeout_s=None if timeout_s is None else float(timeout_s),
        )
        body = (
            [work.stored() for work in self.works], self.count, options,
            float(self.delay_s), self.run_at_us,
        )  # fmt: skip
        return blake2b(repr(body).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAction:
    """A change to existing tasks: those listed by number, or all that match a filter. Replies how many."""

    numbers: tuple[int, ...] | None = None
    chosen: TaskFilter | None = None

    def check(self) -> None:
        if (self.numbers is None) == (self.chosen is None):
            raise UserError("Name the tasks either by number or by filter.", field="tasks")
        if self.chosen is not None:
            _check_filter(self.chosen)
            return
        numbers: object = self.numbers
        if not isinstance(numbers, tuple) or not all(_is_whole(n, 1, MAX_NUMBER) for n in numbers):
            raise UserError("tasks must be a list of task numbers.", field="tasks")


class CancelTasks(TaskAction):
    """Cancel those that are not finished."""


class RetryTasks(TaskAction):
    """Put failed tasks back into the queue."""


class DiscardTasks(TaskAction):
    """Hide dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFleet:
    """Set the desired number of workers; the same number again makes the fleet whole."""

    workers: int

    def check(self) -> None:
        _whole("workers", self.workers, 0, MAX_WORKERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillWorkerNow:
    """SIGKILL a worker."""

    worker: int

    def check(self) -> None:
        _whole("worker", self.worker, 1, 2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWorkerGently:
    """Let a worker finish what it runs, then end it; lowers the desired size by one."""

    worker: int

    def check(self) -> None:
        _whole("worker", self.worker, 1, 2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseQueue:
    paused: bool

    def check(self) -> None:
        _switch("paused", self.paused)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHeal:
    on: bool

    def check(self) -> None:
        _switch("self_heal", self.on)


Command = (
    SubmitBatch | CancelTasks | RetryTasks | DiscardTasks | ScaleFleet | KillWorkerNow | StopWorkerGently
    | PauseQueue | SelfHeal
)  # fmt: skip


# === ranges
def _check_options(options: object) -> None:
    if not isinstance(options, TaskOptions):
        raise UserError("options must be the options of a task.", field="options")
    _whole("priority", options.priority, -10, 10)
    _whole("retries", options.retries, 0, 10)
    _number("retry_delay_s", options.retry_delay_s, 0, 300)
    if options.timeout_s is not None:
        _number("timeout_s", options.timeout_s, 0.1, MAX_TIMEOUT_S)
    if options.cwd is not None:
        _text("cwd", options.cwd, 1, 4096)
    _check_env(options.env)
    tags: object = options.tags
    if not isinstance(tags, tuple) or len(tags) > MAX_TAGS:
        raise UserError(f"tags must be a list of at most {MAX_TAGS} texts.", field="tags")
    for tag in tags:
        _text("tags", tag, 1, MAX_TAG_CHARS)
    _switch("lossless_output", options.lossless_output)


def _check_work(work: object) -> None:
    if not isinstance(work, Work):
        raise UserError("Each command must be a text or an argv.", field="command")
    work.check()


def _check_filter(chosen: object) -> None:
    if not isinstance(chosen, TaskFilter):
        raise UserError("tasks must be named by a filter.", field="tasks")
    states: object = chosen.states
    if not isinstance(states, frozenset) or not all(isinstance(state, TaskState) for state in states):
        raise UserError(f"states must be some of {', '.join(TaskState)}.", field="states")
    if chosen.batch is not None:
        _whole("batch", chosen.batch, 1, MAX_NUMBER)
    if chosen.worker is not None:
        _whole("worker", chosen.worker, 1, MAX_NUMBER)
    if chosen.tag is not None:
        _text("tag", chosen.tag, 1, MAX_TAG_CHARS)
    if chosen.text is not None:
        _text("text", chosen.text, 0, MAX_COMMAND_CHARS)
    _switch("dead_letters", chosen.dead_letters)


def _check_env(env: object) -> None:
    if not isinstance(env, tuple) or len(env) > MAX_ENV_ENTRIES:
        raise UserError(f"env must have at most {MAX_ENV_ENTRIES} entries.", field="env")
    size = 0
    for entry in env:
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise UserError("env must be pairs of name and value.", field="env")
        name, value = entry
        _text("env", name, 1, 1024)
        _text("env", value, 0, MAX_ENV_BYTES)
        if "=" in name:
            raise UserError("A name in env must not contain '='.", field="env")
        size += len(name.encode()) + len(value.encode())
    if size > MAX_ENV_BYTES:
        raise UserError(f"env must have at most {MAX_ENV_BYTES // 1024} KiB.", field="env")


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not _is_whole(value, least, most):
        raise UserError(f"{name} must be a whole number from {least:,} to {most:,}.", field=name)


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(name: str, value: object, least: float, most: float) -> None:
    # Not-a-number and the infinities are outside of any range.
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise UserError(f"{name} must be from {least:,.12g} to {most:,.12g} seconds.", field=name)


def _text(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise UserError(f"{name} must be text of {least:,} to {most:,} characters.", field=name)
    if "\0" in value:
        raise UserError(f"{name} must not contain a NUL character.", field=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} must be text that can be written as UTF-8.", field=name) from None


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false.", field=name)
