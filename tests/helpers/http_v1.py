"""Short ways to speak to the API of version 1, and rows to feed parts of it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import httpx

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.application import build_application
from taskmaster_desktop.backend.http.options import HttpOptions
from taskmaster_desktop.backend.model import Outcome, TaskRecord, TaskState
from tests.helpers.http_serving import Serving
from tests.helpers.store_rows import NOW_US

API = "/api/v1"
BATCHES = f"{API}/batches"
TASKS = f"{API}/tasks"


def described() -> dict[str, Any]:
    """The OpenAPI document."""
    options = HttpOptions(run_dir=Path("/nowhere"), instance="test")
    return build_application(cast(BackendApi, None), options, port=1).openapi()


def task_row(**fields: Any) -> TaskRecord:
    """A task that was completed at the first attempt, with other `fields` where wanted."""
    row = TaskRecord(
        1, bytes(16), 1, "x", False, 0, NOW_US, None, TaskState.COMPLETED, 0, 1, 1, 1, NOW_US, NOW_US, NOW_US,
        Outcome.COMPLETED, 0, "", 0, 0, False, False, 0.0, "",
    )  # fmt: skip
    return row._replace(**fields)


def created(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def refused(answer: httpx.Response, status: int, field: str | None) -> dict[str, Any]:
    """A problem that names the field."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert isinstance(body, dict)
    assert body.get("field") == field
    return body


def submit(server: Serving, **body: Any) -> dict[str, Any]:
    return created(server.post(BATCHES, body))


def finish(server: Serving, **body: Any) -> dict[str, Any]:
    """Submit and wait for the end."""
    batch = submit(server, **body)
    assert server.get(f"{BATCHES}/{batch['batch']}/wait?timeout_s=30").json()["done"]
    return batch


def act(server: Serving, action: str, **body: Any) -> dict[str, Any]:
    answer = server.post(f"{TASKS}/{action}", body)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert isinstance(result, dict)
    return result
