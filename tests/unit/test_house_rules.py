"""What this team agreed never to write again, as code; each rule carries its reason."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from tests.helpers import source_rules as rules
from tests.helpers.source_rules import AGENT, PACKAGE, ROOT, Rule, Source, within

CLOCK = PACKAGE + "backend/clock.py"
CORE = PACKAGE + "backend/core/"
MIGRATIONS = PACKAGE + "backend/store/migrations/versions/"
EVERYWHERE = within(*rules.SOURCE_FOLDERS)

RULES = [
    Rule(
        name="no print",
        reason="standard output belongs to the CLI's results (--json is read by programs); log instead",
        holds_in=within(PACKAGE, AGENT, "tests/", but=(PACKAGE + "cli",)),
        find=rules.calls_of("print"),
        sample="print(1)",
    ),
    Rule(
        name="one clock",
        reason="time comes from the Clock that was handed in, or tests cannot turn it",
        holds_in=within(PACKAGE, but=(CLOCK,)),
        find=rules.uses_of(rules.WALL_CLOCK),
        sample="from time import monotonic as now\nnow()",
    ),
    Rule(
        name="no clock in the core",
        reason="the core is told the time with each stimulus; of the clock module it may know the type Moment",
        holds_in=within(CORE),
        find=rules.other_names_from("taskmaster_desktop.backend.clock", frozenset({"Moment", "SECOND_US"})),
        sample="from taskmaster_desktop.backend import clock\nclock.SystemClock()",
    ),
    Rule(
        name="no shared random numbers in the core",
        reason="a seed must replay to the same trace; use the random.Random that was handed in",
        holds_in=within(CORE),
        find=rules.other_names_from("random", frozenset({"Random"})),
        sample="import random\nrandom.random()",
    ),
    Rule(
        name="no sleep in tests",
        reason="a sleep is too short on a busy machine and too long on any other; use helpers/eventually.py",
        # The simulation's loop has a virtual clock: its sleeps take no time.
        holds_in=within("tests/", but=("tests/helpers/eventually.py", "tests/helpers/sim_ports.py")),
        find=rules.sleeps,
        sample="import asyncio\nasyncio.sleep(0.1)",
    ),
    Rule(
        name="Qt in ui only",
        reason="servers are installed without Qt",
        holds_in=within(PACKAGE, AGENT, but=(PACKAGE + "ui/",)),
        find=rules.imports_of(rules.QT_PACKAGES),
        sample="def f():\n    from PySide6 import QtCore",
    ),
    Rule(
        name="docker in docker_ctl only",
        reason="the SDK blocks and is not thread-safe; docker_ctl.py owns its clients and threads",
        holds_in=within(PACKAGE, AGENT, but=(PACKAGE + "docker_ctl.py",)),
        find=rules.imports_of(frozenset({"docker"})),
        sample="import docker.errors",
    ),
    Rule(
        name="short modules",
        reason=f"aim at 300 lines, split by responsibility before {rules.MODULE_LINES}",
        holds_in=EVERYWHERE,
        find=rules.long_module,
        sample="x = 1\n" * (rules.MODULE_LINES + 1),
    ),
    Rule(
        name="short functions",
        reason=f"aim at 40 lines, split by step before {rules.FUNCTION_LINES}",
        # Alembic writes a revision as one list of steps.
        holds_in=within(*rules.SOURCE_FOLDERS, but=(MIGRATIONS,)),
        find=rules.long_functions,
        sample="def f():\n" + "    x = 1\n" * rules.FUNCTION_LINES,
    ),
    Rule(
        name="no notes to oneself",
        reason="finish it, or open an issue",
        holds_in=EVERYWHERE,
        find=rules.left_over_marks,
        sample="x = 1  # TO" + "DO later",
    ),
    Rule(
        name="no swallowed exceptions",
        reason="a bug that nobody hears of stays; catch the narrowest type or log with its traceback",
        holds_in=EVERYWHERE,
        find=rules.swallowed_exceptions,
        sample="try:\n    f()\nexcept Exception:\n    pass",
    ),
]

# Named by the import contracts in pyproject.toml and not written yet; remove a name when its module comes.
NOT_YET_WRITTEN = {"app", "cli", "docker_ctl", "ui", "backend.http", "backend.services"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule(rule: Rule) -> None:
    found = rules.offenders(rule)
    if found:
        pytest.fail("\n".join([f"{rule.name}: {rule.reason}", *found]), pytrace=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_catches_its_sample(rule: Rule) -> None:
    assert list(rule.find(Source.of("sample.py", rule.sample)))


@pytest.mark.parametrize(
    ("find", "innocent"),
    [
        (rules.calls_of("print"), "console.print(1)"),
        (rules.uses_of(rules.WALL_CLOCK), "import time\ntime.strftime('%c')\nclock.now()\nself.time.time()"),
        (rules.sleeps, "import asyncio\nasyncio.sleep(0)"),
        (rules.imports_of(frozenset({"docker"})), "import docker_ctl\nfrom . import docker"),
        (
            rules.other_names_from("random", frozenset({"Random"})),
            "from random import Random\nRandom(1).random()",
        ),
        (rules.swallowed_exceptions, "try:\n    f()\nexcept OSError:\n    pass"),
    ],
)
def test_rules_leave_the_innocent_alone(find: rules.Find, innocent: str) -> None:
    assert not list(find(Source.of("sample.py", innocent)))


def test_lock_files_hold_names_and_hashes_only() -> None:
    """An address in a lock file ties the project to one machine's package index."""
    locks = [*(ROOT / "requirements").glob("*.txt"), ROOT / "worker_image" / "requirements.txt"]
    assert len(locks) >= 4
    allowed = re.compile(
        r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^ /@]+( ; [^/@]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
    )
    wrong = [
        f"{lock.name}:{number}: {line}"
        for lock in locks
        for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), start=1)
        if not allowed.fullmatch(line)
    ]
    assert not wrong


def test_import_contracts_name_modules_that_exist() -> None:
    """Import-linter passes over a pattern that matches nothing, so a misspelt name would check nothing."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {
        name.removeprefix("*.")
        for contract in config["tool"]["importlinter"]["contracts"]
        for key in ("source_modules", "forbidden_modules", "modules")
        for name in contract.get(key, [])
        if name.startswith("*.")
    }
    package = ROOT / PACKAGE
    places = {name: package.joinpath(*name.split(".")) for name in named}
    absent = {
        name for name, place in places.items() if not (place.is_dir() or place.with_suffix(".py").is_file())
    }
    assert absent <= NOT_YET_WRITTEN


def test_the_headless_package_imports_without_qt() -> None:
    """In a process of its own, where every import of Qt fails."""
    program = """
import importlib, pkgutil, sys
for name in ("PySide6", "shiboken6", "pyqtgraph"):
    sys.modules[name] = None
import taskmaster_desktop
names = [m.name for m in pkgutil.walk_packages(taskmaster_desktop.__path__, "taskmaster_desktop.")
         if not m.name.startswith("taskmaster_desktop.ui") and not m.name.endswith("__main__")]
for name in names:
    if ".migrations." not in name:
        importlib.import_module(name)
assert "taskmaster_desktop.settings" in names
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stderr
