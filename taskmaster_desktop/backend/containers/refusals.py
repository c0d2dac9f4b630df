"""What an engine says when an image cannot be had, as one sentence with its remedy. Pure.

The words are those of Docker Engine 20.10 to 29 and of the registries behind it; they have no codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from taskmaster_desktop.backend.errors import EnvironmentProblem


class EngineRefusal(EnvironmentProblem):
    """The engine answered, and the answer was no.

    Attributes:
        words: what it said.
    """

    def __init__(self, words: str) -> None:
        super().__init__(f"The Docker Engine refused: {words.strip().rstrip('.')}.", fix="")
        self.words = words


class _Case(NamedTuple):
    """Which words mean what; `{name}` stands for the image, `{found}` for the pattern's first group."""

    pattern: re.Pattern[str]
    message: str
    fix: str


def _case(pattern: str, message: str, fix: str) -> _Case:
    return _Case(re.compile(pattern, re.IGNORECASE), message, fix)


# The first that fits counts.
_PULL = (
    _case(
        r"no space left on device",
        "There is no room on the engine's disk for the image {name}.",
        "Free some there, for example by removing images that nobody uses.",
    ),
    _case(
        r"no match(?:ing manifest)? for (?:platform in manifest: )?([a-z0-9]+/[a-z0-9/]+)",
        "The image {name} is not made for this engine's platform, {found}.",
        "Name an image that is, or use an engine on another machine.",
    ),
    _case(
        r"no matching manifest|no match for platform|does not match the specified platform"
        r"|operating system .* cannot be used on this platform",
        "The image {name} is not made for this engine's platform.",
        "Name an image that is, or use an engine on another machine.",
    ),
    _case(
        r"toomanyrequests|too many requests|rate limit",
        "The registry of {name} allows no more pulls from here for now.",
        "Try again later, or raise the limit with docker login.",
    ),
    _case(
        r"invalid reference format|invalid repository name|must be lowercase|invalid tag format"
        r"|invalid checksum digest",
        "{name} is not a valid name of an image.",
        "Write it as NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case.",
    ),
    _case(
        r"x509|certificate|server gave HTTP response to HTTPS client",
        "The engine does not trust the registry of {name}.",
        "Let the engine know the registry's certificate, or load the image by hand with docker load.",
    ),
    _case(
        r"no such host|dial (?:tcp|udp)|timeout|connection refused|connection reset|network is unreachable"
        r"|no route to host|server misbehaving|name resolution|request canceled|deadline exceeded|proxyconnect"
        r"|\bEOF\b|broken pipe|service unavailable|bad gateway",
        "The registry of {name} cannot be reached from the engine.",
        "Check the engine's network and proxy, or load the image by hand with docker load.",
    ),
    _case(
        r"unauthorized|no basic auth credentials|authentication required|incorrect username or password",
        "The registry of {name} wants a login.",
        "Run docker login for it as the user of this program, and check the name: some registries answer the same "
        "for an image that does not exist.",
    ),
    _case(
        r"manifest unknown|manifest for .* not found",
        "There is no image {name}: its registry does not know this tag or digest.",
        "Check what stands behind the name.",
    ),
    _case(
        r"repository does not exist|pull access denied|name unknown|denied|forbidden|not found|no such image",
        "There is no image {name}, or its registry does not show it to you.",
        "Check the name; for a private image run docker login first, as the user of this program.",
    ),
)

_BUILD = (
    _case(
        r"no space left on device",
        "There is no room on the engine's disk to build the worker image.",
        "Free some there, for example by removing images that nobody uses.",
    ),
    _case(
        r"python3: (?:command )?not found|ensurepip is not|No module named '?venv",
        "The worker image cannot be built on {name}, which has no Python with its venv module.",
        "Use a base image that has both in version 3.11 or newer, such as python:3.11-slim-bookworm.",
    ),
    _case(
        r"do not match the hashes|hashes are required",
        "The worker image was not built: a wheel is not the one that its requirements.txt names.",
        "Download the wheels again, from a source you trust.",
    ),
)
_NO_WHEEL = re.compile(
    r"No matching distribution|Could not find a version|Failed to establish|CERTIFICATE_VERIFY_FAILED"
)


def error_in(line: Mapping[str, Any]) -> str | None:
    """The engine's words if this line of a stream tells of an error."""
    detail = line.get("errorDetail")
    words = detail.get("message") if isinstance(detail, Mapping) else None
    words = words or line.get("error")
    return str(words) if words else None


def pull_problem(name: str, words: str) -> EnvironmentProblem:
    """Why the image `name` could not be pulled."""
    return _match(_PULL, name, words) or EnvironmentProblem(
        f"The image {name} could not be pulled: {words.strip().rstrip('.')}.",
        fix="Check that docker pull works with it.",
    )


def build_problem(
    base: str, step: str, output: Sequence[str], words: str, *, offline: bool
) -> EnvironmentProblem:
    """Why the worker image could not be built.

    Args:
        base: name of the base image.
        step: the instruction that failed, empty if none was reached.
        output: the last lines it printed, without line ends.
        words: what the engine said.
        offline: whether the wheels came from a folder.
    """
    text = "\n".join([*output, words])
    known = _match(_BUILD, base, text)
    if known is not None:
        return known
    if _NO_WHEEL.search(text):
        return _no_wheel(base, offline)
    errors = [line for line in output if "error" in line.lower()]
    reason = (errors or list(output) or [words])[-1].strip().rstrip(".")
    place = f" at `{step}`" if step else ""
    return EnvironmentProblem(
        f"The worker image could not be built{place}: {reason}.", fix="The log has all that the engine said."
    )


def _no_wheel(base: str, offline: bool) -> EnvironmentProblem:
    if offline:
        return EnvironmentProblem(
            f"The worker image was not built: the wheels given do not fit the Python or the platform of {base}.",
            fix="Download them for that one.",
        )
    return EnvironmentProblem(
        "The worker image was not built: its packages cannot be downloaded from inside the engine.",
        fix="Check the engine's network and proxy, or give a folder of wheels.",
    )


def _match(cases: tuple[_Case, ...], name: str, words: str) -> EnvironmentProblem | None:
    for case in cases:
        match = case.pattern.search(words)
        if match is not None:
            found = match[1] if match.re.groups else ""
            return EnvironmentProblem(case.message.format(name=name, found=found), fix=case.fix)
    return None
