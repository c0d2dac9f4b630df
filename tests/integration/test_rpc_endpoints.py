"""Where the door for workers listens."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.backend.ports import WorkerSecret
from taskmaster_desktop.backend.rpc.server import GrpcDoor
from tests.helpers.rpc_peer import (
    RecordingHandler,
    connected,
    greeted,
)
from tests.helpers.worker_records import worker_record

expects_logs = pytest.mark.expects_logs


@pytest.fixture
def handler() -> RecordingHandler:
    return RecordingHandler()


@pytest.fixture
async def door(tmp_path: Path, handler: RecordingHandler) -> AsyncIterator[GrpcDoor]:
    door = GrpcDoor(tmp_path, "abc", hello_limit_s=0.3)
    await door.start(handler)
    yield door
    await door.close()


@pytest.fixture
def secret(door: GrpcDoor) -> WorkerSecret:
    return door.secret_for(worker_record("w-1"))


# ------------------------------------------------------------ endpoints
async def test_modes_of_socket_and_folders(door: GrpcDoor, tmp_path: Path) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(tmp_path / "run") == 0o700
    assert mode(door.socket_folder) == 0o711
    assert mode(door.socket_folder / "worker.sock") == 0o666
    assert mode(tmp_path / "tls") == 0o700
    assert {mode(path) for path in (tmp_path / "tls").iterdir()} == {0o600}


async def test_a_restarted_engine_is_found_at_the_same_endpoints(
    tmp_path: Path, handler: RecordingHandler
) -> None:
    first = GrpcDoor(tmp_path, "abc")
    await first.start(handler)
    secret = first.secret_for(worker_record("w-1"))
    await first.close()
    (tmp_path / "run/rpc/worker.sock").write_bytes(b"left behind")
    second = GrpcDoor(tmp_path, "abc")
    await second.start(handler)
    try:
        assert second.endpoints == secret.endpoints
        for endpoint in secret.endpoints:
            async with connected(secret, endpoint=endpoint) as call:
                assert (await greeted(call, "w-1")).HasField("welcome")
    finally:
        await second.close()
    assert not (tmp_path / "run/rpc/worker.sock").exists()


async def test_a_port_in_use_is_left_to_its_owner(tmp_path: Path, handler: RecordingHandler) -> None:
    first, second = GrpcDoor(tmp_path / "1", "abc"), GrpcDoor(tmp_path / "2", "xyz")
    await first.start(handler)
    port = (tmp_path / "1/run/port").read_text()
    (tmp_path / "2/run").mkdir(parents=True)
    (tmp_path / "2/run/port").write_text(port)
    await second.start(handler)
    try:
        assert second.endpoints[1] != first.endpoints[1]
        assert (tmp_path / "2/run/port").read_text() != port
    finally:
        await first.close()
        await second.close()


async def test_nothing_listens_beyond_the_loopback(door: GrpcDoor) -> None:
    host, _, port = door.endpoints[1].partition(":")
    assert host == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", int(port)), timeout=1):
        pass


@expects_logs
async def test_a_path_too_long_for_a_socket_leaves_the_loopback(
    tmp_path: Path, handler: RecordingHandler, caplog: pytest.LogCaptureFixture
) -> None:
    door = GrpcDoor(tmp_path / ("d" * 100), "abc")
    await door.start(handler)
    try:
        (endpoint,) = door.endpoints
        assert endpoint.startswith("127.0.0.1:")
        assert "too long for a Unix socket" in caplog.text
        async with connected(door.secret_for(worker_record("w-1"))) as call:
            assert (await greeted(call, "w-1")).HasField("welcome")
    finally:
        await door.close()


async def test_a_folder_with_odd_characters_works(handler: RecordingHandler, tmp_path: Path) -> None:
    door = GrpcDoor(tmp_path / "ä b%20#?", "abc")
    await door.start(handler)
    try:
        async with connected(door.secret_for(worker_record("w-1"))) as call:
            assert (await greeted(call, "w-1")).HasField("welcome")
    finally:
        await door.close()


async def test_start_and_close_may_come_twice_and_in_any_order(
    tmp_path: Path, handler: RecordingHandler
) -> None:
    door = GrpcDoor(tmp_path, "abc")
    await door.close()
    with pytest.raises(RuntimeError, match="not open"):
        door.secret_for(worker_record())
    await door.start(handler)
    await door.start(handler)
    await door.close()
    await door.close()
    await door.start(handler)
    await door.close()


@expects_logs
async def test_no_endpoint_at_all_is_said_with_its_fix(
    tmp_path: Path,
    handler: RecordingHandler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def taken(*_: object) -> int:
        raise RuntimeError("Failed to bind to address")

    monkeypatch.setattr("grpc.aio._server.Server.add_secure_port", taken)
    door = GrpcDoor(tmp_path, "abc")
    with pytest.raises(EnvironmentProblem, match="--data-dir"):
        await door.start(handler)
    assert "No Unix socket" in caplog.text
    assert "No port of the loopback" in caplog.text
    await door.close()


@expects_logs
async def test_a_folder_that_is_no_folder_leaves_the_loopback(
    tmp_path: Path, handler: RecordingHandler
) -> None:
    (tmp_path / "run").write_text("a file")
    door = GrpcDoor(tmp_path, "abc")
    await door.start(handler)
    try:
        (endpoint,) = door.endpoints
        assert endpoint.startswith("127.0.0.1:")
    finally:
        await door.close()


@pytest.mark.parametrize("kept", ["", "x", "0", "80", "65536", "-1"])
async def test_a_kept_port_that_makes_no_sense_is_ignored(
    kept: str, tmp_path: Path, handler: RecordingHandler
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/port").write_text(kept)
    door = GrpcDoor(tmp_path, "abc")
    await door.start(handler)
    await door.close()
    assert int((tmp_path / "run/port").read_text()) > 1024
