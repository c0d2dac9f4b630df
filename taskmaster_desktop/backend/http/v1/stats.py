"""The figures, as cheap as they can be: many may ask, and often."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.routing import v1_router

router: APIRouter = v1_router("stats")

STATS_EXAMPLE: dict[str, Any] = {
    "tasks": {
        "total": 171, "pending": 120, "assigned": 0, "running": 3, "completed": 47, "failed": 1,
        "cancelled": 0, "discarded": 0,
    },
    "workers": {"desired": 3, "connected": 3, "self_heal": True},
    "paused": False, "attempts_lost": 0, "late_answers": 0, "epoch": 4, "changes": 1205, "trouble": None,
    "fleet_trouble": None,
}  # fmt: skip


class TaskFigures(BaseModel):
    """How many tasks are in which state; `discarded` are some of the failed."""

    total: int
    pending: int
    assigned: int
    running: int
    completed: int
    failed: int
    cancelled: int
    discarded: int


class WorkerFigures(BaseModel):
    """`connected` is how many speak to the engine at the moment."""

    desired: int
    connected: int
    self_heal: bool


class Stats(BaseModel):
    """All figures as of the last commit. `changes` grows with every commit of this life (`epoch`)."""

    model_config = views.example(STATS_EXAMPLE)

    tasks: TaskFigures
    workers: WorkerFigures
    paused: bool
    attempts_lost: int
    late_answers: int
    epoch: int
    changes: int
    trouble: str | None
    fleet_trouble: str | None


class StatsCache:
    """The figures as they go over the wire, written anew when something has changed. On the engine's loop."""

    def __init__(self, api: BackendApi) -> None:
        self._api = api
        self._key: tuple[object, ...] | None = None
        self._body = b""

    def body(self) -> bytes:
        api = self._api
        key = (api.epoch, api.changes, len(api.usage), api.trouble, api.fleet_trouble)
        if key != self._key:
            self._key, self._body = key, _stats(api)
        return self._body


def _stats(api: BackendApi) -> bytes:
    totals = api.totals
    stats = {
        "tasks": {
            "total": totals.tasks,
            "pending": totals.pending,
            "assigned": totals.assigned,
            "running": totals.running,
            "completed": totals.completed,
            "failed": totals.failed,
            "cancelled": totals.cancelled,
            "discarded": totals.discarded,
        },
        "workers": {"desired": totals.desired, "connected": len(api.usage), "self_heal": totals.self_heal},
        "paused": totals.paused,
        "attempts_lost": totals.attempts_lost,
        "late_answers": totals.late_answers,
        "epoch": api.epoch,
        "changes": api.changes,
        "trouble": api.trouble,
        "fleet_trouble": api.fleet_trouble,
    }
    return json.dumps(stats, separators=(",", ":")).encode()


@router.get("/stats", summary="Show the figures", response_model=Stats)
async def show_stats(request: Request) -> Response:
    """Cheap: counted as things happen, never by looking, so it may be asked often."""
    cache: StatsCache = request.app.state.stats
    return Response(cache.body(), media_type="application/json")
