"""The life of the agent: start, signals, drain, stopping by itself, exit code.

Owns the parts and the order in which they end. Everything runs on one asyncio loop; an unexpected exception
in any part ends the agent, commands first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import uuid
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from taskmaster_worker.attempts import AttemptTable
from taskmaster_worker.exits import make_exit_watch
from taskmaster_worker.folders import TempFolders
from taskmaster_worker.launcher import Launchpad
from taskmaster_worker.outbox import Outbox
from taskmaster_worker.runner import Workshop
from taskmaster_worker.secret import Bundle
from taskmaster_worker.session import RefusedForEver, Session
from taskmaster_worker.usage import OomCounter, UsageMeter

DEFAULT_SELF_STOP_S = 60.0

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """How an agent ends; after sysexits.h where that has a word for it."""

    DRAINED = 0
    BUG = 70
    NO_FOLDER = 73
    ALONE = 75
    REFUSED = 76
    NO_BUNDLE = 78
    TERMINATED = 143


class Loneliness:
    """The clock of stopping by itself: runs out when nothing was heard for the limit, by a monotonic clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: asyncio.Future[ExitCode]) -> None:
        self._loop = loop
        self._expired = expired
        self._limit_s = DEFAULT_SELF_STOP_S
        self._heard_at = loop.time()
        self._timer = loop.call_later(self._limit_s, self._look)

    def heard(self) -> None:
        self._heard_at = self._loop.time()

    def told(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._timer.cancel()
        self._look()

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        deadline = self._heard_at + self._limit_s
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._look)
        elif not self._expired.done():
            logger.error(
                "nothing heard from the engine for %.1f s: killing all commands and stopping", self._limit_s
            )
            self._expired.set_result(ExitCode.ALONE)


class Agent:
    """Runs one worker from its bundle to its exit code."""

    def __init__(self, bundle: Bundle, *, session_leader: bool) -> None:
        self._bundle = bundle
        self._session_leader = session_leader
        self._terminated = False
        # Set in run(), on its loop.
        self._stopped: asyncio.Future[ExitCode]
        self._table: AttemptTable
        self._outbox: Outbox

    async def run(self) -> ExitCode:
        """The whole life; all commands are dead or finished when it returns."""
        loop = asyncio.get_running_loop()
        self._stopped = loop.create_future()
        try:
            folders = TempFolders(loop, self._bundle.work_dir)
        except OSError as error:
            logger.critical("no folder for temporary files could be made: %s", error)
            return ExitCode.NO_FOLDER
        loop.set_exception_handler(self._callback_failed)
        exits = make_exit_watch(loop)
        oom = OomCounter()
        dev_null = os.open(os.devnull, os.O_RDONLY)
        self._outbox = Outbox()
        shop = Workshop(loop=loop, exits=exits, oom=oom, folders=folders, dev_null=dev_null)
        launchpad = Launchpad(shop, worker_name=self._bundle.name, env=self._bundle.env)
        self._table = AttemptTable(slots=self._bundle.slots, outbox=self._outbox, launcher=launchpad)
        loneliness = Loneliness(loop, self._stopped)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            return await self._live(self._make_session(oom, loneliness))
        finally:
            # First of all: whatever still runs must not outlive the agent.
            self._table.kill_all()
            loneliness.close()
            exits.close()
            oom.close()
            os.close(dev_null)
            folders.close()

    def _make_session(self, oom: OomCounter, loneliness: Loneliness) -> Session:
        return Session(
            self._bundle,
            boot_id=uuid.uuid4().hex,
            table=self._table,
            outbox=self._outbox,
            usage=UsageMeter(os.getpid() if self._session_leader else None),
            oom=oom,
            heard=loneliness.heard,
            told=loneliness.told,
        )

    async def _live(self, session: Session) -> ExitCode:
        """Until the session is over for good, or something stops the agent."""
        serving = asyncio.create_task(session.run())
        either: set[asyncio.Future[Any]] = {serving, self._stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._stopped.done():
            self._table.kill_all()
            serving.cancel()
            await asyncio.wait({serving}, timeout=1.0)
            return self._stopped.result()
        try:
            serving.result()
        except RefusedForEver as refusal:
            logger.error("stopping, since the engine will never take this worker: %s", refusal)
            return ExitCode.REFUSED
        except Exception:
            logger.exception("a bug ended the session")
            return ExitCode.BUG
        logger.info("drained")
        return ExitCode.DRAINED

    def _signalled(self, number: signal.Signals) -> None:
        """The first SIGTERM drains; another one, or SIGINT, ends everything now."""
        if number == signal.SIGTERM and not self._terminated:
            logger.info("told to stop: finishing what runs")
            self._terminated = True
            self._table.drain()
            self._outbox.start_draining()
        elif not self._stopped.done():
            logger.warning("told to stop at once: killing all commands")
            self._stopped.set_result(ExitCode.TERMINATED)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception in a callback of the loop: ours ends the agent, a library's is noted."""
        error = context.get("exception")
        if not isinstance(error, BaseException) or not _is_ours(error.__traceback__):
            logger.warning("event loop: %s (%r)", context.get("message"), error)
            return
        logger.critical("a bug in a callback: %s", context.get("message"), exc_info=error)
        if not self._stopped.done():
            self._stopped.set_result(ExitCode.BUG)


def _is_ours(trace: TracebackType | None) -> bool:
    here = str(Path(__file__).parent)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(here):
            return True
        trace = trace.tb_next
    return False
