"""Reading the start-up bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from taskmaster_worker.secret import BundleError, parse_bundle, read_bundle

GOOD: dict[str, Any] = {
    "worker_id": "id-1",
    "name": "w1",
    "slots": 2,
    "endpoints": ["unix:/run/w.sock", "127.0.0.1:1234"],
    "server_name": "engine",
    "ca_pem": "CA",
    "cert_pem": "CERT",
    "key_pem": "KEY",
}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def test_a_whole_bundle(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], framed(json.dumps(GOOD | {"work_dir": "/w", "later": 1}).encode()))
    bundle = read_bundle(pipe[0], 5)
    assert (bundle.worker_id, bundle.name, bundle.slots) == ("id-1", "w1", 2)
    assert bundle.endpoints == ("unix:/run/w.sock", "127.0.0.1:1234")
    assert (bundle.ca_pem, bundle.cert_pem, bundle.key_pem) == (b"CA", b"CERT", b"KEY")
    assert (bundle.server_name, bundle.work_dir) == ("engine", "/w")
    assert "KEY" not in repr(bundle)


def test_work_dir_is_optional() -> None:
    assert parse_bundle(json.dumps(GOOD).encode()).work_dir is None
    assert parse_bundle(json.dumps(GOOD | {"work_dir": ""}).encode()).work_dir is None


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x09{}"])
def test_an_incomplete_bundle_is_not_waited_for_for_ever(pipe: tuple[int, int], sent: bytes) -> None:
    os.write(pipe[1], sent)
    with pytest.raises(BundleError, match="in time"):
        read_bundle(pipe[0], 0.05)


@pytest.mark.parametrize("length", [0, (1 << 20) + 1])
def test_absurd_lengths(pipe: tuple[int, int], length: int) -> None:
    os.write(pipe[1], length.to_bytes(4, "big"))
    with pytest.raises(BundleError, match=f"claims {length} bytes"):
        read_bundle(pipe[0], 5)


@pytest.mark.parametrize("text", [b"\xff", b"{", b"nul"])
def test_not_json(text: bytes) -> None:
    with pytest.raises(BundleError, match="not JSON"):
        parse_bundle(text)


def test_not_an_object() -> None:
    with pytest.raises(BundleError, match="not a JSON object"):
        parse_bundle(b"[]")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, bad) for name in GOOD if name not in ("slots", "endpoints") for bad in (None, "", 5)),
        *(("slots", bad) for bad in (None, 0, -1, 1025, "2", True, 1.5)),
        *(("endpoints", bad) for bad in (None, [], "x:1", [1], [""])),
        ("work_dir", 5),
    ],
)
def test_wrong_fields_are_named_without_their_value(name: str, value: object) -> None:
    with pytest.raises(BundleError, match=f"`{name}`") as caught:
        parse_bundle(json.dumps(GOOD | {name: value}).encode())
    assert "KEY" not in str(caught.value)
