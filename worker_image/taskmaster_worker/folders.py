"""Temporary folders for commands that were given none.

Owns one root folder per agent. A folder that a command left empty and unchanged is used again: making and
removing one per command was measured to cost more processor time than starting the command. On the one
asyncio loop; a tree that a command left behind is removed in a thread, so that the loop goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import stat
import tempfile
from pathlib import Path

MODE = 0o700


class TempFolders:
    """Hands out empty folders and takes them back. Errors are OSError."""

    def __init__(self, loop: asyncio.AbstractEventLoop, parent: str | None) -> None:
        self._loop = loop
        self._root = tempfile.mkdtemp(prefix="taskmaster-", dir=parent)
        self._numbers = itertools.count(1)
        self._inodes: dict[str, int] = {}
        self._free: list[str] = []

    def borrow(self) -> str:
        """An empty folder that nobody else uses."""
        if self._free:
            return self._free.pop()
        folder = Path(self._root, str(next(self._numbers)))
        folder.mkdir(mode=MODE)
        path = str(folder)
        self._inodes[path] = folder.lstat().st_ino
        return path

    def give_back(self, path: str) -> None:
        """Its command is over: keeps the folder for the next one, or removes it with all that is in it."""
        if self._is_as_new(path):
            self._free.append(path)
            return
        del self._inodes[path]
        self._loop.run_in_executor(None, remove_tree, path)

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def _is_as_new(self, path: str) -> bool:
        try:
            found = Path(path).lstat()
            same = found.st_ino == self._inodes[path] and stat.S_IMODE(found.st_mode) == MODE
            # listdir, not Path.iterdir: this is done once per command.
            return same and not os.listdir(path)  # noqa: PTH208
        except OSError:
            return False


def remove_tree(path: str) -> None:
    """Removes a folder, also where a command took away the right to; what resists stays for `close`."""
    for folder, names, _ in os.walk(path):
        for name in (folder, *(os.path.join(folder, n) for n in names)):  # noqa: PTH118
            _allow_all(name)
    shutil.rmtree(path, ignore_errors=True)


def _allow_all(folder: str) -> None:
    try:
        os.chmod(folder, MODE, follow_symlinks=False)  # noqa: PTH101
    except (OSError, NotImplementedError):
        return
