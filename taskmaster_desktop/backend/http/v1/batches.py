"""Submit tasks together, look at them together, wait for their end."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from taskmaster_desktop.backend.api import BackendApi, Submitted
from taskmaster_desktop.backend.commands import SubmitBatch
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.cursor import Cursor
from taskmaster_desktop.backend.http.v1.finding import find_batch
from taskmaster_desktop.backend.http.v1.forms import BATCH_EXAMPLES, BatchForm, filled
from taskmaster_desktop.backend.http.v1.ndjson import read_lines
from taskmaster_desktop.backend.http.v1.routing import BatchName, outcome, v1_router
from taskmaster_desktop.backend.http.v1.waiting import Waiting

NDJSON = "application/x-ndjson"
SMALL = 500
"""How many tasks are prepared on the loop; more take a thread."""
MAX_WAIT_S = 60

router: APIRouter = v1_router("batches")

CREATED_EXAMPLE = {
    "batch": 7, "id": views.BATCH_ID, "created_at": views.AT, "size": 50, "first_task": 1001,
    "last_task": 1050, "repeated": False,
}  # fmt: skip
LINES_EXAMPLE = """{"options": {"retries": 2, "tags": ["checksums"]}}
"sha256sum a.iso"
["sha256sum", "a file with spaces.iso"]
{"command": "sha256sum b.iso"}
{"argv": ["sha256sum", "c.iso"]}
"""


class Created(BaseModel):
    """What was submitted. Tasks are numbered from `first_task` to `last_task`."""

    model_config = views.example(CREATED_EXAMPLE)

    batch: int
    id: UUID
    created_at: datetime
    size: int
    first_task: int
    last_task: int
    repeated: bool


class BatchPage(BaseModel):
    """Some batches, and where to go on."""

    model_config = views.example({"batches": [views.BATCH_EXAMPLE], "next": "bzo3"})

    batches: list[views.Batch]
    next: str | None


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": BatchForm.model_json_schema(), "examples": BATCH_EXAMPLES},
            NDJSON: {
                "schema": {"type": "string"},
                "examples": {"different commands": {"value": LINES_EXAMPLE}},
            },
        },
    }
}


@router.post("/batches", summary="Submit tasks", status_code=201, response_model=Created, openapi_extra=_BODY)
async def submit_batch(
    request: Request,
    response: Response,
    api: Api,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key with the same request gets the first answer again, with another "
                           "request a conflict."),
    ] = None,
) -> Created:  # fmt: skip
    """One command for `count` tasks, or a list of commands, as JSON; or up to 100,000 different commands as
    `application/x-ndjson`, one a line: a text for the shell, a list of texts without a shell, or an object with
    `command` or `argv`. There a first line `{"options": {...}}` sets what all of them share.

    All or nothing: when this is answered every task is on disk, and after an error none is.
    """
    if _media_type(request) == NDJSON:
        command = await read_lines(request.stream(), idempotency_key)
    else:
        command = filled(BatchForm, await _json(request)).to_command(idempotency_key)
    submitted = await _submit(api, command)
    batch = submitted.batch
    response.headers["location"] = f"/api/v1/batches/{submitted.batch_id}"
    if submitted.repeated:
        response.headers["idempotent-replayed"] = "true"
    return Created(
        batch=batch.number,
        id=submitted.batch_id,
        created_at=views.moment(batch.created_us),
        size=batch.size,
        first_task=batch.first_task,
        last_task=batch.first_task + batch.size - 1,
        repeated=submitted.repeated,
    )


async def _submit(api: BackendApi, command: SubmitBatch) -> Submitted:
    command.check()
    future = api.submit(command) if command.size <= SMALL else await run_in_threadpool(api.submit, command)
    submitted = await outcome(future)
    assert isinstance(submitted, Submitted)
    return submitted


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(request: Request) -> Any:
    body = await request.body()
    if not body:
        raise UserError("A JSON body is missing.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise UserError(f"The body is not valid JSON: {what}.") from None


@router.get("/batches", summary="List batches", response_model=BatchPage)
def list_batches(
    api: Api,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    newest_first: Annotated[bool, Query(description="In descending order of number.")] = True,
) -> BatchPage:
    """In order of number, a page at a time."""
    after = Cursor.read(cursor, newest_first=newest_first)
    found = api.query.batches(after=after, limit=limit + 1, newest_first=newest_first)
    page = found[:limit]
    more = len(found) > limit
    return BatchPage(
        batches=[views.Batch.of(batch) for batch in page],
        next=Cursor.write(page[-1].number, newest_first=newest_first) if more else None,
    )


@router.get("/batches/{batch}", summary="Show a batch", response_model=views.Batch)
def show_batch(batch: BatchName, api: Api) -> views.Batch:
    """How far it is, and what its tasks share."""
    return views.Batch.of(find_batch(api.query, batch))


@router.get("/batches/{batch}/wait", summary="Wait for a batch", response_model=views.Batch)
async def wait_batch(
    batch: BatchName,
    request: Request,
    api: Api,
    timeout_s: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Answer after so many seconds at the latest.")
    ] = 30.0,
) -> views.Batch:
    """Answers once every task is in a terminal state, or when the time is up; `done` says which. Ask again
    until it is done.
    """
    record = await run_in_threadpool(find_batch, api.query, batch)
    waiting: Waiting = request.app.state.waiting
    if timeout_s:
        await waiting.until_done(record.number, request, timeout_s)
    return views.Batch.of(await run_in_threadpool(find_batch, api.query, str(record.number)))
