"""The commands that talk to a running instance, against a real one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.eventually import eventually
from tests.helpers.program import LIMIT_S, Done, Program, lines


@dataclass(frozen=True, slots=True)
class Instance:
    """A `taskmaster serve`, and how its command line is used."""

    program: Program
    folder: Path
    url: str

    def __call__(self, command: str, *words: str, stdin: bytes | None = None) -> Done:
        return self.program.run(command, "--data-dir", str(self.folder), *words, stdin=stdin)

    def json(self, command: str, *words: str, stdin: bytes | None = None, code: int = 0) -> Any:
        done = self(command, "--json", *words, stdin=stdin)
        assert done.code == code, done
        return json.loads(done.out)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return self.program.start(*words, "--data-dir", str(self.folder))


@pytest.fixture
def instance(program: Program, tmp_path: Path) -> Iterator[Instance]:
    folder = tmp_path / "data"
    words = ("--port", "0", "--workers", "2", "--log-level", "error", "--grace", "0s")
    process = program.start("serve", "--json", "--data-dir", str(folder), *words)
    assert process.stdout is not None
    try:
        yield Instance(program, folder, json.loads(process.stdout.readline())["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        program.finish(process, limit_s=15)


def test_submit_wait_and_look(instance: Instance) -> None:
    done = instance("submit", "echo out; echo err >&2", "--tag", "first", "--env", "SECRET=hidden")
    assert (done.code, done.out, done.err) == (0, b"batch 1: #1\n", "")
    assert lines(instance("submit", "--count", "50", "--", "demo-job", "--ms", "1")) == [
        "batch 2: #2 to #51 (50 tasks)"
    ]
    swept = instance.json("submit", "echo {a}-'{b}'", "--sweep", "a=1,2", "--sweep", "b=x y,$(id)")
    assert (swept["size"], swept["first_task"], swept["last_task"]) == (4, 52, 55)
    listed = instance.json("submit", "-", stdin=b"echo from a list\n\nexit 3\n")
    assert listed["size"] == 2

    waited = instance("wait", "--batch", "2", "--batch", "3")
    assert (waited.code, waited.out, waited.err) == (0, b"54 completed.\n", "")
    told = instance.json("wait", "--batch", str(listed["batch"]), "--timeout", "30s", code=1)
    assert (told["ok"], told["completed"], told["failed"], told["timed_out"]) == (False, 1, 1, False)
    assert instance.json("wait", "1", "#52")["ok"] is True
    assert instance("wait", "--all").code == 0

    logs = instance("logs", "#1")
    assert (logs.code, logs.out, logs.err) == (0, b"out\n", "err\n")
    assert instance("logs", "1", "--stdout").err == ""
    assert instance("logs", "1", "--stderr").out == b""
    assert instance("logs", "55").out == b"2-$(id)\n"
    piece = json.loads(instance("logs", "1", "--stdout", "--json").out)
    assert (piece["event"], piece["stream"], piece["text"]) == ("output", "stdout", "out\n")

    shown = instance("show", "1")
    assert shown.code == 0
    assert "✓ completed" in shown.out.decode()
    assert "hidden" not in shown.out.decode()
    shown_json = instance.json("show", "1")
    assert shown_json["attempts"][0]["outcome"] == "completed"
    assert shown_json["options"]["cwd"] == str(instance.program.work)
    assert shown_json["options"]["env_names"] == ["SECRET"]
    assert instance.json("show", shown_json["id"])["number"] == 1

    heads, *rows = lines(instance("list", "--limit", "3"))
    assert heads.split()[:4] == ["TASK", "STATE", "WORKER", "TRY"]
    assert [row.split()[0] for row in rows] == ["#57", "#56", "#55"]
    assert [task["number"] for task in instance.json("list", "--tag", "first")["tasks"]] == [1]
    assert [task["number"] for task in instance.json("list", "--state", "failed")["tasks"]] == [57]
    found = instance.json("list", "--batch", "2", "--state", "completed", "--limit", "10")
    assert (len(found["tasks"]), found["more"]) == (10, True)
    assert instance.json("stats")["tasks"]["completed"] == 56


def test_the_same_key_submits_once(instance: Instance) -> None:
    first = instance.json("submit", "noop", "--key", "k")
    again = instance.json("submit", "noop", "--key", "k")
    assert (first["repeated"], again["repeated"], again["first_task"]) == (False, True, first["first_task"])
    other = instance("submit", "--key", "k", "echo other")
    assert (other.code, other.out) == (2, b"")
    assert other.sentence.startswith("taskmaster: ")


@pytest.mark.parametrize("count", [20_000])
def test_a_long_list(instance: Instance, count: int) -> None:
    stdin = b"".join(b'{"command": "noop"}\n' for _ in range(count))
    assert instance.json("submit", "--file", "-", stdin=stdin)["size"] == count
    assert instance("cancel", "--batch", "1", "--yes").code == 0
    assert instance.json("wait", "--batch", "1", code=1)["total"] == count


def test_run_is_as_if_it_ran_here(instance: Instance) -> None:
    (instance.program.work / "data.bin").write_bytes(bytes(range(256)) * 400)
    done = instance("run", "cat data.bin; echo problem >&2; exit 7")
    assert (done.code, done.out, done.err) == (7, bytes(range(256)) * 400, "problem\n")
    assert instance("run", "--argv", "printf", "%s", "$HOME").out == b"$HOME"
    assert instance("run", "noop").code == 0
    killed = instance("run", "kill -9 $$")
    assert (killed.code, killed.out) == (137, b"")
    assert "SIGKILL" in killed.sentence
    missing = instance("run", "--argv", "no-such-program")
    assert missing.code == 127
    assert "no-such-program was not found" in missing.sentence
    slow = instance("run", "--timeout", "0.3", "/bin/sleep 60")
    assert (slow.code, slow.sentence) == (124, "taskmaster: #6 timed out.")
    events = [json.loads(line) for line in lines(instance("run", "--json", "echo hi; exit 3"))]
    assert [event["event"] for event in events] == ["submitted", "output", "end"]
    assert (events[1]["text"], events[2]["exit_code"]) == ("hi\n", 3)


def test_a_run_that_is_tried_again_prints_all_attempts(instance: Instance) -> None:
    words = (
        "run",
        "--retries",
        "1",
        "--retry-delay",
        "0",
        "echo $TASKMASTER_ATTEMPT; test $TASKMASTER_ATTEMPT = 2",
    )
    done = instance(*words)
    assert (done.code, lines(done)) == (0, ["1", "2"])
    assert instance("logs", "1", "--attempt", "1").out == b"1\n"
    assert instance("logs", "-f", "--attempt", "1", "1").out == b"1\n"
    assert instance("logs", "1", "--attempt", "3").code == 2


def test_ctrl_c_of_run_cancels_the_task(instance: Instance) -> None:
    process = instance.start("run", "echo started; /bin/sleep 431.5")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    os.killpg(process.pid, signal.SIGINT)
    done = instance.program.finish(process, limit_s=15)
    assert (done.code, done.out, done.err) == (130, b"", "")
    assert instance.json("show", "1")["state"] == "cancelled"
    assert not instance.program.runs("/bin/sleep 431.5")


def test_a_second_ctrl_c_of_run_does_not_wait(instance: Instance) -> None:
    process = instance.start("run", "trap '' TERM; echo started; /bin/sleep 432.5; /bin/sleep 432.5")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    os.killpg(process.pid, signal.SIGINT)
    eventually(lambda: instance.json("show", "1")["cancelling"], timeout_s=10)
    os.killpg(process.pid, signal.SIGINT)
    assert instance.program.finish(process, limit_s=4).code == 130


def test_a_reader_that_leaves_ends_the_run(instance: Instance) -> None:
    process = instance.start("run", "while :; do echo y; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(LIMIT_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    eventually(lambda: instance.json("show", "1")["state"] == "cancelled", timeout_s=10)


def test_a_run_says_when_the_instance_goes_away(instance: Instance) -> None:
    process = instance.start("run", "echo started; /bin/sleep 433.5")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    told = json.loads((instance.folder / "run" / "api.json").read_text())
    os.kill(told["pid"], signal.SIGTERM)
    os.kill(told["pid"], signal.SIGTERM)
    done = instance.program.finish(process, limit_s=30)
    assert done.code == 3
    assert "has gone away while #1 was not finished" in done.sentence
    late = instance("stats")
    assert (late.code, late.out) == (3, b"")
    assert "No TaskMaster runs on the folder" in late.sentence


def test_logs_are_followed_until_the_end(instance: Instance) -> None:
    gate = instance.program.work / "gate"
    instance("submit", "echo one; until test -e gate; do /bin/sleep 0.05; done; echo two >&2")
    process = instance.start("logs", "-f", "1")
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    gate.touch()
    done = instance.program.finish(process)
    assert (done.code, done.out, done.err) == (0, b"", "two\n")


def test_cancel_retry_and_discard(instance: Instance) -> None:
    assert instance.json("pause")["paused"] is True
    instance("submit", "--count", "5", "--tag", "x", "noop")
    instance("submit", "exit 1")
    why = instance.json("show", "1")["why_not_running"]
    assert why.startswith("The queue is paused")
    assert instance.json("cancel", "1", "#2") == {"affected": 2, "dry_run": False}
    asked = instance("cancel", "--tag", "x")
    assert (asked.code, asked.out) == (2, b"")
    assert asked.sentence == "taskmaster: 3 tasks would be cancelled; add --yes to do it without being asked."
    assert lines(instance("cancel", "--tag", "x", "--dry-run")) == ["3 tasks would be cancelled."]
    assert lines(instance("cancel", "--tag", "x", "--yes")) == ["3 tasks were cancelled."]
    assert lines(instance("cancel", "--tag", "x")) == ["0 tasks were cancelled."]
    assert instance.json("resume")["paused"] is False
    assert instance("wait", "6").code == 1

    assert instance.json("list", "--dead-letters")["tasks"][0]["number"] == 6
    assert lines(instance("retry", "--all-failed", "--yes")) == ["1 task was put back into the queue."]
    assert instance("wait", "6").code == 1
    assert instance.json("show", "6")["attempt"] == 2
    assert instance.json("discard", "6")["affected"] == 1
    assert lines(instance("retry", "--all-failed", "--yes")) == ["0 tasks were put back into the queue."]
    assert instance("list", "--dead-letters").out == b""
    unknown = instance("retry", "999")
    assert (unknown.code, unknown.sentence) == (2, "taskmaster: There is no task #999.")


def on_a_terminal(instance: Instance, *words: str, answer: bytes) -> tuple[int, bytes]:
    """Exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "taskmaster_desktop", *words, "--data-dir", str(instance.folder)]
    process = subprocess.Popen(
        command, env=instance.program.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answer)  # read once it is asked for
    shown = b""
    with contextlib.suppress(OSError):  # how the end of a terminal looks
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    return process.wait(LIMIT_S), shown


