"""The report as a table for a terminal or a text file; pure apart from rich's own drawing."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskmaster_desktop.demo.report import DemoReport, Figure

PLAIN_WIDTH = 116


def report_text(report: DemoReport, *, colour: bool, width: int | None = None) -> str:
    """Ready to print."""
    buffer = io.StringIO()
    console = Console(
        file=buffer, force_terminal=colour, no_color=not colour, width=width or PLAIN_WIDTH, highlight=False
    )
    console.print(_steps(report))
    console.print(_efficiency(report))
    console.print(_promises(report))
    console.print(_closing(report))
    return buffer.getvalue().rstrip("\n")


def shown(figure: Figure) -> str:
    """A figure for people: three digits, with its unit."""
    if figure.value is None:
        return "not measured"
    digits = 0 if abs(figure.value) >= 100 else 1 if abs(figure.value) >= 10 else 2
    return f"{figure.value:.{digits}f} {figure.unit}"


def _steps(report: DemoReport) -> Table:
    table = Table(title="The seven steps", title_justify="left", title_style="bold", expand=True)
    table.add_column("", width=2)
    table.add_column("Step", ratio=6)
    table.add_column("Measured", justify="right", no_wrap=True)
    table.add_column("Promised", justify="right", no_wrap=True)
    table.add_column("Ideal", justify="right", no_wrap=True)
    for step in report.steps:
        body = Text(step.name, style="bold")
        body.append(f"\n{step.what}", style="not bold")
        for what, value in step.details:
            body.append(f"\n  {what}: {value}", style="not bold dim")
        if step.problem:
            body.append(f"\n  {step.problem}", style="red")
        table.add_row(
            _sign(step.ok), body, shown(step.measured), f"under {shown(step.promised)}", shown(step.ideal)
        )
    return table


def _efficiency(report: DemoReport) -> Table:
    table = Table(title="Efficiency", title_justify="left", title_style="bold", expand=True)
    for name in ("Workers", "Tasks", "Efficiency", "Makespan", "Ideal makespan", "Throughput", "Ideal"):
        table.add_column(name, justify="right", no_wrap=len(name) < 12)
    for workers, phase in sorted(report.phases.items()):
        if phase.durations:
            table.add_row(
                str(workers), str(len(phase.durations)), f"{phase.efficiency:.3f}",
                f"{phase.makespan_us / 1e6:.2f} s", f"{phase.ideal_us / 1e6:.2f} s",
                f"{phase.per_s:.2f}/s", f"{phase.ideal_per_s:.2f}/s",
            )  # fmt: skip
    table.caption = (
        "Ideal: perfect list scheduling of the durations that were measured. 3 workers: the 50 tasks of step 2. "
        "1 worker: what it did alone after step 4, from one end to the last. 5 workers: a batch of 50 in step 5."
    )
    table.caption_justify = "left"
    return table


def _promises(report: DemoReport) -> Table:
    table = Table(title="The promises", title_justify="left", title_style="bold", expand=True)
    table.add_column("", width=2)
    table.add_column("Promise", ratio=2)
    table.add_column("How it was checked", ratio=7)
    for name, verdict in report.verdicts.items():
        table.add_row(_sign(verdict.ok), name.replace("_", " "), verdict.text)
    return table


def _closing(report: DemoReport) -> Text:
    figures = report.figures
    text = Text("All promises kept." if report.ok else "A promise was broken.")
    text.stylize("bold green" if report.ok else "bold red")
    text.append(
        f" {len(report.evidence.acknowledged)} tasks accepted, {figures['lost_tasks']} lost, "
        f"{figures['double_completed']} completed twice, {figures['reassigned']} reassigned, in "
        f"{report.duration_s:.0f} s on the {report.runtime} runtime ({report.runtime_why}).",
        style="not bold default",
    )
    return text


def _sign(ok: bool) -> Text:
    return Text("✓", style="green") if ok else Text("✗", style="bold red")
