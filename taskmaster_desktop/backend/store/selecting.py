"""Finds tasks by a filter, a page at a time, in order of number and in bounded work.

A filter is split in two. *Spans* and *sources* are what an index answers in order of number: ranges of
numbers (a batch is one, a tag is several), the primary key, the index of a rare state, a worker's attempts.
The *rest* (text, common states, discarded) is judged row by row, for at most `scan` rows a call; a page may
thus be short or empty and still say where to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from taskmaster_desktop.backend.model import ACTIVE_STATES, TaskFilter, TaskState
from taskmaster_desktop.backend.store import tables
from taskmaster_desktop.backend.store.reading import Rows

SCAN_ROWS = 50_000
SPAN_BATCHES = 200
LOWEST, HIGHEST = 0, 2**62

_NUMBER = tables.tasks.c.number
_RARE = {TaskState.FAILED: tables.IS_FAILED, TaskState.CANCELLED: tables.IS_CANCELLED}


class Span(NamedTuple):
    """A range of numbers, both ends included."""

    low: int
    high: int


class Source(NamedTuple):
    """An index in order of number: its column, and what must hold of a row to be found there."""

    key: sa.ColumnElement[int]
    condition: sa.ColumnElement[bool] | sa.TextClause


class Found(NamedTuple):
    """Rows in the order asked for, and the number to go on after (None at the end); `seen` rows were judged."""

    rows: list[sa.Row[Any]]
    stop: int | None
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter on its way through the indexes. The first column of `columns` is the task's number."""

    connection: sa.Connection
    chosen: TaskFilter
    newest_first: bool = False
    columns: Sequence[sa.Column[Any]] = (_NUMBER,)
    scan: int = SCAN_ROWS

    def page(self, after: int | None, limit: int) -> Found:
        """At most `limit` tasks beyond `after`."""
        states = self._states()
        if not states:
            return Found([], None)
        sources, rest = self._sources(states), self._rest(states)
        found: list[sa.Row[Any]] = []
        scan = self.scan
        spans, complete = self._spans(after)
        for index, span in enumerate(spans):
            rows, stop, seen = self._merged(sources, rest, span, limit - len(found), scan)
            found += rows
            scan -= seen
            if stop is not None or (complete and index == len(spans) - 1):
                return Found(found, stop)
            if len(found) >= limit or scan <= 0:
                return Found(found, self._far_end(span))
        return Found(found, None if complete or not spans else self._far_end(spans[-1]))

    def _far_end(self, span: Span) -> int:
        return span.low if self.newest_first else span.high

    # ------------------------------------------------------------ what the filter means
    def _states(self) -> frozenset[TaskState]:
        states = self.chosen.states or frozenset(TaskState)
        return states & {TaskState.FAILED} if self.chosen.dead_letters else states

    def _sources(self, states: frozenset[TaskState]) -> list[Source]:
        active = Source(_NUMBER, sa.text(tables.IS_ACTIVE))
        rare = [Source(_NUMBER, sa.text(_RARE[state])) for state in states if state in _RARE]
        if states & ACTIVE_STATES:
            rare.append(active)
        if states <= ACTIVE_STATES | _RARE.keys():
            return rare
        if self.chosen.worker is not None:
            # Attempts are rows once they have ended; the current one is known by its task alone.
            attempts = tables.attempts
            return [Source(attempts.c.task, attempts.c.worker == self.chosen.worker), active]
        return [Source(_NUMBER, sa.true())]

    def _rest(self, states: frozenset[TaskState]) -> list[sa.ColumnElement[bool]]:
        tasks, chosen = tables.tasks, self.chosen
        rest: list[sa.ColumnElement[bool]] = []
        if states != frozenset(TaskState) and not states <= _RARE.keys():
            rest.append(tasks.c.state.in_(sorted(states)))
        if chosen.worker is not None:
            rest.append(tasks.c.worker == chosen.worker)
        if chosen.dead_letters:
            rest.append(tasks.c.discarded == sa.false())
        if chosen.text:
            rest.append(tasks.c.command.icontains(chosen.text, autoescape=True))
        return rest

    # ------------------------------------------------------------ where to look
    def _spans(self, after: int | None) -> tuple[list[Span], bool]:
        """Ranges in the order asked for, and whether they hold every match; of a tag only the next
        `SPAN_BATCHES` batches are looked at."""
        everything = Span(LOWEST, HIGHEST)
        if after is not None:
            everything = Span(LOWEST, after - 1) if self.newest_first else Span(after + 1, HIGHEST)
        if self.chosen.batch is None and self.chosen.tag is None:
            return [everything], True
        batches = self._batches(everything)
        spans: list[Span] = []
        for first, size in batches:
            span = Span(max(first, everything.low), min(first + size - 1, everything.high))
            if spans and (span.low == spans[-1].high + 1 or span.high == spans[-1].low - 1):
                last = spans.pop()
                span = Span(min(last.low, span.low), max(last.high, span.high))
            spans.append(span)
        return spans, len(batches) < SPAN_BATCHES

    def _batches(self, within: Span) -> Sequence[tuple[int, int]]:
        """First task and size of batches that the filter allows and that reach into `within`."""
        batches, tags, newest = tables.batches, tables.batch_tags, self.newest_first
        query = sa.select(batches.c.first_task, batches.c.size)
        query = query.where(batches.c.first_task <= within.high)
        query = query.where(batches.c.first_task + batches.c.size > within.low)
        if self.chosen.batch is not None:
            query = query.where(batches.c.number == self.chosen.batch)
        if self.chosen.tag is not None:
            query = query.join(tags, tags.c.batch == batches.c.number).where(tags.c.tag == self.chosen.tag)
            # Batches and tasks are numbered in the same order: leap to the batch where `within` begins.
            edge = sa.select(tables.tasks.c.batch).where(_NUMBER.between(*within))
            edge = edge.order_by(_order(_NUMBER, newest)).limit(1)
            start = self.connection.execute(edge).scalar_one_or_none()
            if start is None:
                return []
            query = query.where(tags.c.batch <= start if newest else tags.c.batch >= start)
            query = query.order_by(_order(tags.c.batch, newest)).limit(SPAN_BATCHES)
        return [(first, size) for first, size in self.connection.execute(query)]

    # ------------------------------------------------------------ looking
    def _merged(
        self, sources: list[Source], rest: list[sa.ColumnElement[bool]], span: Span, limit: int, scan: int
    ) -> Found:
        """One page from several indexes: what lies beyond the first place where one of them stopped is left
        for the next page, for there may be more before it."""
        parts = [self._walk(source, rest, span, limit, scan) for source in sources]
        if len(parts) == 1:
            return parts[0]
        sign = -1 if self.newest_first else 1
        rows = {row[0]: row for part in parts for row in part.rows}
        stop = min((sign * part.stop for part in parts if part.stop is not None), default=None)
        ordered = [rows[number] for number in sorted(rows, reverse=self.newest_first)]
        if stop is not None:
            ordered = [row for row in ordered if sign * row[0] <= stop]
            stop *= sign
        if len(ordered) > limit:
            ordered = ordered[:limit]
            stop = ordered[-1][0]
        return Found(ordered, stop, sum(part.seen for part in parts))

    def _walk(
        self, source: Source, rest: list[sa.ColumnElement[bool]], span: Span, limit: int, scan: int
    ) -> Found:
        stop: int | None = None
        seen = 0
        if rest:
            # Where does the walk end that judges `scan` rows at most?
            judged = sa.select(source.key.label("number")).where(source.condition, source.key.between(*span))
            judged = judged.order_by(_order(source.key, self.newest_first)).limit(scan)
            inner = judged.subquery()
            furthest = (sa.func.min if self.newest_first else sa.func.max)(inner.c.number)
            end, seen = self.connection.execute(sa.select(furthest, sa.func.count()).select_from(inner)).one()
            if not seen:
                return Found([], None)
            if seen >= scan:
                stop = end
                span = Span(end, span.high) if self.newest_first else Span(span.low, end)
        rows = self._rows(source, rest, span, limit + 1)
        if len(rows) > limit:
            return Found(list(rows[:limit]), rows[limit - 1][0], seen)
        return Found(list(rows), stop, seen)

    def _rows(self, source: Source, rest: list[sa.ColumnElement[bool]], span: Span, limit: int) -> Rows:
        within = source.key.between(*span)
        if source.key is _NUMBER:
            query = sa.select(*self.columns).where(source.condition, within, *rest)
        else:
            listed = sa.select(source.key).where(source.condition, within)
            query = sa.select(*self.columns).where(_NUMBER.in_(listed), *rest)
        return self.connection.execute(
            query.order_by(_order(_NUMBER, self.newest_first)).limit(limit)
        ).fetchall()


def _order(column: sa.ColumnElement[Any], newest_first: bool) -> sa.ColumnElement[Any]:
    return column.desc() if newest_first else column.asc()


def find_numbers(connection: sa.Connection, chosen: TaskFilter, after: int, limit: int) -> list[int]:
    """Numbers greater than `after` of tasks that match, ascending, exactly as many as there are up to `limit`."""
    selection = Selection(connection=connection, chosen=chosen)
    numbers: list[int] = []
    position: int | None = after
    while position is not None and len(numbers) < limit:
        found = selection.page(position, limit - len(numbers))
        numbers += [row[0] for row in found.rows]
        position = found.stop
    return numbers
