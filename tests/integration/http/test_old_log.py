"""The old log with a real engine: the recent lines, then the live ones, and what a crowd of readers costs."""

from __future__ import annotations

import re
from pathlib import Path

from taskmaster_desktop.backend.commands import RetryTasks
from taskmaster_desktop.backend.model import TaskOptions, TaskState
from tests.helpers.engines import LIMIT_S
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import Serving, serving
from tests.helpers.sse_reading import reading


def recent(server: Serving) -> list[str]:
    return [line["msg"] for line in server.get("/api/logs").json()]


def shown(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"\d\.\d\d s", "T s", re.sub(r"worker-\d", "worker-N", text))


LIFE_OF_ONE = [
    "Batch #1 created: 1 task, exit 3",
    "Task #1 scheduled to start at once.",
    "Task #1 assigned to worker-N.",
    "Task #1 started on worker-N.",
    "Task #1 failed on worker-N: exit code 3.",
]


def test_live_and_recent_lines_tell_the_same(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server, reading(server.client, "/api/logs/stream") as log:
        assert log.answer.headers["content-type"].startswith("text/event-stream")
        server.post("/api/schedule/batch", {"command": "exit 3"})
        told = [event.json() for event in log.until("failed on")]
        assert {tuple(line) for line in told} == {("ts", "level", "msg")}
        live = [shown(line["msg"]) for line in told if "#1" in line["msg"]]
        assert live == LIFE_OF_ONE
        assert [shown(text) for text in recent(server) if "#1" in text] == LIFE_OF_ONE
        assert {line["level"] for line in told} == {"info", "success", "error"}


def test_every_kind_of_line_comes_live(tmp_path: Path) -> None:
    with serving(tmp_path) as server, reading(server.client, "/api/logs/stream") as log:
        server.post("/api/workers/scale", {"count": 2})
        told = [event.data for event in log.until("worker-2 is online")]
        server.post("/api/schedule/batch", {"command": "demo-job --ms 10", "count": 4})
        told += [event.data for event in log.until("Task #4 completed")]
        server.post("/api/workers/kill", {"name": "worker-1"})
        told += [event.data for event in log.until("worker-1 is offline")]
        for expected in (
            "scaled from 0 to 2", "worker-1 is online", "Batch #1 created: 4 tasks, demo-job --ms 10",
            "Tasks #1 to #4 scheduled", "Task #2 assigned to worker-", "Task #2 started on worker-",
            "Task #2 completed on worker-", "worker-1 is being killed by order",
        ):  # fmt: skip
            assert any(expected in line for line in told), expected


def test_a_new_reader_gets_the_recent_lines_first_and_none_twice(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        server.running.done(server.running.submit("noop", count=100))
        with reading(server.client, "/api/logs/stream") as log:
            server.running.done(server.running.submit("noop", count=3))
            told = [event.data for event in log.until("Task #103 completed")]
            assert len(told) > 250
            assert len(set(told)) == len(told)
        assert len(server.get("/api/logs").json()) == 250


def test_who_asks_for_a_stream_of_the_log_gets_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.post("/api/schedule/batch", {"command": "noop"})
        with reading(server.client, "/api/logs", headers={"accept": "text/event-stream"}) as log:
            assert log.until("Task #1 scheduled")


def test_attempts_that_failed_are_told_too(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server, reading(server.client, "/api/logs/stream") as log:
        batch = server.running.submit("exit 1", options=TaskOptions(retries=1, retry_delay_s=0.05))
        server.running.done(batch)
        live = [shown(event.json()["msg"]) for event in log.until("failed on")]
        steps = [text for text in live if text.startswith("Task #1")]
        assert steps == [
            "Task #1 scheduled to start at once.",
            "Task #1 assigned to worker-N.",
            "Task #1 started on worker-N.",
            "Task #1 goes back into the queue from worker-N: exit code 1.",
            "Task #1 assigned to worker-N.",
            "Task #1 started on worker-N.",
            "Task #1 failed on worker-N: exit code 1.",
        ]
        assert [shown(text) for text in recent(server) if text.startswith("Task #1")] == steps
        server.running.engine.submit(RetryTasks(numbers=(1,))).result(LIMIT_S)
        assert log.until("Task #1 is to be tried again")


def test_a_task_of_a_killed_worker_is_told_as_it_moves(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server, reading(server.client, "/api/logs/stream") as log:
        server.running.submit("sleep 60")
        server.running.until_state(1, TaskState.RUNNING)
        server.post("/api/workers/kill", {"name": "worker-1"})
        moved = log.until("Task #1 goes back into the queue")[-1].json()
        assert moved["level"] == "info"  # not the task's fault


def test_nobody_listens_once_all_readers_are_gone(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        engine = server.running.engine
        before = len(engine._listeners)
        with reading(server.client, "/api/logs/stream"), reading(server.client, "/api/logs/stream"):
            eventually(lambda: len(engine._listeners) == before + 1, what="one listener for all readers")
        eventually(lambda: len(engine._listeners) == before, what="no listener for nobody")


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    with serving(tmp_path) as server, reading(server.client, "/api/logs/stream") as log:
        server.running.engine.stop(grace_s=0)
        assert list(log.events()) == []  # it ends as it should, not in the middle of a chunk
