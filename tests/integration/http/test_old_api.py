"""The old API with a real engine: what scripts and the old web client send, and what they are answered."""

from __future__ import annotations

import re
import socket
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from taskmaster_desktop.backend.commands import CancelTasks, PauseQueue
from taskmaster_desktop.backend.model import TaskState
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving

STATUS_FIELDS = {
    "task_id", "command", "scheduled_at", "picked_at", "started_at", "completed_at", "failed_at", "worker_id",
}  # fmt: skip
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NOT_FOUND = {"error": "There is no such task."}


def schedule(server: Serving, **body: Any) -> dict[str, Any]:
    answer = server.post("/api/schedule/batch", body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert isinstance(told, dict)
    return told


def status(server: Serving, task_id: str) -> dict[str, Any]:
    told = server.get("/api/status", params={"task_id": task_id}).json()
    assert isinstance(told, dict)
    return told


def stats(server: Serving) -> dict[str, Any]:
    told = server.get("/api/stats").json()
    assert isinstance(told, dict)
    return told


# === tasks
def test_a_batch_is_answered_with_its_ids(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        told = schedule(server, command="noop", count=3, delay_seconds=0)
        assert set(told) == {"count", "scheduled_at", "task_ids"}
        assert told["count"] == 3
        assert isinstance(told["scheduled_at"], int)
        tasks = [server.running.task(number) for number in (1, 2, 3)]
        assert [UUID(task) for task in told["task_ids"]] == [task.uuid for task in tasks]
        assert told["scheduled_at"] == tasks[0].created_us // 1_000_000


@pytest.mark.parametrize(
    ("count", "made"),
    [(None, 1), (0, 1), (-5, 1), (1, 1), (7.0, 7), (1000, 1000), (1001, 1000), (10**30, 1000)],
)
def test_count_is_brought_into_its_range(tmp_path: Path, count: object, made: int) -> None:
    with serving(tmp_path) as server:
        told = schedule(server, command="noop", count=count)
        assert (told["count"], len(told["task_ids"])) == (made, made)
        assert stats(server)["total_tasks"] == made


def test_a_short_delay_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        told = schedule(server, command="noop", delay_seconds=20)
        task = server.running.task(1)
        assert task.run_at_us is not None
        assert task.run_at_us - task.created_us == pytest.approx(20_000_000, abs=1000)
        assert told["scheduled_at"] == task.run_at_us // 1_000_000
        assert status(server, told["task_ids"][0])["picked_at"] == ""


@pytest.mark.parametrize("path", ["/api/schedule", "/schedule"])
def test_a_task_for_a_moment(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, workers=1) as server:
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        for zone in (UTC, timezone(timedelta(hours=5, minutes=30))):
            text = at.astimezone(zone).isoformat()
            assert (
                server.post(path, {"command": "noop", "scheduled_at": text}).json()["scheduled_at"]
                == at.timestamp()
            )
        for text in (f"{at:%Y-%m-%dT%H:%M:%S}", f"{at:%Y-%m-%dT%H:%M:%S}.000Z"):
            assert (
                server.post(path, {"command": "noop", "scheduled_at": text}).json()["scheduled_at"]
                == at.timestamp()
            )
        told = server.post(path, {"command": "noop", "scheduled_at": "2001-01-01T00:00:00Z"}).json()
        assert set(told) == {"command", "scheduled_at", "task_id"}
        assert told["command"] == "noop"
        assert told["scheduled_at"] == datetime(2001, 1, 1, tzinfo=UTC).timestamp()
        eventually(lambda: status(server, told["task_id"])["completed_at"], what="it runs at once")


@pytest.mark.parametrize("path", ["/api/status", "/status"])
def test_status_from_beginning_to_end(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, workers=1) as server:
        (good,) = schedule(server, command="sleep 0.01")["task_ids"]
        (bad,) = schedule(server, command="exit 3")["task_ids"]
        server.running.until_finished(2)
        told = server.get(path, params={"task_id": good}).json()
        assert set(told) == STATUS_FIELDS
        assert (told["task_id"], told["command"], told["worker_id"]) == (good, "sleep 0.01", 1)
        steps = [told[name] for name in ("scheduled_at", "picked_at", "started_at", "completed_at")]
        assert all(MOMENT.fullmatch(step) for step in steps)
        assert steps == sorted(steps)
        assert told["failed_at"] == ""
        told = server.get(path, params={"task_id": bad}).json()
        assert told["completed_at"] == ""
        assert MOMENT.fullmatch(told["failed_at"])


def test_status_of_what_has_not_begun_is_empty(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        (task_id,) = schedule(server, command="noop")["task_ids"]
        told = status(server, task_id)
        assert told["worker_id"] is None
        assert MOMENT.fullmatch(told["scheduled_at"])
        assert [told[name] for name in ("picked_at", "started_at", "completed_at", "failed_at")] == [""] * 4


def test_status_of_no_task(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for unknown in (str(uuid4()), "1", "no id", "x" * 5000, "\0"):
            answer = server.get("/api/status", params={"task_id": unknown})
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
        for path in ("/api/status", "/status?task_id="):
            answer = server.get(path)
            assert answer.status_code == 400
            assert set(answer.json()) == {"error", "message"}


def test_tasks_are_the_newest_with_the_oldest_first(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.get("/api/tasks").json() == []
        first = schedule(server, command="noop", count=5)["task_ids"]
        answer = server.get("/api/tasks")
        assert [task["task_id"] for task in answer.json()] == first
        assert set(answer.json()[0]) == STATUS_FIELDS
        assert (answer.headers["x-task-limit"], answer.headers["x-total-count"]) == ("1000", "5")
        more = schedule(server, command="noop", count=998)["task_ids"]
        answer = server.get("/api/tasks")
        assert [task["task_id"] for task in answer.json()] == [*first[3:], *more]
        assert answer.headers["x-total-count"] == "1003"


BAD = {
    "no command": {"count": 3},
    "a blank command": {"command": "  "},
    "a command that is no text": {"command": ["x"]},
    "too long a command": {"command": "x" * 32_769},
    "a NUL": {"command": "a\0b"},
    "a count that is no number": {"command": "noop", "count": "many"},
    "a count that is true": {"command": "noop", "count": True},
    "half a task": {"command": "noop", "count": 1.5},
    "a delay that is no number": {"command": "noop", "delay_seconds": "soon"},
    "a delay into the past": {"command": "noop", "delay_seconds": -1},
    "a delay of two years": {"command": "noop", "delay_seconds": 2 * 365 * 86400},
    "a list": [],
    "a text": "x",
    "nothing": None,
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_a_bad_batch_is_refused_and_nothing_is_done(tmp_path: Path, body: object) -> None:
    with serving(tmp_path) as server:
        answer = server.post("/api/schedule/batch", body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "message"}
        assert server.running.engine.totals.tasks == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"command":NaN}', b'{"command":"noop","delay_seconds":1e999}',
             b"[" * 100_000, b'{"command":"\\ud800"}', b'{"command":"noop","count":' + b"9" * 5000 + b"}"],
    ids=["empty", "half", "no UTF-8", "NaN", "infinite", "deep", "half a character", "huge"],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path) as server:
        headers = {"content-type": "application/json"}
        answer = server.client.post("/api/schedule/batch", content=body, headers=headers)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    "at", [None, "", "soon", 5, "2030-13-01T00:00:00Z", "1969-01-01T00:00:00Z", "0001-01-01"]
)
def test_a_moment_that_is_none_is_refused(tmp_path: Path, at: object) -> None:
    with serving(tmp_path) as server:
        answer = server.post("/api/schedule", {"command": "noop", "scheduled_at": at})
        assert answer.status_code == 400
        assert "scheduled_at" in answer.json()["message"]


# === figures and workers
def test_stats_count_assigned_as_pending_and_cancelled_in_the_total_only(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        schedule(server, command="noop", count=4)
        (bad,) = schedule(server, command="exit 1")["task_ids"]
        eventually(lambda: status(server, bad)["failed_at"])
        server.running.engine.submit(PauseQueue(paused=True)).result(LIMIT_S)
        schedule(server, command="noop", count=5)
        server.running.engine.submit(CancelTasks(numbers=(6, 7))).result(LIMIT_S)
        eventually(lambda: stats(server)["completed_tasks"] == 4)
        told = stats(server)
        workers = told.pop("workers")
        assert told == {
            "total_tasks": 10, "pending_tasks": 3, "running_tasks": 0, "completed_tasks": 4, "failed_tasks": 1,
        }  # fmt: skip
        assert sum(worker["tasks_completed"] for worker in workers) == 4
        assert server.get("/api/workers").json() == workers


def test_workers_name_what_they_run(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        (task_id,) = schedule(server, command="sleep 60")["task_ids"]
        server.running.until_state(1, TaskState.RUNNING)
        first, second = stats(server)["workers"]
        assert set(first) == {"id", "name", "status", "current_task_id", "tasks_completed", "last_active_at"}
        assert (first["id"], first["name"], first["status"]) == (1, "worker-1", "online")
        assert MOMENT.fullmatch(first["last_active_at"])
        assert {first["current_task_id"], second["current_task_id"]} == {task_id, None}
        assert stats(server)["running_tasks"] == 1


def test_scaling(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        told = server.post("/api/workers/scale", {"count": 2}).json()
        assert told == {"ok": True, "count": 2, "command": "taskmaster scale 2"}
        assert server.running.engine.totals.desired == 2
        server.running.until_online(2)
        assert [worker["status"] for worker in stats(server)["workers"]] == ["online", "online"]
        server.post("/api/workers/scale", {"count": 1})
        eventually(
            lambda: [worker["status"] for worker in stats(server)["workers"]] == ["online", "offline"],
            timeout_s=LIMIT_S,
        )


@pytest.mark.parametrize(
    "body", [{}, {"count": 0}, {"count": 51}, {"count": "5"}, {"count": None}, [], {"count": -1}]
)
def test_a_bad_size_is_refused(tmp_path: Path, body: object) -> None:
    with serving(tmp_path) as server:
        answer = server.post("/api/workers/scale", body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "message"}
        assert server.running.engine.totals.desired == 0


@pytest.mark.parametrize("name", ["worker-2", "taskmaster-worker-2", "old_stack-worker-2", " worker-2 "])
def test_killing_by_either_name(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, workers=2) as server:
        told = server.post("/api/workers/kill", {"name": name}).json()
        assert told == {"ok": True, "name": "worker-2", "command": "taskmaster kill worker-2"}

        def offline() -> bool:
            shown = {worker["name"]: worker["status"] for worker in stats(server)["workers"]}
            return shown["worker-2"] == "offline" and shown["worker-1"] == "online"

        eventually(offline, timeout_s=LIMIT_S, what="worker-2 is offline")


def test_killing_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server:
        for name in ("worker-9", "worker-11", "orker-1", "xworker-1", "worker-1-x"):
            answer = server.post("/api/workers/kill", {"name": name})
            assert answer.status_code == 404
            assert set(answer.json()) == {"error"}
        for body in ({}, {"name": ""}, {"name": 1}):
            assert server.post("/api/workers/kill", body).status_code == 400
        assert len(server.running.workers()) == 1


# === the quick card
QUICK_CARD = r"""
curl -X POST http://localhost:8081/api/schedule/batch -H "Content-Type: application/json" -d '{"command":"demo-job","count":100,"delay_seconds":0}'
curl http://localhost:8081/api/stats
curl http://localhost:8081/api/logs/stream
""".strip()


def test_the_three_lines_of_the_quick_card(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    card = QUICK_CARD.replace("8081", str(port)).replace("curl", "curl -sS").splitlines()
    batch, figures, log = card
    with serving(tmp_path, port=port):
        told = subprocess.run(batch, shell=True, capture_output=True, check=True, text=True, timeout=20)
        assert '"count":100' in told.stdout
        told = subprocess.run(figures, shell=True, capture_output=True, check=True, text=True, timeout=20)
        assert '"total_tasks":100' in told.stdout
        told = subprocess.run(
            log.replace("-sS", "-sSN --max-time 1"),
            shell=True,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert "data: {" in told.stdout
        assert "Batch #1 created: 100 tasks, demo-job" in told.stdout
