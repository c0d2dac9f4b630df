"""The API of the program before this one, kept for its scripts and its web client."""

from __future__ import annotations

from fastapi import FastAPI

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.http.old import fleet, logs, tasks
from taskmaster_desktop.backend.http.old.log_feed import LogFeed
from taskmaster_desktop.backend.http.old.views import Views


def add_old_api(application: FastAPI, api: BackendApi) -> None:
    """Its routes are left out of the description of the API: nobody should begin with them."""
    application.state.old_views = Views(api)
    application.state.old_log = LogFeed(api)
    for router in (tasks.router, fleet.router, logs.router):
        application.include_router(router, include_in_schema=False)
