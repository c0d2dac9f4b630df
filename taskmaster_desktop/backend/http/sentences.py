"""What a check of types found, as one sentence that names the field and what may stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, get_args

import annotated_types
from fastapi.routing import APIRoute

from taskmaster_desktop.backend.errors import UserError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_NO_OBJECT = {"model_type", "model_attributes_type", "dict_type", "dataclass_type"}


def first_mistake(errors: Sequence[Mapping[str, Any]], route: object = None) -> UserError:
    """The first of the errors that pydantic found.

    `route` is whose parameters were checked; it tells the range of the one at fault.
    """
    error = errors[0]
    kind = error["type"]
    where, *path = error["loc"] or ("body",)
    if where == "body" or not path:
        return _of_body(error, kind, path if where == "body" else [where, *path])
    name = str(path[0])
    if kind == "missing":
        return UserError(f"{name} is missing.", field=name)
    return UserError(f"{name} must be {_allowed(route, name) or 'something else'}.", field=name)


def _of_body(error: Mapping[str, Any], kind: str, path: Sequence[Any]) -> UserError:
    if kind == "json_invalid":
        return UserError(f"The body is not valid JSON: {error['ctx']['error']}.")
    names = [str(part) for part in path]
    if not names:
        return UserError(
            "A JSON body is missing." if kind == "missing" else "The body must be a JSON object."
        )
    field = ".".join(names)
    if kind == "missing":
        return UserError(f"{field} is missing.", field=field)
    if kind == "extra_forbidden":
        return UserError(f"There is no field {field} here.", field=field)
    if kind in _NO_OBJECT:
        return UserError(f"{field} must be an object.", field=field)
    return UserError(f"{field} is not valid: {error['msg']}.", field=field)


def _allowed(route: object, name: str) -> str | None:
    """What a parameter of the route may be, by its declaration."""
    if not isinstance(route, APIRoute):
        return None
    dependant = route.dependant
    for field in (*dependant.query_params, *dependant.path_params, *dependant.header_params):
        if field.alias == name:
            kind = _kind(field.field_info.annotation)
            return f"{kind}{_range(field.field_info.metadata)}" if kind is not None else None
    return None


def _kind(annotation: Any) -> str | None:
    if annotation in _KINDS:
        return _KINDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member) for member in annotation)
    return next(filter(None, map(_kind, get_args(annotation))), None)


def _range(metadata: Sequence[Any]) -> str:
    least = next((one.ge for one in metadata if isinstance(one, annotated_types.Ge)), None)
    most = next((one.le for one in metadata if isinstance(one, annotated_types.Le)), None)
    return "" if least is None or most is None else f" from {least:,} to {most:,}"
