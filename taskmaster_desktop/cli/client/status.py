"""A line on the terminal about what is going on, for people who wait; it leaves no trace. Main thread."""

from __future__ import annotations

import shutil

from taskmaster_desktop.cli.client.text import cut, visible
from taskmaster_desktop.cli.map.bar import CLEAR
from taskmaster_desktop.cli.output import Output


class StatusLine:
    """Nothing happens where standard error is not a terminal, or under --json."""

    def __init__(self, output: Output, *, shown: bool = True) -> None:
        self._output = output
        self.shown = shown and output.stderr_is_terminal and not output.as_json
        self._text = ""
        if self.shown:
            output.before_text = self.clear

    def show(self, text: str) -> None:
        if not self.shown or text == self._text:
            return
        width = shutil.get_terminal_size().columns - 1
        self._text = ""  # or writing the line would clear it first
        self._output.note_data(CLEAR + cut(visible(text), width).encode())
        self._text = text

    def clear(self) -> None:
        """Make the line free for something else."""
        if self._text:
            self._text = ""
            self._output.note_data(CLEAR)
