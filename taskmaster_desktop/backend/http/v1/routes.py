"""All routes of version 1, and what they keep between requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.datastructures import State

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.http import metrics, problems
from taskmaster_desktop.backend.http.metrics import Metrics
from taskmaster_desktop.backend.http.ring import Ring
from taskmaster_desktop.backend.http.v1 import (
    about,
    batches,
    bulk,
    events,
    fleet,
    output,
    stats,
    tasks,
    workers,
)
from taskmaster_desktop.backend.http.v1.finding import WorkerNames
from taskmaster_desktop.backend.http.v1.following import Followers
from taskmaster_desktop.backend.http.v1.stats import StatsCache
from taskmaster_desktop.backend.http.v1.waiting import Waiting

PREFIX = "/api/v1"
READERS = 8
OURS = "taskmaster_desktop.backend.http."


def install(application: FastAPI, api: BackendApi | None) -> None:
    """Called once, on the engine's loop; what listens to the engine does so until that ends.

    Without an engine (None) the application can only describe itself.
    """
    problems.install(application)
    if api is not None:
        _attach(application.state, api)
    _describe(application)
    # In the order in which they are looked through: what is asked for most often comes first.
    for module in (stats, batches, tasks, bulk, output, workers, fleet, events, about):
        application.include_router(module.router, prefix=PREFIX)
    application.include_router(metrics.router)


def _attach(state: State, api: BackendApi) -> None:
    # At most so many read the database at a time; it has connections for twice as many.
    current_default_thread_limiter().total_tokens = READERS
    state.worker_names = WorkerNames(api.query)
    state.waiting = Waiting(api)
    state.stats = StatsCache(api)
    state.ring = Ring(api)
    state.followers = Followers(api)
    state.metrics = Metrics(api, SystemClock())


def _describe(application: FastAPI) -> None:
    """Add to the description what no route declares: how errors look, and the token."""
    described = application.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
        _restore_examples(components["schemas"])
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Not needed by the user who runs the engine, where the system can tell.",
            }
        }
        schema["security"] = [{}, {"token": []}]
        return schema

    application.openapi = openapi  # type: ignore[method-assign]


def _restore_examples(schemas: dict[str, Any]) -> None:
    """FastAPI drops every null from the description, and with it parts of examples."""
    for model in _models(BaseModel):
        extra = model.model_config.get("json_schema_extra")
        if model.__name__ in schemas and model.__module__.startswith(OURS) and isinstance(extra, dict):
            schemas[model.__name__]["examples"] = extra["examples"]


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)
