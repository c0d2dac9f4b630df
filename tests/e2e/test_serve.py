"""`taskmaster serve`: from the ready line to a graceful or an immediate end."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from tests.helpers.eventually import eventually
from tests.helpers.program import LIMIT_S, Program

READY_KEYS = {"ready", "pid", "data_dir", "runtime", "runtime_why", "workers", "unfinished", "url"}


def serving(program: Program, folder: Path, *words: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    process = program.start("serve", "--json", "--data-dir", str(folder), "--log-level", "error", *words)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    return process, ready


def leave_a_long_task(program: Program, folder: Path) -> None:
    """A killed engine leaves its unfinished task in the database."""
    process = program.start(
        "map", "--data-dir", str(folder), "trap '' TERM; /bin/sleep {}; /bin/sleep {}", "654.5"
    )
    eventually(lambda: program.runs("/bin/sleep 654.5"), timeout_s=LIMIT_S, what="the running command")
    process.kill()
    program.finish(process)


def test_ready_then_a_graceful_end(program: Program, tmp_path: Path) -> None:
    process, ready = serving(program, tmp_path / "data", "--workers", "2")
    assert set(ready) == READY_KEYS
    assert (ready["ready"], ready["workers"], ready["runtime"], ready["unfinished"]) == (
        True,
        2,
        "process",
        0,
    )
    assert ready["pid"] == process.pid
    eventually(lambda: sum("taskmaster_worker" in line for line in program.living()) == 2, timeout_s=LIMIT_S)

    second = program.run("serve", "--data-dir", str(tmp_path / "data"))
    assert second.code == 3
    assert "Another TaskMaster is already running on the folder" in second.sentence

    process.send_signal(signal.SIGTERM)
    done = program.finish(process, limit_s=15)
    assert (done.code, done.out) == (0, b"")
    assert done.err.startswith("Stopping: ")


def test_the_size_of_the_fleet_is_remembered(program: Program, tmp_path: Path) -> None:
    for words, expected in ((("--workers", "1"), 1), ((), 1), (("--workers", "0"), 0)):
        process, ready = serving(program, tmp_path / "data", *words)
        assert ready["workers"] == expected
        process.send_signal(signal.SIGINT)
        assert program.finish(process, limit_s=15).code == 0


def test_a_second_signal_ends_it_within_two_seconds(program: Program, tmp_path: Path) -> None:
    leave_a_long_task(program, tmp_path / "data")
    process, ready = serving(program, tmp_path / "data", "--workers", "1")
    assert ready["unfinished"] == 1
    eventually(lambda: program.runs("/bin/sleep 654.5"), timeout_s=LIMIT_S, what="the task, adopted or anew")
    assert process.stderr is not None
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith(b"Stopping: 1 task(s)")
    clock = SystemClock()
    second_s = clock.now().mono_s
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130
    assert clock.now().mono_s - second_s < 2.0
    program.finish(process)
    program.assert_nothing_left()


def test_bad_options(program: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for words, said in (
        (
            ("--workers", "51"),
            "workers must be a whole number from 0 to 50, but the flag --workers says '51'.",
        ),
        (("--grace", "soon"), "--grace must be a time from 0s to 1d"),
        (("--log-level", "loud"), "log_level must be one of debug, info, warning and error"),
        (("--data-dir", str(tmp_path / "file")), "data_dir must be the name of a folder"),
    ):
        done = program.run("serve", *words)
        assert done.code == 2
        assert said in done.sentence
