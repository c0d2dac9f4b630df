"""The report as one page that needs nothing else: no script, no font, no address. Pure."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from taskmaster_desktop import __version__
from taskmaster_desktop.demo import charts
from taskmaster_desktop.demo.report import DemoReport
from taskmaster_desktop.demo.terminal import shown
from taskmaster_desktop.paths import bundled

PLAIN_NAMES = {
    "durable": "Durable",
    "one_terminal_state": "One terminal state",
    "fenced": "Fenced",
    "no_overlap": "No overlap",
    "lost_not_failed": "Lost is not failed",
    "nothing_foreign": "Nothing foreign touched",
}


def report_page(report: DemoReport) -> str:
    environment = Environment(
        loader=FileSystemLoader(bundled("demo", "templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    axis = charts.axis_of(report.evidence, _origin_us(report))
    evidence, marks = report.evidence, report.marks
    return environment.get_template("report.html").render(
        report=report,
        names=PLAIN_NAMES,
        shown=shown,
        version=__version__,
        throughput=Markup(  # our own drawing, its texts are escaped
            charts.plot(
                axis,
                marks,
                [
                    ("completed", charts.throughput(evidence, axis)),
                    ("ideal", charts.ideal_throughput(evidence, axis)),
                ],
                label="Throughput over time",
            )
        ),
        queue=Markup(
            charts.plot(
                axis,
                marks,
                [("pending", charts.queue_depth(evidence, axis))],
                label="Queue depth over time",
            )
        ),
        lanes=Markup(charts.lanes(evidence, axis, marks)),
    )


def _origin_us(report: DemoReport) -> int:
    started = [worker.started_us for worker in report.evidence.workers]
    return min(started, default=0)
