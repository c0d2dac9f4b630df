"""The fleet, the queue and the figures from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.commands import MAX_WORKERS
from taskmaster_desktop.backend.errors import UserError
from taskmaster_desktop.cli import exit_codes, values
from taskmaster_desktop.cli.client.instance import Client, path_of
from taskmaster_desktop.cli.client.text import (
    age,
    at_us,
    counted,
    duration,
    facts,
    seconds_between,
    state_of,
    table,
    visible,
)
from taskmaster_desktop.cli.output import Output

MIB = 2**20
HEADS = ("WORKER", "NAME", "STATE", "RUNS", "DONE", "FAILED", "AGE", "CPU", "MEMORY", "NOTE")


def scale(client: Client, output: Output, count: str) -> int:
    wanted = values.whole("N", count, 0, MAX_WORKERS)
    fleet = client.put("/fleet", {"desired": wanted})
    if fleet["trouble"]:
        output.problem(fleet["trouble"])
    output.result(_size(fleet))
    output.json(fleet)
    return exit_codes.OK


def _size(fleet: Mapping[str, Any]) -> str:
    parts = [f"{fleet[state]} {state}" for state in ("online", "starting", "draining") if fleet[state]]
    return f"{counted(fleet['desired'], 'worker')} wanted: {', '.join(parts) or 'none is there now'}."


def kill(client: Client, output: Output, worker: str) -> int:
    return _order(client, output, worker, "kill", "is being killed")


def drain(client: Client, output: Output, worker: str) -> int:
    return _order(client, output, worker, "stop", "finishes what it runs and ends")


def _order(client: Client, output: Output, worker: str, order: str, said: str) -> int:
    ordered = client.post(path_of("workers", worker_name(worker), order), {})
    output.result(f"{visible(ordered['name'])} {said}.")
    output.json(ordered)
    return exit_codes.OK


def worker_name(text: str) -> str:
    """Raises UserError."""
    name = text.strip().removeprefix("#")
    if not name or not name.isprintable():
        raise UserError(f"WORKER must be the number or name of a worker, not {text!r}.", field="WORKER")
    return name


def hold(client: Client, output: Output, *, paused: bool) -> int:
    """Pause or resume."""
    queue = client.put("/queue", {"paused": paused})
    state = "is paused" if paused else "goes on"
    output.result(f"The queue {state}; {counted(queue['pending'], 'task')} pending.")
    output.json(queue)
    return exit_codes.OK


def workers(client: Client, output: Output, *, gone_too: bool) -> int:
    found = client.get("/workers", {"living_only": not gone_too})["workers"]
    output.json({"workers": found})
    if not found:
        output.note("There are no workers.")
        return exit_codes.OK
    output.result("\n".join(table(HEADS, [_row(worker) for worker in found])))
    return exit_codes.OK


def _row(worker: Mapping[str, Any]) -> Sequence[str]:
    now = at_us(SystemClock().now().wall_us)
    usage = worker["usage"]
    notes = [worker["container"] or "", "frozen" if worker["paused"] else "", worker["ended"]]
    return (
        str(worker["number"]),
        visible(worker["name"]),
        state_of(worker["state"]),
        f"{usage['running']}/{worker['slots']}" if usage else "-",
        str(worker["completed"]),
        str(worker["failed"]),
        age(seconds_between(worker["started_at"], None, now)),
        duration(usage["cpu_s"]) if usage else "-",
        f"{usage['memory_bytes'] / MIB:.0f} MiB" if usage else "-",
        visible(", ".join(filter(None, notes))),
    )


def stats(client: Client, output: Output) -> int:
    found = client.get("/stats")
    output.json(found)
    tasks, fleet = found["tasks"], found["workers"]
    queue = " (the queue is paused)" if found["paused"] else ""
    hidden = f" ({tasks['discarded']:,} discarded)" if tasks["discarded"] else ""
    pairs = [
        ("tasks", f"{tasks['total']:,}"),
        *((state_of(state), f"{tasks[state]:,}") for state in ("pending", "assigned", "running")),
        (state_of("completed"), f"{tasks['completed']:,}"),
        (state_of("failed"), f"{tasks['failed']:,}{hidden}"),
        (state_of("cancelled"), f"{tasks['cancelled']:,}"),
        (
            "workers",
            f"{fleet['connected']} of {fleet['desired']}{'' if fleet['self_heal'] else ', no self-heal'}",
        ),
        ("lost attempts", f"{found['attempts_lost']:,}"),
        ("late answers", f"{found['late_answers']:,}"),
        ("trouble", " ".join(filter(None, (found["trouble"], found["fleet_trouble"])))),
    ]
    pairs[1] = (pairs[1][0], pairs[1][1] + queue)
    for line in facts(pairs):
        output.result(line)
    return exit_codes.OK
