"""Simulated people and simulated misfortune: who asks for what, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from taskmaster_desktop.backend.api import Submitted
from taskmaster_desktop.backend.commands import (
    CancelTasks,
    Command,
    DiscardTasks,
    KillWorkerNow,
    PauseQueue,
    RetryTasks,
    ScaleFleet,
    SelfHeal,
    StopWorkerGently,
    SubmitBatch,
    Work,
)
from taskmaster_desktop.backend.model import TERMINAL_STATES, TaskOptions

if TYPE_CHECKING:
    from tests.helpers.sim_run import Simulation


class Wish:
    """A submission that somebody makes, and makes again until it is answered.

    With an idempotency key it may be made again at any time. Without one it is given up when the engine dies,
    because nobody can know whether it was heard.
    """

    def __init__(self, people: People, command: SubmitBatch) -> None:
        self.people = people
        self.command = command
        self.settled = False
        self.number: int | None = None
        self._future: Future[Any] | None = None

    def make(self) -> None:
        if self.settled:
            return
        self._future = future = self.people.sim.engine.submit(self.command)
        if future is None:
            self._later()
        else:
            future.add_done_callback(self._answered)

    def _later(self) -> None:
        world = self.people.world
        world.after(world.random.uniform(0.5, 3.0), self.make)

    def _answered(self, future: Future[Any]) -> None:
        if future is not self._future or self.settled:
            return
        if future.exception() is not None:
            self._later()
            return
        answer = future.result()
        assert isinstance(answer, Submitted)
        batch = answer.batch
        self.settled = True
        self.number = batch.number
        numbers = range(batch.first_task, batch.first_task + batch.size)
        self.people.world.note("acknowledged", *numbers)
        self.people.judge.acknowledged.update(numbers)
        self.people.sim.engine.wait_batch(batch.number)

    def engine_died(self) -> None:
        if self._future is None or self.settled:
            return
        self._future = None
        if self.command.idempotency_key is None:
            self.settled = True
        else:
            self._later()


class People:
    """Submit, cancel, retry, discard, scale, stop, kill, pause, at random moments.

    Attributes:
        wishes: all submissions.
        content: at the end, everything was switched on again.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.world = simulation.world
        self.judge = simulation.judge
        self.content = False
        self.wishes = [Wish(self, self._submission(number)) for number in range(simulation.plan.batches)]
        random = self.world.random
        plan = simulation.plan
        for wish in self.wishes:
            self.world.after(random.uniform(0.0, plan.trouble_s * 0.7), wish.make)
        actions: list[tuple[Callable[[], None], int]] = [
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

    def _ask(self, command: Command, then: Callable[[], None] = lambda: None) -> None:
        """`then` is called if it was done."""
        future = self.sim.engine.submit(command)
        if future is None:
            self.world.note("nobody hears", type(command).__name__)
        else:
            future.add_done_callback(lambda done: None if done.exception() is not None else then())

    def _submission(self, number: int) -> SubmitBatch:
        random, plan = self.world.random, self.sim.plan
        return SubmitBatch(
            works=[Work(command=self._command()) for _ in range(random.randint(1, plan.most_tasks))],
            options=TaskOptions(
                priority=random.choice((0, 0, 0, -3, 5)),
                retries=random.choice((0, 1, 2, 3)),
                retry_delay_s=random.choice((0.0, 0.1, 1.0)),
                timeout_s=random.choice((None, None, 3.0)),
            ),
            delay_s=random.choice((0.0, 0.0, 0.0, random.uniform(0.0, 8.0))),
            idempotency_key=random.choice((None, f"key {number}")),
        )

    def _command(self) -> str:
        """`seconds failing_attempts poison`, as `SimRuntime.work_of` reads it."""
        random, plan = self.world.random, self.sim.plan
        longest_s = 0.01 if random.random() < plan.short else random.choice((1.0, 4.0, 25.0))
        seconds = random.uniform(0.0, longest_s)
        failing = random.choice((0, 0, 0, 1, 2, 9))
        poison = random.choice((1, 3, 9)) if random.random() < plan.poison else 0
        return f"{seconds:.4f} {failing} {poison}"

    def engine_died(self) -> None:
        for wish in self.wishes:
            wish.engine_died()

    # === tasks
    def _sample(self, numbers: list[int]) -> tuple[int, ...]:
        size = self.world.random.randint(0, min(5, len(numbers)))
        return tuple(sorted(self.world.random.sample(numbers, size)))

    def cancel(self) -> None:
        unfinished = [n for n, row in self.sim.store.tasks.items() if row.state not in TERMINAL_STATES]
        numbers = self._sample(unfinished)
        self.world.note("cancel", *numbers)
        self.judge.may_cancel.update(numbers)
        self._ask(CancelTasks(numbers=numbers))

    def retry(self) -> None:
        numbers = self._sample(sorted(self.sim.store.tasks))
        self.world.note("retry", *numbers)
        self.judge.may_retry.update(numbers)
        self._ask(RetryTasks(numbers=numbers))

    def discard(self) -> None:
        self._ask(DiscardTasks(numbers=self._sample(sorted(self.sim.store.tasks))))

    # === workers
    def _some_worker(self) -> int:
        return self.world.random.randint(1, max(1, len(self.sim.store.workers)))

    def scale(self) -> None:
        desired = self.world.random.randint(0, self.sim.plan.workers + 1)
        self.world.note("scale to", desired)
        self._ask(ScaleFleet(workers=desired))

    def stop(self) -> None:
        self._ask(StopWorkerGently(worker=self._some_worker()))

    def kill(self) -> None:
        number = self._some_worker()
        self.world.note("kill", number)

        def ordered() -> None:
            row = self.sim.store.workers.get(number)
            agent = self.sim.runtime.agents.get(row.id) if row is not None else None
            if agent is not None:
                agent.ordered = True

        self._ask(KillWorkerNow(worker=number), ordered)

    # === the queue
    def pause(self) -> None:
        self._ask(PauseQueue(paused=True))
        self.world.after(self.world.random.uniform(0.0, 5.0), self.resume)

    def resume(self) -> None:
        self._ask(PauseQueue(paused=False))

    def toggle_self_heal(self) -> None:
        self._ask(SelfHeal(on=self.world.random.random() < 0.5))

    def put_right(self) -> None:
        """At the end everything is switched on again, however long it takes."""
        if not self.content:
            self._ask(PauseQueue(paused=False))
            self._ask(SelfHeal(on=True))
            self._ask(ScaleFleet(workers=self.sim.plan.workers), self._be_content)
            self.world.after(1.0, self.put_right)

    def _be_content(self) -> None:
        self.content = True

    def first_scale(self) -> None:
        if not self.sim.store.totals.desired:
            self._ask(ScaleFleet(workers=self.sim.plan.workers))
            self.world.after(1.0, self.first_scale)


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
