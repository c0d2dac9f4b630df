"""The check that matters most: can a worker be started, and does it reach us with its certificate, on each way?

Starts the real door and real agents in a private temporary folder. The one event loop here runs on the main
thread and ends with the check.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.core.stimuli import Report
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.model import Level, WorkerRecord, WorkerState
from taskmaster_desktop.backend.ports import Admission, Ended, Hello, Link
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.cli.checks.finding import Finding, fail, ok, warn

CONNECT_LIMIT_S = 20.0
END_LIMIT_S = 5.0


def worker_findings() -> Iterator[Finding]:
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-"))
    try:
        yield from asyncio.run(_Probe(folder).all_ways())
    except EnvironmentProblem as problem:
        yield fail("worker", str(problem).removesuffix(problem.fix).strip(), problem.fix)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Probe:
    """Implements `SessionHandler`, as far as a hello goes."""

    def __init__(self, folder: Path) -> None:
        self._door = GrpcDoor(folder, "doctor")
        self._runtime = ProcessRuntime(folder)
        self._greeted: dict[str, asyncio.Event] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._ends: dict[str, Ended] = {}

    async def all_ways(self) -> list[Finding]:
        await self._runtime.start()
        self._runtime.watch(self)
        try:
            await self._door.start(self)
            findings = [
                await self._one_way(number, endpoint)
                for number, endpoint in enumerate(self._door.endpoints, 1)
            ]
        finally:
            await self._door.close()
            await self._runtime.close()
        if findings and all(finding.status != "ok" for finding in findings):
            return [finding._replace(status="fail") for finding in findings]
        return findings

    async def _one_way(self, number: int, endpoint: str) -> Finding:
        name = "worker, socket" if endpoint.startswith("unix:") else "worker, TCP"
        record = _record(number)
        greeted = self._greeted[record.id] = asyncio.Event()
        ended = self._ended[record.id] = asyncio.Event()
        clock = SystemClock()
        begun_s = clock.now().mono_s
        await self._runtime.launch(record, replace(self._door.secret_for(record), endpoints=(endpoint,)))
        both = [asyncio.create_task(greeted.wait()), asyncio.create_task(ended.wait())]
        await asyncio.wait(both, timeout=CONNECT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        took_s = clock.now().mono_s - begun_s
        finding = ok(name, f"started and connected by mutual TLS in {took_s:.2f} s")
        if not greeted.is_set():
            finding = warn(
                name,
                f"A worker did not connect ({await self._why_not(record)}).",
                "Look whether a firewall, a sandbox or SELinux keeps local connections from this user's processes.",
            )
        await self._runtime.kill(record)
        async with asyncio.timeout(END_LIMIT_S):
            await ended.wait()
        both[0].cancel()
        return finding

    async def _why_not(self, record: WorkerRecord) -> str:
        end = self._ends.get(record.id)
        log = (await self._runtime.log(record, tail_bytes=2000)).decode(errors="replace").strip()
        last = log.splitlines()[-1] if log else "it said nothing"
        return (
            f"{end.reason}; {last}"
            if end is not None
            else f"still silent after {CONNECT_LIMIT_S:.0f} s; {last}"
        )

    # === RuntimeWatcher
    def worker_ended(self, worker_id: str, ended: Ended) -> None:
        self._ends[worker_id] = ended
        self._ended[worker_id].set()

    def runtime_trouble(self, trouble: str | None) -> None:
        """Shows in the finding, if it matters."""

    def runtime_news(self, level: Level, message: str) -> None:
        """Nobody reads a log here."""

    # === SessionHandler
    async def admit(self, hello: Hello, _link: Link) -> Admission:
        self._greeted[hello.worker_id].set()
        return Admission(session=1, instance="doctor", heartbeat_interval_s=2.0, self_stop_s=5.0)

    def report(self, _report: Report) -> None:
        """A probe has no work."""

    def closed(self, _session: int) -> None:
        """It is about to be killed anyway."""


def _record(number: int) -> WorkerRecord:
    return WorkerRecord(
        number, f"probe-{number}", f"probe-{number}", "process", WorkerState.STARTING, 1, "", "", 0, None, None, "", 0, 0
    )  # fmt: skip
