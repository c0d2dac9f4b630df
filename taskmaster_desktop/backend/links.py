"""The sessions of workers as the engine sees them: admits them, hears them, speaks to them. On the engine's loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from taskmaster_desktop.backend.coordinator import Coordinator
from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.instructions import Sends
from taskmaster_desktop.backend.core.sessions import Refusal
from taskmaster_desktop.backend.core.stimuli import Heartbeat, Report
from taskmaster_desktop.backend.errors import TaskMasterError
from taskmaster_desktop.backend.group import Group
from taskmaster_desktop.backend.model import OutputChunk
from taskmaster_desktop.backend.ports import Admission, Hello, Link, SessionRefused
from taskmaster_desktop.backend.ways import detour

HEARTBEAT_S = 2.0
ACK_DELAY_S = 0.05
"""How long an acknowledgement may wait for a message to ride on."""


class Links:
    """Implements `SessionHandler` for the door.

    Attributes:
        usage: the newest heartbeat of each connected worker; written by the loop, read by all.
        heard: when that came, in wall microseconds; likewise.
    """

    def __init__(self, coordinator: Coordinator, *, instance: str, self_stop_s: float) -> None:
        self.usage: dict[int, Heartbeat] = {}
        self.heard: dict[int, int] = {}
        # By session: the worker whose figures it brought. The core may have let go of both before the end of
        # the stream is heard, and a worker that comes back may speak in a new session before that.
        self._speakers: dict[int, int] = {}
        self._coordinator = coordinator
        self._instance = instance
        self._self_stop_s = self_stop_s
        self._links: dict[int, Link] = {}
        self._next_session = 1
        self._held_acks: dict[int, Sends] = {}
        self._ack_timer: asyncio.TimerHandle | None = None
        self._output_seen: dict[int, int] = {}  # by fence: end of the output already taken

    def begin(self, epoch: int) -> None:
        """Session numbers of one epoch never come again in another."""
        self._next_session = (epoch << 20) + 1

    def drop_all(self, reason: str) -> None:
        """End every session; the workers come back by themselves."""
        links, self._links = self._links, {}
        for link in links.values():
            link.close(reason)
        self._held_acks.clear()
        self._output_seen.clear()
        self._speakers.clear()
        self.usage.clear()
        self.heard.clear()

    def close(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()

    # === what the door calls
    async def admit(self, hello: Hello, link: Link) -> Admission:
        session = self._next_session
        self._next_session += 1
        self._links[session] = link
        try:
            await self._open(session, hello)
        except BaseException:
            self._links.pop(session, None)
            raise
        return Admission(
            session=session,
            instance=self._instance,
            heartbeat_interval_s=HEARTBEAT_S,
            self_stop_s=self._self_stop_s,
        )

    async def _open(self, session: int, hello: Hello) -> None:
        durable: Future[Any] = Future()
        opened = stimuli.SessionOpened(
            session=session,
            worker_id=hello.worker_id,
            boot_id=hello.boot_id,
            slots=hello.slots,
            attempts=hello.attempts,
            detour=detour(hello.endpoint, hello.failed_ways),
        )
        try:
            reply = self._coordinator.feed(opened)
            if isinstance(reply, Refusal):
                raise SessionRefused(reply.reason, permanent=reply.permanent)
            self._coordinator.answer(durable, None)
            await asyncio.wrap_future(durable)
        except TaskMasterError as error:
            raise SessionRefused(str(error), permanent=False) from error

    def report(self, report: Report) -> None:
        if not self._coordinator.running or report.session not in self._links:
            return
        if report.output:
            self._take_output(report)
        if report.heartbeat is not None:
            number = self._coordinator.machine.worker_of(report.session)
            if number is not None:
                self._speakers[report.session] = number
                self.usage[number] = report.heartbeat
                self.heard[number] = self._coordinator.now_us()
        self._coordinator.feed(report)

    def closed(self, session: int) -> None:
        self._links.pop(session, None)
        self._held_acks.pop(session, None)
        number = self._speakers.pop(session, None)
        if number is not None and number not in self._speakers.values():
            self.usage.pop(number, None)
            self.heard.pop(number, None)
        if self._coordinator.running:
            self._coordinator.feed(stimuli.SessionClosed(session=session))

    def _take_output(self, report: Report) -> None:
        group = self._coordinator.group
        holds = self._coordinator.machine.holds
        acks: dict[int, int] = {}
        for chunk in report.output:
            end = chunk.offset + len(chunk.data)
            acks[chunk.fence] = end
            seen = self._output_seen.get(chunk.fence, 0)
            if end <= seen or not holds(report.session, chunk.fence):
                continue  # sent again, or of an attempt that does not count any more
            self._output_seen[chunk.fence] = end
            # A chunk that is sent again may have grown meanwhile; only what is new of it counts.
            start = max(chunk.offset, seen)
            data = chunk.data[start - chunk.offset :]
            group.changes.output.append(OutputChunk(chunk.task, chunk.attempt, start, chunk.stream, data))
        group.send(report.session, Sends(output_acks=acks))

    # === what is durable goes out
    def carry_out(self, group: Group) -> None:
        for session, sends in group.sends.items():
            self._send(session, sends)
        for close in group.closes:
            link = self._links.pop(close.session, None)
            if link is not None:
                link.close(close.reason)
        for attempt in group.changes.attempts:
            self._output_seen.pop(attempt.fence, None)

    def _send(self, session: int, sends: Sends) -> None:
        """Hand messages to a link; acknowledgements alone wait a little for company."""
        link = self._links.get(session)
        if link is None:
            return  # the worker will come back and say what it holds
        held = self._held_acks.pop(session, None)
        if held is not None:
            held.merge(sends)
            sends = held
        if not sends.only_acks:
            link.send(sends)
            return
        self._held_acks[session] = sends
        if self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._flush_acks)

    def _flush_acks(self) -> None:
        self._ack_timer = None
        held, self._held_acks = self._held_acks, {}
        for session, sends in held.items():
            link = self._links.get(session)
            if link is not None:
                link.send(sends)
