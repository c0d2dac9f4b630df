"""The old log over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from taskmaster_desktop.backend.http.old.access import Log, OpenStreams
from taskmaster_desktop.backend.http.old.answers import OldRoute

router = APIRouter(route_class=OldRoute)


@router.get("/api/logs")
async def logs(request: Request, log: Log, streams: OpenStreams) -> Response:
    """The recent lines; for who asks for a stream, as `/api/logs/stream`."""
    if "text/event-stream" in request.headers.get("accept", "").lower():
        return streams.respond(log.attach, lost=log.lost)
    return Response(await log.recent_json.get(), media_type="application/json")


@router.get("/api/logs/stream")
async def stream(log: Log, streams: OpenStreams) -> Response:
    """The recent lines, then each as it comes."""
    return streams.respond(log.attach, lost=log.lost)
