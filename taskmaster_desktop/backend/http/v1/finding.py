"""Tasks, batches and workers by what people and programs call them. Blocks: for threads, never for the loop."""

from __future__ import annotations

from uuid import UUID

from taskmaster_desktop.backend.commands import MAX_NUMBER
from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.backend.model import BatchRecord, TaskRecord, WorkerRecord
from taskmaster_desktop.backend.ports import Query


def as_number(name: str) -> int | None:
    """`1042` or `#1042` as a number; None where it is something else."""
    digits = name.removeprefix("#")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    number = int(digits)
    return number if number <= MAX_NUMBER else None


def as_id(name: str, kind: str) -> bytes:
    """Raises UserError where it is no UUID."""
    try:
        return UUID(name).bytes
    except ValueError:
        raise UserError(f"{kind} must be a number or an id (UUID).", field=kind) from None


def find_task(query: Query, name: str) -> TaskRecord:
    number = as_number(name)
    if number is None:
        number = query.number_of(as_id(name, "task"))
    task = query.task(number) if number is not None else None
    if task is None:
        raise NotFound(f"There is no task {name}.", field="task")
    return task


def find_batch(query: Query, name: str) -> BatchRecord:
    number = as_number(name)
    batch = query.batch(number) if number is not None else query.batch_by_id(as_id(name, "batch"))
    if batch is None:
        raise NotFound(f"There is no batch {name}.", field="batch")
    return batch


def find_worker(query: Query, name: str) -> WorkerRecord:
    number = as_number(name)
    if number is not None:
        worker = query.worker(number)
    else:
        worker = query.worker_by_name(name) if "\0" not in name else None
    if worker is None:
        raise NotFound(f"There is no worker {name}.", field="worker")
    return worker


class WorkerNames:
    """Names of workers by number. A name never changes, so each is read once. Any thread."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._names: dict[int, str] = {}

    def __call__(self, number: int | None) -> str | None:
        if number is None:
            return None
        name = self._names.get(number)
        if name is None:
            worker = self._query.worker(number)
            if worker is None:
                return None
            name = self._names[number] = worker.name
        return name
