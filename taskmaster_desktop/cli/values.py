"""Values as people write them on a command line, read with one sentence for what is wrong."""

from __future__ import annotations

import os
import re

from taskmaster_desktop.backend.errors import UserError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")
_UNIT_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(option: str, text: str, least_s: float, most_s: float) -> float:
    """`30`, `30s`, `5m`, `2h` or `1d` in seconds. Raises UserError."""
    match = _DURATION.fullmatch(text.strip().lower())
    value_s = float(match[1]) * _UNIT_S[match[2]] if match else None
    if value_s is None or not least_s <= value_s <= most_s:
        allowed = f"from {_shown(least_s)} to {_shown(most_s)}"
        raise UserError(
            f"{option} must be a time {allowed}, such as 30, 30s, 5m or 2h, not {text!r}.", field=option
        )
    return value_s


def whole(option: str, text: str, least: int, most: int) -> int:
    """Raises UserError."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise UserError(
            f"{option} must be a whole number from {least} to {most}, not {text!r}.", field=option
        )
    return value


def choice(option: str, text: str, allowed: tuple[str, ...]) -> str:
    """Raises UserError."""
    if text not in allowed:
        raise UserError(f"{option} must be {' or '.join(allowed)}, not {text!r}.", field=option)
    return text


def variables(option: str, entries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE` as it is, `NAME` with its value in our own environment. Raises UserError."""
    found = {}
    for entry in entries:
        name, given, value = entry.partition("=")
        if not name or (not given and name not in os.environ):
            raise UserError(
                f"{option} must be NAME=VALUE or the NAME of a set variable, not {entry!r}.", field=option
            )
        found[name] = value if given else os.environ[name]
    return tuple(found.items())


def _shown(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds >= _UNIT_S[unit] and seconds % _UNIT_S[unit] == 0:
            return f"{seconds / _UNIT_S[unit]:g}{unit}"
    return f"{seconds:g}s"
