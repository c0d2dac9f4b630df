"""A clock that is some days off."""

from __future__ import annotations

from taskmaster_desktop.backend.clock import SECOND_US, Moment, SystemClock


class ShiftedClock(SystemClock):
    """The machine's clock moved by `days`, the monotonic one untouched."""

    def __init__(self, *, days: float) -> None:
        self._shift_us = round(days * 86_400 * SECOND_US)

    def now(self) -> Moment:
        now = super().now()
        return now._replace(wall_us=now.wall_us + self._shift_us)
