"""Find tasks and look at them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from taskmaster_desktop.backend.commands import CancelTasks
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.cursor import Cursor
from taskmaster_desktop.backend.http.v1.finding import as_number, find_batch, find_task, find_worker
from taskmaster_desktop.backend.http.v1.routing import Names, TaskName, v1_router
from taskmaster_desktop.backend.model import TaskFilter, TaskState
from taskmaster_desktop.backend.ports import Query as Reads

router: APIRouter = v1_router("tasks")


class TaskPage(BaseModel):
    """Some tasks, and where to go on."""

    model_config = views.example({"tasks": [views.TASK_EXAMPLE], "next": "bzoxMDQy"})

    tasks: list[views.Task]
    next: str | None


class AttemptList(BaseModel):
    """All attempts of a task, the first one first."""

    model_config = views.example({"attempts": [views.ATTEMPT_EXAMPLE]})

    attempts: list[views.Attempt]


def chosen_tasks(
    query: Reads,
    *,
    states: frozenset[TaskState],
    batch: str | None,
    tag: str | None,
    worker: str | None,
    text: str | None,
    dead_letters: bool,
) -> TaskFilter:
    """A checked filter, batch and worker by number or name. Raises UserError, NotFound."""
    chosen = TaskFilter(
        states=states,
        batch=_batch_number(query, batch),
        tag=tag,
        worker=_worker_number(query, worker),
        text=text,
        dead_letters=dead_letters,
    )
    CancelTasks(chosen=chosen).check()
    return chosen


def _batch_number(query: Reads, name: str | None) -> int | None:
    if name is None:
        return None
    number = as_number(name)
    return number if number is not None else find_batch(query, name).number


def _worker_number(query: Reads, name: str | None) -> int | None:
    if name is None:
        return None
    number = as_number(name)
    return number if number is not None else find_worker(query, name).number


@router.get("/tasks", summary="Find tasks", response_model=TaskPage)
def list_tasks(
    api: Api,
    names: Names,
    state: Annotated[list[TaskState] | None, Query(description="In one of these states.")] = None,
    batch: Annotated[str | None, Query(description="Of this batch, by number or id.")] = None,
    tag: Annotated[str | None, Query(description="With this tag.")] = None,
    worker: Annotated[str | None, Query(description="On this worker, by number or name.")] = None,
    text: Annotated[str | None, Query(description="With this in the command, in any case.")] = None,
    dead_letters: Annotated[bool, Query(description="Failed for good and not discarded.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    newest_first: Annotated[bool, Query(description="In descending order of number.")] = False,
) -> TaskPage:
    """All conditions hold together. In order of number, a page at a time; a page may be short or empty while
    `next` still says where to go on, because only so many rows are looked at for one answer.
    """
    after = Cursor.read(cursor, newest_first=newest_first)
    chosen = chosen_tasks(
        api.query,
        states=frozenset(state or ()),
        batch=batch,
        tag=tag,
        worker=worker,
        text=text,
        dead_letters=dead_letters,
    )
    page = api.query.tasks(chosen, after=after, limit=limit, newest_first=newest_first)
    going_on = page.next_after
    return TaskPage(
        tasks=[views.Task.of(task, names) for task in page.tasks],
        next=None if going_on is None else Cursor.write(going_on, newest_first=newest_first),
    )


@router.get("/tasks/{task}", summary="Show a task", response_model=views.TaskDetail)
def show_task(task: TaskName, api: Api, names: Names) -> views.TaskDetail:
    """Its state, its last attempt, and what its batch says of it."""
    record = find_task(api.query, task)
    batch = api.query.batch(record.batch)
    return views.TaskDetail(
        **views.Task.fields_of(record, names),
        batch_id=None if batch is None else views.uuid_of(batch.id),
        options=None if batch is None else views.Options.of(batch.options),
    )


@router.get("/tasks/{task}/attempts", summary="List the attempts of a task", response_model=AttemptList)
def list_attempts(task: TaskName, api: Api, names: Names) -> AttemptList:
    """Those that ended, and the one that goes on."""
    record = find_task(api.query, task)
    attempts = [views.Attempt.of(attempt, names) for attempt in api.query.attempts(record.number)]
    current = views.Attempt.current(record, names)
    if current is not None and all(attempt.attempt != current.attempt for attempt in attempts):
        attempts.append(current)
    return AttemptList(attempts=attempts)


def states_of(given: object) -> frozenset[TaskState]:
    """States by name. Raises UserError."""
    if given is None:
        return frozenset()
    try:
        if isinstance(given, list):
            return frozenset(TaskState(one) for one in given)
    except ValueError:
        pass
    raise UserError(f"states must be a list of some of {', '.join(TaskState)}.", field="states")
