"""A stream of commands: cut anywhere it means the same, and every mistake names its line."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from taskmaster_desktop.backend.commands import MAX_COUNT, SubmitBatch, Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.problems import LineError
from taskmaster_desktop.backend.http.v1 import ndjson
from taskmaster_desktop.backend.http.v1.ndjson import MAX_LINE_BYTES, Lines, read_lines


def submitted(*pieces: bytes, key: str | None = None) -> SubmitBatch:
    lines = Lines()
    for piece in pieces:
        lines.feed(piece)
    return lines.end(key)


ITEMS: list[object] = [
    {
        "options": {
            "retries": 2,
            "tags": ["a"],
            "env": {"B": "2", "A": "1"},
            "run_at": "2030-01-01T03:00:00+02:00",
        }
    },
    "echo Grüße 🚀",
    ["printf", "%s", "a b"],
    {"command": "noop"},
    {"argv": ["true"]},
]
BODY = "\n".join(json.dumps(item, ensure_ascii=False) for item in ITEMS).encode()


def test_every_form_of_a_command() -> None:
    batch = submitted(BODY, key="k")
    assert list(batch.works) == [
        Work(command="echo Grüße 🚀"), Work(argv=("printf", "%s", "a b")), Work(command="noop"),
        Work(argv=("true",)),
    ]  # fmt: skip
    assert batch.options.retries == 2
    assert batch.options.tags == ("a",)
    assert batch.options.env == (("A", "1"), ("B", "2"))
    assert batch.run_at_us == 1_893_459_600_000_000
    assert batch.idempotency_key == "k"
    batch.check()


@given(st.lists(st.integers(0, len(BODY)), max_size=20))
def test_cut_anywhere_it_means_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    assert submitted(*(BODY[a:b] for a, b in itertools.pairwise(edges))) == submitted(BODY)


def test_ends_of_lines() -> None:
    assert [work.command for work in submitted(b'"a"\r\n\n  \n"b"\n').works] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "line", "field", "part"),
    [
        (b'"a"\n{"command": ""}', 2, "command", "command must be text of 1 to 32,768 characters"),
        (b'"a"\n\n{"argv": []}\n"b"', 3, "argv", "argv must be a list"),
        (b'"a"\n{"argv": "x"}', 2, "argv", "argv must be a list"),
        (b'{"command": "a", "argv": ["b"]}', 1, "command", "either command or argv"),
        (b"{}", 1, "command", "either command or argv"),
        (b'"a"\n5', 2, "commands", "must be a text, or a list of texts"),
        (b'"a"\n["b", 5]', 2, "argv", "argv must be a list"),
        (b'"a\n', 1, None, "it is not valid JSON"),
        (b'"a"\n"\xff"', 2, None, "it is not valid UTF-8"),
        (b'{"command": "a", "priority": 1}', 1, "priority", "in the first line"),
        (b'"a"\n{"options": {}}', 2, "options", "before the first command"),
        (b'{"options": {}, "command": "a"}', 1, "options", "a line of their own"),
        (b'\n{"options": {"retries": 11}}\n"a"', 2, "retries", "retries must be a whole number from 0 to 10"),
        (b'{"options": {"wrong": 11}}\n"a"', 1, "wrong", "There is no field wrong here"),
        (b'{"options": []}\n"a"', 1, None, "must be a JSON object"),
        (b"[" * 100_000, 1, None, "it is not valid JSON"),
        (b"9" * 5000, 1, None, "it is not valid JSON"),
    ],
)  # fmt: skip
def test_mistakes_name_their_line(body: bytes, line: int, field: str | None, part: str) -> None:
    with pytest.raises(LineError) as raised:
        submitted(body)
    assert raised.value.line == line
    assert raised.value.field == field
    assert part in str(raised.value)
    assert str(raised.value).startswith(f"Line {line}: ")


def test_nothing_at_all() -> None:
    for body in (b"", b"\n\n", b'{"options": {}}'):
        with pytest.raises(UserError, match="no command"):
            submitted(body)


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = Lines()
    lines.feed(b'"a"\n"')
    lines.feed(b"x" * (MAX_LINE_BYTES - 1))
    with pytest.raises(LineError, match="Line 2: it is longer than 512 KiB"):
        lines.feed(b"x")


def test_the_first_command_too_many_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_COUNT == 100_000
    monkeypatch.setattr(ndjson, "MAX_COUNT", 3)
    lines = Lines()
    lines.feed(b'"a"\n' * 3)
    with pytest.raises(LineError, match="Line 4: at most 3 commands"):
        lines.feed(b'"a"\n')


async def test_a_caller_who_leaves_has_submitted_nothing() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b'"a"\n'
        raise ClientDisconnect

    with pytest.raises(UserError, match="ended before its body"):
        await read_lines(stream(), None)
