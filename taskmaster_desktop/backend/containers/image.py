"""Gets images: builds the worker image when it is not there, pulls what a user names.

Blocking; called on a thread of the Docker pool with that thread's own client behind `ImageApi`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from taskmaster_desktop.backend.containers.context import (
    Sources,
    build_context,
    read_inputs,
    shipped_sources,
    worker_image_tag,
)
from taskmaster_desktop.backend.containers.image_progress import (
    BuildProgress,
    ImageProgress,
    ProgressSink,
    PullProgress,
    Reporter,
)
from taskmaster_desktop.backend.containers.refusals import (
    EngineRefusal,
    build_problem,
    error_in,
    pull_problem,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem

__all__ = [
    "AGENT_COMMAND",
    "AGENT_FOLDER",
    "DEFAULT_BASE",
    "EngineRefusal",
    "ImageApi",
    "ImageProgress",
    "ProgressSink",
    "check_platform",
    "ensure_image",
    "ensure_worker_image",
]

DEFAULT_BASE = "python:3.11-slim-bookworm"

AGENT_FOLDER = "/opt/taskmaster"
"""Where the worker image has the agent. A volume filled from there is to be mounted at the same path."""

AGENT_COMMAND: tuple[str, ...] = (
    f"{AGENT_FOLDER}/lib/ld.so",
    "--inhibit-cache",
    "--library-path",
    f"{AGENT_FOLDER}/lib",
    f"{AGENT_FOLDER}/bin/python3",
    *("-I", "-S", "-B", "-X", "utf8"),
    *("-m", "taskmaster_worker"),
)
"""Starts the agent in any image that has the folder; the same as the worker image's ENTRYPOINT. Nothing of it is in
the environment, so that the user's commands are not touched by it."""

logger = logging.getLogger(__name__)


class ImageApi(Protocol):
    """What is needed of an engine. Every call may raise EnvironmentProblem when the engine is in trouble, and
    EngineRefusal when it answers with an error; the streams may do so at any line."""

    def image(self, name: str) -> Mapping[str, Any] | None:
        """The engine's description of an image it has, None if it has none of that name."""

    def build(
        self, context: bytes, *, tag: str, buildargs: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        """Builds from a tar with a Dockerfile; the decoded lines of the engine's stream."""

    def pull(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Pulls one image (a name without a tag means `latest`); the decoded lines of the engine's stream."""


def ensure_worker_image(
    api: ImageApi,
    *,
    base: str,
    labels: Mapping[str, str],
    progress: ProgressSink,
    wheels: Path | None = None,
    buildargs: Mapping[str, str] | None = None,
    sources: Sources | None = None,
) -> str:
    """The name of the worker image for this base; built first if the engine does not have it.

    Args:
        api: the engine.
        base: image with Python 3.11 or newer and its venv module; pulled if need be.
        labels: for the image.
        progress: hears of every change, on this thread.
        wheels: folder with the agent's dependencies; without it the build downloads them.
        buildargs: more of them, such as `HTTPS_PROXY`; they do not count for the name.
        sources: those of this installation unless given.

    Raises:
        EnvironmentProblem: it is not there and cannot be built.
    """
    inputs = read_inputs(sources or shipped_sources())
    tag = worker_image_tag(inputs, base=base)
    if api.image(tag) is not None:
        return tag
    context = build_context(inputs, wheels=wheels)
    # The builder would pull it too, but could not say as clearly why it failed.
    ensure_image(api, base, progress=progress)
    reporter = Reporter(progress)
    build = BuildProgress()
    arguments = dict(buildargs or {}) | {"BASE": base}
    try:
        for line in api.build(context, tag=tag, buildargs=arguments, labels=labels):
            words = error_in(line)
            if words is not None:
                raise EngineRefusal(words)
            reporter.tell(build.feed(line))
    except EngineRefusal as refusal:
        for text in (*build.output, refusal.words):
            logger.info("build of the worker image: %s", text)
        raise build_problem(
            base, build.step, build.output, refusal.words, offline=wheels is not None
        ) from refusal
    _expect(api, tag)
    reporter.tell(ImageProgress(text=f"The worker image {tag} is ready", fraction=1.0))
    return tag


def ensure_image(api: ImageApi, name: str, *, progress: ProgressSink) -> Mapping[str, Any]:
    """The engine's description of the image `name`; pulled first if the engine does not have it.

    Raises:
        EnvironmentProblem: it is not there and cannot be pulled.
    """
    try:
        found = api.image(name)
        if found is not None:
            return found
        reporter = Reporter(progress)
        reporter.tell(ImageProgress(text=f"Pulling {name}", fraction=None))
        pull = PullProgress(name)
        for line in api.pull(name):
            words = error_in(line)
            if words is not None:
                raise EngineRefusal(words)
            reporter.tell(pull.feed(line))
    except EngineRefusal as refusal:
        raise pull_problem(name, refusal.words) from refusal
    found = _expect(api, name)
    reporter.tell(ImageProgress(text=f"Pulled {name}", fraction=1.0))
    return found


def check_platform(
    agent_image: Mapping[str, Any], image: Mapping[str, Any], *, name: str | None = None
) -> None:
    """Makes sure that the agent of `agent_image` can run in `image`; both are the engine's descriptions.

    Args:
        agent_image: the worker image.
        image: the user's.
        name: what the user calls it; the engine's first name for it unless given.

    Raises:
        EnvironmentProblem: they are for different processors or systems.
    """
    our_system, ours = _platform(agent_image)
    their_system, theirs = _platform(image)
    if (our_system, ours) == (their_system, theirs):
        return
    if our_system != their_system:
        ours, theirs = f"{our_system}/{ours}", f"{their_system}/{theirs}"
    names = [name, *(image.get("RepoTags") or []), image.get("Id"), "that was named"]
    called = next(each for each in names if each)
    raise EnvironmentProblem(
        f"The image {called} is for {theirs}, the worker agent here for {ours}.",
        fix=f"Use an image for {ours}, or an engine on a machine of the other kind.",
    )


def _platform(image: Mapping[str, Any]) -> tuple[str, str]:
    return str(image.get("Os", "")), str(image.get("Architecture", ""))


def _expect(api: ImageApi, name: str) -> Mapping[str, Any]:
    """A stream may end early without an error, for example when the engine is stopped."""
    found = api.image(name)
    if found is None:
        raise EnvironmentProblem(
            f"The Docker Engine stopped before the image {name} was complete.", fix="Try again."
        )
    return found
