"""The embedded runtime: worker agents as local processes, watched through pidfds.

Everything runs on the engine's loop; what blocks (starting a process, /proc, files) runs on two helper
threads of its own. Each agent leads a session of its own and logs to a file, because it may outlive this
engine; its commands stay in that session, and a worker has ended only when none of it runs any more.

Linux only by test. On macOS the same design needs kqueue's EVFILT_PROC in place of the pidfd and
`proc_listpids` in place of /proc; on Windows a job object does all of it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet import verdict
from taskmaster_desktop.backend.fleet.adoption import find
from taskmaster_desktop.backend.fleet.launch import launch_agent
from taskmaster_desktop.backend.fleet.linux import ProcessRef, oom_kills
from taskmaster_desktop.backend.fleet.session_reaper import end_session
from taskmaster_desktop.backend.fleet.worker_folder import Trace, WorkerFolders
from taskmaster_desktop.backend.model import WorkerRecord
from taskmaster_desktop.backend.ports import Ended, ObservedWorker, RuntimeWatcher, Sighting, WorkerSecret

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

AGENT_MODULE = "taskmaster_worker"
KEPT_FOLDERS = 50
POLL_S = 0.2
"""How often agents without a pidfd are looked at (kernels before 5.3, some sandboxes)."""


@dataclass(slots=True, eq=False)
class _Agent:
    """A watched worker.

    Attributes:
        ref: its process; None where only what it started is left.
        killed: we sent it SIGKILL.
        oom_before: the count of out-of-memory kills when the watch began.
        confirming: runs from the agent's death until nothing of it is left.
    """

    trace: Trace
    ref: ProcessRef | None
    oom_before: int
    killed: bool = False
    confirming: asyncio.Task[None] | None = field(default=None)


class ProcessRuntime:
    """Implements `WorkerRuntime`.

    Args:
        data_dir: each worker has a folder `workers/<its id>` there.
        command: how to start an agent; the installed one by default.
        extra_env: for agents, beside the few variables they inherit.
        kept_folders: folders of ended workers that are kept, for their logs.
    """

    name = "process"
    self_stop_s = 60.0
    confirms_death = True
    listen_hosts: tuple[str, ...] = ()
    sightings: Mapping[str, Sighting] = MappingProxyType({})

    def __init__(
        self,
        data_dir: Path,
        *,
        command: Sequence[str] | None = None,
        extra_env: Mapping[str, str] | None = None,
        kept_folders: int = KEPT_FOLDERS,
    ) -> None:
        self._folders = WorkerFolders(data_dir / "workers")
        self._command = command
        self._extra_env = dict(extra_env or {})
        self._kept_folders = kept_folders
        self._threads: ThreadPoolExecutor | None = None
        self._closing = False
        self._watcher: RuntimeWatcher | None = None
        self._agents: dict[str, _Agent] = {}
        self._launches: dict[str, asyncio.Task[str]] = {}
        self._reported: set[str] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._threads is not None:
            return
        self._closing = False
        if self._command is None:
            if importlib.util.find_spec(AGENT_MODULE) is None:
                raise EnvironmentProblem(
                    "The worker agent is not installed beside this program.",
                    fix="Install taskmaster-desktop anew; it brings the agent with it.",
                )
            # -P: nothing in the agent's working folder can be taken for a module.
            self._command = (sys.executable, "-P", "-m", AGENT_MODULE)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="fleet")

    async def close(self) -> None:
        if self._threads is None or self._closing:
            return
        self._closing = True
        await asyncio.gather(*self._launches.values(), return_exceptions=True)
        stopping = [agent.confirming for agent in self._agents.values() if agent.confirming is not None]
        if self._poller is not None:
            stopping.append(self._poller)
            self._poller = None
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, *self._chores, return_exceptions=True)
        for agent in self._agents.values():
            self._unwatch(agent)
        self._agents.clear()
        self._threads.shutdown()
        self._threads = None

    def watch(self, watcher: RuntimeWatcher) -> None:
        self._watcher = watcher

    # -------------------------------------------------------- what the engine asks for
    async def launch(self, worker: WorkerRecord, secret: WorkerSecret) -> str:
        agent = self._agents.get(worker.id)
        if agent is not None:
            return agent.trace.handle
        launching = self._launches.get(worker.id)
        if launching is None:
            launching = asyncio.get_running_loop().create_task(self._launch(secret))
            self._launches[worker.id] = launching
            launching.add_done_callback(lambda _: self._launches.pop(worker.id, None))
        return await asyncio.shield(launching)  # a started process must be watched, whoever loses interest

    async def terminate(self, worker: WorkerRecord) -> None:
        agent = await self._agent_of(worker)
        if agent is not None and agent.ref is not None:
            agent.ref.send_signal(signal.SIGTERM)

    async def kill(self, worker: WorkerRecord) -> None:
        agent = await self._agent_of(worker)
        if agent is None:
            asyncio.get_running_loop().call_soon(self._report, worker.id, Ended(reason="it was not running"))
        elif agent.ref is not None and agent.confirming is None:
            agent.killed = True
            agent.ref.send_signal(signal.SIGKILL)  # the rest of its session follows once it is dead

    async def observe(self) -> Sequence[ObservedWorker]:
        traces = await self._blocking(self._folders.traces)
        return [
            ObservedWorker(
                id=trace.worker_id, handle=trace.handle, alive=await self._adopt(trace) is not None
            )
            for trace in traces
        ]

    async def log(self, worker: WorkerRecord, *, tail_bytes: int) -> bytes:
        return await self._blocking(self._folders.log_tail, worker.id, tail_bytes)

    # -------------------------------------------------------- gaining a worker
    async def _launch(self, secret: WorkerSecret) -> str:
        assert self._command is not None
        try:
            trace, ref = await self._blocking(
                launch_agent, self._command, self._folders, secret, self._extra_env
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"A worker process could not be started: {error}.",
                fix="Free disk space, memory or processes, or choose another data folder with --data-dir.",
            ) from error
        self._begin_watch(trace, ref)
        return trace.handle

    async def _launched(self, worker_id: str) -> None:
        """Waits for a launch under way: its process may run already, but is not watched yet."""
        launching = self._launches.get(worker_id)
        if launching is not None:
            await asyncio.wait([launching])

    async def _agent_of(self, worker: WorkerRecord) -> _Agent | None:
        """The worker, adopted if an earlier engine started it; None where nothing of it runs."""
        await self._launched(worker.id)
        agent = self._agents.get(worker.id)
        if agent is not None:
            return agent
        trace = await self._blocking(self._folders.read, worker.id)
        return await self._adopt(trace) if trace is not None else None

    async def _adopt(self, trace: Trace) -> _Agent | None:
        """Begins to watch what a trace names; None where nothing of it runs."""
        await self._launched(trace.worker_id)
        known = self._agents.get(trace.worker_id)
        if known is not None or trace.worker_id in self._reported:
            return known
        found = await self._blocking(find, trace)
        known = self._agents.get(trace.worker_id)  # another call may have been faster
        if known is not None or not found.remains:
            if found.ref is not None:
                found.ref.close()
            if known is None and trace.ended is None:
                await self._blocking(self._folders.mark_ended, trace, "found dead")
            return known
        log.info("Found worker %s of an earlier engine, process %d", trace.worker_id, trace.pid)
        return self._begin_watch(trace, found.ref)

    def _begin_watch(self, trace: Trace, ref: ProcessRef | None) -> _Agent:
        agent = _Agent(trace=trace, ref=ref, oom_before=oom_kills() or 0)
        self._agents[trace.worker_id] = agent
        if ref is None:
            self._on_exit(agent)
        elif ref.fd is not None:
            asyncio.get_running_loop().add_reader(ref.fd, self._on_exit, agent)
        elif self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        return agent

    async def _poll(self) -> None:
        """Stands in for pidfds where the kernel has none."""
        while True:
            await asyncio.sleep(POLL_S)
            for agent in tuple(self._agents.values()):
                if agent.ref is not None and agent.ref.fd is None and not agent.ref.alive():
                    self._on_exit(agent)

    # -------------------------------------------------------- losing a worker
    def _on_exit(self, agent: _Agent) -> None:
        """The agent is dead; what it started may not be."""
        if agent.confirming is not None:
            return
        loop = asyncio.get_running_loop()
        if agent.ref is not None and agent.ref.fd is not None:
            loop.remove_reader(agent.ref.fd)
        agent.confirming = loop.create_task(self._confirm(agent))

    async def _confirm(self, agent: _Agent) -> None:
        trace = agent.trace
        await end_session(trace.pid, self._blocking, worker_id=trace.worker_id)
        # Only now: as long as our child is a zombie, its id and its session's number are not given out again.
        status = agent.ref.reap() if agent.ref is not None else None
        ended = verdict.judge(
            status,
            ordered=agent.killed,
            oom_kills=(oom_kills() or 0) - agent.oom_before,
            last_line=await self._blocking(self._folders.last_log_line, trace.worker_id),
        )
        self._unwatch(agent)
        del self._agents[trace.worker_id]
        self._report(trace.worker_id, ended)
        chore = asyncio.get_running_loop().create_task(self._tidy(trace, ended.reason))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def _unwatch(self, agent: _Agent) -> None:
        if agent.ref is not None:
            if agent.ref.fd is not None:
                asyncio.get_running_loop().remove_reader(agent.ref.fd)
            agent.ref.close()

    def _report(self, worker_id: str, ended: Ended) -> None:
        if worker_id in self._reported:
            return
        self._reported.add(worker_id)
        log.info("Worker %s ended: %s", worker_id, ended.reason)
        if self._watcher is None:
            return
        try:
            self._watcher.worker_ended(worker_id, ended)
        except Exception:
            log.exception("The end of worker %s could not be handled", worker_id)

    async def _tidy(self, trace: Trace, reason: str) -> None:
        try:
            await self._blocking(self._folders.mark_ended, trace, reason)
            await self._blocking(
                functools.partial(
                    self._folders.prune, keep=self._kept_folders, in_use=frozenset(self._agents)
                )
            )
        except OSError as error:
            log.warning("The folder of worker %s could not be tidied: %s", trace.worker_id, error)

    async def _blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking function on a helper thread."""
        if self._threads is None:
            raise RuntimeError("the process runtime is not running")
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
