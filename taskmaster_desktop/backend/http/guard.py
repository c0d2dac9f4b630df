"""Who may come in: stands before every route and refuses before anything of a request is looked at.

A web page that the user happens to visit can make their browser call the loopback, by the browser's own right
and as this very user. What gives it away is what the browser says of it: the name it called (Host), the page
(Origin) and how far that is from us (Sec-Fetch-Site). All three are checked on every method, since nothing
here may depend on a GET being harmless. Another user of the machine is told by the kernel, see `caller.py`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskmaster_desktop.backend.http.caller import Caller
from taskmaster_desktop.backend.http.options import LOOPBACK_NAMES, HttpOptions
from taskmaster_desktop.backend.http.token import same_token

MAX_HEADER_BYTES = 32 * 1024
MAX_JSON_BYTES = 2**20
MAX_NDJSON_BYTES = 64 * 2**20
BODY_LIMITS = {b"application/json": MAX_JSON_BYTES, b"application/x-ndjson": MAX_NDJSON_BYTES}
DEFAULT_PORTS = {"http": 80, "https": 443}


class Refusal(Exception):
    """Why a request goes no further, in one sentence for people."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Guard:
    """An ASGI application around another.

    The protocol that carries a connection puts the verdict on its other end into `scope["state"]["caller"]`;
    where there is none, nothing is known.
    """

    def __init__(self, application: ASGIApp, options: HttpOptions, *, port: int, token: str) -> None:
        self._application = application
        self._token = token
        self._trusts_same_user = options.trust_same_user
        self._port = port
        self._scheme = "http" if options.tls_cert is None else "https"
        names = {*LOOPBACK_NAMES, bracketed(options.host).lower()}
        self._hosts = frozenset(at for name in names for at in self._spellings(name))
        own = (f"{self._scheme}://{at}" for at in self._hosts)
        self._origins = frozenset(origin.lower().rstrip("/").encode() for origin in (*own, *options.origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            _check_size(scope["headers"])
            headers = _Headers(scope["headers"])
            self._check_host(headers, scope)
            self._check_page(headers)
            self._check_caller(headers, scope)
            limit = _body_limit(headers)
        except Refusal as refusal:
            await refuse(send, refusal)
            return
        if limit is None:
            await self._application(scope, receive, send)
        else:
            await _Bounded(self._application, limit).run(scope, receive, send)

    # === which name was called
    def _check_host(self, headers: _Headers, scope: Scope) -> None:
        hosts = headers.all(b"host")
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if host in self._hosts or self._is_where_it_arrived(host, scope):
            return
        raise Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"The Host header must be a name of this machine's loopback with port {self._port}.",
        )

    def _is_where_it_arrived(self, host: str, scope: Scope) -> bool:
        """The very address in digits, which no foreign name can be made to look like."""
        server = scope.get("server")
        if not server:
            return False
        try:
            ipaddress.ip_address(server[0])
        except ValueError:
            return False
        return host in self._spellings(bracketed(server[0]).lower())

    def _spellings(self, name: str) -> Iterable[str]:
        yield f"{name}:{self._port}"
        if DEFAULT_PORTS[self._scheme] == self._port:
            yield name

    # === which page calls
    def _check_page(self, headers: _Headers) -> None:
        origins = headers.all(b"origin")
        if any(origin.lower() not in self._origins for origin in origins):
            raise Refusal(HTTPStatus.FORBIDDEN, "Pages of this origin may not call here.")
        for site in headers.all(b"sec-fetch-site"):
            # Another port of this machine counts as the same site: then the page must have named itself.
            if site in (b"same-origin", b"none") or (site == b"same-site" and origins):
                continue
            raise Refusal(HTTPStatus.FORBIDDEN, "Pages of other sites may not call here.")

    # === who calls
    def _check_caller(self, headers: _Headers, scope: Scope) -> None:
        """A token that is shown must be right, whoever shows it."""
        shown = headers.all(b"authorization")
        schemes = [value.partition(b" ") for value in shown]
        tokens = [token.strip() for scheme, _, token in schemes if scheme.lower() == b"bearer"]
        if tokens:
            if len(shown) == 1 and same_token(tokens[0], self._token):
                return
            raise Refusal(HTTPStatus.UNAUTHORIZED, "The bearer token is wrong.")
        verdict = scope.get("state", {}).get("caller", Caller.UNKNOWN)
        if self._trusts_same_user and verdict is Caller.SAME_USER:
            return
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "This needs the token of the instance, sent as 'Authorization: Bearer TOKEN'; "
            "its owner can read it with 'taskmaster token'.",
        )


def _check_size(pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Uvicorn bounds only a head that comes in pieces."""
    if sum(len(name) + len(value) for name, value in pairs) > MAX_HEADER_BYTES:
        raise Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The headers must have at most {MAX_HEADER_BYTES // 1024} KiB.",
        )


class _Headers:
    """Those of one request, all values of a name together."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value.strip())

    def all(self, name: bytes) -> list[bytes]:
        return self._values.get(name, [])


def bracketed(host: str) -> str:
    """As a host is written before a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


# === what is sent
def _body_limit(headers: _Headers) -> int | None:
    """How many bytes a body may have; None where none comes. Forms and plain text are what pages can send
    without asking first, so nothing but JSON is taken."""
    lengths = headers.all(b"content-length")
    length = max((int(value) if value.isdigit() else 0 for value in lengths), default=0)
    kinds = [value.partition(b";")[0].strip().lower() for value in headers.all(b"content-type")]
    comes = length > 0 or bool(headers.all(b"transfer-encoding"))
    if any(kind not in BODY_LIMITS for kind in kinds) or (comes and len(kinds) != 1):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "A body must be sent as 'Content-Type: application/json' (or application/x-ndjson for a batch).",
        )
    if not comes:
        return None
    limit = BODY_LIMITS[kinds[0]]
    if length > limit:
        raise _too_large(limit)
    return limit


def _too_large(limit: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body must have at most {limit // 2**20} MiB of this type."
    )


class _Bounded:
    """Hands a body on until it is too long; then the application sees a caller who left, and the caller sees why."""

    def __init__(self, application: ASGIApp, limit: int) -> None:
        self._application = application
        self._limit = limit
        self._left = limit
        self._answered = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded_receive() -> Message:
            if self._left < 0:
                return {"type": "http.disconnect"}
            message = await receive()
            self._left -= len(message.get("body", b""))
            return message if self._left >= 0 else {"type": "http.disconnect"}

        async def watched_send(message: Message) -> None:
            if self._left >= 0 or self._answered:
                self._answered = True
                await send(message)

        try:
            await self._application(scope, bounded_receive, watched_send)
        except Exception:
            if self._left >= 0 or self._answered:
                raise
        if self._left < 0 and not self._answered:
            await refuse(send, _too_large(self._limit))


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with a problem and end the connection, since the rest of the request is not read."""
    body = json.dumps(
        {
            "type": "about:blank",
            "title": refusal.status.phrase,
            "status": refusal.status.value,
            "detail": refusal.detail,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
