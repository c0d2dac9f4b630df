"""One simulated run from a seed: trouble, then calm, then the verdict.

python -m tests.helpers.sim_run SEED [PLAN]      replays a seed and shows the end of its trace
"""

from __future__ import annotations

import logging
import sys
from ast import literal_eval
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from taskmaster_desktop.backend.core.policy import Policy
from tests.helpers.sim_engine import SimEngine
from tests.helpers.sim_judge import Judge, WatchedStore
from tests.helpers.sim_people import Misfortune, People
from tests.helpers.sim_runtime import SimRuntime
from tests.helpers.sim_world import World

CALM_LIMIT_S = 600.0
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
            crash_after=random.choice((None, None, 100, 500, 2000)),
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
        self.world.note(self.plan)
        self.world.on_crash = self._crashed
        self.store = WatchedStore()
        self.judge = self.store.judge = Judge(self.world, self.store)
        self.runtime = SimRuntime(self.world, self.judge, blind=self.plan.blind)
        self.engines: list[SimEngine] = []
        self.engine = self._start_engine()
        self.people = People(self)
        Misfortune(self)

    def _start_engine(self) -> SimEngine:
        most = self.plan.crash_after
        points = None if most is None else self.world.random.randint(1, most)
        self.engine = SimEngine(self.world, self.store, self.runtime, self.plan.policy, points=points)
        self.engines.append(self.engine)
        return self.engine

    def _crashed(self) -> None:
        self.engine.crash()
        self.people.engine_died()
        self.world.after(self.world.random.choice((0.05, 0.5, 3.0, 12.0)), self._start_engine)

    # === the run
    def run(self) -> None:
        """Raises Broken where a promise was not kept."""
        world = self.world
        self.people.first_scale()
        world.run(world.now_s + self.plan.trouble_s)
        self._calm()
        world.run(world.now_s + CALM_LIMIT_S, done=self._all_is_done)
        world.run(world.now_s + SETTLE_LIMIT_S, done=self._is_settled)
        self.judge.final()
        self._check_keys()
        self._check_memory()
        self._shut_down()

    def _calm(self) -> None:
        self.world.note("calm")
        self.world.calm = True
        for agent in self.runtime.agents.values():
            agent.resume()
        self.people.put_right()

    def _all_is_done(self) -> bool:
        return (
            not self.store.totals.unfinished
            and not self.judge.running
            and self.people.content
            and all(wish.settled for wish in self.people.wishes)
            and self.engine.idle
        )

    def _is_settled(self) -> bool:
        return self.engine.idle and self._agents_are_free()

    def _agents_are_free(self) -> bool:
        return not any(
            agent.results or agent.running or agent.waiting
            for agent in self.runtime.agents.values()
            if agent.alive
        )

    def _check_keys(self) -> None:
        keys = Counter(batch.idempotency_key for batch in self.store.batches.values())
        del keys[None]
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            self.judge.fail(f"submitted twice under one key: {twice}")

    def _check_memory(self) -> None:
        if not self.engine.idle:
            self.judge.fail(f"the engine still owes {len(self.engine.owed)} answers or has work to do")
        if not self._agents_are_free():
            self.judge.fail("an agent still holds what is over")
        machine = self.engine.machine
        assert machine is not None
        machine.validate()
        left = sorted(machine._state.tasks)
        if left:
            self.judge.fail(f"tasks {left} are over and still in memory")

    def _shut_down(self) -> None:
        self.engine.stop(grace_s=30.0)
        self.world.run(self.world.now_s + 60.0, done=lambda: self.engine.ended)
        if not self.engine.ended:
            self.judge.fail("the engine does not stop")
        self.judge.no_worker_left()

    def close(self) -> None:
        """Leave no coroutine behind, however the run ended."""
        self.store.judge = None
        for engine in self.engines:
            engine.crash()
            engine.bury()


def simulate(seed: int, **where: Any) -> Simulation:
    """Run a seed, under a given plan where one is given; a broken promise is raised with what replays it."""
    logging.disable(logging.CRITICAL)  # an engine in such trouble has a lot to say
    simulation = Simulation(seed, **where)
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"replay: python -m tests.helpers.sim_run {seed} {where or ''}")
        error.add_note(simulation.world.last())
        raise
    finally:
        simulation.close()
        logging.disable(logging.NOTSET)
    return simulation


def main() -> None:
    seed = int(sys.argv[1])
    where = literal_eval(sys.argv[2]) if len(sys.argv) > 2 else {}
    simulation = Simulation(seed, **where)
    verdict = "all promises kept"
    try:
        simulation.run()
    except Exception as error:
        verdict = f"{type(error).__name__}: {error}"
        raise
    finally:
        simulation.close()
        events = f"seed {seed}, {simulation.world.steps} events"
        sys.stdout.write(f"{simulation.world.last(100_000)}\n{events}: {verdict}\n")


if __name__ == "__main__":
    main()
