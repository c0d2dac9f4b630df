"""Whatever callers put into a command: it is in order, or a UserError names the field. Nothing else ever."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_desktop.backend.commands import (
    CancelTasks,
    Command,
    DiscardTasks,
    KillWorkerNow,
    PauseQueue,
    RetryTasks,
    ScaleFleet,
    SelfHeal,
    StopWorkerGently,
    SubmitBatch,
    Work,
)
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.model import TaskFilter, TaskOptions, TaskState

HUGE = 10**400


def submit(**fields: Any) -> SubmitBatch:
    return SubmitBatch(**({"works": (Work(command="true"),)} | fields))


def options(**fields: Any) -> SubmitBatch:
    return submit(options=TaskOptions(**fields))


def works(*items: Any) -> SubmitBatch:
    return submit(works=items)


NOT_WHOLE: list[Any] = [None, "1", 1.0, 1.5, True, math.nan, [1], b"1", object(), 1j]
NOT_NUMBERS: list[Any] = [None, "1", True, math.nan, math.inf, -math.inf, [1], object(), 1j, HUGE, -HUGE]
NOT_TEXT: list[Any] = [1, b"text", True, ["text"], object()]
BAD_TEXT = ["\0", "a\0b", "\ud800"]

GOOD: list[Command] = [
    submit(),
    submit(count=100_000),
    works(*[Work(command=f"echo {n}") for n in range(3)]),
    works(Work(command="x" * 32_768)),
    works(Work(argv=("true",))),
    works(Work(argv=("printf", "%s", ""))),
    works(Work(argv=("x", "y" * 32_767))),
    submit(delay_s=0),
    submit(delay_s=365 * 86_400),
    submit(run_at_us=0),
    submit(run_at_us=1),
    submit(idempotency_key="k" * 200),
    *[options(priority=n) for n in (-10, 10)],
    *[options(retries=n) for n in (0, 10)],
    *[options(retry_delay_s=n) for n in (0, 0.5, 300)],
    *[options(timeout_s=n) for n in (None, 0.1, 7 * 86_400)],
    options(cwd="/tmp"),
    options(tags=("a", "b" * 64)),
    options(tags=tuple(f"t{n}" for n in range(20))),
    options(env=(("A", ""), ("B", "x" * 32_000))),
    options(env=tuple((f"N{n}", "v") for n in range(64))),
    options(lossless_output=True),
    ScaleFleet(workers=0),
    ScaleFleet(workers=50),
    KillWorkerNow(worker=1),
    StopWorkerGently(worker=1),
    PauseQueue(paused=True),
    SelfHeal(on=False),
    CancelTasks(numbers=()),
    RetryTasks(numbers=(1, 2)),
    DiscardTasks(chosen=TaskFilter(dead_letters=True)),
    CancelTasks(
        chosen=TaskFilter(states=frozenset({TaskState.PENDING}), batch=1, tag="t", worker=2, text="x")
    ),
]

BAD: list[tuple[Command, str]] = [
    # works
    (works(), "command"),
    *[(submit(works=value), "command") for value in (None, 5, "true", b"true", {}, object())],
    *[(works(value), "command") for value in (None, 5, "true", ("true",), {})],
    (works(Work()), "command"),
    (works(Work(command="a", argv=("a",))), "command"),
    *[(works(Work(command=value)), "command") for value in ["", "  \n", "x" * 32_769, *NOT_TEXT, *BAD_TEXT]],  # type: ignore[arg-type]
    *[
        (works(Work(argv=value)), "argv")
        for value in [(), ("",), ("", "x"), "true", 5, ["true"], (1,), (None,)]
    ],  # type: ignore[arg-type]
    *[(works(Work(argv=("x", value))), "argv") for value in ["y" * 32_768, *BAD_TEXT, *NOT_TEXT]],  # type: ignore[arg-type]
    (works(*[Work(command="x")] * 100_001), "command"),
    # count
    *[(submit(count=value), "count") for value in [0, -1, 100_001, HUGE, *NOT_WHOLE]],
    (submit(works=(Work(command="a"), Work(command="b")), count=2), "count"),
    # when
    *[(submit(delay_s=value), "delay_s") for value in [-0.1, 365 * 86_400 + 1, *NOT_NUMBERS]],
    *[(submit(run_at_us=value), "run_at") for value in ["now", 1.5, True, math.nan, [], -1, HUGE, 2**63]],
    (submit(delay_s=1, run_at_us=1), "run_at"),
    *[(submit(idempotency_key=value), "idempotency_key") for value in ["", "k" * 201, *NOT_TEXT, *BAD_TEXT]],
    # options
    *[(submit(options=value), "options") for value in (None, {}, "x")],
    *[(options(priority=value), "priority") for value in [-11, 11, HUGE, *NOT_WHOLE]],
    *[(options(retries=value), "retries") for value in [-1, 11, HUGE, *NOT_WHOLE]],
    *[(options(retry_delay_s=value), "retry_delay_s") for value in [-0.1, 300.1, *NOT_NUMBERS]],
    *[(options(timeout_s=value), "timeout_s") for value in [0, 0.09, 604_801, -1, *NOT_NUMBERS[1:]]],
    *[(options(cwd=value), "cwd") for value in ["", "x" * 4_097, *NOT_TEXT, *BAD_TEXT]],
    *[(options(tags=value), "tags") for value in [None, "tag", ["a"], tuple("x" * 21), ("",), ("x" * 65,)]],
    *[(options(tags=("ok", value)), "tags") for value in [None, *NOT_TEXT, *BAD_TEXT]],
    *[
        (options(env=value), "env")
        for value in [None, {}, "A=1", [("A", "1")], (("A",),), ("AB",), (("A", "1", "2"),)]
    ],
    *[(options(env=(("A", value),)), "env") for value in [None, "x" * 32_769, *NOT_TEXT, *BAD_TEXT]],
    *[
        (options(env=((value, "v"),)), "env")
        for value in [None, "", "A=B", "x" * 1_025, *NOT_TEXT, *BAD_TEXT]
    ],
    (options(env=tuple((f"N{n}", "v") for n in range(65))), "env"),
    (options(env=(("A", "ü" * 16_384),)), "env"),
    *[(options(lossless_output=value), "lossless_output") for value in (None, 0, 1, "yes")],
    # fleet and queue
    *[(ScaleFleet(workers=value), "workers") for value in [-1, 51, HUGE, *NOT_WHOLE]],
    *[(KillWorkerNow(worker=value), "worker") for value in [0, -1, HUGE, *NOT_WHOLE]],
    *[(StopWorkerGently(worker=value), "worker") for value in [0, -1, HUGE, *NOT_WHOLE]],
    *[(PauseQueue(paused=value), "paused") for value in (None, 0, 1, "yes")],
    *[(SelfHeal(on=value), "self_heal") for value in (None, 0, 1, "yes")],
    # existing tasks
    (CancelTasks(), "tasks"),
    (CancelTasks(numbers=(1,), chosen=TaskFilter()), "tasks"),
    *[
        (RetryTasks(numbers=value), "tasks")
        for value in (5, "1", [1], {1}, (0,), (-1,), ("1",), (1.0,), (True,), (None,), (2**63,), (HUGE,))
    ],
    *[(DiscardTasks(chosen=value), "tasks") for value in ({}, "failed", 5)],
    *[
        (CancelTasks(chosen=TaskFilter(states=value)), "states")
        for value in (None, {"nonsense"}, "failed", 5)
    ],  # type: ignore[arg-type]
    *[(CancelTasks(chosen=TaskFilter(batch=value)), "batch") for value in (0, -1, 2**63, "1", True, 1.0)],  # type: ignore[arg-type]
    *[(CancelTasks(chosen=TaskFilter(worker=value)), "worker") for value in (0, -1, 2**63, "1", True)],  # type: ignore[arg-type]
    *[(CancelTasks(chosen=TaskFilter(tag=value)), "tag") for value in ("", "x" * 65, *NOT_TEXT, *BAD_TEXT)],
    *[(CancelTasks(chosen=TaskFilter(text=value)), "text") for value in ("x" * 32_769, *NOT_TEXT, *BAD_TEXT)],
    *[(CancelTasks(chosen=TaskFilter(dead_letters=value)), "dead_letters") for value in (None, 1)],  # type: ignore[arg-type]
]


def shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number too long to print
        text = "huge"
    return text if len(text) < 60 else text[:40] + "..."


@pytest.mark.parametrize("command", GOOD, ids=shown)
def test_what_is_allowed(command: Command) -> None:
    command.check()


@pytest.mark.parametrize(("command", "field"), BAD, ids=shown)
def test_what_is_not(command: Command, field: str) -> None:
    with pytest.raises(UserError) as caught:
        command.check()
    assert caught.value.field == field
    message = str(caught.value)
    assert message.endswith(".")
    assert len(message) < 200, "the value itself does not belong into the message"


def test_a_range_is_named() -> None:
    with pytest.raises(UserError, match="priority must be a whole number from -10 to 10"):
        options(priority=11).check()


# === anything at all
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=5),
    st.binary(max_size=20),
    st.complex_numbers(),
    st.just(HUGE),
    st.builds(object),
    st.sampled_from(TaskState),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.frozensets(st.integers() | st.text(max_size=3) | st.sampled_from(TaskState), max_size=3),
    ),
    max_leaves=6,
)


def some(kind: Any, *fields: str) -> st.SearchStrategy[Any]:
    """Objects of a kind of which some fields hold anything."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(fields, ANYTHING)).map(
        lambda given: kind(**given)
    )


