"""The command line as a whole: help, version, completion, doctor."""

from __future__ import annotations

import json
import sys

import pytest

from taskmaster_desktop import __version__
from tests.helpers.program import Program, lines


def test_help_and_version(program: Program) -> None:
    assert lines(program.run("--version")) == [f"taskmaster {__version__}"]
    listed = program.run("--help")
    assert listed.code == 0
    for command in ("demo", "map", "serve", "doctor", "cleanup"):
        assert command in listed.out.decode()
        told = program.run(command, "--help")
        assert told.code == 0
        for option in ("--json", "--data-dir", "--log-level", "--log-format"):
            assert option in told.out.decode()


def test_help_imports_nothing_heavy(program: Program) -> None:
    """What help takes is what importing takes."""
    program.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    told = program.run("--help")
    imported = {line.rpartition("|")[2].strip() for line in told.err.splitlines()}
    heavy = {"sqlalchemy", "grpc", "pydantic", "rich", "jinja2", "cryptography", "alembic", "asyncio"}
    assert imported & heavy == set()


@pytest.mark.parametrize(
    "words", [("nonsense",), ("demo", "--runtime"), ("doctor", "extra"), ("serve", "--json=3")]
)
def test_wrong_usage_is_one_sentence(program: Program, words: tuple[str, ...]) -> None:
    done = program.run(*words)
    assert (done.code, done.out) == (2, b"")
    assert done.sentence.startswith("taskmaster: ")
    assert "--help" in done.sentence


def test_wrong_usage_under_json(program: Program) -> None:
    done = program.run("map", "--json", "--bogus")
    assert json.loads(done.out)["exit_code"] == 2


def test_without_a_command_it_shows_help(program: Program) -> None:
    done = program.run()
    assert (done.code, done.out) == (2, b"")
    assert "Commands:" in done.err


def test_completion(program: Program) -> None:
    program.environment |= {
        "_TASKMASTER_COMPLETE": "complete_bash",
        "COMP_WORDS": "taskmaster de",
        "COMP_CWORD": "1",
    }
    assert b"demo" in program.run().out


def test_doctor_finds_this_machine_sound(program: Program) -> None:
    done = program.run("doctor", "--json")
    told = json.loads(done.out)
    assert (done.code, told["ok"], done.err) == (0, True, "")
    names = [check["name"] for check in told["checks"]]
    assert {
        "python",
        "sqlite",
        "pidfd",
        "open files",
        "docker",
        "data folder",
        "disk space",
        "database",
    } <= set(names)
    assert [name for name in names if name.startswith("worker")] == ["worker, socket", "worker, TCP"]
    assert all(set(check) == {"name", "status", "text", "fix"} for check in told["checks"])
    assert "Everything works" in program.run("doctor").out.decode()


def test_doctor_names_what_is_broken(program: Program, tmp_path: object) -> None:
    folder = program.work / "data"
    folder.mkdir()
    (folder / "taskmaster.db").write_bytes(b"this is not a database" * 100)
    done = program.run("doctor", "--json", "--data-dir", str(folder))
    broken = [check for check in json.loads(done.out)["checks"] if check["status"] == "fail"]
    assert done.code == 3
    assert [check["name"] for check in broken] == ["database"]
    assert broken[0]["fix"]


def test_workers_that_cannot_start_are_noticed(program: Program) -> None:
    broken = program.work / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\nif 'taskmaster_worker' in sys.orig_argv: sys.exit('no cheese')\n"
    )
    program.environment["PYTHONPATH"] = str(broken)
    for words in (("map", "echo {}", "a"), ("demo",)):
        done = program.run(*words)
        assert (done.code, done.out) == (3, b"")
        last = done.err.splitlines()[-1]
        assert "do not start" in last
        assert "taskmaster doctor" in last
    told = json.loads(program.run("doctor", "--json").out)
    workers = [check for check in told["checks"] if check["name"].startswith("worker")]
    assert [check["status"] for check in workers] == ["fail", "fail"]
    assert all("no cheese" in check["text"] for check in workers)


def test_a_bug_shows_no_traceback(program: Program) -> None:
    """A module that cannot be imported stands for any bug."""
    broken = program.work / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import sys\nsys.modules['sqlalchemy'] = None\n")
    program.environment["PYTHONPATH"] = str(broken)
    done = program.run("doctor")
    assert done.code == 70
    assert "the log is in" in done.sentence
    assert sys.version_info >= (3, 11)
