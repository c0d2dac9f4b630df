"""Rules for every test: nothing left running, no unexpected warning in the log, no skip on the CI runner."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from typing import TypeVar
from uuid import uuid4

import hypothesis
import pytest

from tests.helpers.leaks import RUN_MARK, leaked_since, running_now

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

ON_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if ON_CI else "dev"))


def pytest_configure() -> None:
    os.environ[RUN_MARK] = uuid4().hex


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _skip_is_failure((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _skip_is_failure((yield))


def _skip_is_failure(report: Report) -> Report:
    if ON_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"On the CI runner nothing may be skipped: {reason}"
    return report


class _Complaints(logging.Handler):
    """Collects what is logged at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {logging.Formatter().format(record)}")


@pytest.fixture(autouse=True)
def no_unexpected_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that logs a warning or worse, unless it is marked `expects_logs`."""
    complaints = _Complaints()
    root = logging.getLogger()
    root.addHandler(complaints)
    yield
    root.removeHandler(complaints)
    if complaints.lines and request.node.get_closest_marker("expects_logs") is None:
        pytest.fail("unexpected in the log:\n" + "\n".join(complaints.lines), pytrace=False)


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails a test that leaves threads or processes running."""
    before = running_now()
    yield
    leaked = leaked_since(before)
    if leaked:
        pytest.fail("left running:\n" + "\n".join(leaked), pytrace=False)
