"""Cursors: opaque, in one direction, and never a way to break anything."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.v1.cursor import Cursor


@given(st.integers(0, 2**63 - 1), st.booleans())
def test_what_is_written_can_be_read(number: int, newest_first: bool) -> None:
    text = Cursor.write(number, newest_first=newest_first)
    assert text.isascii()
    assert not set(text) & set("+/=&")
    assert Cursor.read(text, newest_first=newest_first) == number


def test_none_begins_at_the_beginning() -> None:
    assert Cursor.read(None, newest_first=True) is None


def test_the_other_direction_is_refused() -> None:
    with pytest.raises(UserError, match="direction") as raised:
        Cursor.read(Cursor.write(5, newest_first=True), newest_first=False)
    assert raised.value.field == "cursor"


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_refused_and_never_breaks(text: str) -> None:
    found: int | None = None
    with contextlib.suppress(UserError):
        found = Cursor.read(text, newest_first=True)
    assert found is None or 0 <= found < 2**63
    for bad in ("", "x", "bjp4", "\N{EURO SIGN}"):
        with pytest.raises(UserError) as raised:
            Cursor.read(bad, newest_first=True)
        assert raised.value.field == "cursor"
