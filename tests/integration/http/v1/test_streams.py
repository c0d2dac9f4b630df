"""Streams over real HTTP: events that can be resumed, output that is followed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving
from tests.helpers.http_v1 import act, finish, refused, submit

EVENTS = "/api/v1/events"


class Event(NamedTuple):
    id: str | None
    kind: str
    data: Any


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as started:
        yield started


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, workers=1) as started:
        yield started


def parsed(answer: httpx.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("id"), fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


@contextmanager
def listening(server: Serving, target: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {} if last is None else {"last-event-id": last}
    with server.client.stream("GET", target, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer)


def follow(server: Serving, target: str, last: str | None = None) -> list[Event]:
    """All of a stream that ends by itself."""
    with listening(server, target, last) as stream:
        return list(stream)


# === events
def test_events_and_resumption(server: Serving) -> None:
    with listening(server, EVENTS) as stream:
        ready = next(stream)
        assert (ready.kind, ready.data["epoch"]) == ("ready", 1)
        submit(server, command="noop", count=3)
        added = next(stream)
        assert (added.kind, added.data) == ("added", {"batch": 1, "first_task": 1, "size": 3})
    act(server, "cancel", filter={})
    server.client.put("/api/v1/queue", json={"paused": True})
    with listening(server, EVENTS, added.id) as stream:
        finished, paused = next(stream), next(stream)
        assert (finished.kind, finished.data) == ("finished", {"cancelled": [1, 2, 3]})
        assert (paused.kind, paused.data["message"]) == ("log", "The queue is paused.")
    with listening(server, EVENTS, ready.id) as stream:
        assert [next(stream) for _ in range(3)] == [added, finished, paused]


def test_events_of_another_life(tmp_path: Path) -> None:
    with serving(tmp_path) as server, listening(server, EVENTS) as stream:
        last = next(stream).id
    with serving(tmp_path) as server, listening(server, EVENTS, last) as stream:
        resync = next(stream)
        assert (resync.kind, resync.data["epoch"]) == ("resync", 2)


def test_streams_are_bounded_in_number(server: Serving) -> None:
    with httpx.Client(
        base_url=server.server.url,
        trust_env=False,
        timeout=LIMIT_S,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        open_ones = [client.send(client.build_request("GET", EVENTS), stream=True) for _ in range(64)]
        refusal = client.get(EVENTS)
        assert (refusal.status_code, refusal.headers["content-type"]) == (503, "application/problem+json")
        for answer in open_ones:
            answer.close()
        eventually(lambda: client.send(client.build_request("GET", EVENTS), stream=True).status_code == 200)


# === output
def told(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.kind == "output")


def test_output_is_followed_live(working: Serving) -> None:
    submit(
        working,
        command="printf 'one\\n'; while ! [ -e go ]; do sleep 0.05; done; printf 'two\\n'",
        cwd=str(working.options.run_dir),
    )
    with listening(working, "/api/v1/tasks/1/output/follow") as stream:
        first = next(stream)
        assert (first.kind, first.data["text"], first.data["offset"]) == ("output", "one\n", 0)
        (working.options.run_dir / "go").touch()
        rest = list(stream)
    assert told(rest) == "two\n"
    assert (rest[-1].kind, rest[-1].data) == (
        "end", {"state": "completed", "attempt": 1, "outcome": "completed", "exit_code": 0, "reason": ""},
    )  # fmt: skip


def test_a_task_that_has_not_started_is_waited_for(server: Serving) -> None:
    submit(server, command="echo hello")
    with listening(server, "/api/v1/tasks/1/output/follow") as stream:
        server.running.scale(1)
        events = list(stream)
    assert told(events) == "hello\n"
    assert events[-1].kind == "end"


def test_all_attempts_are_followed(working: Serving) -> None:
    submit(working, command="echo $TASKMASTER_ATTEMPT; exit 1", retries=2, retry_delay_s=0.05)
    events = follow(working, "/api/v1/tasks/1/output/follow?attempt=1")
    assert [(event.kind, event.data["attempt"]) for event in events] == [
        ("output", 1), ("attempt", 2), ("output", 2), ("attempt", 3), ("output", 3), ("end", 3),
    ]  # fmt: skip
    assert told(events) == "1\n2\n3\n"
    latest = follow(working, "/api/v1/tasks/1/output/follow")
    assert told(latest) == "3\n"


def test_following_can_be_resumed(working: Serving) -> None:
    finish(working, command="echo $TASKMASTER_ATTEMPT hello; exit 1", retries=1, retry_delay_s=0.01)
    whole = follow(working, "/api/v1/tasks/1/output/follow?attempt=1")
    for index, event in enumerate(whole):
        if event.id is not None:
            assert follow(working, "/api/v1/tasks/1/output/follow", event.id) == whole[index + 1 :]
    assert told(follow(working, "/api/v1/tasks/1/output/follow?attempt=2&offset=2")) == "hello\n"
    assert told(follow(working, "/api/v1/tasks/1/output/follow?attempt=1", "nonsense")) == told(whole)


def test_output_is_exact_in_base64_and_by_stream(working: Serving) -> None:
    finish(working, command="printf '\\377\\000x'; printf err >&2")
    events = follow(working, "/api/v1/tasks/1/output/follow?encoding=base64&stream=stdout")
    assert b"".join(base64.b64decode(e.data["data"]) for e in events if e.kind == "output") == b"\xff\x00x"


def test_a_slow_reader_misses_nothing_that_is_kept(working: Serving) -> None:
    """What is told at once would not fit into a stream's queue by far."""
    finish(working, command="head -c 1500000 /dev/zero", lossless_output=True)
    events = follow(working, "/api/v1/tasks/1/output/follow")
    assert [event.kind for event in events if event.kind != "output"] == ["end"]
    assert sum(event.data["bytes"] for event in events[:-1]) == 1_500_000
    offsets = [event.data["offset"] for event in events[:-1]]
    assert offsets == sorted(set(offsets))


def test_gaps_are_told(working: Serving) -> None:
    finish(working, command="head -c 4000000 /dev/zero", lossless_output=True)
    events = follow(working, "/api/v1/tasks/1/output/follow?encoding=base64")
    assert {event.kind for event in events} == {"output", "gap", "end"}
    assert sum(event.data["bytes"] for event in events[:-1]) == 4_000_000


def test_what_cannot_be_followed(working: Serving) -> None:
    target = "/api/v1/tasks/1/output/follow"
    refused(working.get(target), 404, "task")
    submit(working, command="noop")
    refused(working.get(f"{target}?attempt=0"), 400, "attempt")
    refused(working.get(f"{target}?encoding=hex"), 400, "encoding")
    refused(working.get(f"{target}?stream=stdin"), 400, "stream")


def test_followers_who_leave_are_forgotten(working: Serving) -> None:
    engine = working.running.engine
    before = len(engine._listeners)
    submit(working, command="sleep 60")
    with listening(working, "/api/v1/tasks/1/output/follow"):
        eventually(lambda: len(engine._listeners) == before + 1)
    eventually(lambda: len(engine._listeners) == before)
