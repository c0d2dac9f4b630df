"""What all commands share: the common options, settings, logging, a private folder, what they say and where."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskmaster_desktop.cli.output import Output

if TYPE_CHECKING:
    from taskmaster_desktop.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The options every command has."""

    json: bool
    data_dir: Path | None
    log_level: str | None
    log_format: str | None

    def perform(self, work: Callable[[Output], int]) -> int:
        """Run a command's work."""
        return work(Output(as_json=self.json))

    def settings(self, flags: Mapping[str, object], *, quiet: bool) -> Settings:
        """Read all sources and set up the log.

        With `quiet` the log is not shown unless a level was asked for; its newest lines are kept for the
        report of a bug.
        """
        from taskmaster_desktop.logs import configure_logging
        from taskmaster_desktop.settings import load_settings

        settings = load_settings(
            {"data_dir": self.data_dir, "log_level": self.log_level, "log_format": self.log_format, **flags}
        )
        shown = not quiet or "log_level" in settings.model_fields_set
        configure_logging(
            level=settings.log_level,
            log_format=settings.log_format,
            stream=None if shown else _Nowhere(),
        )
        return settings


@contextmanager
def own_folder(given: Path | None) -> Iterator[Path]:
    """The folder that was named, or a private temporary one that is removed afterwards."""
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Nowhere(io.StringIO):
    """A stream for lines that nobody reads."""

    def write(self, text: str) -> int:
        return len(text)
