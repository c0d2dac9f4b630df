"""`taskmaster map` on real files: what goes in, what comes out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.helpers.program import Program, lines

NASTY = [
    "$(touch pwned)",
    "two words",
    "new\nline",
    "it's",
    'say "x"',
    "-dash",
    "`touch pwned`",
    "a;touch pwned",
    "*",
]


def test_200_files_are_hashed_as_hashlib_does(program: Program) -> None:
    names = [f"file {number}.bin" for number in range(200)]
    for number, name in enumerate(names):
        (program.work / name).write_bytes(bytes([number]) * (number * 37))
    done = program.run("map", "sha256sum {}", *names)
    assert (done.code, done.err) == (0, "")
    expected = [f"{hashlib.sha256((program.work / name).read_bytes()).hexdigest()}  {name}" for name in names]
    assert lines(done) == expected


@pytest.mark.parametrize(
    "words",
    [("sha256sum -- {}",), ('sha256sum -- "{}"',), ("--argv", "sha256sum", "{}")],
    ids=["bare", "quoted", "argv"],
)
def test_names_stay_names(program: Program, words: tuple[str, ...]) -> None:
    for name in NASTY:
        (program.work / name).write_bytes(name.encode())
    before = sorted(program.work.iterdir())
    if words[0] == "--argv":
        done = program.run("map", "--argv", "--", "sha256sum", "--", "{}", ":::", *NASTY)
    else:
        done = program.run("map", words[0], "--", *NASTY)
    assert (done.code, done.err) == (0, "")
    for name in NASTY:
        assert hashlib.sha256(name.encode()).hexdigest().encode() in done.out
    assert sorted(program.work.iterdir()) == before


def test_lines_of_standard_input_are_arguments(program: Program) -> None:
    done = program.run("map", "printf '<%s>\\n' {}", stdin=b"one\n\ntwo words\n$(touch pwned)")
    assert (done.code, lines(done)) == (0, ["<one>", "<two words>", "<$(touch pwned)>"])
    assert list(program.work.iterdir()) == []


def test_nul_parts_names_with_line_ends(program: Program) -> None:
    done = program.run("map", "-0", "--argv", "printf", "<%s>", "{}", stdin=b"a\nb\0c\0")
    assert (done.code, done.out) == (0, b"<a\nb><c>")


def test_lines_of_standard_input_are_commands(program: Program) -> None:
    done = program.run("map", stdin=b"echo one\necho two | tr a-z A-Z\npwd\nsleep 0.01; echo four\n")
    assert (done.code, lines(done)) == (0, ["one", "TWO", str(program.work), "four"])


def test_nothing_to_do_is_done(program: Program) -> None:
    done = program.run("map", "echo {}", stdin=b"")
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_more_than_the_engine_holds_at_once(program: Program) -> None:
    done = program.run("map", "-w", "2", stdin=b"noop\n" * 25_000)
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_every_byte_of_a_big_output_passes_through(program: Program) -> None:
    size = 50 * 1024 * 1024
    block = bytes(range(256)) * 4096
    (program.work / "big").write_bytes(block * (size // len(block)))
    done = program.run("map", "cat {}; echo end >&2", "big")
    assert done.code == 0
    assert done.err == "end\n"
    assert len(done.out) == size
    assert hashlib.sha256(done.out).digest() == hashlib.sha256((program.work / "big").read_bytes()).digest()


def test_order_of_the_input_or_of_the_ends(program: Program) -> None:
    (program.work / "wait").write_text(
        "until [ -e done-$1 ]; do /bin/sleep 0.01; done; echo $2; touch done-$2\n"
    )
    words = ("-w", "3", "--argv", "sh", "-c", "sh wait $0", "{}")
    commands = [b"sh wait b a", b"sh wait c b", b"touch done-c; echo c"]
    for order, expected in (("input", ["a", "b", "c"]), ("done", ["c", "b", "a"])):
        done = program.run("map", *words[:2], "--order", order, stdin=b"\n".join(commands))
        assert (done.code, lines(done)) == (0, expected)
        for mark in program.work.glob("done-*"):
            mark.unlink()


def test_streams_stay_apart_and_tasks_together(program: Program) -> None:
    command = "for i in 1 2 3; do echo {}$i; echo {}e$i >&2; done"
    done = program.run("map", "-w", "3", command, "a", "b", "c")
    assert lines(done) == [f"{name}{i}" for name in "abc" for i in (1, 2, 3)]
    assert done.err.splitlines() == [f"{name}e{i}" for name in "abc" for i in (1, 2, 3)]


def test_json_on_standard_output_alone(program: Program) -> None:
    done = program.run("map", "--json", "-k", "--retries", "0", "echo {}; echo e >&2; test {} != b", "a", "b")
    told = json.loads(done.out)
    assert done.code == 1
    assert [(t["stdout"], t["stderr"], t["exit_code"], t["state"]) for t in told["tasks"]] == [
        ("a\n", "e\n", 0, "completed"),
        ("b\n", "e\n", 1, "failed"),
    ]
    assert (told["ok"], told["completed"], told["failed"], told["exit_code"]) == (False, 1, 1, 1)


def test_variables_are_handed_on(program: Program) -> None:
    program.environment["HANDED"] = "from outside"
    done = program.run("map", "--env", "HANDED", "--env", "SET=a b", 'echo "$HANDED,$SET,$HIDDEN,{}"', "x")
    assert lines(done) == ["from outside,a b,,x"]


def test_a_retry_prints_the_attempt_that_counts(program: Program) -> None:
    command = "echo attempt $TASKMASTER_ATTEMPT; test $TASKMASTER_ATTEMPT -gt 1; true {} && test -e tried || { touch tried; exit 1; }"
    done = program.run("map", "--retries", "1", command, "x")
    assert (done.code, lines(done), done.err) == (0, ["attempt 2"], "")


def test_a_folder_can_be_kept_and_used_again(program: Program) -> None:
    kept = program.temporary / "kept"
    for _ in range(2):
        done = program.run("map", "--data-dir", str(kept), "echo {}; test {} = a", "a", "b", "c")
        assert done.code == 1
    done = program.run("map", "--data-dir", str(kept), "echo {}", "a", "b", "c")
    assert (done.code, lines(done)) == (0, ["a", "b", "c"])
    for path in sorted(kept.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(kept).rmdir()
