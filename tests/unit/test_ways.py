"""How a worker came, in words."""

from __future__ import annotations

import pytest

from taskmaster_desktop.backend.ports import FailedWay
from taskmaster_desktop.backend.ways import detour

SOCKET = FailedWay("unix:/run/taskmaster/worker.sock", "Permission denied")


@pytest.mark.parametrize(
    ("endpoint", "failed", "said"),
    [
        ("unix:/run/taskmaster/worker.sock", [], ""),
        ("172.18.0.1:4000", [SOCKET], "by the bridge (the Unix socket: permission denied)"),
        ("127.0.0.1:4000", [SOCKET], "by the loopback (the Unix socket: permission denied)"),
        (
            "host.docker.internal:4000",
            [SOCKET, FailedWay("172.18.0.1:4000", "no answer in time")],
            "by Docker Desktop's loopback (the Unix socket: permission denied; the bridge: no answer in time)",
        ),
        ("", [SOCKET], ""),
    ],
)
def test_only_a_detour_is_worth_words(endpoint: str, failed: list[FailedWay], said: str) -> None:
    assert detour(endpoint, failed) == said
