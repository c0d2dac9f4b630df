"""Parts of the agent that look at real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable

import pytest

from taskmaster_worker.exits import ExitWatch, PidfdWatch, SigchldWatch
from taskmaster_worker.usage import OomCounter, UsageMeter, group_is_alive, living_processes


def start(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv)


@pytest.mark.parametrize("make", [PidfdWatch, SigchldWatch])
async def test_the_end_of_a_child_is_noticed_before_it_is_reaped(
    make: Callable[[asyncio.AbstractEventLoop], ExitWatch],
) -> None:
    watch = make(asyncio.get_running_loop())
    ended = [asyncio.Event() for _ in range(3)]
    children = [start("/bin/sh", "-c", f"exit {n}") for n in range(3)]
    for child, event in zip(children, ended, strict=True):
        watch.watch(child, event.set)
    async with asyncio.timeout(10):
        await asyncio.gather(*(event.wait() for event in ended))
    assert [child.returncode for child in children] == [None] * 3
    assert [child.poll() for child in children] == [0, 1, 2]
    watch.close()


async def test_a_watch_that_is_closed_calls_nobody() -> None:
    watch = PidfdWatch(asyncio.get_running_loop())
    child = start("/bin/true")
    watch.watch(child, pytest.fail)
    watch.close()
    child.wait()
    await asyncio.sleep(0)


def test_processes_are_found_by_group_and_session() -> None:
    child = subprocess.Popen(["/bin/sleep", "60"], process_group=0)
    try:
        found = next(p for p in living_processes() if p.pid == child.pid)
        assert (found.group, found.session) == (child.pid, os.getsid(0))
        assert found.resident_pages > 0
        assert group_is_alive(child.pid)
    finally:
        child.kill()
        # Until it is waited for it is a zombie, and those do not count.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not group_is_alive(child.pid)
        child.wait()


def test_figures() -> None:
    meter = UsageMeter(os.getsid(0))
    cpu_us, memory_bytes = meter.read(busy=True)
    assert memory_bytes > 10 << 20
    later_us, _ = meter.read(busy=False)
    assert later_us >= cpu_us > 0


def test_the_oom_counter_is_a_number_or_unknown() -> None:
    counter = OomCounter()
    assert counter.read() >= 0
    counter.close()
    assert counter.read() == 0
