"""The report of a demo: plain data, and its JSON form, whose keys the user guide fixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskmaster_desktop.demo.evidence import Evidence
from taskmaster_desktop.demo.measures import Phase
from taskmaster_desktop.demo.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value with its unit; None where it could not be measured."""

    value: float | None
    unit: str

    def to_json(self) -> dict[str, object]:
        return {"value": None if self.value is None else round(self.value, 4), "unit": self.unit}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One of the seven.

    Attributes:
        what: what `measured` is.
        ideal_is: what `ideal` is, since it is measured or calculated too.
        details: more that was measured, as (what, value in words).
        problem: why it is not ok, empty where it is.
    """

    name: str
    what: str
    measured: Figure
    promised: Figure
    ideal: Figure
    ideal_is: str
    details: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        value, limit = self.measured.value, self.promised.value
        return not self.problem and value is not None and limit is not None and value <= limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment worth a line in the plots."""

    at_us: int
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """
    Attributes:
        runtime_why: why this runtime was taken.
        phases: by number of workers.
        figures: by the names of the report.
        balance: how many of the 50 tasks each worker did, by its name.
    """

    runtime: str
    runtime_why: str
    steps: tuple[Step, ...]
    verdicts: Mapping[str, Verdict]
    phases: Mapping[int, Phase]
    figures: Mapping[str, float | int | None]
    balance: Mapping[str, int]
    evidence: Evidence
    marks: tuple[Mark, ...] = ()
    machine: tuple[tuple[str, str], ...] = field(default=())
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps) and all(verdict.ok for verdict in self.verdicts.values())

    def to_json(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "runtime": self.runtime,
            "steps": [
                {
                    "name": step.name,
                    "ok": step.ok,
                    "measured": step.measured.to_json(),
                    "promised": step.promised.to_json(),
                    "ideal": step.ideal.to_json(),
                }
                for step in self.steps
            ],
            "promises": {name: verdict.ok for name, verdict in self.verdicts.items()},
            "figures": {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in self.figures.items()
            },
        }
