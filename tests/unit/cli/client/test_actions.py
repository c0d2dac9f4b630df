"""What commands ask of an instance and what they say, with an instance made of canned answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from taskmaster_desktop.backend.clock import Moment
from taskmaster_desktop.backend.errors import EnvironmentProblem, NotFound, UserError
from taskmaster_desktop.cli.client import acting, fleet, waiting
from taskmaster_desktop.cli.client.acting import CANCEL, DISCARD, RETRY, act
from taskmaster_desktop.cli.client.choosing import Chosen
from taskmaster_desktop.cli.client.happenings import lines_of
from taskmaster_desktop.cli.client.instance import Client
from taskmaster_desktop.cli.client.listing import fetch
from taskmaster_desktop.cli.client.printed import Attempt, End, Piece, kept, live, put_out
from taskmaster_desktop.cli.output import Output


class Desk:
    """Answers by path, in turn; keeps what it was asked."""

    def __init__(self, answers: Mapping[str, list[Any]]) -> None:
        self._answers = {path: list(answer) for path, answer in answers.items()}
        self.asked: list[tuple[str, Any]] = []
        self.client = Client("http://127.0.0.1:4000", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.asked.append(
            (path, json.loads(request.content) if request.content else dict(request.url.params))
        )
        answers = self._answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return (
            httpx.Response(200, content=answer)
            if isinstance(answer, bytes)
            else httpx.Response(200, json=answer)
        )


class Paper:
    """An output whose two streams can be read."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._out, self._err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        self.output = Output(as_json=as_json, stdout=self._out, stderr=self._err)

    @property
    def out(self) -> str:
        return self._read(self._out)

    @property
    def err(self) -> str:
        return self._read(self._err)

    @staticmethod
    def _read(stream: io.TextIOWrapper) -> str:
        assert isinstance(stream.buffer, io.BytesIO)
        return stream.buffer.getvalue().decode()


def affected(count: int, *unknown: str) -> dict[str, Any]:
    return {"affected": count, "dry_run": False, "unknown": list(unknown)}


# === cancel, retry, discard
def test_named_tasks_are_sent_a_thousand_at_a_time() -> None:
    desk, paper = Desk({"/tasks/cancel": [affected(1000), affected(500)]}), Paper()
    names = tuple(map(str, range(1, 1_502)))
    assert act(desk.client, paper.output, CANCEL, Chosen(names=names), dry_run=False, yes=False) == 0
    assert [len(body["tasks"]) for _, body in desk.asked] == [1000, 501]
    assert paper.out == "1,500 tasks were cancelled.\n"


def test_names_that_are_none_are_said_beside_what_was_done() -> None:
    desk = Desk({"/tasks/retry": [affected(1, "8", "9")]})
    with pytest.raises(NotFound) as caught:
        act(desk.client, Paper().output, RETRY, Chosen(names=("7", "8", "9")), dry_run=False, yes=False)
    assert str(caught.value) == "There is no task #8, #9; 1 other task was put back into the queue."


@pytest.mark.parametrize(
    ("action", "chosen", "expected"),
    [
        (CANCEL, Chosen(everything=True), {}),
        (CANCEL, Chosen(batch="7"), {"batch": "7"}),
        (RETRY, Chosen(everything=True), {"dead_letters": True}),
        (DISCARD, Chosen(tag="x"), {"tag": "x", "dead_letters": True}),
    ],
)
def test_described_tasks(action: acting.Action, chosen: Chosen, expected: dict[str, Any]) -> None:
    desk, paper = Desk({f"/tasks/{action.path}": [affected(3)]}), Paper(as_json=True)
    assert act(desk.client, paper.output, action, chosen, dry_run=False, yes=True) == 0
    assert desk.asked == [(f"/tasks/{action.path}", {"filter": expected, "dry_run": False})]
    assert json.loads(paper.out) == {"affected": 3, "dry_run": False}


