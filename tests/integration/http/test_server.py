"""The server itself: where it listens and says so, what it bears, and how it ends."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.http import connection, server
from taskmaster_desktop.backend.http.guard import MAX_HEADER_BYTES, MAX_JSON_BYTES
from taskmaster_desktop.backend.http.token import load_token
from tests.helpers.eventually import eventually
from tests.helpers.fake_engine import Authority
from tests.helpers.http_serving import Serving, serving

JSON = {"content-type": "application/json"}


def raw(server: Serving, sent: bytes) -> bytes:
    """All that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(sent)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


# === where
def test_it_says_where_it_listens_and_withdraws_that(tmp_path: Path) -> None:
    with serving(tmp_path) as started:
        told = json.loads(server.address_file(tmp_path / "run").read_text())
        assert told["url"] == f"http://127.0.0.1:{started.port}"
        assert started.get("/api/v1/version").status_code == 200
    assert not server.address_file(tmp_path / "run").exists()
    assert started.server.url == ""


def test_all_loopback_addresses_will_do(tmp_path: Path) -> None:
    for number, host in enumerate(("127.0.0.1", "localhost", "::1", "127.0.0.5")):
        with serving(tmp_path / str(number), host=host) as started:
            assert started.get("/api/v1/version").status_code == 200


def test_a_taken_port_is_said_with_the_fix(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"{port}.*--port"), serving(tmp_path, port=port):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_served_without_tls(tmp_path: Path, host: str) -> None:
    with pytest.raises(UserError, match="TLS") as refused, serving(tmp_path, host=host):
        pass
    assert refused.value.field == "api_host"


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="key"), serving(tmp_path, tls_cert=tmp_path / "cert"):
        pass


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no certificate")
    (tmp_path / "key").write_text("no key")
    for cert in ("cert", "missing"):
        with (
            pytest.raises(EnvironmentProblem, match="certificate"),
            serving(tmp_path, tls_cert=tmp_path / cert, tls_key=tmp_path / "key"),
        ):
            pass


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Path]:
    identity = Authority().issue("localhost")
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    files["tls_cert"].write_bytes(identity.cert)
    files["tls_key"].write_bytes(identity.key)
    return files


def test_with_tls_it_serves_other_machines_and_wants_the_token(
    tmp_path: Path, certificate: dict[str, Path]
) -> None:
    with serving(tmp_path, host="0.0.0.0", **certificate) as started:
        assert started.server.url == f"https://0.0.0.0:{started.port}"
        local = f"https://127.0.0.1:{started.port}/api/v1/version"
        assert started.client.get(local).status_code == 200  # of the same user, over the loopback
        outside = _own_address()
        far = f"https://{outside}:{started.port}/api/v1/version"
        assert started.client.get(far).status_code == 401
        bearer = {"authorization": f"Bearer {started.token}"}
        assert started.client.get(far, headers=bearer).status_code == 200
        evil = bearer | {"host": f"evil.example:{started.port}"}
        assert started.client.get(far, headers=evil).status_code == 421


