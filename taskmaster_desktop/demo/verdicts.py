"""Whether each promise was kept, judged from the evidence alone; pure. Every verdict says what was compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from taskmaster_desktop.demo.evidence import Evidence
from taskmaster_desktop.demo.measures import StoredTask

TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Verdict(NamedTuple):
    """`text`: how it was checked, or what broke it."""

    ok: bool
    text: str


def judge(evidence: Evidence) -> dict[str, Verdict]:
    """All promises, by the names of the report."""
    return {name: check(evidence) for name, check in CHECKS.items()}


def durable(evidence: Evidence) -> Verdict:
    """Every acknowledged task is on disk, has ended, and ran to its end by its own account."""
    stored = {task.number: task for task in evidence.tasks}
    ends = {(line.task, line.fence) for line in evidence.ledger if line.event == "end"}
    for number in evidence.acknowledged:
        task = stored.get(number)
        if task is None:
            return _broken(f"task #{number} was acknowledged and is not in the database")
        if task.state not in TERMINAL:
            return _broken(f"task #{number} was left {task.state}")
        if task.state == "completed" and (number, task.fence) not in ends:
            return _broken(f"task #{number} is completed, but its own ledger knows no end")
    return _kept(
        f"{len(evidence.acknowledged)} acknowledged tasks, all found ended by a fresh read-only connection"
    )


def one_terminal_state(evidence: Evidence) -> Verdict:
    """One end for each task: in its row, its attempts, its ledger, and what was announced."""
    ledger_ends = Counter((line.task, line.fence) for line in evidence.ledger if line.event == "end")
    for number, count in Counter(task.number for task in evidence.tasks).items():
        if count > 1:
            return _broken(f"task #{number} is in the database {count} times")
    for task in evidence.tasks:
        completing = sum(a.outcome == "completed" for a in evidence.attempts_of(task.number))
        if completing != (task.state == "completed"):
            return _broken(f"task #{task.number} is {task.state} with {completing} completing attempt(s)")
        if task.state == "completed" and ledger_ends[task.number, task.fence] != 1:
            wrote = ledger_ends[task.number, task.fence]
            return _broken(f"task #{task.number} wrote {wrote} ends for the attempt that counts")
        heard = evidence.heard_finished.get(task.number, 0)
        if heard != 1:
            return _broken(f"the end of task #{task.number} was announced {heard} times")
    return _kept(
        f"{len(evidence.tasks)} tasks: one completing attempt, one end in the ledger, one announcement each"
    )


def fenced(evidence: Evidence) -> Verdict:
    """Only the newest attempt's answer counts; what came late was counted and changed nothing."""
    for task in evidence.tasks:
        for attempt in evidence.attempts_of(task.number):
            if attempt.outcome == "completed" and attempt.fence != task.fence:
                return _broken(f"task #{task.number} was completed under another fence than its own")
        problem = _fences_out_of_order(evidence, task)
        if problem:
            return _broken(problem)
    if evidence.late_answers < evidence.replayed:
        return _broken(f"{evidence.replayed} stale answer(s) were sent, {evidence.late_answers} counted")
    return _kept(
        f"fences grow with every attempt; {evidence.replayed} stale answer(s) sent on purpose, "
        f"{evidence.late_answers} counted, none believed"
    )


def _fences_out_of_order(evidence: Evidence, task: StoredTask) -> str:
    stored = [attempt.fence for attempt in evidence.attempts_of(task.number)]
    told = list(
        dict.fromkeys(
            line.fence
            for line in sorted(evidence.ledger_of(task.number), key=lambda line: line.attempt)
            if line.event == "start"
        )
    )
    for fences, where in ((stored, "database"), (told, "ledger")):
        if any(after <= before for before, after in pairwise(fences)):
            return f"the fences of task #{task.number} do not grow in the {where}"
    return ""


def no_overlap(evidence: Evidence) -> Verdict:
    """By its own account no task ran twice at the same time."""
    gone = {worker.name: worker.offline_us for worker in evidence.workers}
    compared = 0
    for number in sorted({line.task for line in evidence.ledger}):
        ends = {line.fence: line.at_us for line in evidence.ledger_of(number) if line.event == "end"}
        spans = []
        for line in evidence.ledger_of(number):
            if line.event == "start":
                # An attempt that was cut off lasted until its worker was confirmed dead.
                end_us = ends.get(line.fence, gone.get(line.worker) or math.inf)
                spans.append((line.at_us, end_us))
        spans.sort()
        for (_, end_us), (start_us, _) in pairwise(spans):
            compared += 1
            if start_us < end_us:
                return _broken(f"two attempts of task #{number} ran at the same time")
    if evidence.torn_lines:
        return _broken(f"{evidence.torn_lines} line(s) of the ledger cannot be read")
    return _kept(
        f"{len(evidence.ledger)} ledger lines, {compared} repeated attempt(s), each begun after its forerunner's "
        "worker was confirmed dead"
    )


def lost_not_failed(evidence: Evidence) -> Verdict:
    """What a kill cut off is `lost`, cost the task nothing, and the task completed."""
    if not evidence.killed:
        return _broken("no worker was killed in mid-task, so nothing was shown")
    stored = {task.number: task for task in evidence.tasks}
    for killed in evidence.killed:
        outcomes = {a.fence: a.outcome for a in evidence.attempts_of(killed.task)}
        if outcomes.get(killed.fence) != "lost":
            return _broken(
                f"the killed attempt of task #{killed.task} is {outcomes.get(killed.fence)}, not lost"
            )
        task = stored.get(killed.task)
        if task is None or task.state != "completed":
            return _broken(f"task #{killed.task} did not complete after its worker was killed")
        if task.failures or task.deaths:
            return _broken(f"task #{killed.task} was charged for the death of its worker")
    numbers = ", ".join(f"#{killed.task}" for killed in evidence.killed)
    return _kept(
        f"the killed attempt of {numbers} is lost, not failed; no retry was used up; the task completed"
    )


def nothing_foreign(evidence: Evidence) -> Verdict:
    """What stood beside us is as it was, and nothing of ours is left."""
    for name, before in evidence.foreign_before.items():
        after = evidence.foreign_after.get(name)
        if after != before:
            return _broken(f"{name} was {before} and is {after or 'gone'}")
    added = evidence.foreign_after.keys() - evidence.foreign_before.keys()
    if added:
        return _broken(f"{min(added)} appeared in a folder that is not ours")
    if not evidence.foreign_before:
        return _broken("there was nothing beside us, so nothing was shown")
    if evidence.left_running:
        return _broken(f"{evidence.left_running[0]} still runs")
    kinds = "a stranger's process, its folder and a file in our own folder"
    if any(name.startswith("container ") for name in evidence.foreign_before):
        kinds += ", a container with its network and its volume"
    return _kept(f"{kinds} were not touched; nothing was left running")


CHECKS: dict[str, Callable[[Evidence], Verdict]] = {
    "durable": durable,
    "one_terminal_state": one_terminal_state,
    "fenced": fenced,
    "no_overlap": no_overlap,
    "lost_not_failed": lost_not_failed,
    "nothing_foreign": nothing_foreign,
}


def _kept(text: str) -> Verdict:
    return Verdict(True, text)


def _broken(text: str) -> Verdict:
    return Verdict(False, text)
