"""Every statement of the write path, prepared once for one database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from taskmaster_desktop.backend.core.instructions import BatchCounts
from taskmaster_desktop.backend.model import (
    IMMUTABLE_FIELDS,
    AttemptRecord,
    BatchRecord,
    EventRecord,
    OutputChunk,
    TaskRecord,
    Totals,
    WorkerRecord,
)
from taskmaster_desktop.backend.store import tables
from taskmaster_desktop.backend.store.dialect import Dialect
from taskmaster_desktop.backend.store.prepared import Prepared

HEAD_BYTES = 1024 * 1024
"""How much of an attempt's output is always kept, from its beginning."""

PENDING_FIELDS = (*TaskRecord._fields[:IMMUTABLE_FIELDS], "due_us")
"""What a task that was just submitted brings along; the rest of its row is always the same."""

_PENDING_REST = {
    "state": "'pending'", "attempt": "0", "fence": "0", "worker": "NULL", "assigned_us": "NULL", "started_us": "NULL",
    "finished_us": "NULL", "outcome": "NULL", "exit_code": "NULL", "reason": "''", "failures": "0", "deaths": "0",
    "cancelling": "false", "discarded": "false", "progress": "0.0", "progress_text": "''",
}  # fmt: skip


def _where(column: sa.Column[object], name: str) -> sa.ColumnElement[bool]:
    return column == sa.bindparam(name)


class Statements:
    """Attributes are named for what they do; the comments say what a row of parameters is."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepare_tasks()
        self._prepare_around_tasks()
        self._prepare_output()
        self._prepare_instance()

    def _prepare(
        self, statement: sa.Insert | sa.Update | sa.Delete | sa.Select[Any], *order: str
    ) -> Prepared:
        return Prepared(self._dialect.writer, statement, order)

    def _prepare_tasks(self) -> None:
        tasks = tables.tasks
        rest: dict[str, sa.ColumnElement[Any]] = {
            name: sa.literal_column(value) for name, value in _PENDING_REST.items()
        }
        believed = (
            _where(tasks.c.number, "this"),
            _where(tasks.c.state, "old_state"),
            _where(tasks.c.fence, "old_fence"),
        )
        # PENDING_FIELDS
        self.insert_pending = self._prepare(sa.insert(tasks).values(rest), *PENDING_FIELDS)
        # TaskRecord
        self.insert_task = self._prepare(sa.insert(tasks), *TaskRecord._fields)
        # the mutable fields of TaskRecord, then number, state and fence as they must be
        mutable = TaskRecord._fields[IMMUTABLE_FIELDS:]
        self.update_task = self._prepare(
            sa.update(tasks).where(*believed), *mutable, "this", "old_state", "old_fence"
        )

    def _prepare_around_tasks(self) -> None:
        batches = tables.batches
        # BatchRecord with its options as text
        self.insert_batch = self._prepare(sa.insert(batches), *BatchRecord._fields)
        # tag, batch
        self.insert_tag = self._prepare(sa.insert(tables.batch_tags), "tag", "batch")
        # BatchCounts, then the batch's number
        this_batch = sa.update(batches).where(_where(batches.c.number, "this"))
        self.update_batch = self._prepare(this_batch, *BatchCounts._fields, "this")
        # AttemptRecord
        self.insert_attempt = self._prepare(sa.insert(tables.attempts), *AttemptRecord._fields)
        # WorkerRecord
        self.put_worker = self._prepare(self._dialect.upsert(tables.workers, "number"), *WorkerRecord._fields)
        # EventRecord
        self.insert_event = self._prepare(sa.insert(tables.events), *EventRecord._fields)

    def _prepare_output(self) -> None:
        output = tables.output
        length = sa.func.length(output.c.data)
        this = (_where(output.c.task, "this"), _where(output.c.attempt, "that"))
        beyond = output.c.offset >= sa.literal_column(str(HEAD_BYTES))
        before = (output.c.offset < sa.bindparam("limit"), output.c.offset + length <= sa.bindparam("limit"))
        # OutputChunk
        self.insert_output = self._prepare(sa.insert(output), *OutputChunk._fields)
        # task, attempt; yields where the stored output ends
        end = sa.select(sa.func.max(output.c.offset + length)).where(*this)
        self.output_end = self._prepare(end, "this", "that")
        # task, attempt, limit, limit; deletes the chunks beyond the head that end there or before, yields
        # their sizes
        cut = sa.delete(output).where(*this, beyond, *before).returning(length)
        self.cut_output = self._prepare(cut, "this", "that", "limit", "limit")

    def _prepare_instance(self) -> None:
        instance = tables.instance
        ours = _where(instance.c.epoch, "this")
        # Totals, then the epoch
        self.write_totals = self._prepare(sa.update(instance).where(ours), *Totals._fields, "this")
        # the epoch; yields it if it is still the database's
        self.check_epoch = self._prepare(sa.select(instance.c.epoch).where(ours).with_for_update(), "this")
        # by how many bytes the stored output has grown
        grown = instance.c.output_bytes + sa.bindparam("grown")
        self.count_output = self._prepare(sa.update(instance).values(output_bytes=grown), "grown")
