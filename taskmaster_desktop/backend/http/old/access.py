"""How a route of the old API gets at what it shares with others."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from taskmaster_desktop.backend.http.old.log_feed import LogFeed
from taskmaster_desktop.backend.http.old.views import Views
from taskmaster_desktop.backend.http.sse import Streams


async def _views(request: Request) -> Views:
    return cast("Views", request.app.state.old_views)


async def _log(request: Request) -> LogFeed:
    return cast("LogFeed", request.app.state.old_log)


async def _streams(request: Request) -> Streams:
    return cast("Streams", request.app.state.streams)


OldViews = Annotated[Views, Depends(_views)]
Log = Annotated[LogFeed, Depends(_log)]
OpenStreams = Annotated[Streams, Depends(_streams)]
