"""The result of one check."""

from __future__ import annotations

from typing import Literal, NamedTuple

from taskmaster_desktop.backend.errors import EnvironmentProblem


class Finding(NamedTuple):
    """`text` says what is so, `fix` how to mend it (empty where nothing needs mending)."""

    name: str
    status: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def ok(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


def warn(name: str, text: str, fix: str) -> Finding:
    return Finding(name, "warn", text, fix)


def fail(name: str, text: str, fix: str) -> Finding:
    return Finding(name, "fail", text, fix)


def problem(name: str, status: Literal["warn", "fail"], found: EnvironmentProblem) -> Finding:
    """What an error for people says, cause and fix apart."""
    return Finding(name, status, str(found).removesuffix(found.fix).strip(), found.fix)
