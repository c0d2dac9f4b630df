"""What the demo shows while it runs: the steps, the queue and the workers. Main thread.

On a terminal a picture that changes in place; elsewhere one line per step. Always on standard error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.model import TaskFilter, TaskRecord, TaskState, WorkerState
from taskmaster_desktop.cli.output import Output
from taskmaster_desktop.demo.scenario import STEP_NAMES

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.live import Live

ACTIVE = TaskFilter(states=frozenset({TaskState.ASSIGNED, TaskState.RUNNING}))
BAR_CHARS = 20


class Screen:
    """A context manager: the picture is there inside of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._current = 0
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self._output.stderr_is_terminal:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._output.stderr_text)
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def step(self, number: int) -> None:
        """A step begins."""
        self._current = number
        if self._live is None:
            self._output.note(f"{number}/{len(STEP_NAMES)} {STEP_NAMES[number - 1]} ...")

    def look(self, api: BackendApi) -> None:
        """Show how things are."""
        if self._live is not None:
            self._live.update(self._picture(api), refresh=True)

    def _picture(self, api: BackendApi) -> Group:
        from rich.console import Group
        from rich.text import Text

        totals = api.totals
        parts: list[RenderableType] = [Text("TaskMaster demo", style="bold")]
        for number, name in enumerate(STEP_NAMES, start=1):
            sign, style = ("✓", "green") if number < self._current else ("·", "dim")
            if number == self._current:
                sign, style = "▶", "bold"
            parts.append(Text(f" {sign} {number}. {name}", style=style))
        parts.append(
            Text(
                f"\n {totals.pending} waiting   {totals.assigned + totals.running} running   "
                f"{totals.completed} completed   {totals.failed} failed   {totals.attempts_lost} lost"
            )
        )
        held = {task.worker: task for task in self._active(api)}
        for worker in api.query.workers(living_only=True):
            line = _bar(held.get(worker.number)) if worker.state is not WorkerState.STARTING else "starting"
            parts.append(Text(f" {worker.name:<10} {line}", style="cyan" if worker.number in held else "dim"))
        return Group(*parts)

    @staticmethod
    def _active(api: BackendApi) -> tuple[TaskRecord, ...]:
        return api.query.tasks(ACTIVE, after=None, limit=100, newest_first=False).tasks


def _bar(task: TaskRecord | None) -> str:
    if task is None:
        return "idle"
    full = round(task.progress / 100 * BAR_CHARS)
    attempt = f"  attempt {task.attempt}" if task.attempt > 1 else ""
    return f"{'█' * full}{'░' * (BAR_CHARS - full)} {task.progress:3.0f} %  #{task.number}{attempt}"
