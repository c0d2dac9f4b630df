"""What every command that talks to a running instance begins with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli.output import Output

if TYPE_CHECKING:
    from taskmaster_desktop.cli.client.instance import Client

_NUMBER = re.compile(r"#?([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The options that all these commands have."""

    json: bool
    data_dir: Path | None
    url: str | None

    def perform(self, work: Callable[[Client, Output], int]) -> int:
        """Find the instance and have `work` done with it; returns the exit code."""
        from taskmaster_desktop.cli.client.instance import find_instance  # slow to load, as are the settings

        with closing(find_instance(self.folder(), self.url, named=self.data_dir is not None)) as client:
            return work(client, Output(as_json=self.json))

    def folder(self) -> Path:
        """The data folder that is meant."""
        if self.data_dir is not None:
            return self.data_dir
        from taskmaster_desktop.settings import load_settings

        return load_settings({}).data_dir


def task_name(text: str) -> str:
    """A number or an id, as the API takes it. Raises UserError."""
    return _name(text, "TASK", "such as 1042 or #1042")


def task_names(texts: Sequence[str]) -> list[str]:
    return [task_name(text) for text in texts]


def batch_name(text: str) -> str:
    return _name(text, "BATCH", "such as 7")


def _name(text: str, what: str, such_as: str) -> str:
    match = _NUMBER.fullmatch(text.strip())
    if match and int(match[1]) > 0:
        return str(int(match[1]))
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise UserError(f"{what} must be a number, {such_as}, or an id, not {text!r}.", field=what) from None
