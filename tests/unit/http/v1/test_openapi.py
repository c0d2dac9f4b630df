"""The description of the API is complete: whoever reads nothing else can use it."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from tests.helpers.http_v1 import described

OPERATIONS = {
    "cancel_tasks", "discard_tasks", "download_output", "follow_events", "follow_output", "kill_worker",
    "list_attempts", "list_batches", "list_tasks", "list_workers", "read_activity", "read_metrics", "read_output",
    "read_worker_log", "retry_tasks", "set_fleet", "set_queue", "show_batch", "show_fleet", "show_health",
    "show_queue", "show_stats", "show_task", "show_version", "show_worker", "stop_worker", "submit_batch",
    "wait_batch",
}  # fmt: skip


SCHEMA = described()
ALL = [
    pytest.param(operation, id=operation["operationId"])
    for path in SCHEMA["paths"].values()
    for operation in path.values()
]


def schema_of(content: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = content["schema"]
    if "$ref" in schema:
        schema = SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def examples_of(content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [one["value"] for one in content["examples"].values()]
    return list(schema_of(content).get("examples", []))


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**schema, "components": SCHEMA["components"]})


def check_examples(kind: str, content: dict[str, Any]) -> None:
    examples = examples_of(content)
    assert examples, "an example says more than a schema"
    if kind == "application/json":
        for one in examples:
            validator(content["schema"]).validate(one)


def test_operation_ids_are_stable() -> None:
    """Programs are made from them: a new name is a new operation."""
    assert {operation.values[0]["operationId"] for operation in ALL} == OPERATIONS


@pytest.mark.parametrize("operation", ALL)
def test_every_operation_is_described(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert len(operation["description"]) > 10
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]


@pytest.mark.parametrize("operation", ALL)
def test_every_answer_has_an_example(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        assert answer["description"], status
        assert answer["content"]
        for kind, content in answer["content"].items():
            if status == "default":
                assert kind == "application/problem+json"
            check_examples(kind, content)


@pytest.mark.parametrize("operation", ALL)
def test_every_body_has_an_example(operation: dict[str, Any]) -> None:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        check_examples(kind, content)


@pytest.mark.parametrize("operation", ALL)
def test_no_status_is_promised_that_never_comes(operation: dict[str, Any]) -> None:
    assert "422" not in operation["responses"]


def test_all_that_is_referred_to_is_there() -> None:
    def references(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    names = {reference.removeprefix("#/components/schemas/") for reference in references(SCHEMA)}
    assert names
    assert names <= set(SCHEMA["components"]["schemas"])


def test_schemas_are_valid() -> None:
    for schema in SCHEMA["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
        validator(schema)


def test_it_is_the_version_that_programs_read() -> None:
    assert SCHEMA["openapi"].startswith("3.1")
    assert SCHEMA["info"]["title"] == "TaskMaster Desktop"
    assert SCHEMA["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
