"""Ending what an agent leaves behind: a command must not run beside its own second attempt.

A session's number is its first leader's process id, and the kernel does not give that id out again while
any process of the session exists. So as long as one member lives, all members are ours.
"""

from __future__ import annotations

import asyncio
import logging
import select
import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from taskmaster_desktop.backend.fleet.linux import ProcessRef, session_members

log = logging.getLogger(__name__)

QUIET_MS = 50
"""Killed processes that do not end within this time are left to a later look."""
LOOKS = 10
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.5
COMPLAIN_AFTER_S = 3.0

RunBlocking = Callable[[Callable[[], int]], Awaitable[int]]


async def end_session(session: int, run_blocking: RunBlocking, *, worker_id: str) -> None:
    """Returns once nothing of the session runs any more; never gives up.

    `run_blocking` runs a function on a helper thread, so that /proc is not walked on the loop; `worker_id`
    is for the log.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause, complained = FIRST_PAUSE_S, False
    while True:
        try:
            left = await run_blocking(lambda: kill_members(session))
        except OSError as error:  # such as no file descriptor to be had: /proc could not be read
            log.warning("Cannot see what worker %s left running: %s", worker_id, error)
            left = -1
        if left == 0:
            return
        if not complained and loop.time() - began > COMPLAIN_AFTER_S:
            complained = True
            log.warning("What worker %s left running does not end although it was killed", worker_id)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def kill_members(session: int) -> int:
    """SIGKILLs all running processes of the session and waits a moment for their end; how many were seen
    in the last look. Blocks for a fraction of a second, and not at all where nothing is left."""
    members: list[ProcessRef] = []
    for _ in range(LOOKS):  # again while all that was seen ends: it may have started others meanwhile
        with ExitStack() as stack:
            members = list(session_members(session))
            for member in members:
                stack.callback(member.close)
                member.send_signal(signal.SIGKILL)
            if not members or not _all_end(members):
                break
    return len(members)


def _all_end(members: list[ProcessRef]) -> bool:
    """False when none of them ends for a while, or when they cannot be waited for (no pidfds)."""
    poll = select.poll()
    waiting = {member.fd for member in members}
    for fd in waiting:
        if fd is None:
            return False
        poll.register(fd, select.POLLIN)
    while waiting:
        ended = poll.poll(QUIET_MS)
        if not ended:
            return False
        for fd, _ in ended:
            poll.unregister(fd)
            waiting.discard(fd)
    return True
