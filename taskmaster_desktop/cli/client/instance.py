"""Finding the running instance and talking to it. A client belongs to one thread at a time.

The instance says its address in its data folder; the token there opens the door for whoever may read it.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from taskmaster_desktop.backend.errors import Conflict, EnvironmentProblem, NotFound, UserError
from taskmaster_desktop.cli.client.server_events import ServerEvent, events_in

API = "/api/v1"
ANSWER_LIMIT_S = 30.0
ACT_LIMIT_S = 300.0
"""A change of very many tasks takes as long as it takes."""
CONNECT_LIMIT_S = 3.0
SILENCE_LIMIT_S = 60.0
"""A stream is never silent for so long: comments come in between."""
COME_BACK_AFTER_S = 0.5
MOST_IN_VAIN = 5
ADDRESS_FILE = Path("run") / "api.json"
TOKEN_FILE = Path("run") / "token"
START_FIX = "Start one with taskmaster serve, or name it with --url or --data-dir."


class NoInstance(EnvironmentProblem):
    """Nobody answers."""


class Cut(NoInstance):
    """The connection ended in the middle of an answer."""


class Client:
    """One instance. Raises UserError for what it refuses as wrong, EnvironmentProblem for all else.

    Args:
        url: such as http://127.0.0.1:8081.
        token: None where the same user is known without.
        transport: stands for the network in tests.
    """

    def __init__(
        self, url: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._transport = transport
        self._http = httpx.Client(
            base_url=self.url + API,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_within(ANSWER_LIMIT_S),
            trust_env=False,  # a proxy is for other addresses than ours
            verify=_trusted(self.url),
            transport=transport,
        )

    def another(self) -> Client:
        """For another thread."""
        return Client(self.url, token=self._token, transport=self._transport)

    def close(self) -> None:
        self._http.close()

    def get(
        self, path: str, params: Mapping[str, object] | None = None, *, limit_s: float = ANSWER_LIMIT_S
    ) -> Any:
        return self._ask("GET", path, params=_given(params), timeout=_within(limit_s)).json()

    def post(self, path: str, body: object, *, key: str | None = None) -> Any:
        return self._ask("POST", path, json=body, headers=_keyed(key), timeout=_within(ACT_LIMIT_S)).json()

    def put(self, path: str, body: object) -> Any:
        return self._ask("PUT", path, json=body).json()

    def post_lines(self, path: str, lines: Iterable[bytes], *, key: str | None = None) -> Any:
        """NDJSON, sent as it is made."""
        headers = {"Content-Type": "application/x-ndjson", **_keyed(key)}
        return self._ask("POST", path, content=lines, headers=headers, timeout=_within(ACT_LIMIT_S)).json()

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        with self._told():
            response = self._http.request(method, path, **what)
        _judge(response, self.url)
        return response

    def events(
        self, path: str, params: Mapping[str, object] | None = None
    ) -> Generator[ServerEvent, None, None]:
        """Server-sent events until the caller leaves.

        Where the stream ends or is cut it is asked for again, from behind what came last. Raises NoInstance
        where nobody answers any more.
        """
        last, in_vain, pause = "", 0, threading.Event()
        while in_vain < MOST_IN_VAIN:
            in_vain += 1
            with suppress(Cut):
                for event in self._stream(path, params, last):
                    last, in_vain = event.id or last, 0
                    yield event
            pause.wait(COME_BACK_AFTER_S)
        raise NoInstance(f"TaskMaster at {self.url} ends every stream.", fix="See whether it is stopping.")

    def _stream(self, path: str, params: Mapping[str, object] | None, last: str) -> Iterator[ServerEvent]:
        timeout = _within(SILENCE_LIMIT_S)
        headers = {"Last-Event-ID": last} if last else {}
        asked = self._http.stream("GET", path, params=_given(params), headers=headers, timeout=timeout)
        with self._told(), asked as response:
            if not response.is_success:
                response.read()
            _judge(response, self.url)
            yield from events_in(response.iter_bytes())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise UserError(f"--url {self.url} is not an address: {error}.", field="--url") from error
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise self._nobody() from error
            raise EnvironmentProblem(
                f"TaskMaster at {self.url} does not answer in time.", fix="See whether it is busy or stuck."
            ) from error
        except (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError) as error:
            raise Cut(f"TaskMaster at {self.url} has gone away.", fix="See whether it ended.") from error
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise EnvironmentProblem(
                    f"The certificate of {self.url} is not trusted here.",
                    fix="Name the file of its issuer with the variable SSL_CERT_FILE.",
                ) from error
            raise self._nobody() from error

    def _nobody(self) -> NoInstance:
        return NoInstance(f"No TaskMaster answers at {self.url}.", fix=START_FIX)


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Who may vouch for a certificate: whom this system trusts, and SSL_CERT_FILE. Reading them all takes a
    while and is left out where none is needed; a redirection is not followed."""
    return ssl.create_default_context() if url.lower().startswith("https:") else False


def path_of(*parts: str | int) -> str:
    """A path of the API; what people have typed cannot leave its place in it."""
    return "".join("/" + quote(str(part), safe="") for part in parts)


def find_instance(
    data_dir: Path, url: str | None, *, named: bool, transport: httpx.BaseTransport | None = None
) -> Client:
    """The instance at `url`, or the one that runs on `data_dir`. Raises NoInstance, UserError.

    The token of the folder goes to the folder's own instance, and elsewhere only where somebody named the folder
    beside the address: it opens everything, so it is not shown to strangers.

    `named` says that `data_dir` was given on the command line.
    """
    told = _address_told(data_dir)
    if url is None:
        if told is None:
            raise NoInstance(f"No TaskMaster runs on the folder {data_dir}.", fix=START_FIX)
        url = told
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UserError(
            f"--url must be an address such as http://127.0.0.1:8081, not {url!r}.", field="--url"
        )
    token = read_token(data_dir) if named or url == told else None
    return Client(url, token=token, transport=transport)


def read_token(data_dir: Path) -> str | None:
    return _read(data_dir / TOKEN_FILE)


def _address_told(data_dir: Path) -> str | None:
    """Where the instance of this folder answers; None where none runs.

    After a crash the file is still there, while somebody else may answer at that port by now.
    """
    try:
        told = json.loads(_read(data_dir / ADDRESS_FILE) or "")
        return str(told["url"]).rstrip("/") if _lives(int(told["pid"])) else None
    except (ValueError, KeyError, TypeError):
        return None


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True  # asking would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return pid > 0


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _within(limit_s: float) -> httpx.Timeout:
    return httpx.Timeout(limit_s, connect=CONNECT_LIMIT_S)


def _given(params: Mapping[str, object] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _judge(response: httpx.Response, url: str) -> None:
    """An error answer as the exception it was at the other end."""
    if response.is_success:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        raise EnvironmentProblem(
            f"What answers at {url} is no TaskMaster (it said {response.status_code}).",
            fix="Name the instance with --url or --data-dir.",
        )
    said = str(problem.get("detail") or problem.get("title") or f"It answered {response.status_code}.")
    field = problem.get("field")
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise EnvironmentProblem(
            f"TaskMaster at {url} does not let this user in: {said}",
            fix="Name its data folder with --data-dir, or ask as the user who runs it.",
        )
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotFound(said, field=field)
    if response.status_code == httpx.codes.CONFLICT:
        raise Conflict(said, field=field)
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise EnvironmentProblem(said, fix="")
    raise UserError(said, field=field)
