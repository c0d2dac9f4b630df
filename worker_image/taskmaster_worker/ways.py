"""The ways to the engine that failed in this round, to tell it once one has worked. On the session's loop."""

from __future__ import annotations

import logging

import grpc

from taskmaster_worker._pb import worker_pb2 as pb

MAX_REASON = 200

logger = logging.getLogger(__name__)


class FailedWays:
    """Logs each failure, and keeps them until `forget`."""

    def __init__(self) -> None:
        self._failed: list[pb.FailedWay] = []

    def forget(self) -> None:
        self._failed.clear()

    def told(self) -> list[pb.FailedWay]:
        return self._failed.copy()

    def silent(self, endpoint: str) -> None:
        logger.warning("no answer from %s in time", endpoint)
        self._keep(endpoint, "no answer in time")

    def refused(self, endpoint: str) -> None:
        """Its reason is logged by whoever heard it."""
        self._keep(endpoint, "not welcome there")

    def broken(self, endpoint: str, error: grpc.aio.AioRpcError) -> None:
        details = error.details() or ""
        logger.warning("connection to %s failed: %s: %s", endpoint, error.code().name, details)
        # gRPC wraps the system's words in its own: "...; last error: UNKNOWN: ipv4:...: Connection refused".
        self._keep(endpoint, details.rpartition(": ")[2].strip("] .") or error.code().name)

    def ended(self, endpoint: str, error: Exception) -> None:
        logger.warning("connection to %s ended: %s", endpoint, error)
        self._keep(endpoint, str(error))

    def _keep(self, endpoint: str, reason: str) -> None:
        self._failed.append(pb.FailedWay(endpoint=endpoint, reason=reason[:MAX_REASON]))
