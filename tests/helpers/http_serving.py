"""A real engine with its real HTTP server, and clients of this and of another user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskmaster_desktop.backend.http.options import HttpOptions
from taskmaster_desktop.backend.http.server import HttpServer
from taskmaster_desktop.backend.http.token import load_token
from tests.helpers.engines import LIMIT_S, Running, running_engine

NOBODY = 65_534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")

# What another user runs. They may not read the interpreter's own files, so it is loaded first.
BECOME_NOBODY = f"""
import encodings.idna, http.client, json, os, socket, sys
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
"""
_STRANGER = """
port, requests = json.load(sys.stdin)
answers = []
for method, target, headers, body in requests:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, target, body=body, headers=headers)
    answer = connection.getresponse()
    answers.append(answer.status)
    connection.close()
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it goes over the wire; only the status of the answer is looked at."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str | None = None


@dataclass(slots=True)
class Serving:
    """A started engine with its HTTP server, and a client of the same user."""

    running: Running
    server: HttpServer
    options: HttpOptions
    client: httpx.Client

    @property
    def port(self) -> int:
        port = httpx.URL(self.server.url).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return load_token(self.options.run_dir)

    def get(self, target: str, **more: Any) -> httpx.Response:
        return self.client.get(target, **more)

    def post(self, target: str, body: object, **more: Any) -> httpx.Response:
        return self.client.post(target, json=body, **more)

    def statuses(self, requests: Sequence[Request]) -> list[int]:
        """As this user; a stream is left as soon as it has begun."""
        answers = []
        for request in requests:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
            connection.request(request.method, request.target, request.body, dict(request.headers))
            answers.append(connection.getresponse().status)
            connection.close()
        return answers

    def statuses_as_stranger(self, requests: Sequence[Request]) -> list[int]:
        """As another user of this machine, from a process of theirs. Needs root."""
        wanted = [(r.method, r.target, dict(r.headers), r.body) for r in requests]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", BECOME_NOBODY + _STRANGER],
            input=json.dumps([self.port, wanted]).encode(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        answers = json.loads(done.stdout)
        assert isinstance(answers, list)
        return answers


@contextmanager
def serving(folder: Path, *, workers: int = 0, slots: int = 1, **options: Any) -> Iterator[Serving]:
    """An engine on `folder` that answers HTTP at a free port; `options` are those of `HttpOptions`."""
    with running_engine(folder, workers=workers, slots=slots) as running:
        chosen = HttpOptions(**{"run_dir": folder / "run", "instance": "test", "port": 0, **options})
        server = HttpServer(running.engine, chosen)
        running.engine.host(server)
        with httpx.Client(base_url=server.url, timeout=LIMIT_S, trust_env=False, verify=False) as client:
            yield Serving(running, server, chosen, client)
