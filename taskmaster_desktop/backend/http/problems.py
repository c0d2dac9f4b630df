"""Every error as a problem of RFC 9457: one sentence for people, the field at fault, and the fitting status.

The caller's mistakes are 400, 404 and 409; 503 with Retry-After means that the same request will do once what
is in the way has gone. What nobody expected is 500 with a number that stands in the log beside the traceback.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmaster_desktop.backend.errors import Conflict, EnvironmentProblem, NotFound, UserError
from taskmaster_desktop.backend.http.sentences import first_mistake

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Bad Request",
                    "status": 400,
                    "detail": "count must be a whole number from 1 to 100,000.",
                    "field": "count",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="One sentence that says what to mend.")
    field: str | None = Field(None, description="The field at fault, where it is a single one.")
    line: int | None = Field(None, description="The line at fault of a stream of lines, from 1.")
    request_id: str | None = Field(None, description="Only with 500: stands in the log beside the traceback.")


class LineError(UserError):
    """A mistake in one line of a stream."""

    def __init__(self, message: str, *, line: int, field: str | None = None) -> None:
        super().__init__(f"Line {line:,}: {message}", field=field)
        self.line = line


class NotAllowed(UserError):
    """The request is of a kind that is not taken here; carries its status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def problem(
    status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """An answer that is a problem; `more` are further members, those that are None are left out."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    body |= {name: value for name, value in more.items() if value is not None}
    # Plain ASCII: what a caller sent may hold characters that cannot be written as UTF-8.
    return Response(
        json.dumps(body).encode("ascii"), status.value, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def of_user_error(error: UserError) -> Response:
    if isinstance(error, NotAllowed):
        status = error.status
    elif isinstance(error, NotFound):
        status = HTTPStatus.NOT_FOUND
    else:
        status = HTTPStatus.CONFLICT if isinstance(error, Conflict) else HTTPStatus.BAD_REQUEST
    return problem(status, str(error), field=error.field, line=getattr(error, "line", None))


def of_trouble(trouble: str) -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, trouble, headers={"retry-after": str(RETRY_AFTER_S)})


def renamed(error: UserError, old: str, new: str) -> UserError:
    """The same error about a field that has another name here."""
    if error.field != old:
        return error
    return type(error)(str(error).replace(old, new, 1), field=new)


class Unexpected:
    """Stands around the routes: an exception that nobody handled is logged, and the caller told its number."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._application(scope, receive, watched_send)
        except Exception:
            if begun or scope["type"] != "http":
                raise  # the server logs it and cuts the answer short, so that nobody takes it for whole
            request_id = uuid4().hex
            log.exception("request %s (%s %s) failed", request_id, scope["method"], scope["path"])
            detail = "Something went wrong that nobody expected; the log says more."
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, request_id=request_id)
            await answer(scope, receive, send)


def install(application: FastAPI) -> None:
    """Have the application answer errors this way."""

    async def on_user_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, UserError)
        return of_user_error(error)

    async def on_trouble(_: Request, error: Exception) -> Response:
        return of_trouble(str(error))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_user_error(first_mistake(error.errors(), request.scope.get("route")))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        detail = {
            HTTPStatus.NOT_FOUND: "There is nothing at this address.",
            HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not possible at this address.",
            HTTPStatus.BAD_REQUEST: "The body cannot be read as JSON.",
        }.get(status, str(error.detail))
        return problem(status, detail, headers=error.headers)

    application.add_exception_handler(UserError, on_user_error)
    application.add_exception_handler(EnvironmentProblem, on_trouble)
    application.add_exception_handler(RequestValidationError, on_invalid)
    application.add_exception_handler(HTTPException, on_http)
    application.add_middleware(Unexpected)
