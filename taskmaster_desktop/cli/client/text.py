"""How facts are written for people: on one line, harmless for a terminal, and no wider than it is."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

ICONS = {
    "pending": "◌",
    "assigned": "▹",
    "running": "▸",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "starting": "◌",
    "online": "✓",
    "draining": "▹",
    "offline": "✗",
}
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def visible(text: str) -> str:
    """On one line, with control characters and the like shown instead of sent."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _shown(char) for char in text)


def _shown(char: str) -> str:
    escaped = _ESCAPES.get(char)
    return escaped if escaped is not None else char.encode("unicode_escape").decode("ascii")


def command_of(task: Mapping[str, Any]) -> str:
    """The command as one would type it, whole and on one line."""
    argv = task["argv"]
    if argv is None:
        return visible(task["command"])
    if argv[:2] == ["/bin/sh", "-c"] and len(argv) == 3:
        return visible(argv[2])
    return visible(shlex.join(argv))


def state_of(state: str) -> str:
    """Icon and word: colour or shape alone would not do."""
    return f"{ICONS.get(state, '?')} {state}"


def width_of(text: str) -> int:
    """Columns on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """At most `width` columns; what is left out is shown by an ellipsis."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    taken, room = [], width - 1
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        taken.append(char)
    return "".join(taken) + "…"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Lines with aligned columns; only the last column is cut to fit `width`. Figures align right."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(width_of, column)) for column in columns]
    right = [bool(rows) and all(_is_figure(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in (heads, *rows):
        cells = [
            (" " * (room - width_of(cell)) + cell) if on_right else (cell + " " * (room - width_of(cell)))
            for cell, room, on_right in zip(row, widths, right, strict=True)
        ]
        before = "  ".join(cells[:-1])
        last = row[-1] if not right[-1] else cells[-1]
        if width is not None:
            last = cut(last, max(width - width_of(before) - 2, 8))
        lines.append(f"{before}  {last}".rstrip() if before else last)
    return lines


def _is_figure(cell: str) -> bool:
    return not cell or cell == "-" or cell[0] in "#0123456789"


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """`name  value`, aligned; those without a value are left out."""
    shown = [(name, value) for name, value in pairs if value]
    room = max((len(name) for name, _ in shown), default=0)
    return [f"{name:<{room}}  {value}" for name, value in shown]


# === times
def moment(text: str | None) -> datetime | None:
    """A time of the API."""
    return None if text is None else datetime.fromisoformat(text)


def seconds_between(first: str | None, second: str | None, now: datetime) -> float | None:
    """From `first` to `second`, or until now while that is not known."""
    began = moment(first)
    return None if began is None else ((moment(second) or now) - began).total_seconds()


def local(text: str | None) -> str:
    """A time of the API on this machine's clock, to the second."""
    at = moment(text)
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def at_us(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def duration(seconds: float | None) -> str:
    """Such as `4ms`, `0.52s`, `12.3s`, `2m05s`, `1h02m`, `3d04h`."""
    if seconds is None:
        return "-"
    seconds = max(seconds, 0.0)
    if seconds < 0.0995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m{whole % MINUTE_S:02d}s"
    if whole < DAY_S:
        return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02d}m"
    return f"{whole // DAY_S}d{whole % DAY_S // HOUR_S:02d}h"


def age(seconds: float | None) -> str:
    """In one unit: `5s`, `3m`, `2h`, `4d`."""
    if seconds is None:
        return "-"
    whole = max(int(seconds), 0)
    for size, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if whole >= size:
            return f"{whole // size}{name}"
    return f"{whole}s"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 task`, `1,200 tasks`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
