"""Why a way failed, in the system's own words."""

from __future__ import annotations

import grpc
import pytest

from taskmaster_worker.ways import FailedWays

ALL_FAILED = "failed to connect to all addresses; last error:"


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (
            f"{ALL_FAILED} UNKNOWN: ipv4:127.0.0.1:1: Failed to connect: Connection refused",
            "Connection refused",
        ),
        (f"{ALL_FAILED} FAILED: unix:/a: connect failed: error: Permission denied", "Permission denied"),
        ("errors resolving a.invalid:4: [field:x error:y: Domain name not found]", "Domain name not found"),
        ("", "UNAVAILABLE"),
    ],
)
@pytest.mark.expects_logs
def test_the_reason_is_the_innermost_one(details: str, reason: str) -> None:
    ways = FailedWays()
    nothing = grpc.aio.Metadata()
    ways.broken("unix:/a", grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details))
    (failed,) = ways.told()
    assert (failed.endpoint, failed.reason) == ("unix:/a", reason)
    ways.forget()
    assert ways.told() == []
