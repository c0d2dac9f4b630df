"""How `taskmaster map` ends when not all is well: failures, time limits, Ctrl-C, readers that leave, bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.eventually import eventually
from tests.helpers.program import LIMIT_S, Program, lines


def test_the_first_failure_stops_the_rest(program: Program) -> None:
    names = [str(number) for number in range(40)]
    done = program.run("map", "-w", "1", "/bin/sleep 0.2; echo {}; test {} -lt 2 || exit 7", *names)
    assert (done.code, lines(done)[:3]) == (1, ["0", "1", "2"])
    assert "39" not in lines(done)
    first, second = done.err.splitlines()
    assert first == "taskmaster: failed with exit code 7: /bin/sleep 0.2; echo 2; test 2 -lt 2 || exit 7"
    assert second.startswith("taskmaster: stopped at the first failure: 2 of 40 done, 1 failed")


def test_keep_going_does_the_rest(program: Program) -> None:
    done = program.run("map", "--keep-going", "test {} -ne 2 && echo {}", "1", "2", "3")
    assert (done.code, lines(done)) == (1, ["1", "3"])
    assert done.err.splitlines() == [
        "taskmaster: failed with exit code 1: test 2 -ne 2 && echo 2",
        "taskmaster: 1 of 3 failed.",
    ]


def test_a_missing_program_is_named(program: Program) -> None:
    done = program.run("map", "--argv", "no-such-program", "{}", stdin=b"x\n")
    assert done.code == 1
    assert "no-such-program was not found" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("map", "--timeout", "0.3", "/bin/sleep {}", "60"), 124),
        (("map", "--timeout", "0.3", "-k", "/bin/sleep {}; exit 3", "60", "0"), 1),
    ],
)
def test_a_time_limit(program: Program, words: tuple[str, ...], code: int) -> None:
    done = program.run(*words)
    assert done.code == code
    assert "timed out" in done.err


def interrupted(program: Program, process: subprocess.Popen[bytes], *commands: str) -> None:
    """Ctrl-C as a terminal sends it, once these commands run."""
    eventually(lambda: program.runs(*commands), timeout_s=LIMIT_S, what="running commands")
    os.killpg(process.pid, signal.SIGINT)


def test_ctrl_c_cancels_and_says_what_is_done(program: Program) -> None:
    process = program.start(
        "map", "-w", "2", "test {} = 0 && echo {} || /bin/sleep {}", "0", "321.5", "321.6", "321.7"
    )
    interrupted(program, process, "sleep 321.5", "sleep 321.6")
    done = program.finish(process, limit_s=15)
    assert (done.code, lines(done)) == (130, ["0"])
    assert done.err.splitlines() == [
        "taskmaster: cancelling; interrupt again to end at once.",
        "taskmaster: interrupted: 1 of 4 done, the rest was cancelled.",
    ]
    program.assert_nothing_left()


def test_a_second_ctrl_c_does_not_wait(program: Program) -> None:
    process = program.start("map", "-w", "1", "trap '' TERM; /bin/sleep {}; /bin/sleep {}", "322.5")
    interrupted(program, process, "/bin/sleep 322.5")
    assert process.stderr is not None
    assert b"interrupt again" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert program.finish(process, limit_s=4).code == 130
    program.assert_nothing_left()


def test_sigterm_is_an_interruption_too(program: Program) -> None:
    process = program.start("map", "/bin/sleep {}", "323.5")
    eventually(lambda: program.runs("/bin/sleep 323.5"), timeout_s=LIMIT_S)
    process.terminate()
    assert program.finish(process, limit_s=15).code == 130


def test_a_reader_that_leaves_ends_it_cleanly(program: Program) -> None:
    process = program.start("map", "echo {}", piped=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"".join(b"%d\n" % number for number in range(5_000)))
    process.stdin.flush()
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.wait(LIMIT_S) == 0
    process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_full_disk_behind_standard_output_is_said(program: Program) -> None:
    words = [sys.executable, "-m", "taskmaster_desktop", "map", "echo {}", "a", "b"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            words, cwd=program.work, env=program.environment, stdin=subprocess.DEVNULL, stdout=full,
            stderr=subprocess.PIPE, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.decode().startswith(
        "taskmaster: The output cannot be written (No space left on device)."
    )
    assert done.stderr.count(b"\n") == 1


def test_a_hang_up_ends_it(program: Program) -> None:
    process = program.start("map", "/bin/sleep {}", "324.5")
    eventually(lambda: program.runs("/bin/sleep 324.5"), timeout_s=LIMIT_S)
    process.send_signal(signal.SIGHUP)
    assert program.finish(process, limit_s=15).code == 130


def test_ctrl_c_while_standard_input_goes_on(program: Program) -> None:
    process = program.start("map", "echo {}; touch ran", piped=True)
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    eventually(lambda: (program.work / "ran").exists(), timeout_s=LIMIT_S)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(15) == 130
    done = program.finish(process)
    assert done.out == b"first\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("map", "echo"), "has no {}"),
        (("map", "echo", "a"), "has no {}"),
        (("map", "echo `{}`", "a"), "cannot be quoted safely"),
        (("map", "--argv", "echo", ":::", "a"), "has no {}"),
        (("map", "--argv", ":::", "a"), "needs a program"),
        (("map", "--order", "random", "echo {}", "a"), "--order must be input or done"),
        (("map", "--workers", "0", "echo {}", "a"), "--workers must be a whole number from 1 to 50"),
        (("map", "--workers", "many", "echo {}", "a"), "--workers must be a whole number from 1 to 50"),
        (("map", "--retries", "11", "echo {}", "a"), "--retries must be a whole number from 0 to 10"),
        (("map", "--timeout", "0", "echo {}", "a"), "--timeout must be a time from 0.1s to 7d"),
        (("map", "--env", "=", "echo {}", "a"), "--env must be NAME=VALUE"),
        (("map", "--runtime", "magic", "echo {}", "a"), "runtime must be one of auto, docker and process"),
        (("map", "--bogus", "echo {}", "a"), "No such option: --bogus"),
        (("map", "echo {}", b"bro\xffken"), "Argument 1 is not valid UTF-8 (bro\\xffken)"),
        (("map", "echo {}", "x" * 40_000), "command must be text of 1 to 32,768 characters"),
    ],
)
def test_wrong_input_is_one_sentence(program: Program, words: tuple[str | bytes, ...], said: str) -> None:
    done = program.run(*words)
    assert (done.code, done.out) == (2, b"")
    assert said in done.sentence


def test_a_broken_line_is_named_after_what_came_before(program: Program) -> None:
    done = program.run("map", "-w", "1", "echo {}", stdin=b"a\nb\nbro\xffken\n")
    assert done.code == 2
    assert "Item 3 of standard input is not valid UTF-8" in done.sentence


@pytest.mark.parametrize("words", [("--runtime", "docker"), ("--image", "debian")])
def test_docker_is_said_not_to_be_there(program: Program, words: tuple[str, str]) -> None:
    done = program.run("map", *words, "--docker-host", "unix:///no.sock", "echo {}", "a")
    assert done.code == 3
    assert done.sentence == (
        "taskmaster: No Docker Engine answers at unix:///no.sock. Start Docker, or use --runtime process."
    )