WORKS = some(Work, "command", "argv")
OPTIONS = some(TaskOptions, *TaskOptions.__dataclass_fields__)
FILTERS = some(TaskFilter, *TaskFilter.__dataclass_fields__)


@given(
    st.lists(WORKS | ANYTHING, max_size=3) | st.lists(WORKS, max_size=3).map(tuple) | ANYTHING,
    OPTIONS | ANYTHING,
    some(dict, "count", "delay_s", "run_at_us", "idempotency_key"),
)
@settings(max_examples=300)
def test_any_submission_is_in_order_or_a_user_error(works: Any, options: Any, rest: dict[str, Any]) -> None:
    command = SubmitBatch(works=works, options=options, **rest)
    if in_order(command):
        assert 1 <= command.size <= 100_000
        assert len(command.body_hash()) == 16
        assert all(isinstance(text, str) for text, _ in (work.stored() for work in command.works))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (ScaleFleet, "workers"),
        (KillWorkerNow, "worker"),
        (StopWorkerGently, "worker"),
        (PauseQueue, "paused"),
        (SelfHeal, "on"),
    ],
)
@given(value=ANYTHING)
@settings(max_examples=100)
def test_any_single_field(kind: Any, field: str, value: Any) -> None:
    in_order(kind(**{field: value}))


