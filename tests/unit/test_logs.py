"""Line formats and the tail that views pull from."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from taskmaster_desktop.logs import LogFormat, TailHandler, configure_logging, remove_logging

logger = logging.getLogger("taskmaster.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    remove_logging()
    logging.getLogger().setLevel(level)


def configured(log_format: LogFormat, level: str = "info") -> tuple[io.StringIO, TailHandler]:
    stream = io.StringIO()
    return stream, configure_logging(level=level, log_format=log_format, stream=stream)


def test_text_has_time_level_logger_message_and_facts() -> None:
    stream, _ = configured("text")
    logger.info("Task %d assigned.", 7, extra={"worker": "w3"})
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "INFO    taskmaster.test: Task 7 assigned. worker=w3\n"


def test_a_line_break_cannot_forge_a_text_line() -> None:
    stream, _ = configured("text")
    logger.info("one\n2026-01-01T00:00:00.000Z ERROR forged")
    assert [line[:4] for line in stream.getvalue().splitlines()[1:]] == ["    "]


def test_json_is_one_object_per_line_and_facts_replace_nothing() -> None:
    stream, _ = configured("json")
    logger.info("line\nbreak", extra={"task": 7, "logger": "forged", "odd": object})
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["message"], found["task"], found["logger"]) == ("line\nbreak", 7, "taskmaster.test")
    assert found["level"] == "info"


@pytest.mark.expects_logs
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_tracebacks_are_kept(log_format: LogFormat) -> None:
    stream, tail = configured(log_format)
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("It failed.")
    assert "ValueError: boom" in stream.getvalue()
    assert "ValueError: boom" in tail.entries_after(0)[0].message


def test_the_level_holds_for_the_stream_and_the_tail() -> None:
    stream, tail = configured("text", level="INFO")
    logger.debug("unseen")
    assert (stream.getvalue(), tail.last_number) == ("", 0)


def test_the_tail_hands_out_what_is_new_and_forgets_the_oldest() -> None:
    tail = TailHandler(capacity=3)
    for number in range(5):
        tail.handle(logging.makeLogRecord({"msg": f"m{number}", "created": 1.5, "task": number}))
    assert tail.last_number == 5
    assert [entry.number for entry in tail.entries_after(0)] == [3, 4, 5]
    (newest,) = tail.entries_after(4)
    assert (newest.message, newest.wall_us, newest.facts) == ("m4", 1_500_000, {"task": 4})


def test_configuring_again_replaces_only_its_own_handlers() -> None:
    foreign = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(foreign)
    try:
        first, _ = configured("text")
        second, _ = configured("text")
        logger.info("once")
        assert first.getvalue() == ""
        assert second.getvalue().count("once") == 1
        assert foreign in root.handlers
    finally:
        root.removeHandler(foreign)


@pytest.mark.expects_logs
def test_a_record_that_cannot_be_formatted_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    tail = TailHandler()
    tail.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))
    assert tail.last_number == 0
    assert "Logging error" in capsys.readouterr().err
