"""The fleet and the queue as a whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.commands import MAX_WORKERS, PauseQueue, ScaleFleet, SelfHeal
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.access import Api
from taskmaster_desktop.backend.http.problems import renamed
from taskmaster_desktop.backend.http.v1 import views
from taskmaster_desktop.backend.http.v1.routing import Now, outcome, v1_router
from taskmaster_desktop.backend.model import WorkerState
from taskmaster_desktop.backend.ports import Clock

router: APIRouter = v1_router("fleet")

FLEET_EXAMPLE = {
    "desired": 3, "self_heal": True, "starting": 1, "online": 2, "draining": 0, "trouble": None,
}  # fmt: skip
QUEUE_EXAMPLE = {"paused": False, "pending": 120, "oldest_age_s": 3.2}


class Fleet(BaseModel):
    """The size that is wanted beside the one there is."""

    model_config = views.example(FLEET_EXAMPLE)

    desired: int
    self_heal: bool = Field(description="Workers that die are replaced.")
    starting: int
    online: int
    draining: int
    trouble: str | None = Field(description="Why workers can neither be started nor ended, with the fix.")


Desired = Annotated[Any, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_WORKERS})]
Switch = Annotated[Any, WithJsonSchema({"type": "boolean"})]


class FleetForm(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    desired: Desired = None
    self_heal: Switch = None


class Queue(BaseModel):
    """What waits for a worker."""

    model_config = views.example(QUEUE_EXAMPLE)

    paused: bool
    pending: int = Field(description="All that is not given to a worker yet, also what must not start yet.")
    oldest_age_s: float | None = Field(description="How long the oldest one has waited that might start.")


class QueueForm(BaseModel):
    """Whether new tasks are held back. What has started goes on."""

    model_config = ConfigDict(extra="forbid")

    paused: Switch


FLEET_BODY: Any = {
    "scale": {"value": {"desired": 5}},
    "both": {"value": {"desired": 3, "self_heal": False}},
}
QUEUE_BODY: Any = {"pause": {"value": {"paused": True}}, "resume": {"value": {"paused": False}}}


@router.get("/fleet", summary="Show the fleet", response_model=Fleet)
def show_fleet(api: Api) -> Fleet:
    """Desired and observed size."""
    return _fleet(api)


@router.put("/fleet", summary="Scale the fleet", response_model=Fleet)
async def set_fleet(form: Annotated[FleetForm, Body(openapi_examples=FLEET_BODY)], api: Api) -> Fleet:
    """Sets the desired number of workers, self-heal or both; the same number again makes a damaged fleet whole.
    Workers come and go after the answer.
    """
    wishes: list[ScaleFleet | SelfHeal] = []
    if form.self_heal is not None:
        wishes.append(SelfHeal(on=form.self_heal))
    if form.desired is not None:
        wishes.append(ScaleFleet(workers=form.desired))
    if not wishes:
        raise UserError("Give desired, self_heal or both.", field="desired")
    try:
        for wish in wishes:
            wish.check()
    except UserError as error:
        raise renamed(error, "workers", "desired") from None
    for wish in wishes:
        await outcome(api.submit(wish))
    return await run_in_threadpool(_fleet, api)


def _fleet(api: BackendApi) -> Fleet:
    states = [worker.state for worker in api.query.workers(living_only=True)]
    totals = api.totals
    return Fleet(
        desired=totals.desired,
        self_heal=totals.self_heal,
        starting=states.count(WorkerState.STARTING),
        online=states.count(WorkerState.ONLINE),
        draining=states.count(WorkerState.DRAINING),
        trouble=api.fleet_trouble,
    )


@router.get("/queue", summary="Show the queue", response_model=Queue)
def show_queue(api: Api, now: Now) -> Queue:
    """How much waits, and for how long."""
    return _queue(api, now)


@router.put("/queue", summary="Pause or resume the queue", response_model=Queue)
async def set_queue(
    form: Annotated[QueueForm, Body(openapi_examples=QUEUE_BODY)], api: Api, now: Now
) -> Queue:
    """While it is paused nothing new is given to workers; what has started goes on."""
    await outcome(api.submit(PauseQueue(paused=form.paused)))
    return await run_in_threadpool(_queue, api, now)


def _queue(api: BackendApi, now: Clock) -> Queue:
    now_us = now.now().wall_us
    since_us = api.query.waiting_since(now_us)
    totals = api.totals
    age_s = None if since_us is None else max(0, now_us - since_us) / SECOND_US
    return Queue(paused=totals.paused, pending=totals.pending, oldest_age_s=age_s)
