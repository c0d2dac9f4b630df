"""Simulated people and simulated misfortune: who asks for what, and what goes wrong when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskmaster_desktop.backend.core import stimuli
from taskmaster_desktop.backend.model import TERMINAL_STATES, BatchRecord, TaskOptions
from tests.helpers import builders

if TYPE_CHECKING:
    from tests.helpers.sim_run import Simulation


class People:
    """Submit, cancel, retry, discard, scale, stop, kill, pause, at random moments.

    Attributes:
        unsent: submissions that no engine has taken yet.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.world = simulation.world
        self.judge = simulation.judge
        random = self.world.random
        plan = simulation.plan
        for _ in range(plan.batches):
            self.world.after(random.uniform(0.0, plan.trouble_s * 0.7), self.submit)
        self.unsent = plan.batches
        actions = [
            (self.cancel, plan.cancels),
            (self.retry, plan.cancels),
            (self.discard, 1),
            (self.scale, 2),
            (self.stop, 1),
            (self.kill, 2),
            (self.pause, 1),
            (self.toggle_self_heal, 1),
        ]
        for action, count in actions:
            for _ in range(random.randint(0, count)):
                self.world.after(random.uniform(0.0, plan.trouble_s), action)

    def _ask(self, stimulus: stimuli.Stimulus) -> None:
        self.sim.engine.request(stimulus, lambda _: None)

    def submit(self) -> None:
        random, plan = self.world.random, self.sim.plan
        count = random.randint(1, plan.most_tasks)
        options = TaskOptions(
            priority=random.choice((0, 0, 0, -3, 5)),
            retries=random.choice((0, 1, 2, 3)),
            retry_delay_s=random.choice((0.0, 0.1, 1.0)),
            timeout_s=random.choice((None, None, 3.0)),
        )
        works = [(self._command(), False) for _ in range(count)]
        delay_s = random.choice((None, None, None, random.uniform(0.0, 8.0)))
        run_at_us = None if delay_s is None else self.world.wall_us + round(delay_s * 1e6)
        request = builders.submission(works=works, options=options, run_at_us=run_at_us)
        if self.sim.engine.request(request, self._submitted):
            self.unsent -= 1
        else:
            self.world.after(random.uniform(0.5, 3.0), self.submit)

    def _command(self) -> str:
        """`seconds failing_attempts poison`, as `SimRuntime.work_of` reads it."""
        random, plan = self.world.random, self.sim.plan
        longest_s = 0.01 if random.random() < plan.short else random.choice((1.0, 4.0, 25.0))
        seconds = random.uniform(0.0, longest_s)
        failing = random.choice((0, 0, 0, 1, 2, 9))
        poison = random.choice((1, 3, 9)) if random.random() < plan.poison else 0
        return f"{seconds:.4f} {failing} {poison}"

    def _submitted(self, batch: Any) -> None:
        assert isinstance(batch, BatchRecord)
        numbers = range(batch.first_task, batch.first_task + batch.size)
        self.world.note("acknowledged", *numbers)
        self.judge.acknowledged.update(numbers)

    def _some_tasks(self) -> tuple[int, ...]:
        return self._sample(sorted(self.sim.store.tasks))

    def _sample(self, numbers: list[int]) -> tuple[int, ...]:
        size = self.world.random.randint(0, min(5, len(numbers)))
        return tuple(sorted(self.world.random.sample(numbers, size)))

    def cancel(self) -> None:
        unfinished = [n for n, row in self.sim.store.tasks.items() if row.state not in TERMINAL_STATES]
        numbers = self._sample(unfinished)
        self.world.note("cancel", *numbers)
        self.judge.may_cancel.update(numbers)
        self.sim.engine.act(stimuli.Cancel, numbers)

    def retry(self) -> None:
        numbers = self._some_tasks()
        self.world.note("retry", *numbers)
        self.judge.may_retry.update(numbers)
        self.sim.engine.act(stimuli.Retry, numbers)

    def discard(self) -> None:
        self.sim.engine.act(stimuli.Discard, self._some_tasks())

    def scale(self) -> None:
        desired = self.world.random.randint(0, self.sim.plan.workers + 1)
        self.world.note("scale to", desired)
        self._ask(stimuli.Scale(desired=desired))

    def _some_worker(self) -> int:
        return self.world.random.randint(1, max(1, len(self.sim.store.workers)))

    def stop(self) -> None:
        self._ask(stimuli.StopWorker(worker=self._some_worker()))

    def kill(self) -> None:
        number = self._some_worker()
        self.world.note("kill", number)

        def killed(_: object) -> None:
            row = self.sim.store.workers.get(number)
            agent = self.sim.runtime.agents.get(row.id) if row is not None else None
            if agent is not None:
                agent.ordered = True

        self.sim.engine.request(stimuli.OrderKill(worker=number), killed)

    def pause(self) -> None:
        self._ask(stimuli.SetPaused(paused=True))
        self.world.after(self.world.random.uniform(0.0, 5.0), self.resume)

    def resume(self) -> None:
        self._ask(stimuli.SetPaused(paused=False))

    def toggle_self_heal(self) -> None:
        self._ask(stimuli.SetSelfHeal(self_heal=self.world.random.random() < 0.5))

    def put_right(self) -> bool:
        """At the end everything is switched on again; whether the engine took it."""
        engine = self.sim.engine
        wishes: tuple[stimuli.Stimulus, ...] = (
            stimuli.SetPaused(paused=False),
            stimuli.SetSelfHeal(self_heal=True),
            stimuli.Scale(desired=self.sim.plan.workers),
        )
        return all(engine.request(wish, lambda _: None) for wish in wishes)


class Misfortune:
    """Deaths, pauses, cut connections and turned clocks at random moments."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.world = simulation.world
        random = self.world.random
        plan = simulation.plan
        for event, count in (
            (self.death, plan.deaths),
            (self.pause, plan.pauses),
            (self.partition, plan.partitions),
            (self.sigterm, 1),
            (self.cut, 3),
            (self.turn_clock, 2),
        ):
            for _ in range(random.randint(0, count)):
                self.world.after(random.uniform(0.0, plan.trouble_s), event)

    def _some_agent(self) -> Any:
        agents = [agent for agent in self.sim.runtime.agents.values() if agent.alive]
        return self.world.random.choice(agents) if agents else None

    def death(self) -> None:
        agent = self._some_agent()
        if agent is not None:
            self.sim.runtime.agent_dies(agent, "killed out of the blue")

    def pause(self) -> None:
        agent = self._some_agent()
        if agent is not None:
            agent.pause(self.world.random.choice((0.2, 3.0, 9.0, 14.0, 25.0)))

    def partition(self) -> None:
        """The worker runs on, but nothing gets through to it."""
        agent = self._some_agent()
        if agent is not None:
            seconds = self.world.random.choice((1.0, 9.0, 12.0, 25.0))
            self.world.note(agent.id, "is cut off for", seconds)
            agent.cut_off_until_s = self.world.now_s + seconds
            if agent.wire is not None:
                agent.wire.cut()

    def sigterm(self) -> None:
        agent = self._some_agent()
        if agent is not None:
            agent.terminated()

    def cut(self) -> None:
        agent = self._some_agent()
        if agent is not None and agent.wire is not None:
            agent.wire.cut()

    def turn_clock(self) -> None:
        seconds = self.world.random.uniform(-10.0, 10.0)
        self.world.note("wall clock turned by", seconds)
        self.world.turn_wall_clock(seconds)
