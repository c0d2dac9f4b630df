"""Workers, fleet, queue, figures and metrics of a real engine on local processes, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskmaster_desktop import __version__
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving
from tests.helpers.http_v1 import API, act, finish, refused, submit


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path) as started:
        yield started


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, workers=2) as started:
        yield started


def workers(server: Serving, query: str = "") -> list[dict[str, Any]]:
    found = server.get(f"{API}/workers{query}").json()["workers"]
    assert isinstance(found, list)
    return found


def put(server: Serving, what: str, body: object) -> dict[str, Any]:
    answer = server.client.put(f"{API}/{what}", json=body)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert isinstance(shown, dict)
    return shown


# === workers
def test_workers_with_their_usage(working: Serving) -> None:
    eventually(lambda: all(worker["usage"] for worker in workers(working)), timeout_s=LIMIT_S)
    one, two = workers(working)
    assert [one["name"], two["name"]] == ["worker-1", "worker-2"]
    assert (one["state"], one["runtime"], one["slots"], one["ended"]) == ("online", "process", 1, "")
    assert 0 <= one["usage"]["heartbeat_age_s"] < LIMIT_S
    assert one["usage"]["cpu_s"] > 0
    assert one["usage"]["memory_bytes"] > 2**20
    assert (one["container"], one["paused"]) == (None, False)  # the process runtime sees life and death only
    by_name, by_number = (working.get(f"{API}/workers/{name}").json() for name in ("worker-2", "2"))
    assert by_name["id"] == by_number["id"] == two["id"]


def test_killing_keeps_the_desired_size(working: Serving) -> None:
    answer = working.post(f"{API}/workers/worker-1/kill", None)
    assert (answer.status_code, answer.json()) == (202, {"worker": 1, "name": "worker-1", "ordered": "kill"})
    eventually(lambda: [worker["number"] for worker in workers(working)] == [2, 3], timeout_s=LIMIT_S)
    assert working.get(f"{API}/fleet").json()["desired"] == 2
    assert [worker["number"] for worker in workers(working, "?living_only=false")] == [1, 2, 3]
    gone = working.get(f"{API}/workers/1").json()
    assert (gone["state"], gone["usage"]) == ("offline", None)
    assert gone["ended"]
    for order in ("kill", "stop"):
        assert (
            refused(working.post(f"{API}/workers/1/{order}", None), 404, "worker")["detail"]
            == "worker-1 is offline."
        )


def test_stopping_lowers_the_desired_size(working: Serving) -> None:
    assert working.post(f"{API}/workers/2/stop", None).status_code == 202
    eventually(lambda: [worker["number"] for worker in workers(working)] == [1], timeout_s=LIMIT_S)
    assert working.get(f"{API}/fleet").json()["desired"] == 1


def test_the_log_of_a_worker(working: Serving) -> None:
    answer = working.get(f"{API}/workers/worker-1/log")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "worker worker-1" in answer.text
    assert len(working.get(f"{API}/workers/1/log?tail_bytes=10").content) <= 10
    refused(working.get(f"{API}/workers/1/log?tail_bytes=0"), 400, "tail_bytes")


def test_workers_that_are_not_there(server: Serving) -> None:
    assert workers(server) == []
    for name in ("7", "nobody", str(2**64), "%00"):
        refused(server.get(f"{API}/workers/{name}"), 404, "worker")
        refused(server.get(f"{API}/workers/{name}/log"), 404, "worker")
        for order in ("kill", "stop"):
            refused(server.post(f"{API}/workers/{name}/{order}", None), 404, "worker")


# === fleet and queue
def test_scaling(server: Serving) -> None:
    assert put(server, "fleet", {"desired": 1})["desired"] == 1
    eventually(lambda: server.get(f"{API}/fleet").json()["online"] == 1, timeout_s=LIMIT_S)
    fleet = put(server, "fleet", {"desired": 0, "self_heal": False})
    assert (fleet["desired"], fleet["self_heal"], fleet["trouble"]) == (0, False, None)
    assert put(server, "fleet", {"self_heal": True})["desired"] == 0


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"desired": 51}, "desired", "desired must be a whole number from 0 to 50."),
        ({"desired": -1}, "desired", "desired must be a whole number from 0 to 50."),
        ({"desired": "3"}, "desired", "desired must be a whole number from 0 to 50."),
        ({"desired": 51, "self_heal": False}, "desired", "desired must be a whole number from 0 to 50."),
        ({"desired": 1, "self_heal": 0}, "self_heal", "self_heal must be true or false."),
        ({}, "desired", "Give desired, self_heal or both."),
        ({"workers": 3}, "workers", "There is no field workers here."),
    ],
)
def test_a_fleet_that_makes_no_sense(server: Serving, body: object, field: str, sentence: str) -> None:
    assert refused(server.client.put(f"{API}/fleet", json=body), 400, field)["detail"] == sentence
    assert server.get(f"{API}/fleet").json() == {
        "desired": 0, "self_heal": True, "starting": 0, "online": 0, "draining": 0, "trouble": None,
    }  # fmt: skip


def test_pausing_the_queue(working: Serving) -> None:
    assert put(working, "queue", {"paused": True})["paused"] is True
    submit(working, command="noop", count=3)
    queue = working.get(f"{API}/queue").json()
    assert (queue["paused"], queue["pending"]) == (True, 3)
    assert 0 <= queue["oldest_age_s"] < LIMIT_S
    assert put(working, "queue", {"paused": False})["paused"] is False
    assert working.get(f"{API}/batches/1/wait?timeout_s=30").json()["completed"] == 3
    assert working.get(f"{API}/queue").json() == {"paused": False, "pending": 0, "oldest_age_s": None}
    refused(working.client.put(f"{API}/queue", json={}), 400, "paused")
    refused(working.client.put(f"{API}/queue", json={"paused": 1}), 400, "paused")


# === figures
def test_figures_follow_every_commit(server: Serving) -> None:
    before = server.get(f"{API}/stats").json()
    assert server.get(f"{API}/stats").json() == before
    submit(server, command="noop", count=3)
    act(server, "cancel", tasks=[1])
    after = server.get(f"{API}/stats").json()
    assert after["tasks"] == {
        "total": 3, "pending": 2, "assigned": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 1,
        "discarded": 0,
    }  # fmt: skip
    assert after["changes"] > before["changes"]
    assert after["epoch"] == before["epoch"] == 1
    server.running.scale(1)
    eventually(lambda: server.get(f"{API}/stats").json()["workers"]["connected"] == 1, timeout_s=LIMIT_S)


def test_health(server: Serving) -> None:
    assert server.get(f"{API}/health").json() == {"ok": True, "trouble": None, "fleet_trouble": None}
    server.running.engine.trouble = "The disk is full. Free some space."
    answer = server.get(f"{API}/health")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (answer.json()["ok"], answer.json()["trouble"]) == (False, "The disk is full. Free some space.")
    assert server.get(f"{API}/stats").json()["trouble"] == "The disk is full. Free some space."


def test_version_and_activity(server: Serving) -> None:
    assert server.get(f"{API}/version").json() == {"version": __version__}
    put(server, "queue", {"paused": True})
    (line,) = server.get(f"{API}/activity?limit=1").json()["lines"]
    assert (line["kind"], line["message"]) == ("queue", "The queue is paused.")
    refused(server.get(f"{API}/activity?limit=0"), 400, "limit")


def test_metrics(working: Serving) -> None:
    finish(working, command="noop", count=5)
    finish(working, command="exit 1", retries=1, retry_delay_s=0.01)
    answer = working.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["taskmaster_attempts_total", "completed"] == 5
    assert samples["taskmaster_attempts_total", "failed"] == 2
    assert samples["taskmaster_tasks", "completed"] == 5
    assert samples["taskmaster_workers", "online"] == 2
    assert samples["taskmaster_dispatch_latency_seconds_count",] == 5  # the other one started twice
    assert samples["taskmaster_attempt_duration_seconds_count",] == 7
    assert samples["taskmaster_commits_total",] > 0
    assert samples["taskmaster_build_info", __version__] == 1


def test_the_description_is_served(server: Serving) -> None:
    described = server.get(f"{API}/openapi.json").json()
    assert described["info"]["version"] == __version__
    assert f"{API}/batches" in described["paths"]
