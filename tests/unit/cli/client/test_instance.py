"""Finding an instance, and its answers as exceptions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from taskmaster_desktop.backend.errors import Conflict, EnvironmentProblem, NotFound, UserError
from taskmaster_desktop.cli.client import instance
from taskmaster_desktop.cli.client.instance import Client, NoInstance, find_instance, path_of
from taskmaster_desktop.cli.client.server_events import ServerEvent, events_in

Answer = Callable[[httpx.Request], httpx.Response]
TOLD = "http://127.0.0.1:4000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "token").write_text("secret\n")
    tell(tmp_path, os.getpid())
    return tmp_path


def tell(folder: Path, pid: int) -> None:
    (folder / "run" / "api.json").write_text(json.dumps({"url": TOLD, "pid": pid, "instance": "x"}))


def shown_token(folder: Path, url: str | None, *, named: bool) -> str | None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={})

    client = find_instance(folder, url, named=named, transport=httpx.MockTransport(answer))
    client.get("/stats")
    client.close()
    return seen[0]


@pytest.mark.parametrize(
    ("url", "named", "token"),
    [
        (None, False, "Bearer secret"),
        (TOLD, False, "Bearer secret"),
        (TOLD + "/", False, "Bearer secret"),
        ("http://127.0.0.1:5000", True, "Bearer secret"),
        ("http://127.0.0.1:5000", False, None),
        ("https://elsewhere.example", False, None),
    ],
)
def test_the_token_is_shown_to_its_own_instance_only(
    folder: Path, url: str | None, named: bool, token: str | None
) -> None:
    assert shown_token(folder, url, named=named) == token


def test_what_a_crash_has_left_is_no_instance(folder: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    tell(folder, ended.pid)
    with pytest.raises(NoInstance, match="No TaskMaster runs on the folder"):
        find_instance(folder, None, named=True)
    assert shown_token(folder, TOLD, named=False) is None


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "no json", '{"url": "http://x"}', '{"url": 1, "pid": "x"}']
)
def test_a_broken_address_file_is_no_instance(folder: Path, content: str) -> None:
    (folder / "run" / "api.json").write_text(content)
    with pytest.raises(NoInstance, match="taskmaster serve"):
        find_instance(folder, None, named=False)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x", "http://", "http://[::1", "http://x:99999", "localhost:8081"]
)
def test_a_wrong_url_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="--url must be an address such as"):
        find_instance(tmp_path, url, named=False)


def client_for(answer: Answer) -> Client:
    return Client("http://127.0.0.1:4000", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, UserError, "count must be 1."),
        (404, NotFound, "count must be 1."),
        (409, Conflict, "count must be 1."),
        (413, UserError, "count must be 1."),
        (401, EnvironmentProblem, "does not let this user in: count must be 1. Name its data folder"),
        (403, EnvironmentProblem, "does not let this user in"),
        (500, EnvironmentProblem, "count must be 1."),
        (503, EnvironmentProblem, "count must be 1."),
    ],
)
def test_problems_become_the_exceptions_they_were(status: int, kind: type[Exception], said: str) -> None:
    problem = {"type": "about:blank", "title": "No", "detail": "count must be 1.", "field": "count"}
    with pytest.raises(kind) as caught:
        client_for(lambda _: httpx.Response(status, json=problem)).get("/x")
    assert type(caught.value) is kind
    assert said in str(caught.value)
    if isinstance(caught.value, UserError):
        assert caught.value.field == "count"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b""])
def test_somebody_else_at_that_port_is_noticed(content: bytes) -> None:
    with pytest.raises(EnvironmentProblem, match="is no TaskMaster"):
        client_for(lambda _: httpx.Response(404, content=content)).get("/x")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (httpx.ConnectError("refused"), NoInstance, "No TaskMaster answers at http://127.0.0.1:4000"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] x"), EnvironmentProblem, "is not trusted here"),
        (httpx.ConnectTimeout("slow"), NoInstance, "No TaskMaster answers"),
        (httpx.ReadTimeout("slow"), EnvironmentProblem, "does not answer in time"),
        (httpx.ReadError("reset"), NoInstance, "has gone away"),
        (httpx.RemoteProtocolError("cut"), NoInstance, "has gone away"),
    ],
)
def test_trouble_on_the_way(error: Exception, kind: type[Exception], said: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(kind, match=said):
        client_for(fail).get("/x")


def test_what_was_typed_stays_in_its_place_of_a_path() -> None:
    assert path_of("workers", "../x?y#z", "kill") == "/workers/..%2Fx%3Fy%23z/kill"


# === server-sent events
WIRE = (
    b'retry: 2000\n\nid: 1\nevent: output\ndata: {"a":\ndata: 1}\n\n: still here\n\n'
    b"data: x\xe2\x80\xa8y\x0c\r\n\r\nevent: end\ndata:\n\nevent: nothing\n\ndata: cut"
)
EVENTS = [
    ServerEvent("output", '{"a":\n1}', "1"),
    ServerEvent("message", "x\u2028y\x0c", ""),
    ServerEvent("end", "", ""),
]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_read_from_pieces_of_any_size(size: int) -> None:
    assert list(events_in(WIRE[at : at + size] for at in range(0, len(WIRE), size))) == EVENTS


class CutShort(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b"id: 7-1\ndata: first\n\n"
        raise httpx.ReadError("reset")


def test_a_stream_that_is_cut_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "COME_BACK_AFTER_S", 0.0)
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        if len(asked) == 1:
            return httpx.Response(200, stream=CutShort())
        return httpx.Response(200, content=b"id: 7-2\ndata: second\n\n")

    events = client_for(answer).events("/events")
    assert [next(events).data, next(events).data] == ["first", "second"]
    events.close()
    assert asked == [None, "7-1"]


def test_streams_that_always_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "COME_BACK_AFTER_S", 0.0)
    with pytest.raises(NoInstance, match="ends every stream"):
        list(client_for(lambda _: httpx.Response(200, content=b"retry: 1\n\n")).events("/events"))


def test_a_stream_that_is_refused_says_why() -> None:
    answer = httpx.Response(404, json={"detail": "There is no task 9."})
    with pytest.raises(NotFound, match=r"There is no task 9\."):
        next(client_for(lambda _: answer).events("/tasks/9/output/follow"))