@given(st.sampled_from([CancelTasks, RetryTasks, DiscardTasks]), ANYTHING, FILTERS | ANYTHING)
@settings(max_examples=300)
def test_any_action(kind: Any, numbers: Any, chosen: Any) -> None:
    in_order(kind(numbers=numbers, chosen=chosen))
    in_order(kind(numbers=numbers))
    in_order(kind(chosen=chosen))


def in_order(command: Command) -> bool:
    try:
        command.check()
    except UserError as error:
        named = error.field
    else:
        return True
    assert named is not None
    return False


# === the hash that tells a repeated request from a misused key
def test_the_same_request_has_the_same_hash() -> None:
    assert options(priority=1, tags=("a",)).body_hash() == options(priority=1, tags=("a",)).body_hash()


@pytest.mark.parametrize(
    "other",
    [
        works(Work(command="false")),
        works(Work(argv=("true",))),
        works(Work(command="true"), Work(command="true")),
        submit(count=2),
        submit(delay_s=1),
        submit(run_at_us=1),
        options(priority=1),
        options(env=(("A", "1"),)),
    ],
    ids=shown,
)
def test_another_request_has_another_hash(other: SubmitBatch) -> None:
    assert other.body_hash() != submit().body_hash()


def test_numbers_that_are_equal_hash_equally() -> None:
    assert submit(delay_s=0).body_hash() == submit(delay_s=0.0).body_hash()
    assert options(timeout_s=5).body_hash() == options(timeout_s=5.0).body_hash()
