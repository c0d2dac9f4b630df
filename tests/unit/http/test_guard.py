"""The guard alone: what it lets through, what it refuses, and with which answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from taskmaster_desktop.backend.http.caller import Caller
from taskmaster_desktop.backend.http.guard import MAX_JSON_BYTES, MAX_NDJSON_BYTES, Guard
from taskmaster_desktop.backend.http.options import HttpOptions

PORT = 8081
TOKEN = "t" * 43
OPTIONS = HttpOptions(run_dir=Path("/run"), instance="test", origins=("http://localhost:5173",))
TLS = replace(OPTIONS, host="tasks.example", tls_cert=Path("cert"), tls_key=Path("key"))

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """`received` is what came through to the application, None where nothing did."""

    status: int
    headers: dict[str, str]
    body: bytes
    received: bytes | None

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


class Behind:
    """An application that reads everything and says so; as a careless one, it reports every trouble as 400."""

    def __init__(self, *, raises: bool = False) -> None:
        self.received: bytes | None = None
        self._raises = raises

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received = b""
        status = 200
        while True:
            message = await receive()
            self.received += message.get("body", b"")
            if message["type"] == "http.disconnect":
                status = 400
                if self._raises:
                    raise RuntimeError("the caller is gone")
                break
            if not message.get("more_body", False):
                break
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


async def ask(
    *headers: tuple[str, str],
    method: str = "GET",
    caller: Caller | None = Caller.SAME_USER,
    options: HttpOptions = OPTIONS,
    port: int = PORT,
    server: tuple[str, int] | None = None,
    body: Iterable[bytes] = (b"",),
    behind: Behind | None = None,
) -> Answer:
    behind = behind or Behind()
    pieces = list(body)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    if not any(name == "host" for name, _ in headers):
        headers = (("host", f"127.0.0.1:{port}"), *headers)
    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "server": server,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "state": {} if caller is None else {"caller": caller},
    }
    await Guard(behind, options, port=port, token=TOKEN)(scope, receive, send)
    start, *bodies = sent
    return Answer(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"".join(part["body"] for part in bodies),
        received=behind.received,
    )


# === names
@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost:8081", "LocalHost:8081", "[::1]:8081"])
async def test_loopback_names_with_our_port_are_ours(host: str) -> None:
    assert (await ask(("host", host))).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8081", "localhost", "localhost:8082", "localhost:80810", "127.0.0.1", "localhost.:8081",
     "evil.example", "", "localhost:8081@evil.example", "evil.example:8081, localhost:8081"],
)  # fmt: skip
async def test_any_other_host_is_refused(host: str) -> None:
    answer = await ask(("host", host), ("authorization", f"Bearer {TOKEN}"))
    assert answer.status == 421
    assert answer.received is None
    assert "8081" in answer.detail


async def test_two_hosts_are_none() -> None:
    assert (await ask(("host", "localhost:8081"), ("host", "evil.example"))).status == 421


async def test_the_port_may_be_left_out_where_it_goes_without_saying() -> None:
    assert (await ask(("host", "localhost"), port=80)).status == 200
    assert (await ask(("host", "localhost"), port=443)).status == 421
    assert (await ask(("host", "tasks.example"), port=443, options=TLS)).status == 200


async def test_beyond_the_loopback_the_configured_name_and_the_address_itself_are_ours() -> None:
    assert (await ask(("host", "tasks.example:8081"), options=TLS)).status == 200
    here = ("192.0.2.7", PORT)
    assert (await ask(("host", "192.0.2.7:8081"), options=TLS, server=here)).status == 200
    assert (await ask(("host", "192.0.2.8:8081"), options=TLS, server=here)).status == 421
    assert (await ask(("host", "evil.example:8081"), options=TLS, server=here)).status == 421
    six = ("2001:db8::7", PORT)
    assert (await ask(("host", "[2001:db8::7]:8081"), options=TLS, server=six)).status == 200


# === pages
@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081", "http://localhost:5173"]
)
async def test_our_own_and_listed_origins_may_call(origin: str) -> None:
    assert (await ask(("origin", origin))).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "origin",
    ["null", "", "https://evil.example", "http://localhost:3000", "https://localhost:8081", "http://localhost",
     "http://evil.example:8081", "http://127.0.0.1:8081.evil.example", "http://localhost:5173 http://evil.example"],
)  # fmt: skip
async def test_any_other_origin_is_refused_on_every_method(method: str, origin: str) -> None:
    answer = await ask(("origin", origin), ("authorization", f"Bearer {TOKEN}"), method=method)
    assert (answer.status, answer.received) == (403, None)


async def test_a_second_origin_does_not_hide_behind_the_first() -> None:
    assert (await ask(("origin", "http://localhost:8081"), ("origin", "http://evil.example"))).status == 403


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        ("same-origin", None, 200),
        ("none", None, 200),
        ("same-site", "http://localhost:5173", 200),
        ("same-site", "http://localhost:3000", 403),
        ("same-site", None, 403),  # some other port of this machine, which did not name itself
        ("cross-site", None, 403),
        ("cross-site", "http://localhost:5173", 403),
        ("something new", None, 403),
        ("", None, 403),
    ],
)
async def test_how_far_the_page_is(site: str, origin: str | None, status: int) -> None:
    headers: Headers = (("sec-fetch-site", site), *([("origin", origin)] if origin else []))
    assert (await ask(*headers)).status == status


async def test_nothing_is_said_to_pages_of_other_origins() -> None:
    headers: Headers = (("origin", "http://localhost:5173"), ("access-control-request-method", "POST"))
    answer = await ask(*headers, method="OPTIONS")
    assert not [name for name in answer.headers if name.startswith("access-control")]


# === callers
@pytest.mark.parametrize(
    ("caller", "status"),
    [(Caller.SAME_USER, 200), (Caller.OTHER_USER, 401), (Caller.UNKNOWN, 401), (None, 401)],
)
async def test_only_the_same_user_needs_no_token(caller: Caller | None, status: int) -> None:
    answer = await ask(caller=caller)
    assert answer.status == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.received is None


@pytest.mark.parametrize("caller", [*Caller, None])
async def test_the_token_lets_everybody_in(caller: Caller | None) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await ask(("authorization", f"{scheme} {TOKEN}"), caller=caller)).status == 200


@pytest.mark.parametrize(
    "shown",
    ["Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", f"Bearer {TOKEN[:-1]}\xe9"],
)
@pytest.mark.parametrize("caller", [*Caller, None])
async def test_a_wrong_token_is_wrong_whoever_shows_it(shown: str, caller: Caller | None) -> None:
    assert (await ask(("authorization", shown), caller=caller)).status == 401


@pytest.mark.parametrize("shown", ["", f"Basic {TOKEN}", TOKEN, f"Token {TOKEN}"])
async def test_other_ways_to_show_it_are_no_token(shown: str) -> None:
    assert (await ask(("authorization", shown), caller=Caller.OTHER_USER)).status == 401
    assert (await ask(("authorization", shown), caller=Caller.SAME_USER)).status == 200


async def test_two_tokens_are_none() -> None:
    both: Headers = (("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer wrong"))
    assert (await ask(*both, caller=Caller.OTHER_USER)).status == 401


async def test_the_same_user_is_not_trusted_where_that_says_nothing() -> None:
    careful = replace(OPTIONS, trust_same_user=False)
    assert (await ask(options=careful)).status == 401
    assert (await ask(("authorization", f"Bearer {TOKEN}"), options=careful)).status == 200


# === bodies
def body_headers(kind: str, body: bytes) -> Headers:
    return (("content-type", kind), ("content-length", str(len(body))))


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x-ndjson"],
)
async def test_json_comes_through(kind: str) -> None:
    answer = await ask(*body_headers(kind, b"{}"), method="POST", body=[b"{", b"}"])
    assert (answer.status, answer.received) == (200, b"{}")


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json",
     "text/plain; application/json", "application/jsonx"],
)  # fmt: skip
async def test_what_a_form_can_send_is_refused(kind: str) -> None:
    for headers in (
        body_headers(kind, b"{}"),
        (("content-type", kind), ("transfer-encoding", "chunked")),
        (("content-type", kind),),
    ):
        answer = await ask(*headers, method="POST", body=[b"{}"])
        assert (answer.status, answer.received) == (415, None)


async def test_a_body_of_no_type_or_of_two_is_refused() -> None:
    assert (await ask(("content-length", "2"), method="POST")).status == 415
    two: Headers = (("content-type", "application/json"), *body_headers("application/json", b"{}"))
    assert (await ask(*two, method="POST")).status == 415


async def test_no_body_needs_no_type() -> None:
    assert (await ask(("content-length", "0"), method="POST")).status == 200
    assert (await ask(method="POST")).status == 200


@pytest.mark.parametrize(
    ("kind", "limit"), [("application/json", MAX_JSON_BYTES), ("application/x-ndjson", MAX_NDJSON_BYTES)]
)
@pytest.mark.parametrize("raises", [False, True])
async def test_a_body_is_bounded_with_and_without_a_length(kind: str, limit: int, raises: bool) -> None:
    declared: Headers = (("content-type", kind), ("content-length", str(limit + 1)))
    answer = await ask(*declared, method="POST", body=[])
    assert (answer.status, answer.received) == (413, None)
    assert f"{limit // 2**20} MiB" in answer.detail

    piece = bytes(limit // 16)
    chunked: Headers = (("content-type", kind), ("transfer-encoding", "chunked"))
    fits = await ask(*chunked, method="POST", body=[piece] * 16)
    assert (fits.status, len(fits.received or b"")) == (200, limit)

    behind = Behind(raises=raises)
    answer = await ask(*chunked, method="POST", body=[*[piece] * 16, b"x", piece], behind=behind)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert len(behind.received or b"") == limit


async def test_a_fault_behind_a_bounded_body_is_not_hidden() -> None:
    class Faulty(Behind):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(*body_headers("application/json", b"{}"), method="POST", body=[b"{}"], behind=Faulty())


# === what is no request
async def test_web_sockets_are_closed_and_the_life_of_the_server_goes_through() -> None:
    sent: list[Message] = []
    seen: list[str] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(behind, OPTIONS, port=PORT, token=TOKEN)
    await guard({"type": "websocket", "headers": []}, receive, send)
    await guard({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert seen == ["lifespan"]
