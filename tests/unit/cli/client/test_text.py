"""Facts as people read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.cli.client import text
from taskmaster_desktop.cli.client.listing import HEADS, row_of


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2028", "\\u2028"),
    ],
)
def test_control_characters_are_made_visible(raw: str, shown: str) -> None:
    assert text.visible(raw) == shown


@given(st.text())
def test_what_is_shown_is_one_harmless_line(raw: str) -> None:
    shown = text.visible(raw)
    assert shown.isprintable()
    shown.encode()


@given(st.text(st.characters(min_codepoint=32, blacklist_categories=["Cc", "Cs"])), st.integers(1, 40))
def test_a_cut_text_fits(raw: str, width: int) -> None:
    cut = text.cut(raw, width)
    assert text.width_of(cut) <= width
    assert cut == raw if text.width_of(raw) <= width else cut.endswith("…")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"), (-1, "0ms"), (0.0042, "4ms"), (0.0994, "99ms"), (0.52, "0.52s"), (9.99, "9.99s"),
        (9.999, "10.0s"), (59.9, "59.9s"), (59.96, "1m00s"), (125, "2m05s"), (3599.4, "59m59s"),
        (3600, "1h00m"), (86_399, "23h59m"), (86_400, "1d00h"), (273_600, "3d04h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d"), (-5, "0s")],
)
def test_ages(seconds: float | None, shown: str) -> None:
    assert text.age(seconds) == shown


def test_a_table_aligns_and_cuts_the_last_column_only() -> None:
    lines = text.table(("N", "NAME", "WHAT"), [("#9", "ü漢", "x" * 50), ("#10", "abc", "y")], width=30)
    assert lines == [
        "  N  NAME  WHAT",
        " #9  ü漢   xxxxxxxxxxxxxxxxxx…",
        "#10  abc   y",
    ]
    assert [text.width_of(line) for line in lines][1] == 30


@pytest.mark.parametrize(
    ("command", "argv", "shown"),
    [
        ("echo hi", None, "echo hi"),
        (None, ["ls", "a b"], "ls 'a b'"),
        (None, ["/bin/sh", "-c", "sleep 1; ls"], "sleep 1; ls"),
        ("a\nb", None, "a\\nb"),
    ],
)
def test_commands(command: str | None, argv: list[str] | None, shown: str) -> None:
    assert text.command_of({"command": command, "argv": argv}) == shown


def test_a_row_of_the_list() -> None:
    now = text.at_us(SystemClock().now().wall_us)
    task: dict[str, Any] = {
        "number": 7, "state": "running", "cancelling": False, "progress": 42.4, "discarded": False,
        "worker_name": "worker-1", "attempt": 2, "created_at": now.isoformat(), "started_at": now.isoformat(),
        "finished_at": None, "exit_code": None, "command": "x\x1b", "argv": None,
    }  # fmt: skip
    row = row_of(task, now)
    assert len(row) == len(HEADS)
    assert row == ("#7", "▸ running 42%", "worker-1", "2", "0s", "0ms", "-", "x\\x1b")
    assert row_of(task | {"cancelling": True}, now)[1] == "▸ running, ending"
    assert (
        row_of(task | {"state": "failed", "discarded": True, "exit_code": 3}, now)[1] == "✗ failed, discarded"
    )
