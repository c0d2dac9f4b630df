"""`taskmaster doctor`: runs every check, prints what each found and how to mend it. Main thread."""

from __future__ import annotations

from collections.abc import Iterator

from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.checks.docker import docker_findings
from taskmaster_desktop.cli.checks.finding import Finding
from taskmaster_desktop.cli.checks.machine import machine_findings
from taskmaster_desktop.cli.checks.storage import storage_findings
from taskmaster_desktop.cli.checks.workers import worker_findings
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.fleet_options import FleetOptions
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.settings import Settings

SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}
WIDTH = 19


def run_doctor(common: Common, output: Output, *, fleet: FleetOptions) -> int:
    """Exit code 3 where something must be mended first, else 0."""
    settings = common.settings(fleet.flags(), quiet=True)
    findings = []
    for finding in _all(settings):
        findings.append(finding)
        output.result(f"{SIGNS[finding.status]} {finding.name:<{WIDTH}} {finding.text}")
        if finding.fix:
            output.result(f"  {'':<{WIDTH}} {finding.fix}")
    failed = sum(finding.status == "fail" for finding in findings)
    warned = sum(finding.status == "warn" for finding in findings)
    output.result(_closing(failed, warned))
    output.json({"ok": failed == 0, "checks": [finding._asdict() for finding in findings]})
    return exit_codes.NO_ENGINE if failed else exit_codes.OK


def _all(settings: Settings) -> Iterator[Finding]:
    yield from machine_findings()
    yield from storage_findings(settings.data_dir)
    yield from worker_findings()
    yield from docker_findings(settings)


def _closing(failed: int, warned: int) -> str:
    if failed:
        return f"{failed} thing(s) must be mended before TaskMaster can work."
    return "Everything works." if not warned else f"Everything works; {warned} thing(s) could be better."
