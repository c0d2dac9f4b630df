"""What happens, as it happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from taskmaster_desktop.backend.http.ring import Ring
from taskmaster_desktop.backend.http.v1 import feeding
from taskmaster_desktop.backend.http.v1.routing import v1_router

router: APIRouter = v1_router("events")

EXAMPLE = """id: 4-1205-0
event: ready
data: {"epoch": 4, "changes": 1205}

id: 4-1206-1
event: finished
data: {"completed":[1042,1043],"failed":[1044]}

id: 4-1206-2
event: log
data: {"at_us":1795600800250000,"level":"warning","kind":"kill","message":"worker-2 is being killed by order.",\
"task":null,"worker":2}

"""


@router.get(
    "/events",
    summary="Follow what happens",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events, without an end.",
            "content": {"text/event-stream": {**feeding.STREAM, "example": EXAMPLE}},
        }
    },
)
async def follow_events(
    request: Request,
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event, as browsers do by themselves.")
    ] = None,
) -> Response:
    """Server-sent events: `ready` first, then `added` (a batch), `finished` (tasks, by state), `log` (a line of the
    activity log), `trouble` and `recovered` (the database). After a pause, send the `id` of the last one as
    Last-Event-ID; some thousand are kept. `resync` instead means that too much was missed: look at everything anew.
    """
    ring: Ring = request.app.state.ring
    return feeding.respond(request.app.state.streams, lambda stream: ring.feed(stream, last_event_id))
