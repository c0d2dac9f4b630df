"""The check that matters most: can a worker be started, and does it reach us with its certificate, on each way?

Starts the real door and real agents in a private temporary folder. The one event loop here runs on the main
thread and ends with the check.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.core.stimuli import Report
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.model import Level, WorkerRecord, WorkerState
from taskmaster_desktop.backend.ports import Admission, Ended, Hello, Link, WorkerRuntime
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from taskmaster_desktop.cli.checks.finding import Finding, ok, problem, warn

CONNECT_LIMIT_S = 10.0
END_LIMIT_S = 5.0
LOCAL_FIX = (
    "Look whether a firewall, a sandbox or SELinux keeps local connections from this user's processes."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One endpoint of the door, the name of its finding, and what to do where it is barred."""

    name: str
    endpoint: str
    fix: str


def worker_findings() -> Iterator[Finding]:
    """For workers that are processes of this machine."""
    with tempfile.TemporaryDirectory(prefix="taskmaster-") as name:
        folder = Path(name)
        yield from probe(folder, ProcessRuntime(folder), "doctor", _local_ways)


def _local_ways(endpoints: Sequence[str]) -> list[Way]:
    names = ["worker, socket" if endpoint.startswith("unix:") else "worker, TCP" for endpoint in endpoints]
    return [Way(name=name, endpoint=one, fix=LOCAL_FIX) for name, one in zip(names, endpoints, strict=True)]


def probe(
    folder: Path, runtime: WorkerRuntime, instance: str, ways: Callable[[Sequence[str]], list[Way]]
) -> list[Finding]:
    """One worker of `runtime` for each way. It is a failure when none of them is open.

    `ways` says which of the door's endpoints are to be tried.
    """
    try:
        findings = asyncio.run(_Probe(folder, runtime, instance).all_ways(ways))
    except EnvironmentProblem as found:
        return [problem("worker", "fail", found)]
    if all(finding.status != "ok" for finding in findings):
        return [finding._replace(status="fail") for finding in findings]
    return findings


class _Probe:
    """Implements `SessionHandler`, as far as a hello goes, and `RuntimeWatcher`."""

    def __init__(self, folder: Path, runtime: WorkerRuntime, instance: str) -> None:
        self._door = GrpcDoor(folder, instance)
        self._runtime = runtime
        self._instance = instance
        self._greeted: dict[str, asyncio.Event] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._ends: dict[str, Ended] = {}

    async def all_ways(self, ways: Callable[[Sequence[str]], list[Way]]) -> list[Finding]:
        await self._runtime.start()
        self._runtime.watch(self)
        try:
            await self._door.start(self, self._runtime.listen_hosts)
            await self._runtime.observe()  # from then on it tells of ends
            tried = ways(self._door.endpoints)
            return await asyncio.gather(*(self._one_way(number, way) for number, way in enumerate(tried, 1)))
        finally:
            await self._door.close()
            await self._runtime.close()

    async def _one_way(self, number: int, way: Way) -> Finding:
        record = _record(number, self._runtime.name)
        greeted = self._greeted[record.id] = asyncio.Event()
        ended = self._ended[record.id] = asyncio.Event()
        clock = SystemClock()
        begun_s = clock.now().mono_s
        try:
            await self._runtime.launch(
                record, replace(self._door.secret_for(record), endpoints=(way.endpoint,))
            )
        except EnvironmentProblem as found:
            return problem(way.name, "warn", found)
        both = [asyncio.create_task(greeted.wait()), asyncio.create_task(ended.wait())]
        await asyncio.wait(both, timeout=CONNECT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        took_s = clock.now().mono_s - begun_s
        finding = ok(way.name, f"started and connected by mutual TLS in {took_s:.2f} s")
        if not greeted.is_set():
            finding = warn(way.name, f"A worker did not connect ({await self._why_not(record)}).", way.fix)
        await self._runtime.kill(record)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                await ended.wait()
        for one in both:
            one.cancel()
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
        return Admission(session=1, instance=self._instance, heartbeat_interval_s=2.0, self_stop_s=5.0)

    def report(self, _report: Report) -> None:
        """A probe has no work."""

    def closed(self, _session: int) -> None:
        """It is about to be killed anyway."""


def _record(number: int, runtime: str) -> WorkerRecord:
    return WorkerRecord(
        number, f"probe-{number}", f"probe-{number}", runtime, WorkerState.STARTING, 1, "", "", 0, None, None, "", 0, 0
    )  # fmt: skip
