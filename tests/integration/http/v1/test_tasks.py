"""Finding tasks and acting on many of them, over real HTTP to a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving
from tests.helpers.http_v1 import BATCHES, TASKS, act, finish, refused, submit


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as started:
        yield started


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, workers=1) as started:
        yield started


def numbers(server: Serving, query: str) -> list[int]:
    answer = server.get(f"{TASKS}?{query}")
    assert answer.status_code == 200, answer.text
    return [task["number"] for task in answer.json()["tasks"]]


# === finding
def test_filters(working: Serving) -> None:
    finish(working, command="noop", count=2, tags=["red"])
    failed = finish(working, command="exit 3", tags=["red", "blue"])
    working.running.scale(0)
    submit(working, commands=["echo APPLE", "echo pear"])
    assert numbers(working, "") == [1, 2, 3, 4, 5]
    assert numbers(working, "newest_first=true&limit=2") == [5, 4]
    assert numbers(working, "state=failed") == [3]
    assert numbers(working, "state=failed&state=pending") == [3, 4, 5]
    assert numbers(working, "tag=red&state=completed") == [1, 2]
    assert numbers(working, f"batch={failed['id']}") == numbers(working, "batch=2") == [3]
    assert numbers(working, "worker=worker-1") == numbers(working, "worker=1") == [1, 2, 3]
    assert numbers(working, "text=apple") == [4]
    assert numbers(working, "dead_letters=true") == [3]
    assert numbers(working, "batch=99") == []


def test_pages(server: Serving) -> None:
    submit(server, command="noop", count=25)
    for direction, expected in (("false", list(range(1, 26))), ("true", list(range(25, 0, -1)))):
        found: list[int] = []
        cursor = ""
        while cursor is not None:
            query = f"limit=10&newest_first={direction}" + (f"&cursor={cursor}" if cursor else "")
            page = server.get(f"{TASKS}?{query}").json()
            assert len(page["tasks"]) <= 10
            found += [task["number"] for task in page["tasks"]]
            cursor = page["next"]
        assert found == expected


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 400, "limit"),
        ("state=lost", 400, "state"),
        ("cursor=x", 400, "cursor"),
        ("tag=", 400, "tag"),
        ("text=%00", 400, "text"),
        ("batch=x", 400, "batch"),
        ("batch=0", 400, "batch"),
        ("batch=019ab5b2-6f00-7cc1-8f6e-0d5f0a7b1c2d", 404, "batch"),
        ("worker=nobody", 404, "worker"),
        (f"worker={2**63}", 404, "worker"),
        ("newest_first=maybe", 400, "newest_first"),
    ],
)
def test_filters_that_make_no_sense(server: Serving, query: str, status: int, field: str) -> None:
    refused(server.get(f"{TASKS}?{query}"), status, field)


def test_one_task_by_number_and_id(working: Serving) -> None:
    finish(
        working,
        argv=["sh", "-c", "echo $SECRET; exit 4"],
        env={"SECRET": "hush"},
        retries=1,
        retry_delay_s=0.05,
    )
    task = working.get(f"{TASKS}/1").json()
    assert working.get(f"{TASKS}/{task['id']}").json() == task
    assert (task["state"], task["outcome"], task["exit_code"], task["attempt"]) == ("failed", "failed", 4, 2)
    assert task["argv"] == ["sh", "-c", "echo $SECRET; exit 4"]
    assert (task["worker"], task["worker_name"]) == (1, "worker-1")
    assert task["options"]["env_names"] == ["SECRET"]
    assert "hush" not in working.get(f"{TASKS}/1").text
    attempts = working.get(f"{TASKS}/1/attempts").json()["attempts"]
    assert [(one["attempt"], one["outcome"], one["exit_code"], one["output_bytes"]) for one in attempts] == [
        (1, "failed", 4, 5), (2, "failed", 4, 5),
    ]  # fmt: skip
    assert all(one["duration_s"] > 0 for one in attempts)


def test_a_running_attempt_is_among_the_attempts(working: Serving) -> None:
    submit(working, command="sleep 60")
    eventually(lambda: numbers(working, "state=running") == [1])
    (attempt,) = working.get(f"{TASKS}/1/attempts").json()["attempts"]
    assert (attempt["attempt"], attempt["worker_name"], attempt["outcome"]) == (1, "worker-1", None)
    assert attempt["started_at"] is not None


def test_tasks_that_are_not_there(server: Serving) -> None:
    for path in ("", "/attempts", "/attempts/1/output", "/attempts/1/output/raw", "/output/follow"):
        assert refused(server.get(f"{TASKS}/7{path}"), 404, "task")["detail"] == "There is no task 7."
        refused(server.get(f"{TASKS}/x{path}"), 400, "task")


# === acting
def test_cancel_by_filter_with_a_rehearsal(server: Serving) -> None:
    submit(server, command="noop", count=3, tags=["a"])
    submit(server, command="noop", count=4)
    rehearsal = act(server, "cancel", filter={"tag": "a"}, dry_run=True)
    assert rehearsal == {"affected": 3, "dry_run": True, "unknown": []}
    assert server.running.engine.totals.cancelled == 0
    assert act(server, "cancel", filter={"tag": "a"}) == {"affected": 3, "dry_run": False, "unknown": []}
    assert numbers(server, "state=cancelled") == [1, 2, 3]
    assert act(server, "cancel", filter={}, dry_run=True)["affected"] == 4
    assert act(server, "cancel", filter={})["affected"] == 4
    assert act(server, "cancel", filter={})["affected"] == 0


def test_cancel_by_number_and_id(server: Serving) -> None:
    submit(server, command="noop", count=5)
    id_ = server.get(f"{TASKS}/2").json()["id"]
    stranger = "019ab5b2-6f00-7cc1-8f6e-0d5f0a7b1c2d"
    named = [1, id_, "#3", 3, 99, stranger]
    rehearsal = act(server, "cancel", tasks=named, dry_run=True)
    assert rehearsal == {"affected": 3, "dry_run": True, "unknown": ["99", stranger]}
    assert act(server, "cancel", tasks=named)["affected"] == 3
    assert act(server, "cancel", tasks=named)["affected"] == 0
    assert act(server, "cancel", tasks=named, dry_run=True)["affected"] == 0
    assert act(server, "cancel", tasks=[])["affected"] == 0
    assert numbers(server, "state=pending") == [4, 5]


def test_a_running_command_is_cancelled_once(working: Serving) -> None:
    submit(working, command="sleep 60")
    submit(working, command="noop")
    eventually(lambda: numbers(working, "state=running") == [1])
    assert act(working, "cancel", filter={"batch": 1}, dry_run=True)["affected"] == 1
    assert act(working, "cancel", filter={"batch": 1})["affected"] == 1
    if working.get(f"{TASKS}/1").json()["cancelling"]:
        assert act(working, "cancel", filter={"batch": 1}, dry_run=True)["affected"] == 0
    assert working.get(f"{BATCHES}/1/wait?timeout_s=30").json()["cancelled"] == 1


def test_retry_and_discard(working: Serving) -> None:
    finish(working, command="exit 1", count=4)
    working.running.scale(0)
    assert act(working, "discard", tasks=[1], dry_run=True)["affected"] == 1
    assert act(working, "discard", tasks=[1])["affected"] == 1
    assert act(working, "discard", tasks=[1], dry_run=True)["affected"] == 0
    assert numbers(working, "dead_letters=true") == [2, 3, 4]
    assert act(working, "discard", filter={}, dry_run=True)["affected"] == 3
    assert act(working, "retry", filter={"dead_letters": True}, dry_run=True)["affected"] == 3
    assert act(working, "retry", filter={"dead_letters": True})["affected"] == 3
    assert numbers(working, "state=pending") == [2, 3, 4]
    assert act(working, "retry", filter={"states": ["failed"]})["affected"] == 1  # the discarded one too
    assert act(working, "retry", filter={"states": ["completed"]})["affected"] == 0
    assert act(working, "discard", filter={})["affected"] == 0


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "tasks"),
        ({"tasks": [1], "filter": {}}, 400, "tasks"),
        ({"tasks": "all"}, 400, "tasks"),
        ({"tasks": [None]}, 400, "tasks"),
        ({"tasks": [-1]}, 400, "tasks"),
        ({"tasks": [1.5]}, 400, "tasks"),
        ({"tasks": list(range(1001))}, 400, "tasks"),
        ({"filter": []}, 400, "filter"),
        ({"filter": {"colour": "red"}}, 400, "filter.colour"),
        ({"filter": {"states": ["lost"]}}, 400, "states"),
        ({"filter": {"batch": 1.5}}, 400, "batch"),
        ({"filter": {"batch": "x"}}, 400, "batch"),
        ({"filter": {"worker": "nobody"}}, 404, "worker"),
        ({"filter": {"tag": 5}}, 400, "tag"),
        ({"filter": {"text": "\ud800"}}, 400, "text"),
        ({"filter": {"dead_letters": 1}}, 400, "dead_letters"),
        ({"filter": {}, "dry_run": "yes"}, 400, "dry_run"),
    ],
)
def test_actions_that_make_no_sense(server: Serving, body: dict[str, Any], status: int, field: str) -> None:
    submit(server, command="noop")
    for action in ("cancel", "retry", "discard"):
        # Not by the client: it would refuse to send half a character.
        content, kind = json.dumps(body), {"content-type": "application/json"}
        refused(server.client.post(f"{TASKS}/{action}", content=content, headers=kind), status, field)
    assert server.running.engine.totals.pending == 1


# === output
def test_output_by_ranges(working: Serving) -> None:
    finish(working, command="printf 'one\\n'; sleep 0.1; printf 'oops\\n' >&2; sleep 0.1; printf 'grün\\n'")
    output = f"{TASKS}/1/attempts/latest/output"
    whole = working.get(output).json()
    assert (whole["attempt"], whole["next_offset"], whole["at_end"], whole["over"]) == (1, 15, True, True)
    assert "".join(piece["text"] for piece in whole["pieces"]) == "one\noops\ngrün\n"
    page = working.get(f"{output}?offset=2&limit=4").json()
    assert [piece["text"] for piece in page["pieces"]] == ["e\n", "oo"]
    assert (page["next_offset"], page["at_end"]) == (6, False)
    exact = working.get(f"{output}?encoding=base64&stream=stderr").json()
    assert [piece["data"] for piece in exact["pieces"]] == ["b29wcwo="]
    raw = working.get(f"{TASKS}/1/attempts/1/output/raw?stream=stdout")
    assert raw.content.decode() == "one\ngrün\n"
    assert (raw.headers["x-next-offset"], raw.headers["x-dropped-bytes"], raw.headers["x-complete"]) == (
        "15",
        "0",
        "true",
    )
    refused(working.get(f"{TASKS}/1/attempts/2/output"), 404, "attempt")
    refused(working.get(f"{TASKS}/1/attempts/x/output"), 400, "attempt")
    refused(working.get(f"{output}?offset=-1"), 400, "offset")


def test_dropped_output_is_told(working: Serving) -> None:
    finish(working, command="head -c 5000000 /dev/zero", lossless_output=True)
    whole = working.get(f"{TASKS}/1/attempts/1/output?limit=4194304").json()
    dropped = sum(gap["bytes"] for gap in whole["gaps"])
    kept = sum(piece["bytes"] for piece in whole["pieces"])
    assert kept + dropped == whole["next_offset"] == 5_000_000
    assert 2 * 2**20 <= kept < 3 * 2**20
    raw = working.get(f"{TASKS}/1/attempts/1/output/raw")
    assert (len(raw.content), int(raw.headers["x-dropped-bytes"])) == (kept, dropped)


def test_output_of_a_task_that_did_not_start(server: Serving) -> None:
    submit(server, command="noop")
    answer = server.get(f"{TASKS}/1/attempts/latest/output")
    assert refused(answer, 404, "attempt")["detail"] == "Task 1 has no attempt yet."


def test_what_an_answer_is_when_the_engine_breaks(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read for the moment is 503, not a fault."""

    def fail(*_: object, **__: object) -> None:
        raise EnvironmentProblem("The disk is gone.", fix="Put it back.")

    monkeypatch.setattr(server.running.engine.query, "tasks", fail)
    answer: httpx.Response = server.get(TASKS)
    assert refused(answer, 503, None)["detail"] == "The disk is gone. Put it back."
    assert answer.headers["retry-after"]
