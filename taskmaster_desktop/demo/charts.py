"""The plots of the report page as SVG, drawn from the evidence alone; pure. Colours are the page's classes.

All plots share one time axis: seconds since the engine began to start.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jinja2.filters import do_forceescape as escape

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.demo.evidence import Evidence
from taskmaster_desktop.demo.measures import StoredAttempt, StoredWorker
from taskmaster_desktop.demo.report import Mark

WIDTH, LEFT, RIGHT, TOP = 1080.0, 84.0, 12.0, 32.0
PLOT_HEIGHT, AXIS = 120.0, 20.0
LANE, BAR = 22.0, 14.0
ROWS = (10.0, 23.0)
"""Where the words of marks stand; the second row is for those that would overlap."""
WINDOW_S = 2.0
"""Throughput at a moment counts the ends of so long before it."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The common time axis."""

    origin_us: int
    length_s: float

    def seconds(self, at_us: int) -> float:
        return (at_us - self.origin_us) / SECOND_US

    def x(self, at_s: float) -> float:
        share = min(max(at_s / self.length_s, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def axis_of(evidence: Evidence, origin_us: int) -> Axis:
    last_us = max((a.finished_us for a in evidence.attempts), default=origin_us + SECOND_US)
    last_us = max([last_us, *(w.online_us or 0 for w in evidence.workers)])
    return Axis(origin_us=origin_us, length_s=max(1.0, (last_us - origin_us) / SECOND_US) * 1.02)


# === data
def throughput(evidence: Evidence, axis: Axis) -> Points:
    """Tasks completed per second, over the last two seconds."""
    ends = sorted(axis.seconds(a.finished_us) for a in evidence.attempts if a.outcome == "completed")
    steps = math.ceil(axis.length_s / 0.25)
    points, low, high = [], 0, 0
    for step in range(steps + 1):
        at_s = step * 0.25
        while high < len(ends) and ends[high] <= at_s:
            high += 1
        while low < high and ends[low] <= at_s - WINDOW_S:
            low += 1
        points.append((at_s, (high - low) / WINDOW_S))
    return points


def ideal_throughput(evidence: Evidence, axis: Axis) -> Points:
    """What the workers that were online could do with these durations, had each always had a task."""
    durations = [a.duration_us for a in evidence.attempts if a.outcome == "completed"]
    if not durations:
        return []
    each_per_s = len(durations) * SECOND_US / sum(durations)
    return [(at_s, count * each_per_s) for at_s, count in _steps(_presence(evidence.workers, axis), axis)]


def queue_depth(evidence: Evidence, axis: Axis) -> Points:
    """Tasks that waited for a worker."""
    changes = [(axis.seconds(task.created_us), 1) for task in evidence.tasks]
    for attempt in evidence.attempts:
        changes.append((axis.seconds(attempt.assigned_us), -1))
        if attempt.outcome in ("lost", "recalled"):
            changes.append((axis.seconds(attempt.finished_us), 1))
    return _steps(changes, axis)


def _presence(workers: Iterable[StoredWorker], axis: Axis) -> list[tuple[float, int]]:
    changes = []
    for worker in workers:
        if worker.online_us is not None:
            changes.append((axis.seconds(worker.online_us), 1))
            if worker.offline_us is not None:
                changes.append((axis.seconds(worker.offline_us), -1))
    return changes


def _steps(changes: Iterable[tuple[float, int]], axis: Axis) -> Points:
    """A staircase from changes: two points for each."""
    level, points = 0, [(0.0, 0.0)]
    together: Counter[float] = Counter()
    for at_s, change in changes:
        together[at_s] += change
    for at_s, change in sorted(together.items()):
        points.append((at_s, float(level)))
        level += change
        points.append((at_s, float(level)))
    points.append((axis.length_s, float(level)))
    return points


# === drawing
def plot(axis: Axis, marks: Sequence[Mark], lines: Sequence[tuple[str, Points]], *, label: str) -> str:
    """A plot of several lines, each with its class; the first one is filled."""
    highest = max((value for _, points in lines for _, value in points), default=0.0)
    step = _tick_step(highest)
    top = max(step, math.ceil(highest / step) * step)
    bottom = TOP + PLOT_HEIGHT

    def y(value: float) -> float:
        return bottom - value / top * PLOT_HEIGHT

    parts = [_open(bottom + AXIS, label)]
    for tick in range(round(top / step) + 1):
        height = y(tick * step)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        )
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{height + 3:.1f}">{tick * step:g}</text>')
    for index, (name, points) in enumerate(lines):
        path = " ".join(f"{axis.x(at_s):.1f},{y(value):.1f}" for at_s, value in points)
        if index == 0 and points:
            closed = f"{axis.x(points[0][0]):.1f},{bottom} {path} {axis.x(points[-1][0]):.1f},{bottom}"
            parts.append(f'<polygon class="area {name}" points="{closed}"/>')
        parts.append(f'<polyline class="line {name}" points="{path}"/>')
    parts += (_marks(axis, marks, bottom), _time_axis(axis, bottom), "</svg>")
    return "".join(parts)


def lanes(evidence: Evidence, axis: Axis, marks: Sequence[Mark]) -> str:
    """One lane for each worker: when it was there, and every attempt."""
    workers = sorted(evidence.workers, key=lambda worker: worker.number)
    bottom = TOP + LANE * len(workers)
    parts = [_open(bottom + AXIS, "What each worker did, attempt by attempt")]
    for row, worker in enumerate(workers):
        middle = TOP + LANE * (row + 0.5)
        parts.append(_lane(worker, axis, middle))
        parts += [
            _attempt(attempt, worker, axis, middle)
            for attempt in evidence.attempts
            if attempt.worker == worker.number
        ]
    parts += (_marks(axis, marks, bottom), _time_axis(axis, bottom), "</svg>")
    return "".join(parts)


def _lane(worker: StoredWorker, axis: Axis, middle: float) -> str:
    starts = axis.x(axis.seconds(worker.started_us))
    online = axis.x(axis.seconds(worker.online_us)) if worker.online_us is not None else starts
    ends = axis.x(axis.seconds(worker.offline_us)) if worker.offline_us is not None else WIDTH - RIGHT
    name = escape(worker.name)
    return (
        f'<text class="lane" x="6" y="{middle + 4:.1f}">{name}</text>'
        f'<line class="starting" x1="{starts:.1f}" x2="{online:.1f}" y1="{middle:.1f}" y2="{middle:.1f}">'
        f"<title>{name} starting</title></line>"
        f'<line class="present" x1="{online:.1f}" x2="{ends:.1f}" y1="{middle:.1f}" y2="{middle:.1f}">'
        f"<title>{name}: {escape(worker.ended or 'online')}</title></line>"
    )


def _attempt(attempt: StoredAttempt, worker: StoredWorker, axis: Axis, middle: float) -> str:
    if attempt.started_us is None:
        return ""
    left, right = axis.x(axis.seconds(attempt.started_us)), axis.x(axis.seconds(attempt.finished_us))
    width = max(1.0, right - left - 0.8)
    title = (
        f"#{attempt.task}, attempt {attempt.attempt} on {worker.name}: {attempt.outcome}, "
        f"{(attempt.finished_us - attempt.started_us) / 1000:.0f} ms"
    )
    kind = attempt.outcome if attempt.outcome in ("completed", "lost") else "failed"
    box = f'x="{left:.1f}" y="{middle - BAR / 2:.1f}" width="{width:.1f}" height="{BAR}" rx="2"'
    parts = [f'<rect class="bar {kind}" {box}><title>{escape(title)}</title></rect>']
    if kind == "lost":
        parts.append(f'<text class="cross" x="{right + 3:.1f}" y="{middle + 4:.1f}">&#215;</text>')
    elif attempt.attempt > 1 and width >= 12:
        parts.append(
            f'<text class="number" x="{left + width / 2:.1f}" y="{middle + 4:.1f}">{attempt.attempt}</text>'
        )
    return "".join(parts)


def _open(height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(label)}">'


def _marks(axis: Axis, marks: Sequence[Mark], bottom: float) -> str:
    parts = []
    taken = -math.inf
    for mark in marks:
        x = axis.x(axis.seconds(mark.at_us))
        kind = "mark bad" if mark.bad else "mark"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{bottom}"/>')
        room = 6.2 * len(mark.text)
        right_of_it = x - room / 2 < taken
        start = x + 3 if right_of_it else x
        anchor = "" if right_of_it else " middle"
        height = ROWS[1] if right_of_it else ROWS[0]
        parts.append(f'<text class="{kind}{anchor}" x="{start:.1f}" y="{height}">{escape(mark.text)}</text>')
        taken = start + (room if right_of_it else room / 2)
    return "".join(parts)


def _time_axis(axis: Axis, bottom: float) -> str:
    step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 3600) if axis.length_s / s <= 14)
    parts = [f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>']
    parts += [
        f'<text class="tick middle" x="{axis.x(at_s):.1f}" y="{bottom + 14}">{at_s} s</text>'
        for at_s in range(0, int(axis.length_s) + 1, step)
    ]
    return "".join(parts)


def _tick_step(highest: float) -> float:
    """So that three to six ticks reach the highest value."""
    if highest <= 0:
        return 1.0
    size: float = 10.0 ** math.floor(math.log10(highest / 3))
    factor = next(factor for factor in (1.0, 2.0, 5.0, 10.0) if highest / (size * factor) <= 5)
    return size * factor