def test_where_nobody_can_be_asked_nothing_is_done() -> None:
    desk = Desk({"/tasks/cancel": [affected(3)]})
    with pytest.raises(UserError, match="3 tasks would be cancelled; add --yes"):
        act(desk.client, Paper().output, CANCEL, Chosen(everything=True), dry_run=False, yes=False)
    assert [body["dry_run"] for _, body in desk.asked] == [True]


# === wait
class HandClock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> Moment:
        self.now_s += 1.0
        return Moment(wall_us=0, mono_s=self.now_s)


def batch(size: int, completed: int, failed: int = 0) -> dict[str, Any]:
    return {
        "number": 7, "size": size, "completed": completed, "failed": failed, "cancelled": 0,
        "done": size == completed + failed,
    }  # fmt: skip


def test_batches_are_asked_until_they_are_done() -> None:
    desk = Desk({
        "/batches/7/wait": [batch(3, 1), batch(3, 2), batch(3, 2, 1)],
        "/batches/8/wait": [batch(2, 2)],
    })  # fmt: skip
    look = waiting._look_at_batches(desk.client, ["7", "8"])
    standing = waiting._until_done(desk.client, Paper().output, look, None, HandClock())
    assert standing.text() == "4 completed, 1 failed"
    assert [path for path, _ in desk.asked].count("/batches/8/wait") == 1
    assert [asked["timeout_s"] for _, asked in desk.asked] == ["0.0", "0.0", "20.0", "20.0"]


def test_a_wait_gives_up_in_time() -> None:
    desk = Desk({"/batches/7/wait": [batch(3, 1)]})
    look = waiting._look_at_batches(desk.client, ["7"])
    standing = waiting._until_done(desk.client, Paper().output, look, 25.0, HandClock())
    assert (standing.done, standing.text()) == (False, "1 completed, 2 unfinished")
    assert float(desk.asked[-1][1]["timeout_s"]) <= 20.0


@pytest.mark.parametrize(
    ("tasks", "batches", "everything"),
    [((), (), False), (("1",), ("7",), False), (("1",), (), True), ((), ("7",), True)],
)
def test_one_thing_is_waited_for(tasks: tuple[str, ...], batches: tuple[str, ...], everything: bool) -> None:
    with pytest.raises(UserError, match="Say what to wait for"):
        waiting.wait(
            Desk({}).client, Paper().output, tasks=tasks, batches=batches, everything=everything, timeout=None
        )


# === lists
def test_pages_are_read_until_there_is_enough() -> None:
    desk = Desk({
        "/tasks": [
            {"tasks": [1, 2], "next": "a"}, {"tasks": [], "next": "b"}, {"tasks": [3, 4], "next": "c"},
        ]
    })  # fmt: skip
    assert fetch(desk.client, {"tag": "x"}, 3) == ([1, 2, 3], True)
    assert [asked.get("cursor") for _, asked in desk.asked] == [None, "a", "b"]
    assert [asked["limit"] for _, asked in desk.asked] == ["4", "2", "2"]
    last = Desk({"/tasks": [{"tasks": [1], "next": None}]})
    assert fetch(last.client, {}, 1) == ([1], False)


# === output
def told(stream: str, offset: int, data: bytes) -> dict[str, Any]:
    return {"offset": offset, "bytes": len(data), "stream": stream, "data": base64.b64encode(data).decode()}


def test_kept_output_comes_in_order_with_its_gaps() -> None:
    page = {"attempt": 2, "next_offset": 9, "at_end": False, "gaps": [{"offset": 3, "bytes": 4}]}
    first = page | {"pieces": [told("stdout", 0, b"one"), told("stderr", 7, b"\xff\n")]}
    last = page | {"pieces": [], "gaps": [], "at_end": True}
    desk, paper = Desk({"/tasks/5/attempts/latest/output": [first, last]}), Paper()
    for piece in kept(desk.client, "5", "latest", None):
        put_out(paper.output, piece)
    assert [asked["offset"] for _, asked in desk.asked] == ["0", "9"]
    assert paper.out == "one"


def test_gaps_are_said_and_bytes_kept_apart() -> None:
    paper = Paper()
    for stream, data in (("stdout", b"a"), ("", b""), ("stderr", b"b")):
        put_out(paper.output, Piece(attempt=1, offset=0, size=4, stream=stream, data=data))
    assert (paper.out, paper.err) == ("a", "taskmaster: 4 bytes of output are not kept.\nb")


