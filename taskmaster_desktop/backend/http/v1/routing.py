"""What all routes have in common: their names in the description, their errors, and how they wait."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from fastapi.routing import APIRoute

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.http.problems import MEDIA_TYPE
from taskmaster_desktop.backend.http.v1.finding import WorkerNames
from taskmaster_desktop.backend.ports import Clock

T = TypeVar("T")

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_ERRORS = (
    "A problem of RFC 9457: 400 names the field at fault, 401 and 403 say who may come in, 404 what there is "
    "not, 409 what it contradicts; 503 (with Retry-After) what is in the way for the moment."
)


class ProblemRoute(APIRoute):
    """Describes errors with the media type that they have."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        errors = {"default": {"description": _ERRORS, **_PROBLEM}}
        super().__init__(*arguments, **{**more, "responses": {**(more.get("responses") or {}), **errors}})


def v1_router(tag: str) -> APIRouter:
    """Routes whose operation ids are the names of their functions."""
    return APIRouter(
        tags=[tag],
        route_class=ProblemRoute,
        generate_unique_id_function=lambda route: route.name,
    )


async def outcome(future: Future[T]) -> T:
    """What a command leads to. A caller who leaves does not undo it."""
    return await asyncio.shield(asyncio.wrap_future(future))


def _clock(request: Request) -> Clock:
    clock: Clock = getattr(request.app.state, "clock", None) or SystemClock()
    return clock


def _names(request: Request) -> WorkerNames:
    names: WorkerNames = request.app.state.worker_names
    return names


Names = Annotated[WorkerNames, Depends(_names)]
Now = Annotated[Clock, Depends(_clock)]
TaskName = Annotated[str, Path(description="Number or id of a task.", examples=["1042"])]
BatchName = Annotated[str, Path(description="Number or id of a batch.", examples=["7"])]
WorkerName = Annotated[str, Path(description="Number or name of a worker.", examples=["worker-2"])]
