"""One simulated run from a seed: trouble, then calm, then the verdict.

python -m tests.helpers.sim_run SEED      replays a seed and shows the end of its trace
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.core.policy import Policy
from tests.helpers.sim_engine import SimEngine
from tests.helpers.sim_judge import Judge, WatchedStore
from tests.helpers.sim_people import Misfortune, People
from tests.helpers.sim_runtime import SimRuntime
from tests.helpers.sim_world import World

CALM_LIMIT_S = 600.0
SETTLE_S = 1.0
SETTLE_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What kind of run it will be, drawn from the seed.

    Attributes:
        short: share of tasks that last milliseconds.
        poison: share of tasks that kill their worker.
        crash_after: how many points an engine process passes at most; None for a run without engine crashes.
        stalls: share of messages that are held up for long.
        slow: share of calls of the store that take seconds.
    """

    trouble_s: float
    blind: bool
    workers: int
    slots: int
    window: int
    prefetch_depth: int
    batches: int
    most_tasks: int
    short: float
    poison: float
    cancels: int
    deaths: int
    pauses: int
    partitions: int
    crash_after: int | None
    stalls: float
    slow: float

    @classmethod
    def draw(cls, random: Random) -> Plan:
        return cls(
            trouble_s=random.uniform(5.0, 40.0),
            blind=random.random() < 0.25,
            workers=random.randint(2, 4),
            slots=random.choice((1, 1, 1, 2, 3)),
            window=random.choice((2, 4, 4096)),
            prefetch_depth=random.choice((0, 4, 128)),
            batches=random.randint(1, 5),
            most_tasks=random.choice((1, 3, 12)),
            short=random.choice((0.0, 0.5, 1.0)),
            poison=random.choice((0.0, 0.0, 0.1)),
            cancels=random.choice((0, 3, 20)),
            deaths=random.choice((0, 1, 4)),
            pauses=random.choice((0, 1, 4)),
            partitions=random.choice((0, 1, 4)),
            crash_after=random.choice((None, None, 30, 150, 400)),
            stalls=random.choice((0.0, 0.005, 0.05)),
            slow=random.choice((0.01, 0.1)),
        )

    @property
    def policy(self) -> Policy:
        return Policy(
            slots=self.slots,
            confirms_death=not self.blind,
            self_stop_s=8.0 if self.blind else 60.0,
            start_limit_s=20.0,
            window=self.window,
            prefetch_depth=self.prefetch_depth,
            due_slice=2,
        )


class Simulation:
    """A world with one instance in it."""

    def __init__(self, seed: int, **where: Any) -> None:
        self.world = World(seed)
        self.plan = replace(Plan.draw(self.world.random), **where)
        self.world.stalls, self.world.slow = self.plan.stalls, self.plan.slow
        self.store = WatchedStore()
        self.judge = self.store.judge = Judge(self.world, self.store)
        self.runtime = SimRuntime(self.world, self.judge, blind=self.plan.blind)
        self.world.on_crash = self._crashed
        self.is_right = False
        self.engine = self._start_engine()

    def _start_engine(self) -> SimEngine:
        most = self.plan.crash_after
        points = None if most is None else self.world.random.randint(1, most)
        self.engine = SimEngine(self.world, self.store, self.runtime, self.plan.policy, points=points)
        return self.engine

    def _crashed(self) -> None:
        self.engine.crash()
        away_s = self.world.random.choice((0.05, 0.5, 3.0, 12.0))
        self.world.after(away_s, self._start_engine)

    # === the run
    def run(self) -> None:
        """Raises Broken where a promise was not kept."""
        world = self.world
        world.note(self.plan)
        world.after(0.01, self._first_scale)
        self.people = People(self)
        Misfortune(self)
        world.run(world.now_s + self.plan.trouble_s)
        self._calm()
        world.run(world.now_s + CALM_LIMIT_S, done=self._all_is_done)
        world.run(world.now_s + SETTLE_S)
        world.run(world.now_s + SETTLE_LIMIT_S, done=self._agents_are_free)
        self.judge.final()
        self._check_agents()
        self._shut_down()

    def _first_scale(self) -> None:
        if not self.engine.request(stimuli.Scale(desired=self.plan.workers), lambda _: None):
            self.world.after(0.5, self._first_scale)

    def _calm(self) -> None:
        self.world.note("calm")
        self.world.calm = True
        for agent in self.runtime.agents.values():
            agent.resume()
        self._put_right()

    def _put_right(self) -> None:
        self.is_right = self.people.put_right()
        if not self.is_right:
            self.world.after(0.5, self._put_right)

    def _all_is_done(self) -> bool:
        if self.store.totals.unfinished or self.judge.running or self.people.unsent or not self.is_right:
            return False
        return self.engine.idle

    def _agents_are_free(self) -> bool:
        return not any(
            agent.results or agent.running or agent.waiting
            for agent in self.runtime.agents.values()
            if agent.alive
        )

    def _check_agents(self) -> None:
        for agent in self.runtime.agents.values():
            if agent.alive and (agent.results or agent.running or agent.waiting):
                self.judge.fail(f"{agent.id} still holds {agent.results} {agent.running} {agent.waiting}")
        machine = self.engine.machine
        assert machine is not None
        machine.validate()
        left = sorted(machine._state.tasks)
        if left:
            self.judge.fail(f"tasks {left} are over and still in memory")

    def _shut_down(self) -> None:
        self.engine.request(stimuli.Shutdown(), lambda _: None)
        self.world.run(self.world.now_s + 60.0, done=self._no_worker)
        self.judge.no_worker_left()

    def _no_worker(self) -> bool:
        machine = self.engine.machine
        return machine is not None and not machine.worker_numbers and self.engine.idle


def simulate(seed: int, **where: Any) -> Simulation:
    """Run a seed, under a given plan where one is given; a broken promise is raised with what replays it."""
    simulation = Simulation(seed, **where)
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"replay: python -m tests.helpers.sim_run {seed}")
        error.add_note(simulation.world.last())
        raise
    return simulation


def main() -> None:
    seed = int(sys.argv[1])
    simulation = Simulation(seed)
    verdict = "all promises kept"
    try:
        simulation.run()
    except Exception as error:
        verdict = f"{type(error).__name__}: {error}"
        raise
    finally:
        sys.stdout.write(
            f"{simulation.world.last(100_000)}\nseed {seed}, {simulation.world.steps} events: {verdict}\n"
        )


if __name__ == "__main__":
    main()
