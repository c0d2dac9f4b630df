"""Is it well, which version is it, and what has it done lately."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from taskmaster_desktop import __version__
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.problems import RETRY_AFTER_S
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.routing import v1_router

router: APIRouter = v1_router("about")

ILL = {
    "ok": False,
    "trouble": "The disk that holds the database is full. Free some space on it; work goes on by itself then.",
    "fleet_trouble": "The Docker Engine does not answer. Start it; workers come back by themselves.",
}


class Health(BaseModel):
    """`ok` is false while something is in the way; the texts say what and how to mend it."""

    model_config = views.example({"ok": True, "trouble": None, "fleet_trouble": None})

    ok: bool
    trouble: str | None
    fleet_trouble: str | None


class Version(BaseModel):
    """The version of the program that answers."""

    model_config = views.example({"version": "0.1.0"})

    version: str


class Activity(BaseModel):
    """Lines of the activity log, the oldest first."""

    model_config = views.example({"lines": [views.Line.model_config["json_schema_extra"]["examples"][0]]})  # type: ignore[index]

    lines: list[views.Line]


@router.get(
    "/health",
    summary="Is it well",
    response_model=Health,
    responses={
        503: {
            "description": "Something is in the way.",
            "model": Health,
            "content": {"application/json": {"example": ILL}},
        }
    },
)
async def show_health(api: Api, response: Response) -> Health:
    """Whether commands can be taken and workers be started; 503 while not."""
    health = Health(
        ok=api.trouble is None and api.fleet_trouble is None,
        trouble=api.trouble,
        fleet_trouble=api.fleet_trouble,
    )
    if not health.ok:
        response.status_code = 503
        response.headers["retry-after"] = str(RETRY_AFTER_S)
    return health


@router.get("/version", summary="Which version is it", response_model=Version)
async def show_version() -> Version:
    """Of the program that answers."""
    return Version(version=__version__)


@router.get("/activity", summary="Read the activity log", response_model=Activity)
def read_activity(
    api: Api,
    limit: Annotated[int, Query(ge=1, le=1000, description="The newest so many lines.")] = 100,
) -> Activity:
    """What happened to fleet, queue and workers. `events` tells what comes after."""
    return Activity(lines=[views.Line.of(line) for line in api.query.events(limit=limit)])
