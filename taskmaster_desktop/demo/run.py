"""One performance of the demo: engine up, scenario, engine down, evidence, report. Main thread.

The engine is stopped before anything is judged, so that only what is on disk counts.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from taskmaster_desktop.app import App
from taskmaster_desktop.backend.errors import EnvironmentProblem, UserError
from taskmaster_desktop.backend.ports import Clock, WorkerDoor
from taskmaster_desktop.backend.store.opening import DATABASE
from taskmaster_desktop.demo.bystander import bystanders_of, look_at, still_running
from taskmaster_desktop.demo.evidence import Evidence, read_database, read_ledger
from taskmaster_desktop.demo.report import DemoReport
from taskmaster_desktop.demo.results import Results
from taskmaster_desktop.demo.scenario import Moments, Scenario
from taskmaster_desktop.demo.screen import Screen
from taskmaster_desktop.demo.stage import Stage
from taskmaster_desktop.demo.stale import ReplayingDoor
from taskmaster_desktop.demo.verdicts import judge
from taskmaster_desktop.settings import Settings

LEDGER_VARIABLE = "TASKMASTER_LEDGER"
LEDGER_FOLDER = "ledger"
END_GRACE_S = 5.0
COMMITS = 15


def make_ledger_folder(side_folder: Path) -> Path:
    """Where the tasks write by themselves, whoever they run as; nobody else gets through to it."""
    folder = side_folder / LEDGER_FOLDER
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    return folder


class Performance:
    """Use once.

    Args:
        settings: 3 workers, self-heal off; its data folder must not hold a database yet.
        side_folder: for the ledger (made by `make_ledger_folder`) and the strangers, outside the data folder.
        progress: hears what takes long before the first step.
    """

    def __init__(
        self,
        settings: Settings,
        side_folder: Path,
        clock: Clock,
        screen: Screen,
        *,
        wanted_out: Callable[[], bool],
        progress: Callable[[str], None],
    ) -> None:
        if (settings.data_dir / DATABASE).exists():
            raise UserError(
                f"The demo needs a folder of its own; {settings.data_dir} already holds a database.",
                field="--data-dir",
            )
        self.app = App(settings, wrap_door=self._wrap, progress=progress)
        self._data_dir = settings.data_dir
        self._ledger = side_folder / LEDGER_FOLDER / "ledger.jsonl"
        self._side_folder = side_folder
        self._clock = clock
        self._screen = screen
        self._wanted_out = wanted_out
        self._door: ReplayingDoor | None = None

    def play(self) -> DemoReport:
        """Raises EnvironmentProblem where the engine does not start, Interrupted when somebody wants out."""
        begun_s = self._clock.now().mono_s
        self._choice = self.app.choose()
        bystanders = bystanders_of(self._choice, self._side_folder / "somebody-elses", self._data_dir)
        with ExitStack() as standing:
            for bystander in bystanders:
                standing.callback(bystander.stop)
                bystander.start()
            before = look_at(bystanders)
            standing.callback(self.app.stop, grace_s=0.0)
            stage, moments = self._perform()
            evidence = self._gather(stage, moments, before, look_at(bystanders))
        disk_ms = commit_ms(self._data_dir, self._clock)
        return self._report(stage, moments, evidence, disk_ms, self._clock.now().mono_s - begun_s)

    def _wrap(self, door: WorkerDoor) -> WorkerDoor:
        self._door = ReplayingDoor(door)
        return self._door

    def _perform(self) -> tuple[Stage, Moments]:
        born_us = self._clock.now().wall_us
        self.app.start()
        api = self.app.api
        assert self._door is not None
        stage = Stage(
            api,
            self._clock,
            on_look=lambda: self._screen.look(api),
            wanted_out=self._wanted_out,
            job_env=((LEDGER_VARIABLE, str(self._ledger)),),
        )
        unsubscribe = api.subscribe(stage.listen)
        stage.catch_up()
        with self._screen:
            moments = Scenario(
                stage, born_us=born_us, replay=self._door.replay, on_step=self._screen.step
            ).play()
        self.app.stop(grace_s=END_GRACE_S)
        unsubscribe()
        if not moments.reached:
            raise EnvironmentProblem(
                f"The demo could not begin: {moments.problem}.", fix="Run taskmaster doctor to see why."
            )
        return stage, moments

    def _gather(
        self, stage: Stage, moments: Moments, before: dict[str, str], after: dict[str, str]
    ) -> Evidence:
        """After the engine has stopped."""
        stored = read_database(self._data_dir / DATABASE)
        lines, torn = read_ledger(self._ledger)
        return Evidence(
            acknowledged=tuple(stage.acknowledged),
            tasks=stored.tasks,
            attempts=stored.attempts,
            workers=stored.workers,
            ledger=lines,
            torn_lines=torn,
            heard_finished=dict(stage.heard_finished),
            killed=tuple(moments.killed),
            replayed=moments.replayed,
            late_answers=stored.late_answers,
            foreign_before=before,
            foreign_after=after,
            left_running=still_running(self._choice, stored.handles),
        )

    def _report(
        self, stage: Stage, moments: Moments, evidence: Evidence, disk_ms: float, duration_s: float
    ) -> DemoReport:
        results = Results(moments, evidence, disk_ms=disk_ms)
        return DemoReport(
            runtime=self._choice.name,
            runtime_why=self._choice.why,
            steps=results.steps(),
            verdicts=judge(evidence),
            phases=results.phases,
            figures=results.figures(),
            balance=results.balance,
            evidence=evidence,
            marks=tuple(stage.marks),
            machine=machine_facts(),
            duration_s=duration_s,
        )


def commit_ms(folder: Path, clock: Clock) -> float:
    """The median time of one durable commit (SQLite, WAL, synchronous=FULL) in this folder."""
    file = folder / "commit-probe.db"
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE probe (n INTEGER)")
            times = []
            for number in range(COMMITS):
                begun_s = clock.now().mono_s
                connection.execute("INSERT INTO probe VALUES (?)", (number,))
                times.append(clock.now().mono_s - begun_s)
    finally:
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    return statistics.median(times) * 1000


def machine_facts() -> tuple[tuple[str, str], ...]:
    """Of the machine that measured, for people."""
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        ("System", f"{platform.system()} {platform.release()} ({platform.machine()})"),
        ("CPUs", str(os.cpu_count())),
        ("Python", version),
        ("SQLite", sqlite3.sqlite_version),
    )
