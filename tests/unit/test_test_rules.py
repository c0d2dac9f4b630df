"""The guards of tests/conftest.py bite: run on a few bad tests in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.source_rules import ROOT

BAD_TESTS = """
import logging, subprocess, threading
import pytest

def test_good():
    threading.Thread(target=str).start()

@pytest.mark.expects_logs
def test_expected_warning():
    logging.getLogger("x").warning("wanted")

def test_leaks_a_thread():
    threading.Thread(target=threading.Event().wait, daemon=True, name="forgotten").start()

def test_leaks_an_orphan():
    subprocess.run(["/bin/sh", "-c", "setsid /bin/sleep 5 >/dev/null 2>&1 &"], check=True)

def test_logs_a_warning():
    logging.getLogger("x").warning("unwanted")

@pytest.mark.skip(reason="no engine here")
def test_skipped():
    pass
"""


def run_bad_tests(folder: Path, *, ci: str, only: str = "test") -> str:
    (folder / "test_bad.py").write_text(BAD_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-k", only, str(folder)],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout


def test_leaks_and_warnings_fail_a_test_and_skips_are_named(tmp_path: Path) -> None:
    text = run_bad_tests(tmp_path, ci="")
    assert "thread forgotten" in text
    assert "/bin/sleep 5" in text
    assert "WARNING x: unwanted" in text
    assert "no engine here" in text
    assert "5 passed, 1 skipped, 3 errors" in text


def test_a_skip_fails_on_the_ci_runner(tmp_path: Path) -> None:
    text = run_bad_tests(tmp_path, ci="true", only="test_skipped")
    assert "On the CI runner nothing may be skipped: Skipped: no engine here" in text
    assert "skipped," not in text
