"""The numbers the core decides by; their meanings are fixed in the worker protocol and the user guide."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    Attributes:
        slots: how many tasks a worker runs at once.
        lease_s: a worker silent for this long is killed, and its tasks go elsewhere once it is dead.
        self_stop_s: a worker alone for this long stops by itself.
        confirms_death: whether the runtime can tell that a worker is dead; where it cannot, the worker
            counts as dead `self_stop_s` + `self_stop_margin_s` after it was last heard.
        start_limit_s: a worker that has not connected by then is killed.
        prefetch_below_us: tasks are given ahead of need while they last less than this on average.
        prefetch_depth: how many a worker may hold beyond its slots.
        recall_after_s: tasks given ahead are taken back from a worker that made no progress for this
            long while another one idles.
        quarantine_deaths: unordered deaths of its workers after which a task is failed.
        window: how many ready (and how many delayed) tasks are held in memory.
        due_slice: how many delayed tasks become ready in one step.
    """

    slots: int = 1
    runtime: str = "process"
    lease_s: float = 10.0
    self_stop_s: float = 60.0
    self_stop_margin_s: float = 2.0
    confirms_death: bool = True
    start_limit_s: float = 60.0
    prefetch_below_us: float = 20_000.0
    prefetch_depth: int = 128
    recall_after_s: float = 0.05
    quarantine_deaths: int = 3
    window: int = 4096
    due_slice: int = 512
