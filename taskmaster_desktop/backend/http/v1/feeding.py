"""Streams that are written by a task of their own, at the pace at which their client reads."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.responses import Response

from taskmaster_desktop.backend.errors import TaskMasterError
from taskmaster_desktop.backend.http.sse import Stream, Streams, Unsubscribe, message

log = logging.getLogger(__name__)

Feed = Callable[[Stream], Coroutine[Any, Any, None]]

STREAM: dict[str, Any] = {"schema": {"type": "string"}}


def respond(streams: Streams, feed: Feed) -> Response:
    """The answer; `feed` runs until it returns, which ends the stream, or until the client has left."""

    async def begin(stream: Stream) -> Unsubscribe:
        feeding = asyncio.create_task(_feed(feed, stream))
        return lambda: _stop(feeding)

    return streams.respond(begin, lost=_lost)


async def _feed(feed: Feed, stream: Stream) -> None:
    try:
        await feed(stream)
    except TaskMasterError as error:
        stream.put(message(json.dumps({"detail": str(error)}), event="trouble"))
    except Exception:
        log.exception("a stream failed")
        stream.put(message(json.dumps({"detail": "The stream failed; the log says more."}), event="trouble"))
    stream.end()


def _stop(feeding: asyncio.Task[None]) -> None:
    feeding.cancel()


def _lost(count: int) -> bytes:
    return message(json.dumps({"messages": count}), event="lost")
