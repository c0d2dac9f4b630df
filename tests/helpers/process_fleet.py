"""Runtimes of stub agents on one data folder, as engines that follow each other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from taskmaster_desktop.backend.fleet import linux, worker_folder
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from taskmaster_desktop.backend.ports import Ended
from tests.helpers.eventually import until
from tests.helpers.leaks import RUN_MARK
from tests.helpers.watching import Watching
from tests.helpers.worker_records import stub_command, worker_record, worker_secret


class Fleet:
    """A runtime with what it reported. `leftovers` is what of a worker's session ran when its end was told."""

    def __init__(self, data_dir: Path, mode: str, **options: object) -> None:
        self.data_dir = data_dir
        self.ended: list[tuple[str, Ended]] = []
        self.leftovers: list[int] = []
        self.runtime = ProcessRuntime(
            data_dir,
            command=stub_command(mode),
            extra_env={RUN_MARK: os.environ[RUN_MARK]},
            **options,  # type: ignore[arg-type]
        )
        self.runtime.watch(Watching(self._on_ended))

    def _on_ended(self, worker_id: str, ended: Ended) -> None:
        self.leftovers.append(members(self.pid(worker_id)))
        self.ended.append((worker_id, ended))

    def pid(self, worker_id: str = "w-1") -> int:
        trace = worker_folder.WorkerFolders(self.data_dir / "workers").read(worker_id)
        return trace.pid if trace is not None else -2

    async def launch(self, worker_id: str = "w-1") -> str:
        """Returns the handle once the agent has its bundle."""
        worker = worker_record(worker_id)
        handle = await self.runtime.launch(worker, worker_secret(worker_id))
        await self.until_ready(worker_id)
        return handle

    async def until_ready(self, worker_id: str = "w-1") -> None:
        log = self.data_dir / "workers" / worker_id / "agent.log"
        await until(lambda: log.exists() and b"ready" in log.read_bytes())

    async def one_end(self) -> Ended:
        await until(lambda: self.ended)
        ((worker_id, ended),) = self.ended
        assert worker_id == "w-1"
        return ended


Start: TypeAlias = Callable[..., Awaitable[Fleet]]


def members(session: int) -> int:
    found = list(linux.session_members(session))
    for ref in found:
        ref.close()
    return len(found)


@asynccontextmanager
async def fleets_in(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts runtimes on one data folder; ends all workers afterwards."""
    fleets: list[Fleet] = []

    async def start(mode: str = "obey", **options: object) -> Fleet:
        fleet = Fleet(tmp_path, mode, **options)
        await fleet.runtime.start()
        fleets.append(fleet)
        return fleet

    yield start
    for fleet in fleets:
        await fleet.runtime.close()
    last = Fleet(tmp_path, "obey")
    await last.runtime.start()
    for worker in await last.runtime.observe():
        if worker.alive:
            await last.runtime.kill(worker_record(worker.id))
            await until(lambda: len(last.ended) == 1)
            last.ended.clear()
    await last.runtime.close()
