"""Errors as callers see them: status, one sentence, the field; and nothing of a traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from taskmaster_desktop.backend.errors import (
    Conflict,
    EngineDown,
    EnvironmentProblem,
    InvariantViolation,
    NotFound,
    UserError,
)
from taskmaster_desktop.backend.http import problems
from taskmaster_desktop.backend.http.problems import LineError

RAISED: dict[str, Exception] = {}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    deep: Any = None


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")
    needed: Any
    inner: Inner | None = None


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name]

    @app.get("/broken")
    async def broken() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ZeroDivisionError

        return StreamingResponse(body())

    @app.get("/parameters")
    def parameters(
        limit: Annotated[int, Query(ge=1, le=1000)] = 1,
        wait: Annotated[float, Query(ge=0, le=60)] = 1,
        colour: Annotated[list[Colour] | None, Query()] = None,
        on: bool = False,
        least: Annotated[int, Query(ge=5)] = 5,
    ) -> None: ...

    @app.get("/needed")
    def needed(name: str) -> None: ...

    @app.post("/form")
    def form(form: Form) -> None: ...

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def raised(client: httpx.AsyncClient, error: Exception) -> tuple[httpx.Response, dict[str, Any]]:
    RAISED["x"] = error
    answer = await client.get("/raise/x")
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer, body


async def test_the_callers_mistakes(client: httpx.AsyncClient) -> None:
    for error, status in [
        (UserError("No.", field="count"), 400),
        (NotFound("No.", field="task"), 404),
        (Conflict("No.", field="idempotency_key"), 409),
    ]:
        answer, body = await raised(client, error)
        assert answer.status_code == status
        assert body["detail"] == "No."
        assert body["field"] == error.field
        assert body["type"] == "about:blank"


async def test_an_error_without_a_field(client: httpx.AsyncClient) -> None:
    _, body = await raised(client, UserError("No."))
    assert set(body) == {"type", "title", "status", "detail"}


async def test_a_line_is_named(client: httpx.AsyncClient) -> None:
    _, body = await raised(client, LineError("it is bad.", line=1234, field="argv"))
    assert body["detail"] == "Line 1,234: it is bad."
    assert (body["line"], body["field"]) == (1234, "argv")


async def test_what_is_in_the_way(client: httpx.AsyncClient) -> None:
    for error in (EnvironmentProblem("The disk is full.", fix="Free some."), EngineDown("Starting over.")):
        answer, body = await raised(client, error)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert body["detail"] == str(error)


@pytest.mark.expects_logs
@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), InvariantViolation("secret")])
async def test_what_nobody_expected(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    answer, body = await raised(client, error)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert body["request_id"] in caplog.text
    assert type(error).__name__ in caplog.text


@pytest.mark.expects_logs
async def test_an_answer_that_has_begun_is_cut() -> None:
    with pytest.raises(ZeroDivisionError):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application()), base_url="http://test"
        ) as client:
            await client.get("/broken")


async def test_characters_that_cannot_be_written(client: httpx.AsyncClient) -> None:
    answer, body = await raised(client, UserError("There is no field \ud800 here.", field="\ud800"))
    assert answer.status_code == 400
    assert body["field"] == "\ud800"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be a whole number from 1 to 1,000."),
        ("limit=x", "limit must be a whole number from 1 to 1,000."),
        ("limit=1001", "limit must be a whole number from 1 to 1,000."),
        ("wait=nan", "wait must be a number from 0 to 60."),
        ("colour=red&colour=green", "colour must be one of red, blue."),
        ("on=perhaps", "on must be true or false."),
        ("least=1", "least must be a whole number."),
    ],
)
async def test_parameters(client: httpx.AsyncClient, query: str, sentence: str) -> None:
    answer = await client.get(f"/parameters?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"] == sentence
    assert answer.json()["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "The body is not valid JSON: Expecting property name enclosed in double quotes."),
        ("[]", "The body must be a JSON object."),
        ("", "A JSON body is missing."),
        ("{}", "needed is missing."),
        ('{"needed": 1, "more": 2}', "There is no field more here."),
        ('{"needed": 1, "inner": []}', "inner must be an object."),
        ('{"needed": 1, "inner": {"x": 1}}', "There is no field inner.x here."),
        ("[" * 100_000, "The body cannot be read as JSON."),
    ],
)
async def test_bodies(client: httpx.AsyncClient, body: str, sentence: str) -> None:
    answer = await client.post("/form", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == sentence


async def test_a_missing_parameter(client: httpx.AsyncClient) -> None:
    answer = await client.get("/needed")
    assert (answer.status_code, answer.json()["detail"]) == (400, "name is missing.")


async def test_no_such_address_and_method(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nothing")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is nothing at this address.")
    answer = await client.delete("/form")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_field_that_has_another_name_here() -> None:
    error = problems.renamed(NotFound("workers must be a number.", field="workers"), "workers", "desired")
    assert isinstance(error, NotFound)
    assert (str(error), error.field) == ("desired must be a number.", "desired")
    same = UserError("No.", field="other")
    assert problems.renamed(same, "workers", "desired") is same
