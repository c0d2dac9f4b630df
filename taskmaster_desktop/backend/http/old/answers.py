"""How the old API reads bodies, says no, and writes moments."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from taskmaster_desktop.backend.clock import SECOND_US
from taskmaster_desktop.backend.errors import EnvironmentProblem, NotFound, TaskMasterError, UserError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
RETRY_AFTER_S = 5


class OldRoute(APIRoute):
    """Answers in the old form where something is wrong with the request or stands in its way."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_all(request: Request) -> Response:
            try:
                return await handle(request)
            except TaskMasterError as error:
                return _refused(error)

        return handle_all


def _refused(error: TaskMasterError) -> Response:
    if isinstance(error, NotFound):
        return JSONResponse({"error": str(error)}, status_code=404)
    if isinstance(error, UserError):
        return JSONResponse({"error": "Bad Request", "message": str(error)}, status_code=400)
    if isinstance(error, EnvironmentProblem):
        return JSONResponse(
            {"error": "Service Unavailable", "message": str(error)},
            status_code=503,
            headers={"retry-after": str(RETRY_AFTER_S)},
        )
    raise error


async def body_of(request: Request) -> dict[str, Any]:
    """Raises UserError where it is no JSON object."""
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # a text that is no UTF-8 is such, too
        raise UserError(f"The body is not valid JSON: {error}.") from error
    except ClientDisconnect as error:
        raise UserError("The body did not arrive whole.") from error
    if not isinstance(body, dict):
        raise UserError("The body must be a JSON object.")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def text_of(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{field} must be a text.", field=field)
    return value


def whole_of(body: dict[str, Any], field: str, *, otherwise: int | None = None) -> int:
    """A whole number; `otherwise` stands for a missing one."""
    value = body.get(field)
    if value is None and otherwise is not None:
        return otherwise
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{field} must be a whole number.", field=field)
    return value


def seconds_of(body: dict[str, Any], field: str, *, most: float) -> float:
    """0 where it is missing."""
    value = body.get(field)
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise UserError(f"{field} must be a number from 0 to {most:,.12g}.", field=field)
    return float(value)


def moment_of(body: dict[str, Any], field: str) -> int:
    """Microseconds since 1970 from ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text_of(body, field))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        at_us = round(moment.timestamp() * SECOND_US)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{field} must be a moment in ISO 8601, for example 2030-01-31T12:00:00Z.", field=field
        ) from error
    if at_us < 0:
        raise UserError(f"{field} must not be before 1970.", field=field)
    return at_us


def iso(at_us: int | None) -> str:
    """Empty where it has not happened yet."""
    if at_us is None:
        return ""
    moment = datetime.fromtimestamp(at_us // SECOND_US, UTC).replace(microsecond=at_us % SECOND_US)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
