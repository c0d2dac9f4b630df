"""How a route gets at the engine."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from taskmaster_desktop.backend.api import BackendApi


async def _api(request: Request) -> BackendApi:
    return cast("BackendApi", request.app.state.api)


Api = Annotated[BackendApi, Depends(_api)]
