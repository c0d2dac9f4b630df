"""Every operation is called with what its description allows, and with what it does not: the answer is always one
that is described, and never a fault of ours. The calls are the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.fleet.process import ProcessRuntime
from tests.helpers.http_serving import Serving, serving
from tests.helpers.http_v1 import act, described, submit

ENDLESS = ["follow_events", "follow_output"]
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip


@schemathesis.serializer("application/x-ndjson")
def as_lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


schema = schemathesis.openapi.from_dict(described()).exclude(operation_id=ENDLESS)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """With a few tasks that are over, and a fleet that never comes: fifty processes would take a while."""

    async def refuse(*_: object) -> str:
        raise EnvironmentProblem("No worker starts here.", fix="It is meant so.")

    monkeypatch.setattr(ProcessRuntime, "launch", refuse)
    with serving(tmp_path) as started:
        submit(started, command="noop", count=3, tags=["a"])
        act(started, "cancel", filter={})
        yield started


@schema.parametrize()
@settings(
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_operation_can_be_broken(case: schemathesis.Case, server: Serving) -> None:
    case.call_and_validate(base_url=server.server.url, checks=CHECKS)
