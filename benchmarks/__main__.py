"""`python -m benchmarks [PART ...]`: prints figures with the machine's facts, merges them into build/bench.json."""

from __future__ import annotations

import sys

from benchmarks import containers, engine, floors, http
from benchmarks.report import Figures, machine_facts, say

PARTS = {**engine.PARTS, "http": http.http, "docker": containers.containers}


def main() -> int:
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        say(f"There is no part {unknown[0]!r}; choose from {', '.join(PARTS)}.")
        return 2
    figures = Figures()
    say(machine_facts())
    say("floors")
    floors.measure(figures)
    for name in wanted:
        say(name)
        PARTS[name](figures)
    figures.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
