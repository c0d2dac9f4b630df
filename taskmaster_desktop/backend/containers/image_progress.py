"""How far a pull or a build has come, read from the lines that an engine streams. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 100
KEPT_LINES = 40
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What the builder itself prints between the steps.
_BUILDER_TALK = re.compile(r"^( ---> |Removing intermediate container |Successfully (built|tagged) )")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProgress:
    """One moment of getting an image.

    Attributes:
        text: one line for people.
        fraction: 0 to 1, never falling within one image; None while nothing is known.
    """

    text: str
    fraction: float | None


ProgressSink = Callable[[ImageProgress], None]


class Reporter:
    """Passes on what differs from the last time; an engine may send hundreds of equal lines."""

    def __init__(self, sink: ProgressSink) -> None:
        self._sink = sink
        self._last: ImageProgress | None = None

    def tell(self, news: ImageProgress | None) -> None:
        if news is not None and news != self._last:
            self._last = news
            self._sink(news)


class BuildProgress:
    """Follows one build."""

    def __init__(self) -> None:
        self.step = ""
        """The instruction at work, shortened to one line."""
        self.output: deque[str] = deque(maxlen=KEPT_LINES)
        """The last lines that it printed."""

    def feed(self, line: Mapping[str, Any]) -> ImageProgress | None:
        """What this line changes, None if nothing."""
        text = _COLOUR.sub("", str(line.get("stream", "")))
        match = _STEP.match(text)
        if match is None:
            self.output.extend(
                part for part in text.splitlines() if part.strip() and not _BUILDER_TALK.match(part)
            )
            return None
        number, steps = int(match[1]), int(match[2])
        self.step = _one_line(match[3])
        self.output.clear()
        return ImageProgress(
            text=_one_line(f"Building the worker image, step {number}/{steps}: {self.step}"),
            fraction=(number - 1) / steps,
        )


@dataclass(slots=True)
class _Layer:
    """Bytes of one layer as the registry packed it; `total` is 0 until the engine says it."""

    total: int = 0
    downloaded: int = 0
    unpacked: int = 0
    complete: bool = False


class PullProgress:
    """Follows one pull: each layer counts once for its download and once for its unpacking."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._layers: dict[str, _Layer] = {}
        self._highest = 0.0

    def feed(self, line: Mapping[str, Any]) -> ImageProgress | None:
        """What this line changes, None if nothing."""
        status = str(line.get("status", ""))
        key = str(line.get("id", ""))
        if status == "Pulling fs layer":
            self._layers.setdefault(key, _Layer())
        layer = self._layers.get(key)
        if layer is None:
            return None
        detail = line.get("progressDetail")
        current, total = _bytes(detail, "current"), _bytes(detail, "total")
        if total:
            layer.total = total
        if status == "Downloading":
            layer.downloaded = current
        elif status in ("Verifying Checksum", "Download complete"):
            layer.downloaded = layer.total
        elif status == "Extracting" and total:
            layer.downloaded, layer.unpacked = layer.total, current
        elif status in ("Pull complete", "Already exists"):
            layer.complete = True
        return self._now()

    def _now(self) -> ImageProgress:
        layers = self._layers.values()
        known = [layer.total for layer in layers if layer.total]
        if not known:
            return ImageProgress(text=_one_line(f"Pulling {self._name}"), fraction=None)
        # The engine loads three layers at a time and does not say how large the others are.
        guess = sum(known) / len(known)
        total = done = received = 0.0
        for layer in layers:
            size = layer.total or guess
            got = size if layer.complete else layer.downloaded
            total += size
            received += got
            done += got + (size if layer.complete else layer.unpacked)
        self._highest = max(self._highest, min(1.0, done / (2 * total)))
        sizes = f"{received / 1e6:.0f} of {'' if len(known) == len(layers) else 'about '}{total / 1e6:.0f} MB"
        return ImageProgress(text=_one_line(f"Pulling {self._name}: {sizes}"), fraction=self._highest)


def _bytes(detail: object, key: str) -> int:
    value = detail.get(key) if isinstance(detail, Mapping) else None
    return value if isinstance(value, int) else 0


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."
