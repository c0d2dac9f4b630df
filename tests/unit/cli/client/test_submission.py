"""What is handed in, from the words of a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.client.choosing import Chosen, states_of
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.submission import Wanted, encoded, shared, works_of
from taskmaster_desktop.cli.client.submit import send
from taskmaster_desktop.cli.client.talking import batch_name, task_name
from taskmaster_desktop.cli.output import Output

UUID_TEXT = "019ab5b2-6f01-7f3a-9c55-3f1d2e4a5b6c"


@pytest.mark.parametrize(
    ("words", "argv", "work"),
    [
        (("ls *.txt | wc",), False, Work(command="ls *.txt | wc")),
        (("ls", "a b", "*"), False, Work(command="ls 'a b' '*'")),
        (("sleep", "5"), False, Work(command="sleep 5")),
        (("sleep 5; ls",), False, Work(argv=("/bin/sh", "-c", "sleep 5; ls"))),
        (("ls", "$HOME"), True, Work(argv=("ls", "$HOME"))),
    ],
)
def test_words_become_a_command(words: tuple[str, ...], argv: bool, work: Work) -> None:
    assert works_of(Wanted(words=words, argv=argv, count="3")) == ([work], 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"words": ()}, "There is no command"),
        ({"words": ("",)}, "command must be text of 1"),
        ({"words": (" ",)}, "must not be blank"),
        ({"words": ("x" * 40_000,)}, "command must be text"),
        ({"words": ("a", "b\0c"), "argv": True}, "NUL"),
        ({"count": "0"}, "--count must be a whole number from 1 to 100000"),
        ({"count": "x"}, "--count must be"),
        ({"file": "x"}, "Give either a command or --file"),
        ({"words": (), "file": "/no/such"}, "--file /no/such cannot be read: No such file"),
        ({"words": (), "file": "/"}, "cannot be read: Is a directory"),
        ({"words": ("-",), "sweep": ("a=1",)}, "--sweep goes with a command"),
        ({"words": ("-",), "count": "2"}, "--count goes with a command"),
        ({"words": ("-",), "argv": True}, "--argv goes with a command"),
        ({"words": ("echo {a}",), "sweep": ("a=1",), "count": "2"}, "not with --sweep"),
    ],
)
def test_what_cannot_be_is_said(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        works_of(Wanted(**{"words": ("x",), **more}))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "works"),
    [
        (
            b"echo 1\n\n  echo 2  \r\nnoop",
            [Work(command="echo 1"), Work(command="echo 2"), Work(command="noop")],
        ),
        (b"{ ls; }\n", [Work(command="{ ls; }")]),
        (b'echo "x"\n["a"]\n', [Work(command='echo "x"'), Work(command='["a"]')]),
        (
            b'{"command": "ls"}\n\n{"argv": ["ls", "a b"]}\n"noop"\n["true"]\n',
            [Work(command="ls"), Work(argv=("ls", "a b")), Work(command="noop"), Work(argv=("true",))],
        ),
    ],
)
def test_lists(tmp_path: Path, content: bytes, works: list[Work]) -> None:
    (tmp_path / "list").write_bytes(content)
    assert works_of(Wanted(words=(), file=str(tmp_path / "list"))) == (works, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "There is no command in"),
        (b"\n \n", "There is no command in"),
        (b"ok\nbro\xffken\n", "Line 2 of"),
        (b"ok\n\n" + b"x" * 40_000, "Line 3 of"),
        (b"x" * (1 << 21), "longer than 1 MiB"),
        (b'{"command": "ls"}\nls\n', "it is not valid JSON, as the first one is"),
        (b'{"command": "ls", "count": 2}\n', "it must be"),
        (b'{"command": "ls"}\n{"argv": []}\n', "argv must be a list of at least one text"),
        (b'{"command": 5}\n', "command must be text"),
        (b'["ls", 5]\n', "argv must be a list"),
        (b'"noop"\n7\n', "it must be"),
        (b"noop\n" * 100_001, "Line 100,001 of"),
    ],
)
def test_a_mistake_in_a_list_names_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UserError) as caught:
        works_of(Wanted(words=(), file=str(tmp_path / "list")))
    assert said in str(caught.value)
    assert str(tmp_path / "list") in str(caught.value)


def test_what_all_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = Wanted(
        words=("x",), delay="5m", priority="-3", retries="2", retry_delay="500ms", timeout="2h",
        tags=("a", "b"), env=("A=1", "B="), cwd="sub",
    )  # fmt: skip
    assert shared(wanted) == {
        "cwd": str(tmp_path / "sub"), "priority": -3, "retries": 2, "tags": ["a", "b"],
        "env": {"A": "1", "B": ""}, "delay_s": 300.0, "retry_delay_s": 0.5, "timeout_s": 7200.0,
    }  # fmt: skip
    assert shared(Wanted(words=("x",)))["cwd"] == str(tmp_path)
    assert shared(Wanted(words=("x",), run_at="2030-01-01T03:00:00Z"))["run_at"].startswith("2030-01-01T")
    assert (
        "+" in shared(Wanted(words=("x",), run_at="2030-01-01 03:00"))["run_at"][10:]
        or "-" in (shared(Wanted(words=("x",), run_at="2030-01-01 03:00"))["run_at"][10:])
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"delay": "soon"}, "--delay must be a time from 0s to 365d"),
        ({"delay": "1s", "run_at": "2030-01-01"}, "not both"),
        ({"run_at": "tomorrow"}, "--run-at must be a moment such as"),
        ({"priority": "11"}, "--priority must be a whole number from -10 to 10"),
        ({"retries": "11"}, "--retries must be"),
        ({"retry_delay": "301"}, "--retry-delay must be a time from 0s to 5m"),
        ({"timeout": "0"}, "--timeout must be a time from 0.1s to 7d"),
        ({"env": ("=x",)}, "--env must be NAME=VALUE"),
    ],
)
def test_ranges_are_said_with_the_name_of_the_option(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        shared(Wanted(words=("x",), **more))
    assert said in str(caught.value)


def sent(works: list[Work], *, count: int = 1, key: str | None = None) -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return httpx.Response(201, json={"batch": 1})

    client = Client("http://127.0.0.1:1", transport=httpx.MockTransport(answer))
    assert send(client, Output(), works, count=count, options={"retries": 2}, key=key) == {"batch": 1}
    client.close()
    return seen[0]


def test_a_single_command_is_sent_as_json() -> None:
    request = sent([Work(argv=("ls", "ü"))], count=5, key="k 1")
    assert json.loads(request.content) == {"argv": ["ls", "ü"], "count": 5, "retries": 2}
    assert request.headers["idempotency-key"] == "k 1"
    assert json.loads(sent([Work(command="ls")]).content) == {"command": "ls", "count": 1, "retries": 2}


def test_many_commands_are_sent_as_lines_behind_what_they_share() -> None:
    works = [Work(command=f"echo {n}\n") for n in range(1_200)] + [Work(argv=("ls",))]
    request = sent(works)
    assert request.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in request.content.splitlines()]
    assert lines[0] == {"options": {"retries": 2}}
    assert lines[1:] == [*(f"echo {n}\n" for n in range(1_200)), ["ls"]]
    assert encoded(works[0]) == b'"echo 0\\n"\n'


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a\nb", " a"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="--key must be 1 to 200"):
        sent([Work(command="ls")], key=key)


# === which tasks
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("1042", "1042"),
        ("#1042", "1042"),
        (" 007 ", "7"),
        (UUID_TEXT, UUID_TEXT),
        (UUID_TEXT.upper(), UUID_TEXT),
    ],
)
def test_names_of_tasks(given: str, name: str) -> None:
    assert task_name(given) == batch_name(given) == name


@pytest.mark.parametrize("given", ["", "0", "#", "-1", "1.5", "abc", "٣", "9" * 19, "1/../2"])
def test_what_is_no_name(given: str) -> None:
    with pytest.raises(UserError, match="TASK must be a number, such as 1042"):
        task_name(given)


@pytest.mark.parametrize(
    ("chosen", "target"),
    [
        (Chosen(names=("#3", "4")), {"tasks": ["3", "4"]}),
        (Chosen(everything=True), {"filter": {}}),
        (Chosen(batch="#7", tag="x"), {"filter": {"batch": "7", "tag": "x"}}),
        (
            Chosen(states=("failed,running", "Failed"), worker="w", text="t"),
            {"filter": {"states": ["failed", "running"], "worker": "w", "text": "t"}},
        ),
    ],
)
def test_targets(chosen: Chosen, target: dict[str, Any]) -> None:
    assert chosen.target("--all") == target


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (Chosen(), "Say which tasks: their numbers, or such as --batch 7 or --all"),
        (Chosen(names=("1",), tag="x"), "not both"),
        (Chosen(names=("1",), everything=True), "not both"),
        (Chosen(batch="x"), "BATCH must be a number, such as 7"),
        (Chosen(states=("done",)), "--state must be one of pending, assigned"),
    ],
)
def test_targets_that_are_none(chosen: Chosen, said: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen.target("--all")
    assert said in str(caught.value)


def test_states_may_be_repeated_or_parted_by_commas() -> None:
    assert states_of(("pending", "failed,pending")) == ("pending", "failed")
