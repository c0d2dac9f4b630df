"""A fake engine and real agents that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_engine import AgentProcess, FakeEngine, bundle_fields, start_agent


class Rig:
    """One fake engine and the agents started against it."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.engine = FakeEngine()
        self._stack = stack

    async def agent(self, *, slots: int = 1, env: dict[str, str] | None = None) -> AgentProcess:
        """A connected agent; the engine is started on the way, if it was not."""
        if not self.engine.address:
            await self.engine.start()
            self._stack.push_async_callback(self.engine.stop)
        sessions = len(self.engine.sessions)
        agent = self.start(bundle_fields(self.engine.address, slots=slots), env)
        await self.engine.connected(sessions + 1)
        return agent

    def start(self, fields: dict[str, Any], env: dict[str, str] | None = None) -> AgentProcess:
        work_dir = self.folder / "work"
        work_dir.mkdir(exist_ok=True)
        fields["work_dir"] = str(work_dir)
        agent = start_agent(fields, self.folder, env)
        self._stack.push_async_callback(agent.close)
        return agent


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        yield Rig(tmp_path, stack)
