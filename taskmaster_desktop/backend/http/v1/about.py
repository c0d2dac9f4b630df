"""Is it well, and which version is it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from taskmaster_desktop import __version__
from taskmaster_desktop.backend.http.access import Api

router = APIRouter(tags=["about"])


class Health(BaseModel):
    """`ok` is false while something is in the way; the texts say what and how to mend it."""

    ok: bool
    trouble: str | None
    fleet_trouble: str | None


class Version(BaseModel):
    version: str


@router.get("/health")
async def health(api: Api) -> Health:
    """Whether commands can be taken and workers be started."""
    return Health(
        ok=api.trouble is None and api.fleet_trouble is None,
        trouble=api.trouble,
        fleet_trouble=api.fleet_trouble,
    )


@router.get("/version")
async def version() -> Version:
    """Of the program that answers."""
    return Version(version=__version__)