def _own_address() -> str:
    """Of this machine, as others would call it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beside the loopback")
        address = probe.getsockname()[0]
    assert isinstance(address, str)
    return address


# === callers
def test_the_verdict_belongs_to_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def count(found: object) -> object:
        asked.append(found)
        return real(found)

    real = connection.caller_of
    monkeypatch.setattr(connection, "caller_of", count)
    with serving(tmp_path) as started:
        for _ in range(3):
            assert started.get("/api/v1/version").status_code == 200
        assert len(asked) == 1
        headers = {"connection": "close"}
        assert started.get("/api/v1/version", headers=headers).status_code == 200
        assert started.get("/api/v1/version").status_code == 200
        assert len(asked) == 2


def test_what_a_proxy_says_of_the_caller_counts_for_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, trust_same_user=False) as started:
        headers = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "forwarded": "for=127.0.0.1"}
        assert started.get("/api/v1/version", headers=headers).status_code == 401


def test_the_token_survives_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as started:
        token = started.token
    with serving(tmp_path, trust_same_user=False) as started:
        bearer = {"authorization": f"Bearer {token}"}
        assert started.get("/api/v1/version", headers=bearer).status_code == 200
        assert load_token(tmp_path / "run") == token


# === what it bears
def test_a_body_without_a_length_is_bounded(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"command":"'
        for _ in range(3 * MAX_JSON_BYTES // 65536):
            yield b"x" * 65536

    with serving(tmp_path) as started:
        answer = started.client.post("/api/schedule/batch", content=endless(), headers=JSON)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        whole = started.client.post("/api/schedule/batch", content=bytes(MAX_JSON_BYTES + 1), headers=JSON)
        assert whole.status_code == 413
        assert started.running.engine.totals.tasks == 0


@pytest.mark.expects_logs
def test_a_head_is_bounded(tmp_path: Path) -> None:
    with serving(tmp_path) as started:
        long = {"x-long": "x" * MAX_HEADER_BYTES}
        assert started.get("/api/v1/version", headers=long).status_code == 431
        assert b" 400 " in raw(started, b"no http at all\r\n\r\n")


def test_who_does_not_say_what_they_want_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_LIMIT_S", 0.2)
    with serving(tmp_path) as started:
        assert raw(started, b"") == b""
        assert raw(started, b"GET / HTTP/1.1\r\nHost: ") == b""
        assert started.get("/api/v1/version").status_code == 200


@pytest.mark.expects_logs
def test_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    with serving(tmp_path) as started:
        idle = [socket.create_connection(("127.0.0.1", started.port)) for _ in range(4)]
        eventually(lambda: started.get("/api/v1/version").status_code == 503)
        idle += [socket.create_connection(("127.0.0.1", started.port)) for _ in range(8)]
        idle[-1].settimeout(20)
        assert _is_closed(idle[-1])
        for each in idle:
            each.close()
        eventually(lambda: started.get("/api/v1/version").status_code == 200)


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_web_socket_is_no_way_in(tmp_path: Path) -> None:
    head = (
        "GET /api/logs/stream HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: https://evil.example\r\n\r\n"
    )
    with serving(tmp_path) as started:
        assert raw(started, head.format(started.port).encode()).startswith(b"HTTP/1.1 403 ")


def test_answers_say_nothing_to_other_pages(tmp_path: Path) -> None:
    with serving(tmp_path) as started:
        for origin in ("http://localhost:5173", f"http://127.0.0.1:{started.port}"):
            answer = started.get("/api/stats", headers={"origin": origin})
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "server" not in answer.headers


# === how it ends
def test_it_may_be_stopped_twice_and_cuts_who_does_not_read(tmp_path: Path) -> None:
    with serving(tmp_path) as started, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", started.port))
        stalled.sendall(f"GET /api/logs/stream HTTP/1.1\r\nHost: 127.0.0.1:{started.port}\r\n\r\n".encode())
        streams = started.server._streams
        assert streams is not None
        eventually(lambda: len(streams) == 1)
        for _ in range(20):
            started.post("/api/schedule/batch", {"command": "x" * 60 + "é" * 20, "count": 1000})
        begun = datetime.datetime.now(datetime.UTC)
        started.running.engine.stop(grace_s=0)
        assert datetime.datetime.now(datetime.UTC) - begun < datetime.timedelta(seconds=10)
        assert len(streams) == 0


def test_tls_clients_are_judged_too(tmp_path: Path, certificate: dict[str, Path]) -> None:
    with serving(tmp_path, **certificate) as started:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        answer = httpx.get(f"{started.server.url}/api/v1/version", verify=context)
        assert answer.status_code == 200
        plain = f"http://127.0.0.1:{started.port}/api/v1/version"
        with pytest.raises(httpx.HTTPError):
            httpx.get(plain)
