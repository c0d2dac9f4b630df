"""A worker process for tests of the runtime: takes its bundle as the real agent does, then obeys its mode.

Run as `python stub_agent.py MODE`. Says `ready <bundle keys>` in its log once it has its bundle. Modes:
`obey` ends with 0 on SIGTERM; `commands` also starts two commands, each in a process group of its own;
`fail` says "out of cheese" and ends with 70; `leave` starts a command and ends with 0 at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType


def main(mode: str) -> None:
    signal.signal(signal.SIGTERM, _stop)
    bundle = _bundle()
    if mode in ("commands", "leave"):
        pids = [subprocess.Popen(["sleep", "300"], process_group=0).pid for _ in range(2)]
        Path(bundle["work_dir"], "commands").write_text(" ".join(map(str, pids)), encoding="ascii")
    sys.stdout.write(f"ready {' '.join(sorted(bundle))}\n")
    sys.stdout.flush()
    if mode == "fail":
        sys.stdout.write("out of cheese\n\n")
        sys.stdout.flush()
        os._exit(70)
    while mode != "leave":
        signal.pause()
    os._exit(0)


def _bundle() -> dict[str, str]:
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    body = sys.stdin.buffer.read(length)
    if len(body) < length:
        os._exit(78)
    bundle: dict[str, str] = json.loads(body)
    return bundle


def _stop(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


main(sys.argv[1])
