"""`taskmaster cleanup`: takes away what instances have left in the Docker Engine. Main thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from taskmaster_desktop.backend.containers.cleanup import (
    KINDS,
    Kept,
    Kind,
    Outcome,
    Plan,
    Thing,
    carry_out,
    make_plan,
)
from taskmaster_desktop.backend.containers.endpoint import refuse_remote
from taskmaster_desktop.backend.store.opening import LOCK
from taskmaster_desktop.cli import exit_codes
from taskmaster_desktop.cli.common import Common
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint

ENGINE_LIMIT_S = 60.0
"""How long one call may take: a large image goes slowly."""
SINGULAR: dict[Kind, str] = {
    "containers": "container",
    "networks": "network",
    "volumes": "volume",
    "images": "image",
}


def run_cleanup(common: Common, output: Output, *, docker_host: str | None, dry_run: bool) -> int:
    """Exit code 0 where nothing is left that should go, 1 where the engine refused to remove something."""
    settings = common.settings({"docker_host": docker_host}, quiet=True)
    endpoint = find_endpoint(settings.docker_host)
    refuse_remote(endpoint.url)  # there it could not be seen which instances run
    with closing(DockerApi(endpoint, limit_s=ENGINE_LIMIT_S)) as api, _folders() as folders:
        plan = make_plan(api, folders.claim, more_folders=(str(settings.data_dir),))
        outcome = Outcome(removed=(), kept=plan.kept, failed=()) if dry_run else carry_out(api, plan)
    _tell(output, plan, outcome, dry_run=dry_run)
    return exit_codes.TASK_FAILED if outcome.failed else exit_codes.OK


class Folders:
    """Data folders that are kept from starting an instance while its remains are removed."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held

    def claim(self, folder: str) -> str | None:
        """None where nobody runs there, and until the end nobody can start; else why not."""
        file = Path(folder, LOCK)
        try:
            file.stat()  # locking would create it
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return _unknown(folder, error)
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return f"The instance on {folder} is running"
        except OSError as error:
            return _unknown(folder, error)
        self._held.callback(lock.release)
        return None


@contextmanager
def _folders() -> Iterator[Folders]:
    with ExitStack() as held:
        yield Folders(held)


def _unknown(folder: str, error: OSError) -> str:
    return f"Whether the instance on {folder} is running cannot be seen ({error.strerror or error})"


# === what is said
def _tell(output: Output, plan: Plan, outcome: Outcome, *, dry_run: bool) -> None:
    if dry_run:
        for thing in plan.going:
            output.result(f"{SINGULAR[thing.kind]:<9} {thing.name}")
    for why, count in plan.spared.values():
        output.result(f"{why}; {_staying(count)}.")
    for kept in (*outcome.kept, *outcome.failed):
        output.result(f"The {SINGULAR[kept.kind]} {kept.name} stays: {kept.why}.")
    verb, things = ("Would remove", plan.going) if dry_run else ("Removed", outcome.removed)
    output.result(f"{verb} {_counts(things)}." if things else "There is nothing to remove.")
    output.json(
        {
            "ok": not outcome.failed,
            "dry_run": dry_run,
            "would_remove" if dry_run else "removed": _by_kind(things),
            "kept": [_described(kept) for kept in outcome.kept],
            "failed": [_described(kept) for kept in outcome.failed],
            "spared": [
                {"data_dir": folder, "why": why, "containers": count}
                for folder, (why, count) in plan.spared.items()
            ],
        }
    )


def _counts(things: Iterable[Thing]) -> str:
    counts = {kind: len(names) for kind, names in _by_kind(things).items()}
    parts = [f"{count} {SINGULAR[kind] if count == 1 else kind}" for kind, count in counts.items() if count]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _staying(count: int) -> str:
    if count == 0:
        return "it has no containers now"
    return "its container stays" if count == 1 else f"its {count} containers stay"


def _by_kind(things: Iterable[Thing]) -> dict[Kind, list[str]]:
    named: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
    for thing in things:
        named[thing.kind].append(thing.name)
    return named


def _described(kept: Kept) -> dict[str, str]:
    return {"kind": kept.kind, "name": kept.name, "why": kept.why}
