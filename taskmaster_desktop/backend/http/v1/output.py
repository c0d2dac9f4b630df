"""What the commands wrote: afterwards by ranges, and live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from taskmaster_desktop.backend.commands import MAX_NUMBER
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.v1 import feeding, pieces, views
from taskmaster_desktop.backend.http.v1.finding import find_task
from taskmaster_desktop.backend.http.v1.following import Followers, Wish
from taskmaster_desktop.backend.http.v1.pieces import Encoding, Gap, Piece, Teller
from taskmaster_desktop.backend.http.v1.routing import TaskName, v1_router
from taskmaster_desktop.backend.model import Stream

MAX_BYTES = 4 * 2**20

router: APIRouter = v1_router("output")

AttemptName = Annotated[str, Path(description="Number of an attempt, or `latest`.", examples=["latest"])]
Offset = Annotated[
    int, Query(ge=0, le=MAX_NUMBER, description="Where to begin, in bytes of both streams together.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_BYTES, description="At most so many bytes.")]
OnlyStream = Annotated[Stream | None, Query(description="Only this one.")]
Coded = Annotated[Encoding, Query(description="How bytes are told: as UTF-8 text, or exactly in base64.")]

FOLLOW_EXAMPLE = """id: 1-6
event: output
data: {"attempt":1,"offset":0,"bytes":6,"stream":"stdout","text":"hello\\n"}

event: end
data: {"state":"completed","attempt":1,"outcome":"completed","exit_code":0,"reason":""}

"""


class Output(BaseModel):
    """A range of an attempt's output, in order of offset."""

    model_config = views.example(
        {"task": 1042, "attempt": 1, "offset": 0, "next_offset": 6, "at_end": True, "over": True, "gaps": [],
         "pieces": [pieces.PIECE_EXAMPLE]}
    )  # fmt: skip

    task: int
    attempt: int
    offset: int
    next_offset: int = Field(description="Ask from here on for what follows.")
    at_end: bool = Field(description="Nothing more is stored for now.")
    over: bool = Field(description="The attempt has ended: with at_end, this was all.")
    gaps: list[Gap]
    pieces: list[Piece]


@router.get("/tasks/{task}/attempts/{attempt}/output", summary="Read output", response_model=Output)
def read_output(
    task: TaskName,
    attempt: AttemptName,
    api: Api,
    offset: Offset = 0,
    limit: Limit = 262_144,
    stream: OnlyStream = None,
    encoding: Coded = Encoding.TEXT,
) -> Output:
    """From any offset. The first and the last MiB of each attempt are kept; what was dropped is told as gaps."""
    record = find_task(api.query, task)
    number = pieces.attempt_number(record, attempt)
    found = pieces.read(api.query, record.number, number, offset, limit, stream)
    teller = Teller(encoding)
    return Output(
        task=record.number,
        attempt=number,
        offset=offset,
        next_offset=found.next_offset,
        at_end=found.at_end,
        over=pieces.is_over(record, number),
        gaps=[Gap(offset=part.offset, bytes=part.size) for part in found.parts if part.stream is None],
        pieces=[teller.piece(part) for part in found.parts if part.stream is not None],
    )


@router.get(
    "/tasks/{task}/attempts/{attempt}/output/raw",
    summary="Download output",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes as they were written.",
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "hello\n",
                }
            },
        }
    },
)
def download_output(
    task: TaskName,
    attempt: AttemptName,
    api: Api,
    offset: Offset = 0,
    limit: Limit = MAX_BYTES,
    stream: OnlyStream = None,
) -> Response:
    """The bytes alone. Headers tell where to go on (`X-Next-Offset`), how many bytes were dropped within
    (`X-Dropped-Bytes`), and whether this was all (`X-Complete`).
    """
    record = find_task(api.query, task)
    number = pieces.attempt_number(record, attempt)
    found = pieces.read(api.query, record.number, number, offset, limit, stream)
    dropped = sum(part.size for part in found.parts if part.stream is None)
    complete = found.at_end and pieces.is_over(record, number)
    return Response(
        b"".join(part.data for part in found.parts),
        media_type="application/octet-stream",
        headers={
            "x-next-offset": str(found.next_offset),
            "x-dropped-bytes": str(dropped),
            "x-complete": "true" if complete else "false",
        },
    )


@router.get(
    "/tasks/{task}/output/follow",
    summary="Follow output",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events, until the task is finished.",
            "content": {"text/event-stream": {**feeding.STREAM, "example": FOLLOW_EXAMPLE}},
        }
    },
)
async def follow_output(
    task: TaskName,
    request: Request,
    api: Api,
    attempt: Annotated[
        int | None,
        Query(
            ge=1, le=MAX_NUMBER, description="Begin with it; without, with the latest or the first to come."
        ),
    ] = None,
    offset: Offset = 0,
    stream: OnlyStream = None,
    encoding: Coded = Encoding.TEXT,
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> Response:
    """Server-sent events: `output`, `gap` (bytes that were dropped), `attempt` (a further attempt begins), and `end`
    once the task is finished. Waits for a task that has not started. A client that reads slowly misses nothing
    but what is not kept any more. Each `id` says where to go on, as browsers do by themselves.
    """
    record = await run_in_threadpool(find_task, api.query, task)
    wish = Wish(task=record.number, attempt=attempt or 0, offset=offset, stream=stream, encoding=encoding)
    followers: Followers = request.app.state.followers
    return feeding.respond(
        request.app.state.streams, lambda sent: followers.feed(sent, wish.after(last_event_id))
    )
