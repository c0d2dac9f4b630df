"""How a worker came, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster_desktop.backend.ports import FailedWay

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def name_of_way(endpoint: str) -> str:
    if endpoint.startswith("unix:"):
        return "the Unix socket"
    host = endpoint.rpartition(":")[0]
    if host in _LOOPBACK:
        return "the loopback"
    return "Docker Desktop's loopback" if host == "host.docker.internal" else "the bridge"


def detour(endpoint: str, failed: Sequence[FailedWay]) -> str:
    """Such as "by the bridge (the Unix socket: permission denied)"; empty where the first way was open."""
    if not failed or not endpoint:
        return ""
    reasons = "; ".join(f"{name_of_way(way.endpoint)}: {_lowered(way.reason)}" for way in failed)
    return f"by {name_of_way(endpoint)} ({reasons})"


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