def test_on_a_terminal_it_is_asked_once_and_progress_is_shown(instance: Instance) -> None:
    instance("pause")
    instance("submit", "--count", "3", "noop")
    code, shown = on_a_terminal(instance, "cancel", "--all", answer=b"n\n")
    assert (code, shown.count(b"3 tasks would be cancelled. Go on? [y/N]")) == (130, 1)
    assert instance.json("stats")["tasks"]["pending"] == 3
    code, shown = on_a_terminal(instance, "wait", "--all", "--timeout", "0.4", answer=b"")
    assert code == 124
    assert b"0/3" in shown
    assert shown.endswith(b"3 unfinished.\r\n")
    code, shown = on_a_terminal(instance, "cancel", "--all", answer=b"y\n")
    assert code == 0
    assert shown.endswith(b"3 tasks were cancelled.\r\n")


def test_the_fleet(instance: Instance) -> None:
    assert lines(instance("scale", "3"))[0].startswith("3 workers wanted: ")
    eventually(lambda: instance.json("stats")["workers"]["connected"] == 3, timeout_s=20)
    assert instance.json("drain", "3") == {"worker": 3, "name": "worker-3", "ordered": "stop"}
    assert lines(instance("kill", "worker-1")) == ["worker-1 is being killed."]
    eventually(
        lambda: (
            [w["name"] for w in instance.json("workers")["workers"] if w["state"] == "online"]
            == ["worker-2", "worker-4"]
        ),
        timeout_s=20,
    )
    assert "worker-1" in instance("workers", "--all").out.decode()
    for words in (("kill", "worker-1"), ("kill", "nobody"), ("drain", "99"), ("kill", "../tasks")):
        done = instance(*words)
        assert (done.code, done.out) == (2, b"")
        assert "worker" in done.sentence or "nothing at this address" in done.sentence
    assert instance.json("scale", "0")["desired"] == 0
    eventually(lambda: instance.json("stats")["workers"]["connected"] == 0, timeout_s=20)
    instance("submit", "noop")
    assert "There are no workers" in instance("show", "1").out.decode()
    assert instance("scale", "51").code == 2


