"""The face of the Docker library: what it means that no answer comes, and which version is spoken."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import urllib3
from docker.constants import DEFAULT_DOCKER_API_VERSION

from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.endpoint import Endpoint
from taskmaster_desktop.backend.containers.refusals import EngineRefusal
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint, unreachable

URL = "unix:///fake.sock"


def wrapped(cause: BaseException) -> BaseException:
    """As it arrives: the system's error in urllib3's in that of requests in that of the library."""
    try:
        try:
            try:
                raise cause
            except BaseException as error:
                raise urllib3.exceptions.ProtocolError("Connection aborted.", error) from error
        except urllib3.exceptions.ProtocolError as error:
            raise requests.ConnectionError(error) from error
    except requests.ConnectionError as error:
        try:
            raise docker.errors.DockerException(
                f"Error while fetching server API version: {error}"
            ) from error
        except docker.errors.DockerException as outer:
            return outer


@pytest.mark.parametrize("wrap", [wrapped, lambda error: error, requests.ConnectionError])
@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "No Docker Engine answers at"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "No Docker Engine answers at"),
        (PermissionError(errno.EACCES, "Permission denied"), "This user may not use the Docker Engine at"),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "broke (Connection reset by peer)",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "broke (Broken pipe)"),
        (OSError(errno.ENOTCONN, "Not connected"), "broke (Not connected)"),
    ],
)
def test_an_error_of_the_system_in_words(
    wrap: Callable[[BaseException], BaseException], cause: OSError, sentence: str
) -> None:
    problem = unreachable(wrap(cause), URL)
    assert sentence in str(problem)
    assert URL in str(problem)
    assert problem.fix
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "error", [requests.ReadTimeout("read timed out"), requests.ConnectTimeout("no"), requests.Timeout()]
)
def test_a_silent_engine_in_words(error: BaseException) -> None:
    assert str(unreachable(error, URL)).startswith(f"The Docker Engine at {URL} does not answer.")


def test_what_has_no_error_of_the_system_is_passed_on() -> None:
    problem = unreachable(docker.errors.DockerException("odd answer"), URL)
    assert str(problem).startswith(f"The Docker Engine at {URL} cannot be used (odd answer).")


# === with sockets that are really absent, dead, silent
def test_no_socket_and_a_dead_socket_and_a_silent_one(tmp_path: Path) -> None:
    def problem_of(path: Path) -> str:
        api = DockerApi(Endpoint(url=f"unix://{path}", why="test"), limit_s=1)
        with contextlib.closing(api), pytest.raises(EnvironmentProblem) as caught:
            api.info()
        return str(caught.value)

    assert problem_of(tmp_path / "absent").startswith("No Docker Engine answers at")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        assert problem_of(tmp_path / "s").startswith("No Docker Engine answers at")
        bound.listen()
        assert "does not answer" in problem_of(tmp_path / "s")
    gc.collect()  # a socket that was left open is complained of here


# === with an engine of a few canned answers
class Canned:
    """Answers each request by its method and path without the version; what was asked is in `asked`."""

    def __init__(self, folder: Path, version: str) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"GET /version": (200, {"ApiVersion": version})}
        self.asked: list[str] = []
        self.url = f"unix://{folder}/engine"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{folder}/engine")
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, name="canned-engine")
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._answer(stream)

    def _answer(self, stream: Any) -> None:
        method, path, _ = stream.readline().decode().split()
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        stream.read(length)
        self.asked.append(f"{method} {path}")
        plain = path.partition("?")[0]
        plain = plain.partition("/v1.")[2].partition("/")[2] if plain.startswith("/v1.") else plain[1:]
        status, answer = self.answers.get(f"{method} /{plain}", (404, {"message": "No such thing"}))
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        stream.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        stream.flush()


@pytest.fixture
def canned(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canned]:
    made = Canned(tmp_path, getattr(request, "param", "1.41"))
    yield made
    made.close()


@pytest.fixture
def api(canned: Canned) -> Iterator[DockerApi]:
    made = DockerApi(Endpoint(url=canned.url, why="test"), limit_s=5)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("canned", "spoken"),
    [
        ("1.24", "1.24"),
        ("1.41", "1.41"),
        (DEFAULT_DOCKER_API_VERSION, DEFAULT_DOCKER_API_VERSION),
        ("1.99", DEFAULT_DOCKER_API_VERSION),
    ],
    indirect=["canned"],
)
def test_the_version_spoken_is_the_lower_of_both(canned: Canned, api: DockerApi, spoken: str) -> None:
    canned.answers["GET /info"] = (200, {"ID": "x"})
    assert api.info()["ID"] == "x"
    api.info()
    assert canned.asked == ["GET /version", f"GET /v{spoken}/info", f"GET /v{spoken}/info"]


def test_refusals_of_the_engine_are_told_apart(canned: Canned, api: DockerApi) -> None:
    canned.answers["POST /containers/c1/kill"] = (409, {"message": "Container c1 is not running"})
    canned.answers["POST /containers/c2/kill"] = (500, {"message": "device or resource busy\nand more"})
    with pytest.raises(Conflict, match="not running"):
        api.signal("c1", "SIGKILL")
    with pytest.raises(EngineRefusal, match=r"^The Docker Engine refused: device or resource busy\.$"):
        api.signal("c2", "SIGKILL")
    with pytest.raises(Absent, match="No such thing"):
        api.signal("c3", "SIGKILL")


def test_what_is_gone_already_is_fine_where_that_was_wanted(canned: Canned, api: DockerApi) -> None:
    canned.answers["DELETE /containers/busy"] = (409, {"message": "removal is already in progress"})
    api.remove("gone")
    api.remove("busy")
    api.remove_network("gone")
    assert (api.look("gone"), api.image("gone"), api.network("gone"), api.log("gone", tail=1)) == (
        None,
        None,
        None,
        b"",
    )


def test_a_failed_start_removes_what_was_created(canned: Canned, api: DockerApi) -> None:
    canned.answers["POST /containers/create"] = (201, {"Id": "c1", "Warnings": []})
    canned.answers["POST /containers/c1/attach"] = (500, {"message": "no room"})
    canned.answers["DELETE /containers/c1"] = (204, None)
    with pytest.raises(EngineRefusal, match="no room"):
        api.run("tm-1", {"Image": "x"}, b"secret")
    assert "DELETE /v1.41/containers/c1?v=True&link=False&force=True" in canned.asked


def test_settings_of_docker_that_cannot_be_read_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://localhost:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", "/no/such/folder")
    with pytest.raises(EnvironmentProblem, match="Docker settings of this user cannot be used"):
        find_endpoint(None)
    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    assert find_endpoint("unix:///mine").url == "unix:///mine"
