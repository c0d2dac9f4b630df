"""A door that can say again what a dead worker might still have said: the demo's own stale answer.

Stands between engine and door and passes everything on. `replay` is for any thread, the rest belongs to the
engine's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from taskmaster_desktop.backend.core.stimuli import Finished, Report
from taskmaster_desktop.backend.model import Outcome, WorkerRecord
from taskmaster_desktop.backend.ports import Admission, Hello, Link, SessionHandler, WorkerDoor, WorkerSecret


class ReplayingDoor:
    """Implements `WorkerDoor` and, towards the door inside, `SessionHandler`."""

    def __init__(self, inner: WorkerDoor) -> None:
        self._inner = inner
        self._handler: SessionHandler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._living: set[int] = set()

    def replay(self, task: int, fence: int, at_us: int) -> None:
        """Claim through a living worker's session that an old attempt completed."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._replay, task, fence, at_us)

    def _replay(self, task: int, fence: int, at_us: int) -> None:
        assert self._handler is not None
        claim = Finished(
            task=task, fence=fence, outcome=Outcome.COMPLETED, exit_code=0, reason="", at_us=at_us,
            duration_us=1, output_bytes=0, never_started=False,
        )  # fmt: skip
        self._handler.report(Report(session=max(self._living), finished=(claim,)))

    # === the door, as the engine sees it
    async def start(self, handler: SessionHandler, hosts: Sequence[str] = ()) -> None:
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        await self._inner.start(self, hosts)

    async def close(self) -> None:
        await self._inner.close()

    def secret_for(self, worker: WorkerRecord) -> WorkerSecret:
        return self._inner.secret_for(worker)

    # === the engine, as the door sees it
    async def admit(self, hello: Hello, link: Link) -> Admission:
        assert self._handler is not None
        admission = await self._handler.admit(hello, link)
        self._living.add(admission.session)
        return admission

    def report(self, report: Report) -> None:
        assert self._handler is not None
        self._handler.report(report)

    def closed(self, session: int) -> None:
        assert self._handler is not None
        self._living.discard(session)
        self._handler.closed(session)
