"""What engines and registries say, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_desktop.backend.containers.refusals import (
    EngineRefusal,
    build_problem,
    error_in,
    pull_problem,
)

HUB = "https://registry.example/v2/"
BASE = "python:3.11-slim-bookworm"

MISSING = "There is no image acme/x:1, or its registry does not show it to you."
NO_TAG = "There is no image acme/x:1: its registry does not know this tag or digest."
UNREACHABLE = "The registry of acme/x:1 cannot be reached from the engine."
LOGIN = "The registry of acme/x:1 wants a login."
UNTRUSTED = "The engine does not trust the registry of acme/x:1."
PLATFORM = "The image acme/x:1 is not made for this engine's platform"
BAD_NAME = "acme/x:1 is not a valid name of an image."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("pull access denied for acme/x, repository does not exist or may require 'docker login': denied: "
            "requested access to the resource is denied"),
            MISSING,
        ),
        (f'Head "{HUB}acme/x/manifests/1": denied: denied', MISSING),
        (f'error from registry: Head "{HUB}acme/x/manifests/1": denied', MISSING),
        ("failed to resolve reference \"registry.example/acme/x:1\": registry.example/acme/x:1: not found", MISSING),
        ("name unknown: The repository with name 'x' does not exist in the registry", MISSING),
        ("manifest for acme/x:1 not found: manifest unknown: manifest unknown", NO_TAG),
        ("manifest unknown", NO_TAG),
        (f"Get {HUB}: dial tcp: lookup registry.example on 10.0.0.2:53: no such host", UNREACHABLE),
        (f"Get {HUB}: dial tcp 10.1.2.3:443: connect: connection refused", UNREACHABLE),
        (f"Get {HUB}: dial tcp 10.1.2.3:443: i/o timeout", UNREACHABLE),
        (f"Get {HUB}: dial tcp 10.1.2.3:443: connect: no route to host", UNREACHABLE),
        ((f'Get "{HUB}": net/http: request canceled while waiting for connection (Client.Timeout exceeded while '
         "awaiting headers)"), UNREACHABLE),
        (f'Get "{HUB}": net/http: TLS handshake timeout', UNREACHABLE),
        (f'Get "{HUB}": proxyconnect tcp: dial tcp: lookup proxy: Temporary failure in name resolution', UNREACHABLE),
        (f'Get "{HUB}": context deadline exceeded', UNREACHABLE),
        ("unexpected EOF", UNREACHABLE),
        ("received unexpected HTTP status: 503 Service Unavailable", UNREACHABLE),
        (f'Get "{HUB}acme/x/manifests/1": unauthorized: authentication required', LOGIN),
        (f'Head "{HUB}acme/x/manifests/1": no basic auth credentials', LOGIN),
        (f'Get "{HUB}": unauthorized: incorrect username or password', LOGIN),
        (f'Get "{HUB}": x509: certificate signed by unknown authority', UNTRUSTED),
        (f'Get "{HUB}": tls: failed to verify certificate: x509: certificate has expired', UNTRUSTED),
        (f'Get "{HUB}": http: server gave HTTP response to HTTPS client', UNTRUSTED),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", f"{PLATFORM}, linux/arm64/v8."),
        ("no match for platform in manifest: linux/s390x: not found", f"{PLATFORM}, linux/s390x."),
        ("no match for platform in manifest: not found", f"{PLATFORM}."),
        (("image with reference acme/x:1 was found but does not match the specified platform: wanted linux/amd64, "
         "actual: linux/arm64"), f"{PLATFORM}."),
        ('image operating system "windows" cannot be used on this platform', f"{PLATFORM}."),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.",
         "The registry of acme/x:1 allows no more pulls from here for now."),
        (("failed to register layer: Error processing tar file(exit status 1): write /usr/lib/x: no space left on "
         "device"), "There is no room on the engine's disk for the image acme/x:1."),
        ("invalid reference format", BAD_NAME),
        ("invalid reference format: repository name must be lowercase", BAD_NAME),
        ("something new.\n", "The image acme/x:1 could not be pulled: something new."),
    ],
)  # fmt: skip
def test_pull_problems(words: str, sentence: str) -> None:
    problem = pull_problem("acme/x:1", words)
    assert str(problem) == f"{sentence} {problem.fix}"
    assert problem.fix.endswith(".")


PIP = "RUN python3 -m venv /build/venv && ..."


@pytest.mark.parametrize(
    ("output", "offline", "start", "fix"),
    [
        (
            ["WARNING: Retrying ...: Failed to establish a new connection: [Errno -3] Temporary failure",
             "ERROR: No matching distribution found for grpcio==1.85.1"],
            False, "The worker image was not built: its packages cannot be downloaded",
            "Check the engine's network and proxy, or give a folder of wheels.",
        ),
        (
            ["ERROR: No matching distribution found for grpcio==1.85.1"],
            True, f"The worker image was not built: the wheels given do not fit the Python or the platform of {BASE}.",
            "Download them for that one.",
        ),
        (["/bin/sh: 1: python3: not found"], False, f"The worker image cannot be built on {BASE},", None),
        (
            ["The virtual environment was not created successfully because ensurepip is not", "available."],
            False, f"The worker image cannot be built on {BASE}, which has no Python with its venv module.", None,
        ),
        (
            ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."],
            True, "The worker image was not built: a wheel is not the one", None,
        ),
        (["OSError: [Errno 28] No space left on device"], False, "There is no room on the engine's disk", None),
        (
            ["one", "The shared library libx.so.1 is missing in the base image."],
            False, f"The worker image could not be built at `{PIP}`: The shared library libx.so.1 is missing",
            "The log has all that the engine said.",
        ),
        (["ERROR: bad thing.", "see above"], False, f"The worker image could not be built at `{PIP}`: ERROR: bad thing.",
         None),
        ([], False, f"The worker image could not be built at `{PIP}`: The command '/bin/sh -c", None),
    ],
)  # fmt: skip
def test_build_problems(output: list[str], offline: bool, start: str, fix: str | None) -> None:
    words = "The command '/bin/sh -c python3 -m venv /build/venv' returned a non-zero code: 1"
    problem = build_problem(BASE, PIP, output, words, offline=offline)
    assert str(problem).startswith(start)
    assert fix in (None, problem.fix)
    assert str(problem).endswith(".")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"stream": "error: no such thing\n"}, None),
        ({"status": "Pulling fs layer", "id": "a"}, None),
        ({"errorDetail": {"code": 1, "message": "long"}, "error": "short"}, "long"),
        ({"error": "short"}, "short"),
        ({"errorDetail": {}, "error": "short"}, "short"),
    ],
)
def test_errors_in_streams(line: dict[str, Any], words: str | None) -> None:
    assert error_in(line) == words


def test_refusal_is_a_sentence() -> None:
    assert str(EngineRefusal("conflict: in use.")) == "The Docker Engine refused: conflict: in use."
