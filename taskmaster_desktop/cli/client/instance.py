"""Finding the running instance and talking to it. Main thread.

The instance says its address in its data folder; the token there opens the door for whoever may read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from taskmaster_desktop.backend.errors import Conflict, EnvironmentProblem, NotFound, UserError

API = "/api/v1"
ANSWER_LIMIT_S = 30.0
CONNECT_LIMIT_S = 3.0
ADDRESS_FILE = Path("run") / "api.json"
TOKEN_FILE = Path("run") / "token"


class NoInstance(EnvironmentProblem):
    """Nobody answers."""


class Client:
    """One instance. Raises UserError for what it refuses as wrong, EnvironmentProblem for all else.

    Args:
        url: such as http://127.0.0.1:8081.
        token: None where the same user is known without.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=self.url + API,
            headers=headers,
            timeout=httpx.Timeout(ANSWER_LIMIT_S, connect=CONNECT_LIMIT_S),
            trust_env=False,  # a proxy is for other addresses than ours
        )

    def close(self) -> None:
        self._http.close()

    def get(
        self, path: str, params: Mapping[str, object] | None = None, *, limit_s: float | None = None
    ) -> Any:
        return self._ask("GET", path, params=_given(params), **_limit(limit_s)).json()

    def post(self, path: str, body: object = None, *, key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return self._ask("POST", path, json=body if body is not None else {}, headers=headers).json()

    def put(self, path: str, body: object) -> Any:
        return self._ask("PUT", path, json=body).json()

    def post_lines(self, path: str, lines: Iterator[bytes], params: Mapping[str, object]) -> Any:
        """A batch of different commands, streamed as NDJSON."""
        headers = {"Content-Type": "application/x-ndjson"}
        return self._ask("POST", path, content=lines, headers=headers, params=_given(params)).json()

    def data(self, path: str, params: Mapping[str, object] | None = None) -> bytes:
        return self._ask("GET", path, params=_given(params)).content

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        with self._told():
            response = self._http.request(method, path, **what)
        _judge(response, self.url)
        return response

    @contextmanager
    def events(
        self, path: str, params: Mapping[str, object] | None = None
    ) -> Iterator[Iterator[tuple[str, str]]]:
        """Server-sent events as (name, data), until the instance ends or the caller leaves."""
        quiet = httpx.Timeout(None, connect=CONNECT_LIMIT_S)
        with self._told(), self._http.stream("GET", path, params=_given(params), timeout=quiet) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
            _judge(response, self.url)
            yield _events_in(response.iter_lines())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise EnvironmentProblem(
                f"TaskMaster at {self.url} does not answer in time.", fix="See whether it is busy or stuck."
            ) from error
        except httpx.HTTPError as error:
            raise NoInstance(
                f"No TaskMaster answers at {self.url}.",
                fix="Start one with taskmaster serve, or name it with --url or --data-dir.",
            ) from error


def find_instance(data_dir: Path, url: str | None) -> Client:
    """The instance at `url`, or the one that runs on `data_dir`. Raises NoInstance."""
    token = _read(data_dir / TOKEN_FILE)
    if url is None:
        told = _read(data_dir / ADDRESS_FILE)
        try:
            url = str(json.loads(told or "")["url"])
        except (ValueError, KeyError, TypeError):
            raise NoInstance(
                f"No TaskMaster runs on the folder {data_dir}.",
                fix="Start one with taskmaster serve, or name it with --url or --data-dir.",
            ) from None
    return Client(url, token=token)


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _given(params: Mapping[str, object] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _limit(limit_s: float | None) -> dict[str, Any]:
    return {} if limit_s is None else {"timeout": httpx.Timeout(limit_s, connect=CONNECT_LIMIT_S)}


def _judge(response: httpx.Response, url: str) -> None:
    """An error answer as the exception it was at the other end."""
    if response.is_success:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    said = str(problem.get("detail") or problem.get("title") or f"It answered {response.status_code}.")
    field = problem.get("field")
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise EnvironmentProblem(
            f"TaskMaster at {url} does not let this user in: {said}",
            fix="Use the data folder's token with --data-dir, or ask as the user who runs it.",
        )
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotFound(said, field=field)
    if response.status_code == httpx.codes.CONFLICT:
        raise Conflict(said, field=field)
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise EnvironmentProblem(said, fix="")
    raise UserError(said, field=field)


def _events_in(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
        elif line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
