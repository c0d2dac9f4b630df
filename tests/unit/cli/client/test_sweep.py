"""Sweeps: which combinations, in which order, and that each value stays one word."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_desktop.backend.commands import Work
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.client.sweep import Sweep

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
VALUES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0,"), min_size=1, max_size=12
)


@pytest.mark.parametrize(
    ("entries", "template", "expected"),
    [
        (["n=1"], "echo {n}", ["echo 1"]),
        (["n=1,2,3"], "echo {n}", ["echo 1", "echo 2", "echo 3"]),
        (["a=1,2", "b=x,y"], "t {a} {b}", ["t 1 x", "t 1 y", "t 2 x", "t 2 y"]),
        (["a=1,2", "b=x,y"], "t {b} {a}", ["t x 1", "t y 1", "t x 2", "t y 2"]),
        (["n=a b,c"], "echo {n}", ["echo 'a b'", "echo c"]),
        (["n=a b"], 'echo "{n}.txt"', ['echo "a b.txt"']),
        (["n=it's"], "echo '{n}'", ["echo 'it'\\''s'"]),
        (["n=1"], "echo {n} {n} {m} {}", ["echo 1 1 {m} {}"]),
        (["n=k=v,k=w"], "echo {n}", ["echo k=v", "echo k=w"]),
        (["a={b}", "b=1"], "echo {a} {b}", ["echo '{b}' 1"]),
        (["n=1"], "awk '{print {n}}'", ["awk '{print 1}'"]),
    ],
)
def test_of_a_command(entries: list[str], template: str, expected: list[str]) -> None:
    assert [work.command for work in Sweep.parse(entries).of_command(template)] == expected


def test_of_argv_values_are_put_in_as_they_are() -> None:
    works = Sweep.parse(["a=1 2,$(x)", "b={a}"]).of_argv(["tool", "--a={a}", "{b}"])
    assert [work.argv for work in works] == [("tool", "--a=1 2", "{a}"), ("tool", "--a=$(x)", "{a}")]


def test_a_line_that_only_begins_like_a_built_in_job_is_the_shells() -> None:
    works = list(Sweep.parse(["n=1,2"]).of_command("sleep {n}; ls"))
    assert works[0] == Work(argv=("/bin/sh", "-c", "sleep 1; ls"))
    assert next(Sweep.parse(["n=1"]).of_command("sleep {n}")) == Work(command="sleep 1")


@pytest.mark.parametrize(
    ("entries", "template", "said"),
    [
        (["n"], "echo {n}", "must be NAME=VALUE"),
        (["=1"], "echo {n}", "must be NAME=VALUE"),
        (["1n=1"], "echo {1n}", "must be NAME=VALUE"),
        (["a b=1"], "echo", "must be NAME=VALUE"),
        (["n="], "echo {n}", "empty value for n"),
        (["n=1,,2"], "echo {n}", "empty value for n"),
        (["n=1", "n=2"], "echo {n}", "names n twice"),
        (["n=1"], "echo", "has no {n}"),
        (["n=1", "m=1"], "echo {n}", "has no {m}"),
        (["n=1"], "echo `{n}`", "{n} cannot be quoted safely inside backquotes"),
        (["n=1"], "echo ${n}", "${n} would undo the quoting"),
        (["a=" + ",".join("1" * 400), "b=" + ",".join("1" * 400)], "{a}{b}", "160,000 combinations"),
    ],
)
def test_what_is_refused(entries: list[str], template: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Sweep.parse(entries).of_command(template)
    assert said in str(caught.value)


@given(st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=3))
def test_all_combinations_once_and_in_order(values: dict[str, list[str]]) -> None:
    sweep = Sweep.parse([f"{name}={','.join(listed)}" for name, listed in values.items()])
    words = [f"{name}:{{{name}}}" for name in values]
    found = [work.argv for work in sweep.of_argv(words)]
    expected = [
        tuple(f"{name}:{value}" for name, value in zip(values, chosen, strict=True))
        for chosen in itertools.product(*values.values())
    ]
    assert found == expected
    assert len(sweep) == len(found)


@settings(max_examples=40)
@given(
    first=VALUES,
    second=VALUES,
    template=st.sampled_from(["{a} {b}", '"{a}" "{b}"', "'{a}' '{b}'", '{a} "{b}"']),
)
def test_each_value_is_one_word_of_a_real_shell(first: str, second: str, template: str) -> None:
    [work] = Sweep.parse([f"a={first}", f"b={second}"]).of_command(f"printf '%s\\0' {template}")
    assert work.command is not None
    done = subprocess.run(["/bin/sh", "-c", work.command], capture_output=True, timeout=10, check=True)
    assert done.stdout.decode().split("\0") == [first, second, ""]
