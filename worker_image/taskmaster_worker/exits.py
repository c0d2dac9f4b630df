"""Notices that a child process has ended, without a thread and without reaping it.

Owns one pidfd per child on Linux, or the SIGCHLD handler elsewhere. All on one asyncio loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class ExitWatch(Protocol):
    def watch(self, child: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        """Calls `on_exit` once from the loop after `child` has ended. It is a zombie then, so its number
        still belongs to it, until somebody calls `child.poll()`. Raises OSError when out of descriptors."""

    def close(self) -> None:
        """Watches nothing any more."""


class PidfdWatch:
    """One pidfd per child."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: set[int] = set()

    def watch(self, child: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        fd = os.pidfd_open(child.pid)
        self._open.add(fd)
        self._loop.add_reader(fd, self._ended, fd, on_exit)

    def close(self) -> None:
        for fd in list(self._open):
            self._forget(fd)

    def _ended(self, fd: int, on_exit: Callable[[], None]) -> None:
        self._forget(fd)
        on_exit()

    def _forget(self, fd: int) -> None:
        self._open.discard(fd)
        self._loop.remove_reader(fd)
        os.close(fd)


class SigchldWatch:
    """Looks at every watched child whenever one has ended; for systems without pidfd.

    Where the system cannot look without reaping (macOS before Python 3.13), the child is reaped first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[int, tuple[subprocess.Popen[bytes], Callable[[], None]]] = {}
        loop.add_signal_handler(signal.SIGCHLD, self._look)

    def watch(self, child: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
        self._watched[child.pid] = (child, on_exit)
        # It may have ended before it was watched.
        self._loop.call_soon(self._look)

    def close(self) -> None:
        self._watched.clear()
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def _look(self) -> None:
        for pid, (child, on_exit) in list(self._watched.items()):
            if _has_ended(child) and self._watched.pop(pid, None) is not None:
                on_exit()


def make_exit_watch(loop: asyncio.AbstractEventLoop) -> ExitWatch:
    """The best kind this system offers; an old kernel or a seccomp profile may deny pidfds."""
    if hasattr(os, "pidfd_open"):
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            logger.info("no pidfd here (%s), children are watched through SIGCHLD", error.strerror)
        else:
            return PidfdWatch(loop)
    return SigchldWatch(loop)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return child.poll() is not None
