"""The workers: who they are, how they are, and their end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.commands import KillWorkerNow, StopWorkerGently
from taskmaster_desktop.backend.errors import NotFound
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.finding import find_worker
from taskmaster_desktop.backend.http.v1.routing import Now, WorkerName, outcome, v1_router
from taskmaster_desktop.backend.model import WorkerRecord, WorkerState

MAX_LOG_BYTES = 2**20

router: APIRouter = v1_router("workers")

USAGE_EXAMPLE = {
    "heartbeat_age_s": 0.8, "cpu_s": 12.5, "memory_bytes": 52428800, "running": 1, "waiting": 0,
    "oom_kills": 0,
}  # fmt: skip
WORKER_EXAMPLE = {
    "number": 2, "name": "worker-2", "id": "w2-e1", "runtime": "docker", "state": "online", "slots": 1,
    "started_at": views.AT, "online_at": views.AT, "offline_at": None, "ended": "", "completed": 48,
    "failed": 1, "usage": USAGE_EXAMPLE, "container": "taskmaster-1f3c-worker-2", "paused": False,
}  # fmt: skip


class Usage(BaseModel):
    """What a worker's newest heartbeat said."""

    model_config = views.example(USAGE_EXAMPLE)

    heartbeat_age_s: float
    cpu_s: float = Field(description="Processor time of it and its commands since it began; only grows.")
    memory_bytes: int
    running: int
    waiting: int = Field(description="Tasks it holds beside those that run.")
    oom_kills: int


class Worker(BaseModel):
    """One container or local process that runs tasks."""

    model_config = views.example(WORKER_EXAMPLE)

    number: int
    name: str
    id: str
    runtime: str
    state: WorkerState
    slots: int
    started_at: datetime
    online_at: datetime | None
    offline_at: datetime | None
    ended: str = Field(description="Why it is gone or on its way; empty while nobody wants it to end.")
    completed: int
    failed: int
    usage: Usage | None = Field(description="Null while it is not connected.")
    container: str | None = Field(description="Its name where it runs, if the runtime gives it one.")
    paused: bool = Field(description="Frozen from outside.")

    @classmethod
    def of(cls, worker: WorkerRecord, api: BackendApi, now_us: int) -> Worker:
        sighting = api.sightings.get(worker.id)
        return cls(
            number=worker.number,
            name=worker.name,
            id=worker.id,
            runtime=worker.runtime,
            state=worker.state,
            slots=worker.slots,
            started_at=views.moment(worker.started_us),
            online_at=views.maybe(worker.online_us),
            offline_at=views.maybe(worker.offline_us),
            ended=worker.ended,
            completed=worker.completed,
            failed=worker.failed,
            usage=_usage(worker.number, api, now_us),
            container=None if sighting is None else sighting.name,
            paused=sighting is not None and sighting.paused,
        )


class WorkerList(BaseModel):
    """In order of number."""

    model_config = views.example({"workers": [WORKER_EXAMPLE]})

    workers: list[Worker]


class Ordered(BaseModel):
    """What was ordered; it is on its way."""

    model_config = views.example({"worker": 2, "name": "worker-2", "ordered": "kill"})

    worker: int
    name: str
    ordered: str


def _usage(number: int, api: BackendApi, now_us: int) -> Usage | None:
    usage, heard_us = api.usage.get(number), api.heard.get(number)
    if usage is None or heard_us is None:
        return None
    return Usage(
        heartbeat_age_s=max(0, now_us - heard_us) / SECOND_US,
        cpu_s=usage.cpu_us / SECOND_US,
        memory_bytes=usage.memory_bytes,
        running=usage.running,
        waiting=usage.waiting,
        oom_kills=usage.oom_kills,
    )


@router.get("/workers", summary="List workers", response_model=WorkerList)
def list_workers(
    api: Api,
    now: Now,
    living_only: Annotated[bool, Query(description="Without those that are offline.")] = True,
) -> WorkerList:
    """With processor time and memory of those that are connected."""
    now_us = now.now().wall_us
    found = api.query.workers(living_only=living_only)
    return WorkerList(workers=[Worker.of(worker, api, now_us) for worker in found])


@router.get("/workers/{worker}", summary="Show a worker", response_model=Worker)
def show_worker(worker: WorkerName, api: Api, now: Now) -> Worker:
    """Living or gone."""
    return Worker.of(find_worker(api.query, worker), api, now.now().wall_us)


@router.post("/workers/{worker}/stop", summary="Stop a worker", status_code=202, response_model=Ordered)
async def stop_worker(worker: WorkerName, api: Api) -> Ordered:
    """It finishes what it runs, takes nothing new and ends; the desired size of the fleet is lowered by one."""
    found = await _living(api, worker)
    await outcome(api.submit(StopWorkerGently(worker=found.number)))
    return Ordered(worker=found.number, name=found.name, ordered="stop")


@router.post("/workers/{worker}/kill", summary="Kill a worker", status_code=202, response_model=Ordered)
async def kill_worker(worker: WorkerName, api: Api) -> Ordered:
    """SIGKILL, with everything it runs. Its tasks go to others and lose no retry; the desired size stays, so
    that self-heal starts another one.
    """
    found = await _living(api, worker)
    await outcome(api.submit(KillWorkerNow(worker=found.number)))
    return Ordered(worker=found.number, name=found.name, ordered="kill")


async def _living(api: BackendApi, name: str) -> WorkerRecord:
    found = await run_in_threadpool(find_worker, api.query, name)
    if found.state is WorkerState.OFFLINE:
        raise NotFound(f"{found.name} is offline.", field="worker")
    return found


@router.get(
    "/workers/{worker}/log",
    summary="Read the log of a worker",
    response_class=Response,
    responses={
        200: {
            "description": "The end of what the worker itself has logged.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "connected to the engine\n"}},
        }
    },
)
async def read_worker_log(
    worker: WorkerName,
    api: Api,
    tail_bytes: Annotated[int, Query(ge=1, le=MAX_LOG_BYTES, description="At most so many bytes.")] = 65_536,
) -> Response:
    """What the agent wrote about itself, not the output of tasks."""
    found = await run_in_threadpool(find_worker, api.query, worker)
    log = await outcome(api.worker_log(found.number, tail_bytes=tail_bytes))
    return Response(log.decode(errors="replace"), media_type="text/plain")
