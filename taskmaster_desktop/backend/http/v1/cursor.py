"""Where a list goes on: opaque to callers, the number of the last row and the direction for us."""

from __future__ import annotations

import base64
import binascii

from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.backend.http.v1.finding import as_number


class Cursor:
    @staticmethod
    def write(number: int, *, newest_first: bool) -> str:
        text = f"{'n' if newest_first else 'o'}:{number}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @staticmethod
    def read(text: str | None, *, newest_first: bool) -> int | None:
        """The number to go on after. Raises UserError."""
        if text is None:
            return None
        try:
            padded = text + "=" * (-len(text) % 4)
            way, _, digits = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            way, digits = "", ""
        number = as_number(digits)
        if way not in ("n", "o") or number is None:
            raise UserError("cursor must be the `next` of an earlier page.", field="cursor")
        if (way == "n") != newest_first:
            raise UserError("cursor belongs to a list in the other direction.", field="cursor")
        return number
