"""Cancel, retry and discard tasks: those that are named, or all that match; with a rehearsal that only counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.commands import CancelTasks, DiscardTasks, RetryTasks
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.finding import as_id, as_number
from taskmaster_desktop.backend.http.v1.routing import outcome, v1_router
from taskmaster_desktop.backend.http.v1.tasks import chosen_tasks, states_of
from taskmaster_desktop.backend.model import ACTIVE_STATES, TERMINAL_STATES, TaskFilter, TaskRecord, TaskState
from taskmaster_desktop.backend.ports import Query

MAX_NAMED = 1000
UNFINISHED = frozenset(TaskState) - TERMINAL_STATES
FAILED = frozenset({TaskState.FAILED})
Kind = type[CancelTasks] | type[RetryTasks] | type[DiscardTasks]

router: APIRouter = v1_router("tasks")

Tasks = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]},
            "maxItems": MAX_NAMED,
            "description": "Numbers or ids.",
        }
    ),
]
States = Annotated[
    Any, WithJsonSchema({"type": "array", "items": {"type": "string", "enum": list(TaskState)}})
]
Name = Annotated[Any, WithJsonSchema({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]})]
Text = Annotated[Any, WithJsonSchema({"type": "string"})]
Flag = Annotated[Any, WithJsonSchema({"type": "boolean"})]


class FilterForm(BaseModel):
    """All conditions hold together; none at all means every task."""

    model_config = ConfigDict(extra="forbid")

    states: States = None
    batch: Name = None
    tag: Text = None
    worker: Name = None
    text: Text = None
    dead_letters: Flag = False

    def chosen(self, query: Query) -> TaskFilter:
        return chosen_tasks(
            query,
            states=states_of(self.states),
            batch=_name("batch", self.batch),
            tag=self.tag,
            worker=_name("worker", self.worker),
            text=self.text,
            dead_letters=self.dead_letters,
        )


class ActionForm(BaseModel):
    """Which tasks are meant: either those of a list or all that match a filter."""

    model_config = ConfigDict(extra="forbid")

    tasks: Tasks = None
    filter: FilterForm | None = None
    dry_run: Flag = Field(False, description="Do nothing, only count.")


class Affected(BaseModel):
    """How many tasks were changed, or would be."""

    model_config = views.example({"affected": 12, "dry_run": False, "unknown": []})

    affected: int
    dry_run: bool
    unknown: list[str] = Field(description="Of the list, what is no task.")


EXAMPLES: Any = {
    "a rehearsal": {"value": {"filter": {"batch": 7, "states": ["pending"]}, "dry_run": True}},
    "by filter": {"value": {"filter": {"tag": "video", "dead_letters": True}}},
    "by number": {"value": {"tasks": [1042, 1043]}},
}
Form = Annotated[ActionForm, Body(openapi_examples=EXAMPLES)]


@router.post("/tasks/cancel", summary="Cancel tasks", response_model=Affected)
async def cancel_tasks(form: Form, api: Api) -> Affected:
    """Those that are not finished. A running command is ended first; its task is cancelled after that."""
    return await _act(api, CancelTasks, form, UNFINISHED)


@router.post("/tasks/retry", summary="Retry tasks", response_model=Affected)
async def retry_tasks(form: Form, api: Api) -> Affected:
    """Failed tasks go back into the queue with all their retries; attempts count on."""
    return await _act(api, RetryTasks, form, FAILED)


@router.post("/tasks/discard", summary="Discard dead letters", response_model=Affected)
async def discard_tasks(form: Form, api: Api) -> Affected:
    """Failed tasks are hidden from the dead letters; their state stays."""
    return await _act(api, DiscardTasks, form, FAILED)


async def _act(api: BackendApi, kind: Kind, form: ActionForm, states: frozenset[TaskState]) -> Affected:
    """`states` are those in which a task can be affected at all."""
    if not isinstance(form.dry_run, bool):
        raise UserError("dry_run must be true or false.", field="dry_run")
    if (form.tasks is None) == (form.filter is None):
        raise UserError("Name the tasks either as tasks or by a filter.", field="tasks")
    unknown: list[str] = []
    if form.filter is not None:
        chosen = await run_in_threadpool(form.filter.chosen, api.query)
        narrowed = _narrowed(chosen, kind, states)
        if narrowed is None:
            return Affected(affected=0, dry_run=form.dry_run, unknown=[])
        if form.dry_run:
            affected = await run_in_threadpool(_count, api.query, narrowed)
        else:
            affected = await outcome(api.submit(kind(chosen=narrowed)))
    else:
        found, unknown = await run_in_threadpool(_named, api.query, form.tasks)
        if form.dry_run:
            affected = sum(_is_affected(task, kind, states) for task in found)
        else:
            numbers = tuple(task.number for task in found)
            affected = await outcome(api.submit(kind(numbers=numbers)))
    return Affected(affected=affected, dry_run=form.dry_run, unknown=unknown)


def _narrowed(chosen: TaskFilter, kind: Kind, states: frozenset[TaskState]) -> TaskFilter | None:
    """The same effect with fewer rows to look at; None where there can be none."""
    wanted = (chosen.states or states) & states
    if chosen.dead_letters:
        wanted &= FAILED
    if not wanted:
        return None
    return replace(chosen, states=wanted, dead_letters=chosen.dead_letters or kind is DiscardTasks)


def _count(query: Query, chosen: TaskFilter) -> int:
    """Those that are being cancelled already, which are few at any time, are not affected again."""
    found = query.count(chosen)
    after: int | None = 0
    if not chosen.states & ACTIVE_STATES:
        return found
    active = replace(chosen, states=chosen.states & ACTIVE_STATES)
    while after is not None:
        page = query.tasks(active, after=after, limit=1000, newest_first=False)
        found -= sum(task.cancelling for task in page.tasks)
        after = page.next_after
    return found


def _is_affected(task: TaskRecord, kind: Kind, states: frozenset[TaskState]) -> bool:
    if kind is DiscardTasks and task.discarded:
        return False
    return task.state in states and not task.cancelling


def _named(query: Query, tasks: object) -> tuple[list[TaskRecord], list[str]]:
    """The tasks, each once, and the names of those that are none. Raises UserError."""
    if not isinstance(tasks, list) or len(tasks) > MAX_NAMED:
        raise UserError(f"tasks must be a list of at most {MAX_NAMED:,} numbers or ids.", field="tasks")
    found: dict[int, TaskRecord] = {}
    unknown: list[str] = []
    for given in tasks:
        name = _name("tasks", given) or ""
        number = as_number(name)
        if number is None:
            number = query.number_of(as_id(name, "tasks"))
        task = query.task(number) if number is not None else None
        if task is None:
            unknown.append(name)
        else:
            found[task.number] = task
    return list(found.values()), unknown


def _name(field: str, given: object) -> str | None:
    """What names something, as text. Raises UserError."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise UserError(f"{field} must be a number or a text.", field=field)
