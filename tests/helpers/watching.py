"""Who hears from a runtime in tests."""

from __future__ import annotations

from collections.abc import Callable

from taskmaster_desktop.backend.model import Level
from taskmaster_desktop.backend.ports import Ended


class Watching:
    """Implements `RuntimeWatcher`: calls `on_ended`, and keeps the rest.

    Attributes:
        troubles: what was told about the runtime, None where it was well again.
        news: lines for the activity log.
    """

    def __init__(self, on_ended: Callable[[str, Ended], object]) -> None:
        self._on_ended = on_ended
        self.troubles: list[str | None] = []
        self.news: list[tuple[Level, str]] = []

    def worker_ended(self, worker_id: str, ended: Ended) -> None:
        self._on_ended(worker_id, ended)

    def runtime_trouble(self, trouble: str | None) -> None:
        self.troubles.append(trouble)

    def runtime_news(self, level: Level, message: str) -> None:
        self.news.append((level, message))
