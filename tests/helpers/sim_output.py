"""The output of one simulated attempt at its agent: kept until acknowledged, sent again after a reconnect."""

from __future__ import annotations


class SimOutput:
    """Like the agent's buffer, what was not sent yet is one chunk, and what is sent again grows with it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._sent = 0
        self._acknowledged = 0

    def add(self, text: str) -> None:
        self.data += text.encode()

    def take(self) -> tuple[int, bytes] | None:
        """The next chunk and its offset; None when everything is on its way."""
        offset, self._sent = self._sent, len(self.data)
        return (offset, bytes(self.data[offset:])) if offset < self._sent else None

    def acknowledge(self, offset: int) -> None:
        self._acknowledged = max(self._acknowledged, offset)

    def unsend(self) -> None:
        self._sent = self._acknowledged
