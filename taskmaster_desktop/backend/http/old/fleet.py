"""Figures and workers as the old API shows and changes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from taskmaster_desktop.backend.commands import MAX_WORKERS, KillWorkerNow, ScaleFleet
from taskmaster_desktop.backend.errors import NotFound, UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.old.access import OldViews
from taskmaster_desktop.backend.http.old.answers import OldRoute, body_of, text_of, whole_of
from taskmaster_desktop.backend.model import WorkerRecord

_OLD_NAME = re.compile(r"(?:.*[-_])?(worker-\d+)")

router = APIRouter(route_class=OldRoute)


@router.get("/api/stats")
async def stats(views: OldViews) -> Response:
    return Response(await views.stats.get(), media_type="application/json")


@router.get("/api/workers")
async def workers(views: OldViews) -> Response:
    return Response(await views.workers(), media_type="application/json")


@router.post("/api/workers/scale")
async def scale(request: Request, api: Api, views: OldViews) -> dict[str, Any]:
    count = whole_of(await body_of(request), "count")
    if not 1 <= count <= MAX_WORKERS:
        raise UserError(f"count must be a whole number from 1 to {MAX_WORKERS}.", field="count")
    await asyncio.wrap_future(api.submit(ScaleFleet(workers=count)))
    views.forget()
    return {"ok": True, "count": count, "command": f"taskmaster scale {count}"}


@router.post("/api/workers/kill")
async def kill(request: Request, api: Api, views: OldViews) -> dict[str, Any]:
    """Hard: the worker has no time to finish anything, as in a crash."""
    asked = text_of(await body_of(request), "name")
    living = await asyncio.to_thread(lambda: api.query.workers(living_only=True))
    worker = _named(asked.strip(), living)
    await asyncio.wrap_future(api.submit(KillWorkerNow(worker=worker.number)))
    views.forget()
    return {"ok": True, "name": worker.name, "command": f"taskmaster kill {worker.name}"}


def _named(asked: str, living: Sequence[WorkerRecord]) -> WorkerRecord:
    """By its own name, or by the name of the container that it had in the old system."""
    old = _OLD_NAME.fullmatch(asked)
    for name in (asked, old[1] if old else None):
        for worker in living:
            if worker.name == name:
                return worker
    raise NotFound("No worker of this name is running.", field="name")
