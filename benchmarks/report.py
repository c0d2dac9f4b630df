"""Where figures go: the terminal, and one flat JSON file that every benchmark merges into."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

RESULT = Path("build/bench.json")


def machine_facts() -> str:
    """One line about the machine that a figure belongs to."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.release()} "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Figures:
    """Collects figures of one run."""

    def __init__(self) -> None:
        self._values: dict[str, float | str] = {"machine": machine_facts()}

    def add(self, key: str, value: float, *, unit: str, aim: str = "") -> None:
        self._values[key] = round(value, 4)
        say(f"  {key:<26} {value:>12,.3f} {unit:<14} {aim}")

    def note(self, key: str, value: str) -> None:
        self._values[key] = value
        say(f"  {key:<26} {value}")

    def write(self) -> None:
        RESULT.parent.mkdir(exist_ok=True)
        merged = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps(merged | self._values, indent=2, sort_keys=True) + "\n")


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
