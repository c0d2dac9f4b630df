"""From JSON to commands: what was meant arrives, what cannot be meant is refused with its field."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.v1.finding import as_id, as_number
from taskmaster_desktop.backend.http.v1.forms import BatchForm, filled
from taskmaster_desktop.backend.http.v1.tasks import states_of
from taskmaster_desktop.backend.model import TaskState


def test_everything_arrives() -> None:
    given = {
        "argv": ["a", "b"], "count": 3, "delay_s": 1.5, "priority": -1, "retries": 2, "retry_delay_s": 7,
        "timeout_s": 60, "tags": ["x", "y"], "env": {"Z": "1", "A": "2"}, "cwd": "/tmp", "lossless_output": True,
    }  # fmt: skip
    batch = filled(BatchForm, given).to_command("key")
    batch.check()
    options = batch.options
    assert list(batch.works) == [Work(argv=("a", "b"))]
    assert (batch.count, batch.delay_s, batch.run_at_us, batch.idempotency_key) == (3, 1.5, None, "key")
    assert (options.priority, options.retries, options.retry_delay_s, options.timeout_s) == (-1, 2, 7, 60)
    assert (options.tags, options.cwd, options.lossless_output) == (("x", "y"), "/tmp", True)
    assert options.env == (("A", "2"), ("Z", "1"))


def test_a_list_of_commands() -> None:
    batch = filled(BatchForm, {"commands": ["a", ["b", "c"]]}).to_command(None)
    batch.check()
    assert list(batch.works) == [Work(command="a"), Work(argv=("b", "c"))]


def test_the_order_of_variables_means_nothing() -> None:
    one = filled(BatchForm, {"command": "x", "env": {"A": "1", "B": "2"}}).to_command("k")
    other = filled(BatchForm, {"env": {"B": "2", "A": "1"}, "command": "x"}).to_command("k")
    assert one.body_hash() == other.body_hash()


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2030-01-01T00:00:00Z", 1_893_456_000_000_000),
        ("2030-01-01T02:00:00.000001+02:00", 1_893_456_000_000_001),
        ("2030-01-01 00:00+00:00", 1_893_456_000_000_000),
    ],
)
def test_moments(text: str, us: int) -> None:
    assert filled(BatchForm, {"command": "x", "run_at": text}).to_command(None).run_at_us == us


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "command"),
    ({"command": "a", "argv": ["b"]}, "command"),
    ({"command": "a", "commands": ["b"]}, "command"),
    ({"commands": "a"}, "commands"),
    ({"commands": [5]}, "commands"),
    ({"commands": []}, "command"),
    ({"commands": ["a", "b"], "count": 2}, "count"),
    ({"command": 5}, "command"),
    ({"command": " "}, "command"),
    ({"argv": "a b"}, "argv"),
    ({"argv": {}}, "argv"),
    ({"command": "x" * 32_769}, "command"),
    ({"command": "x\0"}, "command"),
    ({"command": "x\ud800"}, "command"),
    ({"command": "a", "count": 100_001}, "count"),
    ({"command": "a", "count": "5"}, "count"),
    ({"command": "a", "count": True}, "count"),
    ({"command": "a", "count": None}, "count"),
    ({"command": "a", "delay_s": -1}, "delay_s"),
    ({"command": "a", "delay_s": float("nan")}, "delay_s"),
    ({"command": "a", "delay_s": 10**400}, "delay_s"),
    ({"command": "a", "delay_s": 1, "run_at": "2030-01-01T00:00:00Z"}, "run_at"),
    ({"command": "a", "run_at": "2030-01-01T00:00:00"}, "run_at"),
    ({"command": "a", "run_at": "tomorrow"}, "run_at"),
    ({"command": "a", "run_at": 5}, "run_at"),
    ({"command": "a", "run_at": "0001-01-01T00:00:00+14:00"}, "run_at"),
    ({"command": "a", "priority": 11}, "priority"),
    ({"command": "a", "retries": 1.5}, "retries"),
    ({"command": "a", "retry_delay_s": 301}, "retry_delay_s"),
    ({"command": "a", "timeout_s": 0}, "timeout_s"),
    ({"command": "a", "tags": "x"}, "tags"),
    ({"command": "a", "tags": [""]}, "tags"),
    ({"command": "a", "tags": ["x"] * 21}, "tags"),
    ({"command": "a", "env": []}, "env"),
    ({"command": "a", "env": {"A": 5}}, "env"),
    ({"command": "a", "env": {"A=": "5"}}, "env"),
    ({"command": "a", "env": {"\ud800": "5"}}, "env"),
    ({"command": "a", "cwd": ""}, "cwd"),
    ({"command": "a", "lossless_output": 1}, "lossless_output"),
    ({"command": "a", "delay_seconds": 1}, "delay_seconds"),
]


@pytest.mark.parametrize(("given", "field"), BAD)
def test_mistakes_name_their_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as raised:
        filled(BatchForm, given).to_command(None).check()
    assert raised.value.field == field


@pytest.mark.parametrize("given", [[], "x", 5, None, True])
def test_a_body_is_an_object(given: object) -> None:
    with pytest.raises(UserError, match="must be a JSON object"):
        filled(BatchForm, given)


def test_numbers_and_ids() -> None:
    assert as_number("1042") == as_number("#1042") == 1042
    assert as_number(str(2**63 - 1)) == 2**63 - 1
    for other in ("", "-1", "1.0", "x", str(2**63), "9" * 5000, "१"):
        assert as_number(other) is None
    assert as_id("019ab5b2-6f01-7f3a-9c55-3f1d2e4a5b6c", "task").hex() == "019ab5b26f017f3a9c553f1d2e4a5b6c"
    with pytest.raises(UserError, match="task must be a number or an id"):
        as_id("x", "task")


def test_states() -> None:
    assert states_of(None) == frozenset()
    assert states_of(["failed", "pending"]) == {TaskState.FAILED, TaskState.PENDING}
    for bad in ("failed", ["lost"], [[]], [5], {}):
        with pytest.raises(UserError, match="states must be a list of some of pending"):
            states_of(bad)
