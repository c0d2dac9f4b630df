"""Listens, serves the application on the engine's loop, and tells other programs of this user where.

Everything runs on the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from pathlib import Path

import uvicorn

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.http.application import build_application
from taskmaster_desktop.backend.http.caller import is_loopback
from taskmaster_desktop.backend.http.connection import Connection
from taskmaster_desktop.backend.http.guard import MAX_HEADER_BYTES, Guard, bracketed
from taskmaster_desktop.backend.http.options import HttpOptions
from taskmaster_desktop.backend.http.sse import Streams
from taskmaster_desktop.backend.http.token import load_token

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
KEEP_ALIVE_S = 30
STOP_LIMIT_S = 1.0
BACKLOG = 128
ADDRESS_FILE = "api.json"
HEADERS = [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")]


class HttpServer:
    """A service of the engine's: `start` and `stop`, each may come twice.

    Attributes:
        url: where it listens; empty while it does not. Written by the loop, read by all.
    """

    def __init__(self, api: BackendApi, options: HttpOptions) -> None:
        self.url = ""
        self._api = api
        self._options = options
        self._streams: Streams | None = None
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it answers.

        Raises EnvironmentProblem where the port is taken or a file cannot be used, UserError where it would be
        open beyond this machine without TLS.
        """
        if self._server is not None:
            return
        token = load_token(self._options.run_dir)
        listener = _listen(self._options)
        try:
            self._serve(listener, token)
            await self._until_started()
        except BaseException:
            listener.close()
            raise
        scheme = "http" if self._options.tls_cert is None else "https"
        self.url = f"{scheme}://{bracketed(self._options.host)}:{listener.getsockname()[1]}"
        self._tell(self.url)
        log.info("HTTP at %s", self.url)

    def _serve(self, listener: socket.socket, token: str) -> None:
        port = listener.getsockname()[1]
        application = build_application(self._api, self._options, port=port)
        self._streams = application.state.streams
        config = uvicorn.Config(
            Guard(application, self._options, port=port, token=token),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # whoever connects is who calls, whatever they say of others
            server_header=False,
            headers=HEADERS,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=3,
            ssl_certfile=self._options.tls_cert,
            ssl_keyfile=self._options.tls_key,
        )
        try:
            config.load()
        except OSError as error:  # errors of TLS are such
            raise EnvironmentProblem(
                f"The certificate {self._options.tls_cert} or its key cannot be used ({error.strerror}).",
                fix="Give a PEM certificate and its own key.",
            ) from error
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def _until_started(self) -> None:
        assert self._server is not None
        assert self._serving is not None
        while not self._server.started:
            if self._serving.done():
                self._server, serving = None, self._serving
                await serving
                raise EnvironmentProblem("The HTTP server ended as it began.", fix="See the log.")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Streams end, what is being answered has `STOP_LIMIT_S`, the rest is cut."""
        server, self._server = self._server, None
        serving, self._serving = self._serving, None
        if server is None or serving is None:
            return
        self.url = ""
        with contextlib.suppress(OSError):
            address_file(self._options.run_dir).unlink()
        if self._streams is not None:
            self._streams.close()
        server.should_exit = True
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await asyncio.shield(serving)
        except TimeoutError:
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await serving

    def _tell(self, url: str) -> None:
        """For the command line of the same user."""
        file = address_file(self._options.run_dir)
        draft = file.with_suffix(".new")
        told = {"url": url, "pid": os.getpid(), "instance": self._options.instance}
        try:
            draft.write_text(json.dumps(told) + "\n", encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            log.warning("%s cannot be written, so that others do not find this instance: %s", file, error)


def _listen(options: HttpOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # Named as TCP: only then asyncio sends small pieces at once, else each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        _check_reach(options, listener.getsockname()[0])
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(
            f"Nothing can listen for HTTP at {options.host}:{options.port} ({error.strerror}).",
            fix="Choose another port with --port, 0 for a free one, or switch it off with --no-api.",
        ) from error
    except UserError:
        listener.close()
        raise
    return listener


def _check_reach(options: HttpOptions, bound: str) -> None:
    """`bound` is what the host's name has become."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UserError("TLS for HTTP needs both, a certificate and its key.", field="api_tls_cert")
    if options.tls_cert is None and not is_loopback(bound):
        raise UserError(
            f"HTTP at {options.host} would be open to other machines, which needs TLS: "
            "give a certificate and its key, or listen at 127.0.0.1.",
            field="api_host",
        )


def address_file(run_dir: Path) -> Path:
    """Where a running instance says its address."""
    return run_dir / ADDRESS_FILE
