"""Generates the Python code of the worker protocol; `make proto` writes it, `make verify-proto` compares it.

The same code is written twice, because the agent may not import the desktop package: once for the engine
and once for the agent. Usage: `gen_proto.py` writes both; `gen_proto.py --check` names what is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO_FOLDER = ROOT / "proto"
PROTO_NAME = "taskmaster/v1/worker.proto"
TARGETS = (
    ROOT / "taskmaster_desktop" / "backend" / "rpc" / "_pb",
    ROOT / "worker_image" / "taskmaster_worker" / "_pb",
)
INIT_TEXT = '"""Generated from proto/taskmaster/v1/worker.proto by `make proto`; do not edit."""\n'
GENERATED_MARK = "# Generated from proto/taskmaster/v1/worker.proto by `make proto`; do not edit.\n"


def generate() -> dict[str, str]:
    """The generated files by name, the same for every target.

    The root given to protoc is the proto folder, so the descriptor carries the full, unmistakable name
    `taskmaster/v1/worker.proto` in the process-wide pool of protobuf.

    Raises:
        RuntimeError: when protoc refuses the file; it has printed why.
    """
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as out:
        options = [
            f"--proto_path={PROTO_FOLDER}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
        ]
        status = protoc.main(["protoc", *options, PROTO_NAME])
        if status != 0:
            raise RuntimeError(f"protoc ended with {status}")
        made = sorted((Path(out) / PROTO_NAME).parent.iterdir())
        files = {path.name: path.read_text(encoding="utf-8") for path in made}
    return {"__init__.py": INIT_TEXT} | {name: _as_ours(text) for name, text in files.items()}


def _as_ours(text: str) -> str:
    """Makes the import of the sibling module relative and marks the file as generated."""
    relative = re.sub(r"^from taskmaster\.v1 import", "from . import", text, flags=re.MULTILINE)
    return GENERATED_MARK + relative


def outdated(target: Path, files: dict[str, str]) -> list[str]:
    """Names in `target` that are missing, differ from `files` or should not be there."""
    present = {path.name for path in target.iterdir() if path.is_file()} if target.is_dir() else set()
    wrong = [name for name, text in files.items() if name not in present or _read(target / name) != text]
    return sorted(wrong + list(present - files.keys()))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def write(target: Path, files: dict[str, str]) -> None:
    """Makes `target` hold exactly `files`."""
    target.mkdir(parents=True, exist_ok=True)
    for name in outdated(target, files):
        if name in files:
            (target / name).write_text(files[name], encoding="utf-8")
        else:
            (target / name).unlink()


def main(arguments: list[str] | None = None) -> int:
    """Writes both targets, or with --check reports what `make proto` would change (exit code 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when out of date")
    options = parser.parse_args(arguments)
    files = generate()
    if not options.check:
        for target in TARGETS:
            write(target, files)
        return 0
    stale = [f"{target.relative_to(ROOT)}/{name}" for target in TARGETS for name in outdated(target, files)]
    for name in stale:
        print(f"out of date, run `make proto`: {name}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
