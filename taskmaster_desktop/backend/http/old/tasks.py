"""Tasks as the old API takes and shows them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from taskmaster_desktop.backend.api import BackendApi, Submitted
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.commands import MAX_DELAY_S, SubmitBatch, Work
from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.old.access import OldViews
from taskmaster_desktop.backend.http.old.answers import (
    OldRoute,
    body_of,
    moment_of,
    seconds_of,
    text_of,
    whole_of,
)
from taskmaster_desktop.backend.http.old.views import MAX_TASKS, task_view
from taskmaster_desktop.backend.model import TaskFilter, TaskRecord

MAX_OLD_COUNT = 1_000

router = APIRouter(route_class=OldRoute)


@router.post("/api/schedule/batch")
async def schedule_batch(request: Request, api: Api, views: OldViews) -> dict[str, Any]:
    """`count` is brought into 1 to 1,000, as it always was."""
    body = await body_of(request)
    count = min(max(whole_of(body, "count", otherwise=1), 1), MAX_OLD_COUNT)
    delay_s = seconds_of(body, "delay_seconds", most=MAX_DELAY_S)
    wish = SubmitBatch(works=[Work(command=text_of(body, "command"))], count=count, delay_s=delay_s)
    tasks = await _submit(api, views, wish)
    return {
        "count": len(tasks),
        "scheduled_at": _scheduled_s(tasks[0]),
        "task_ids": [str(task.uuid) for task in tasks],
    }


@router.post("/schedule")
@router.post("/api/schedule")
async def schedule(request: Request, api: Api, views: OldViews) -> dict[str, Any]:
    """A moment that has passed means at once."""
    body = await body_of(request)
    command = text_of(body, "command")
    wish = SubmitBatch(works=[Work(command=command)], run_at_us=moment_of(body, "scheduled_at"))
    task, *_ = await _submit(api, views, wish)
    return {"command": command, "scheduled_at": _scheduled_s(task), "task_id": str(task.uuid)}


@router.get("/status")
@router.get("/api/status")
async def status(api: Api, task_id: str = "") -> dict[str, Any]:
    if not task_id:
        raise UserError("task_id must be given.", field="task_id")
    task = await asyncio.to_thread(_find, api, task_id)
    if task is None:
        raise NotFound("There is no such task.", field="task_id")
    return task_view(task)


@router.get("/api/tasks")
async def tasks(api: Api, views: OldViews) -> Response:
    """The newest `MAX_TASKS`, the oldest of them first."""
    headers = {"x-task-limit": str(MAX_TASKS), "x-total-count": str(api.totals.tasks)}
    return Response(await views.tasks.get(), media_type="application/json", headers=headers)


async def _submit(api: BackendApi, views: OldViews, wish: SubmitBatch) -> list[TaskRecord]:
    """The new tasks as they are stored."""
    submitted: Submitted = await asyncio.wrap_future(api.submit(wish))
    views.forget()
    return await asyncio.to_thread(_tasks_of, api, submitted)


def _tasks_of(api: BackendApi, submitted: Submitted) -> list[TaskRecord]:
    batch = submitted.batch
    chosen = TaskFilter(batch=batch.number)
    page = api.query.tasks(chosen, after=batch.first_task - 1, limit=batch.size, newest_first=False)
    return list(page.tasks)


def _find(api: BackendApi, task_id: str) -> TaskRecord | None:
    try:
        number = api.query.number_of(UUID(task_id).bytes)
    except ValueError:
        return None
    return api.query.task(number) if number is not None else None


def _scheduled_s(task: TaskRecord) -> int:
    return (task.run_at_us if task.run_at_us is not None else task.created_us) // SECOND_US
