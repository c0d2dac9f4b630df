"""Puts the application together: guard, routes, errors."""

from __future__ import annotations

from fastapi import FastAPI

from taskmaster_desktop import __version__
from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.old import add_old_api
from taskmaster_desktop.backend.http.options import HttpOptions
from taskmaster_desktop.backend.http.sse import Streams
from taskmaster_desktop.backend.http.v1 import routes

DESCRIPTION = "Runs commands over a fleet of workers on your own machine."


def build_application(api: BackendApi, options: HttpOptions, *, port: int) -> FastAPI:
    """`port` is where it listens, which a Host header must name."""
    application = FastAPI(
        title="TaskMaster Desktop", version=__version__, description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None,
    )  # fmt: skip
    application.state.api = api
    application.state.options = options
    application.state.port = port
    application.state.streams = Streams()
    routes.install(application, api)
    add_old_api(application, api)
    return application