def test_output_for_programs_is_exact() -> None:
    paper = Paper(as_json=True)
    for data in ("ü\n".encode(), b"\xff"):
        put_out(paper.output, Piece(attempt=1, offset=0, size=len(data), stream="stdout", data=data))
    put_out(paper.output, Piece(attempt=1, offset=0, size=4, stream="", data=b""))
    put_out(paper.output, Attempt(2))
    put_out(paper.output, End({"state": "completed"}))
    place = {"attempt": 1, "offset": 0}
    assert [json.loads(line) for line in paper.out.splitlines()] == [
        {"event": "output", **place, "bytes": 3, "stream": "stdout", "text": "ü\n"},
        {"event": "output", **place, "bytes": 1, "stream": "stdout", "base64": "/w=="},
        {"event": "gap", **place, "bytes": 4},
        {"event": "attempt", "attempt": 2},
        {"event": "end", "state": "completed"},
    ]
    assert paper.err == ""


def test_live_output_ends_with_the_task() -> None:
    piece = json.dumps({"attempt": 1, **told("stdout", 0, b"x")})
    wire = f'id: 1-1\nevent: output\ndata: {piece}\n\nevent: end\ndata: {{"state": "failed"}}\n\n'
    desk = Desk({"/tasks/5/output/follow": [wire.encode()]})
    heard = list(live(desk.client, "5", None, None))
    assert heard == [
        Piece(attempt=1, offset=0, size=1, stream="stdout", data=b"x"),
        End({"state": "failed"}),
    ]


def test_a_stream_that_failed_says_why() -> None:
    desk = Desk({"/tasks/5/output/follow": [b'event: trouble\ndata: {"detail": "The disk is full."}\n\n']})
    with pytest.raises(EnvironmentProblem, match="The disk is full"):
        list(live(desk.client, "5", None, None))


# === events, the fleet
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("ready", {}, []),
        ("added", {"batch": 7, "first_task": 1, "size": 1}, ["info     batch 7: #1"]),
        ("added", {"batch": 7, "first_task": 1, "size": 3}, ["info     batch 7: #1 to #3 (3 tasks)"]),
        ("log", {"level": "warning", "message": "a\x1bb"}, ["warning  a\\x1bb"]),
        ("trouble", {"detail": "No."}, ["error    No."]),
        ("resync", {"detail": "Missed."}, ["warning  Missed."]),
        ("recovered", {}, ["success  The database can be written again."]),
        (
            "finished",
            {"completed": list(range(1, 12)), "failed": [20]},
            ["success  completed: #1, #2, #3, #4, #5, #6, #7, #8 and 3 more", "error    failed: #20"],
        ),
    ],
)
def test_events_for_people(name: str, data: dict[str, Any], said: list[str]) -> None:
    assert lines_of(name, data) == said


def test_scaling_says_what_there_is() -> None:
    there = {"desired": 5, "online": 3, "starting": 2, "draining": 0, "trouble": None}
    desk, paper = Desk({"/fleet": [there, there | {"trouble": "Docker is away."}]}), Paper()
    assert fleet.scale(desk.client, paper.output, "5") == 0
    assert desk.asked == [("/fleet", {"desired": 5})]
    assert fleet.scale(desk.client, paper.output, "5") == 0
    assert paper.out == "5 workers wanted: 3 online, 2 starting.\n" * 2
    assert paper.err == "taskmaster: Docker is away.\n"


@pytest.mark.parametrize("count", ["", "-1", "51", "many", "1.5"])
def test_sizes_that_are_none(count: str) -> None:
    with pytest.raises(UserError, match="N must be a whole number from 0 to 50"):
        fleet.scale(Desk({}).client, Paper().output, count)


@pytest.mark.parametrize("name", ["", "#", " ", "a\nb"])
def test_workers_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="WORKER must be"):
        fleet.kill(Desk({}).client, Paper().output, name)
