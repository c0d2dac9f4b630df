"""Every route, asked by everybody: the requests are made from the table of routes, so that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from fastapi.routing import iter_route_contexts

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.application import build_application
from taskmaster_desktop.backend.http.options import HttpOptions
from tests.helpers.http_serving import NEEDS_ROOT, Request, Serving, serving

REFUSED = {400, 401, 403, 413, 415, 421}
WITH_BODY = {"POST", "PUT", "PATCH", "DELETE"}


def routes() -> list[tuple[str, str]]:
    """(method, target) of all, and of one that does not exist; a part of a path in braces becomes a number."""
    options = HttpOptions(run_dir=Path("/nowhere"), instance="test")
    application = build_application(cast("BackendApi", None), options, port=1)
    found = set()
    for route in iter_route_contexts(application.routes):
        assert route.methods, f"{route.path} answers to no method that could be tried"
        found |= {(method, re.sub(r"\{[^}]*\}", "999999", route.path or "")) for method in route.methods}
    return sorted({*found, ("GET", "/no/such/route"), ("POST", "/"), ("OPTIONS", "/api/stats")})


ROUTES = routes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as started:
        yield started
        assert started.running.engine.totals.tasks == 0  # nothing of all that was asked for was done
        assert started.running.engine.totals.desired == 0


def ask_all(server: Serving, headers: dict[str, str]) -> list[Request]:
    headers = {"Host": f"127.0.0.1:{server.port}", **headers}
    return [
        Request(
            method=method,
            target=target,
            headers={**headers, "Content-Type": "application/json"} if method in WITH_BODY else headers,
            body="[]" if method in WITH_BODY else None,  # no route takes it, so nothing is done
        )
        for method, target in ROUTES
    ]


def told_by(requests: list[Request], statuses: list[int]) -> dict[str, int]:
    assert len(requests) == len(statuses) == len(ROUTES)
    return {f"{r.method} {r.target}": status for r, status in zip(requests, statuses, strict=True)}


def all_are(status: int) -> dict[str, int]:
    return {f"{method} {target}": status for method, target in ROUTES}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_table_is_not_empty() -> None:
    assert ("GET", "/api/v1/health") in ROUTES
    assert ("POST", "/api/schedule/batch") in ROUTES
    assert ("GET", "/api/v1/openapi.json") in ROUTES


@NEEDS_ROOT
def test_another_user_without_a_token(server: Serving) -> None:
    requests = ask_all(server, {})
    assert told_by(requests, server.statuses_as_stranger(requests)) == all_are(401)


@NEEDS_ROOT
def test_another_user_with_a_wrong_token(server: Serving) -> None:
    requests = ask_all(server, bearer("x" * 43))
    assert told_by(requests, server.statuses_as_stranger(requests)) == all_are(401)


@NEEDS_ROOT
def test_another_user_with_the_right_token(server: Serving) -> None:
    requests = ask_all(server, bearer(server.token))
    told = told_by(requests, server.statuses_as_stranger(requests))
    assert not {route: status for route, status in told.items() if status in REFUSED - {400}}
    assert told["GET /api/v1/health"] == 200


def test_the_same_user_without_a_token(server: Serving) -> None:
    requests = ask_all(server, {})
    told = told_by(requests, server.statuses(requests))
    assert not {route: status for route, status in told.items() if status in REFUSED - {400}}
    assert told["GET /api/v1/health"] == 200


def test_the_same_user_with_a_wrong_token(server: Serving) -> None:
    requests = ask_all(server, bearer("x" * 43))
    assert told_by(requests, server.statuses(requests)) == all_are(401)


PAGES = {
    "foreign host": ({"Host": "evil.example:8081"}, 421),
    "foreign host, our port": ({"Host": "evil.example:{port}"}, 421),
    "another port": ({"Host": "127.0.0.1:1"}, 421),
    "foreign origin": ({"Origin": "https://evil.example"}, 403),
    "no origin to speak of": ({"Origin": "null"}, 403),
    "another port's page": ({"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403),
    "cross-site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "same-site that does not say who": ({"Sec-Fetch-Site": "same-site"}, 403),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_pages_of_others_are_refused(server: Serving, page: tuple[dict[str, str], int]) -> None:
    headers, status = page
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    for shown in ({}, bearer(server.token)):
        requests = ask_all(server, headers | shown)
        assert told_by(requests, server.statuses(requests)) == all_are(status)


def test_what_a_form_can_send_is_refused(server: Serving) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        for method, target in ROUTES:
            if method in WITH_BODY:
                headers = {"Host": f"127.0.0.1:{server.port}", "Content-Type": kind}
                asked = Request(method=method, target=target, headers=headers, body='{"command":"x"}')
                assert server.statuses([asked]) == [415]