def test_events_as_they_happen(instance: Instance) -> None:
    process = instance.start("events", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "ready"
    instance("run", "noop")
    assert [json.loads(process.stdout.readline())["event"] for _ in range(2)] == ["added", "finished"]
    os.killpg(process.pid, signal.SIGINT)
    done = instance.program.finish(process)
    assert (done.code, done.err) == (130, "")


def test_token_openapi_and_url(instance: Instance) -> None:
    token = instance("token").out.decode().strip()
    file = instance.folder / "run" / "token"
    assert token == file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert instance.json("token") == {"token": token, "file": str(file)}
    document = instance.json("openapi")
    assert document["openapi"].startswith("3.")
    assert json.loads(instance("openapi").out) == document
    by_url = instance.program.run("stats", "--json", "--url", instance.url)
    assert json.loads(by_url.out)["workers"]["desired"] == 2
    instance.program.environment["TASKMASTER_DESKTOP_DATA_DIR"] = str(instance.folder)
    assert instance.program.run("stats").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "noop"), ("run", "noop"), ("wait", "--all"), ("list",), ("show", "1"), ("logs", "1"),
        ("cancel", "1"), ("retry", "1"), ("discard", "1"), ("scale", "1"), ("kill", "1"), ("drain", "1"),
        ("pause",), ("resume",), ("workers",), ("stats",), ("events",), ("openapi",), ("token",),
    ],
)  # fmt: skip
def test_without_an_instance(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = program.run(*words, "--json", "--data-dir", str(tmp_path))
    assert done.code == 3
    assert json.loads(done.out) == {"error": done.sentence.removeprefix("taskmaster: "), "exit_code": 3}
    assert "taskmaster serve" in done.sentence


def test_nobody_at_an_address(program: Program) -> None:
    done = program.run("list", "--url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (3, b"")
    assert done.sentence.startswith("taskmaster: No TaskMaster answers at http://127.0.0.1:9.")


COMMANDS = (
    "submit", "run", "wait", "list", "show", "logs", "cancel", "retry", "discard", "scale", "kill", "drain",
    "pause", "resume", "workers", "stats", "events", "token", "openapi",
)  # fmt: skip


def test_help_of_every_command_is_quick_to_load(program: Program) -> None:
    listed = program.run("--help").out.decode()
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    for command in COMMANDS:
        assert f"  {command} " in listed
        told = program.run(command, "--help")
        assert told.code == 0
        for option in ("--json", "--data-dir", *(["--url"] if command != "token" else [])):
            assert option in told.out.decode()
        imported = {line.rpartition("|")[2].strip() for line in told.err.splitlines()}
        assert imported & {"httpx", "pydantic_settings", "asyncio", "sqlalchemy"} == set()
