"""`taskmaster doctor`: runs every check, prints what each found and how to mend it. Main thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.checks.finding import Finding
from taskmaster_desktop.cli.checks.machine import machine_findings
from taskmaster_desktop.cli.checks.storage import storage_findings
from taskmaster_desktop.cli.checks.workers import worker_findings
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.output import Output

SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}


def run_doctor(common: Common, output: Output) -> int:
    """Exit code 3 where something must be mended first, else 0."""
    settings = common.settings({}, quiet=True)
    findings = []
    for finding in _all(settings.data_dir):
        findings.append(finding)
        output.result(f"{SIGNS[finding.status]} {finding.name:<14} {finding.text}")
        if finding.fix:
            output.result(f"  {'':<14} {finding.fix}")
    failed = sum(finding.status == "fail" for finding in findings)
    warned = sum(finding.status == "warn" for finding in findings)
    output.result(_closing(failed, warned))
    output.json({"ok": failed == 0, "checks": [finding._asdict() for finding in findings]})
    return exit_codes.NO_ENGINE if failed else exit_codes.OK


def _all(data_dir: Path) -> Iterator[Finding]:
    yield from machine_findings()
    yield from storage_findings(data_dir)
    yield from worker_findings()


def _closing(failed: int, warned: int) -> str:
    if failed:
        return f"{failed} thing(s) must be mended before TaskMaster can work."
    return "Everything works." if not warned else f"Everything works; {warned} thing(s) could be better."
