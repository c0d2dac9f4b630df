"""Values of options, right and wrong."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30), ("30s", 30), ("0.5", 0.5), ("200ms", 0.2), ("5m", 300), ("2h", 7200), ("1d", 86400)],
)
def test_times(text: str, expected: float) -> None:
    assert values.duration_s("--timeout", text, 0.1, 604_800) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "x", "-1", "5w", "0", "8d", "1e3", "nan", "5 m 3 s"])
def test_wrong_times_name_option_and_range(text: str) -> None:
    with pytest.raises(UserError, match=r"--timeout must be a time from 0\.1s to 7d") as caught:
        values.duration_s("--timeout", text, 0.1, 604_800)
    assert caught.value.field == "--timeout"


@pytest.mark.parametrize("text", ["", "x", "-1", "11", "1.5"])
def test_wrong_numbers_name_option_and_range(text: str) -> None:
    with pytest.raises(UserError, match="--retries must be a whole number from 0 to 10"):
        values.whole("--retries", text, 0, 10)


def test_choice() -> None:
    assert values.choice("--order", "done", ("input", "done")) == "done"
    with pytest.raises(UserError, match="--order must be input or done"):
        values.choice("--order", "random", ("input", "done"))


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1=2")
    monkeypatch.delenv("GONE", raising=False)
    assert values.variables("--env", ("HERE", "A=b=c", "E=")) == (("HERE", "1=2"), ("A", "b=c"), ("E", ""))
    for wrong in ("GONE", "=x", ""):
        with pytest.raises(UserError, match="--env must be"):
            values.variables("--env", (wrong,))
