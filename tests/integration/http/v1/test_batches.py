"""Submitting over real HTTP to a real engine: one command or many, once or again, all or nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from taskmaster_desktop.backend.model import TaskState
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving
from tests.helpers.http_v1 import BATCHES, created, refused

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as started:
        yield started


def test_one_command_for_many_tasks(server: Serving) -> None:
    answer = server.post(
        BATCHES, {"command": "noop", "count": 50, "priority": 3, "tags": ["a"], "env": {"KEY": "secret"}}
    )
    body = created(answer)
    assert (body["batch"], body["size"], body["first_task"], body["last_task"]) == (1, 50, 1, 50)
    assert body["repeated"] is False
    assert answer.headers["location"] == f"{BATCHES}/{body['id']}"
    for name in (1, body["id"], "%231"):
        shown = server.get(f"{BATCHES}/{name}")
        assert shown.json()["id"] == body["id"]
    batch = shown.json()
    assert (batch["unfinished"], batch["done"]) == (50, False)
    assert batch["options"]["env_names"] == ["KEY"]
    assert "secret" not in shown.text
    assert server.running.engine.totals.pending == 50


def test_a_list_of_commands_and_a_moment(server: Serving) -> None:
    at = "2099-01-01T00:00:00Z"
    body = created(server.post(BATCHES, {"commands": ["a", ["b", "c d"]], "delay_s": 3600}))
    assert (body["first_task"], body["last_task"]) == (1, 2)
    tasks = server.get("/api/v1/tasks").json()["tasks"]
    assert [(task["command"], task["argv"]) for task in tasks] == [("a", None), (None, ["b", "c d"])]
    assert all(task["due_at"] for task in tasks)
    answer = server.post(BATCHES, {"command": "a", "run_at": at})
    assert refused(answer, 400, "run_at")["detail"] == "run_at must be at most 365 days from now."


def test_a_list_that_takes_a_thread(server: Serving) -> None:
    assert created(server.post(BATCHES, {"command": "noop", "count": 5000}))["last_task"] == 5000
    assert server.running.engine.totals.pending == 5000


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"command": "a", "count": 0}, "count", "count must be a whole number from 1 to 100,000."),
        ({"command": ""}, "command", "command must be text of 1 to 32,768 characters."),
        ({"command": "a", "retries": 11}, "retries", "retries must be a whole number from 0 to 10."),
        ({"command": "a", "cuont": 5}, "cuont", "There is no field cuont here."),
        ([], None, "The body must be a JSON object."),
    ],
)
def test_mistakes(server: Serving, given: object, field: str | None, sentence: str) -> None:
    assert refused(server.post(BATCHES, given), 400, field)["detail"] == sentence
    assert server.running.engine.totals.tasks == 0


def test_a_body_that_is_no_json(server: Serving) -> None:
    json_type = {"content-type": "application/json"}
    for content in (b"{", b"", b"\xff\xfe", b"[" * 50_000):
        refused(server.client.post(BATCHES, content=content, headers=json_type), 400, None)


# === idempotency
def test_the_same_key_and_the_same_request(server: Serving) -> None:
    key = {"idempotency-key": "k 1"}
    first = created(server.post(BATCHES, {"command": "noop", "count": 5}, headers=key))
    again = server.post(BATCHES, {"count": 5, "command": "noop", "tags": []}, headers=key)
    assert created(again) == {**first, "repeated": True}
    assert again.headers["idempotent-replayed"] == "true"
    assert server.running.engine.totals.tasks == 5


def test_the_same_key_and_another_request(server: Serving) -> None:
    key = {"idempotency-key": "k"}
    created(server.post(BATCHES, {"command": "noop"}, headers=key))
    body = refused(server.post(BATCHES, {"command": "noop", "count": 2}, headers=key), 409, "idempotency_key")
    assert "another request" in body["detail"]
    refused(
        server.post(BATCHES, {"command": "a"}, headers={"idempotency-key": "x" * 201}), 400, "idempotency_key"
    )
    assert server.running.engine.totals.tasks == 1


def test_a_key_counts_for_lines_too(server: Serving) -> None:
    headers = {**NDJSON, "idempotency-key": "k"}
    first = created(server.client.post(BATCHES, content=b'"a"\n"b"\n', headers=headers))
    again = created(server.client.post(BATCHES, content=b'\n"a"\n{"command": "b"}', headers=headers))
    assert (again["id"], again["repeated"]) == (first["id"], True)
    refused(server.client.post(BATCHES, content=b'"a"\n"c"\n', headers=headers), 409, "idempotency_key")


def test_the_same_request_at_the_same_time(server: Serving) -> None:
    answers: list[dict[str, Any]] = []

    def post() -> None:
        key = {"idempotency-key": "k"}
        body = {"command": "noop", "count": 10}
        answers.append(
            created(httpx.post(f"{server.server.url}{BATCHES}", json=body, headers=key, trust_env=False))
        )

    threads = [threading.Thread(target=post) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    assert sorted(answer["repeated"] for answer in answers) == [False, True, True, True, True]
    assert server.running.engine.totals.tasks == 10


# === lines
def test_lines(server: Serving) -> None:
    content = b'{"options": {"retries": 1, "tags": ["t"]}}\n"a"\n["b", "c"]\n{"command": "d"}\n'
    body = created(server.client.post(BATCHES, content=content, headers=NDJSON))
    assert body["size"] == 3
    tasks = server.get("/api/v1/tasks?tag=t").json()["tasks"]
    assert [task["command"] or task["argv"] for task in tasks] == ["a", ["b", "c"], "d"]
    assert server.get(f"{BATCHES}/1").json()["options"]["retries"] == 1


def test_a_hundred_thousand_lines(server: Serving) -> None:
    def lines() -> Iterator[bytes]:
        for number in range(0, 100_000, 100):
            yield b"".join(b'"echo %d"\n' % one for one in range(number, number + 100))

    body = created(server.client.post(BATCHES, content=lines(), headers=NDJSON))
    assert (body["size"], body["first_task"], body["last_task"]) == (100_000, 1, 100_000)
    assert server.running.engine.totals.pending == 100_000
    assert server.get("/api/v1/tasks/77778").json()["command"] == "echo 77777"


def test_one_line_too_many_and_nothing_is_done(server: Serving) -> None:
    body = refused(server.client.post(BATCHES, content=b'"noop"\n' * 100_001, headers=NDJSON), 400, "command")
    assert body["line"] == 100_001
    assert server.running.engine.totals.tasks == 0


def test_a_mistake_in_a_late_line_and_nothing_is_done(server: Serving) -> None:
    content = b'"noop"\n' * 5000 + b'{"argv": []}\n' + b'"noop"\n' * 5000
    body = refused(server.client.post(BATCHES, content=content, headers=NDJSON), 400, "argv")
    assert body["line"] == 5001
    assert body["detail"].startswith("Line 5,001: ")
    assert server.running.engine.totals.tasks == 0
    created(server.post(BATCHES, {"command": "noop"}))  # the next request is answered as ever


def test_a_caller_who_leaves_in_the_middle(server: Serving) -> None:
    class Left(Exception):
        pass

    def lines() -> Iterator[bytes]:
        yield b'"noop"\n' * 100
        raise Left

    with pytest.raises(Left):
        server.client.post(BATCHES, content=lines(), headers=NDJSON)
    assert created(server.post(BATCHES, {"command": "noop"}))["batch"] == 1


# === looking
def test_batches_are_listed_page_by_page(server: Serving) -> None:
    for _ in range(5):
        created(server.post(BATCHES, {"command": "noop"}))

    def numbers(query: str) -> list[int]:
        found: list[int] = []
        cursor = ""
        while True:
            page = server.get(f"{BATCHES}?limit=2{query}{cursor}").json()
            found += [batch["number"] for batch in page["batches"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    assert numbers("") == [5, 4, 3, 2, 1]
    assert numbers("&newest_first=false") == [1, 2, 3, 4, 5]
    refused(server.get(f"{BATCHES}?cursor=zz"), 400, "cursor")
    refused(server.get(f"{BATCHES}?limit=1001"), 400, "limit")


def test_batches_that_are_not_there(server: Serving) -> None:
    for name in ("7", "019ab5b2-6f00-7cc1-8f6e-0d5f0a7b1c2d"):
        assert (
            refused(server.get(f"{BATCHES}/{name}"), 404, "batch")["detail"] == f"There is no batch {name}."
        )
        refused(server.get(f"{BATCHES}/{name}/wait"), 404, "batch")
    refused(server.get(f"{BATCHES}/last"), 400, "batch")
    refused(server.get(f"{BATCHES}/{2**63}"), 400, "batch")


# === waiting
def test_waiting_ends_with_the_batch(server: Serving) -> None:
    created(server.post(BATCHES, {"command": "noop", "count": 3}))
    answers: list[httpx.Response] = []
    url = f"{server.server.url}{BATCHES}/1/wait?timeout_s=60"
    waiting = [
        threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=60, trust_env=False)))
        for _ in range(3)
    ]
    for one in waiting:
        one.start()
    server.running.scale(1)
    for one in waiting:
        one.join()
    assert [(answer.json()["done"], answer.json()["completed"]) for answer in answers] == [(True, 3)] * 3
    assert server.get(f"{BATCHES}/1/wait").json()["done"] is True


def test_waiting_has_an_end(server: Serving) -> None:
    created(server.post(BATCHES, {"command": "noop"}))
    for timeout in ("0", "0.05"):
        answer = server.get(f"{BATCHES}/1/wait?timeout_s={timeout}")
        assert (answer.status_code, answer.json()["done"]) == (200, False)
    refused(server.get(f"{BATCHES}/1/wait?timeout_s=61"), 400, "timeout_s")
    assert server.post("/api/v1/tasks/cancel", {"filter": {}}).json()["affected"] == 1
    assert server.get(f"{BATCHES}/1/wait").json()["cancelled"] == 1


def test_who_waits_does_not_hold_up_the_end(tmp_path: Path) -> None:
    ended = threading.Event()
    with serving(tmp_path) as server:
        created(server.post(BATCHES, {"command": "noop"}))

        def wait() -> None:
            try:
                httpx.get(f"{server.server.url}{BATCHES}/1/wait?timeout_s=60", timeout=60, trust_env=False)
            except httpx.HTTPError:
                ended.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        requests = server.running.engine._requests
        eventually(lambda: requests._waiting, what="somebody waits")
    waiting.join(10)
    assert ended.is_set()


def test_a_submission_that_was_answered_is_on_disk(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        body = created(server.post(BATCHES, {"command": "noop", "count": 7}))
    with serving(tmp_path) as server:
        again = server.get(f"{BATCHES}/{body['id']}").json()
        assert (again["size"], again["unfinished"]) == (7, 7)
        states = {task["state"] for task in server.get("/api/v1/tasks").json()["tasks"]}
        assert states == {TaskState.PENDING.value}
        assert json.loads(server.get("/api/v1/stats").text)["epoch"] == 2
        assert UUID(again["id"]).version == 7
