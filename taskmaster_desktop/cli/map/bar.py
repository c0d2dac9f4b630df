"""The progress line of `map`, on a terminal's last line. Main thread; draws at most ten times a second."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass

from taskmaster_desktop.backend.ports import Clock
from taskmaster_desktop.cli.output import Output

RATE_WINDOW_S = 15.0
DRAW_EVERY_S = 0.1
CLEAR = b"\r\x1b[K"
BAR_CHARS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`total` is None while nobody knows it."""

    done: int
    failed: int
    running: int
    total: int | None


class Bar:
    """Nothing happens where standard error is not a terminal."""

    def __init__(self, output: Output, clock: Clock, *, shown: bool) -> None:
        self._output = output
        self._clock = clock
        self._shown = shown
        self._drawn = False
        self._last_s = 0.0
        self._points: deque[tuple[float, int]] = deque()
        if shown:
            output.before_text = self.clear

    def update(self, progress: Progress) -> None:
        if not self._shown:
            return
        now_s = self._clock.now().mono_s
        if now_s - self._last_s < DRAW_EVERY_S:
            return
        self._last_s = now_s
        self._points.append((now_s, progress.done))
        while self._points[0][0] < now_s - RATE_WINDOW_S:
            self._points.popleft()
        width = shutil.get_terminal_size().columns - 1
        line = line_of(progress, self._rate())[:width]
        self._drawn = False  # or writing the line would clear it first
        self._output.note_data(CLEAR + line.encode())
        self._drawn = True

    def clear(self) -> None:
        """Make the line free for something else; the next update draws it again."""
        if self._drawn:
            self._drawn = False
            self._output.note_data(CLEAR)

    def _rate(self) -> float:
        (first_s, first_done), (last_s, last_done) = self._points[0], self._points[-1]
        return (last_done - first_done) / (last_s - first_s) if last_s > first_s else 0.0


def line_of(progress: Progress, rate: float) -> str:
    """`rate` in tasks per second; 0 while it is not known."""
    parts = [f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s"]
    if progress.total:
        full = BAR_CHARS * progress.done // progress.total
        parts.insert(0, f"[{'#' * full}{'.' * (BAR_CHARS - full)}] {progress.done:,}/{progress.total:,}")
        if rate > 0:
            parts.append(f"{_time(max(0, progress.total - progress.done) / rate)} left")
    else:
        parts.insert(0, f"{progress.done:,} done")
    parts.append(f"{progress.running} running")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    return "  ".join(parts)


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
