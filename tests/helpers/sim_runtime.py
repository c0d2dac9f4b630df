"""A simulated runtime: launches that take time or fail, kills that are confirmed late, deaths out of the blue.

Where it is blind (it cannot confirm a death), kills may not arrive and ends are seldom seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from taskmaster_desktop.backend.core.instructions import Assignment
from taskmaster_desktop.backend.model import Outcome, WorkerRecord
from taskmaster_desktop.backend.ports import Ended
from tests.helpers.sim_agent import Run, SimAgent
from tests.helpers.sim_judge import Judge
from tests.helpers.sim_wire import Wire
from tests.helpers.sim_world import World


class Work(NamedTuple):
    """What an execution will do."""

    lines: int
    duration_s: float
    outcome: Outcome
    kills_worker: bool


class SimRuntime:
    """All workers of the instance, living and dead, whichever engine started them.

    Attributes:
        on_ended: the present engine's ear.
        connect: opens a wire to the present engine, None while nobody listens.
        agents: by worker id, from the moment the process exists until its end is confirmed.
        gone: workers whose end was confirmed.
        reaped: a blind runtime's dead that nobody saw die.
    """

    def __init__(self, world: World, judge: Judge, *, blind: bool) -> None:
        self.world = world
        self.judge = judge
        self.blind = blind
        self.on_ended: Callable[[str, Ended], None] = lambda worker_id, ended: None
        self.connect: Callable[[SimAgent], Wire | None] = lambda agent: None
        self.agents: dict[str, SimAgent] = {}
        self.launching: set[str] = set()
        self.gone: set[str] = set()
        self._kill_after_launch: set[str] = set()

    # === what the engine asks for
    def launch(self, worker: WorkerRecord, answer: Callable[[str | None], None]) -> None:
        """`answer` gets the handle, or None where the launch failed."""
        self.launching.add(worker.id)
        fails = self.world.fault(0.1)
        delay_s = self.world.delay_s(0.0, 0.3) if not self.world.fault(0.1) else self.world.delay_s(0.0, 5.0)
        self.world.after(delay_s, self._launched, worker, fails, answer)

    def _launched(self, worker: WorkerRecord, fails: bool, answer: Callable[[str | None], None]) -> None:
        self.launching.discard(worker.id)
        if fails:
            self.gone.add(worker.id)
            answer(None)
            return
        agent = self.agents[worker.id] = SimAgent(self, worker.id, worker.slots)
        if worker.id in self._kill_after_launch:
            self._strike(agent)
        answer(f"handle of {worker.id}")

    def kill(self, worker: WorkerRecord) -> None:
        if self.blind and self.world.random.random() < 0.5:
            return
        if worker.id in self.launching:
            self._kill_after_launch.add(worker.id)
        elif worker.id in self.agents:
            self.world.after(self._kill_delay_s(), self._strike, self.agents[worker.id])
        elif not self.blind:
            self.world.after(0.0, self._report, worker.id, Ended(reason="it was not running"))

    def _kill_delay_s(self) -> float:
        return self.world.delay_s(0.0, 8.0) if self.world.fault(0.3) else self.world.delay_s(0.0, 0.05)

    def _strike(self, agent: SimAgent) -> None:
        if agent.alive:
            self.agent_dies(agent, "killed by signal 9", unordered=False)

    def terminate(self, worker: WorkerRecord) -> None:
        agent = self.agents.get(worker.id)
        if agent is not None:
            agent.ordered = True
            agent.terminated()

    def observe(self) -> dict[str, bool]:
        """Workers that left a trace, and whether anything of them may be alive."""
        seen = dict.fromkeys(self.gone, False) | dict.fromkeys(self.agents, True)
        return seen | (dict.fromkeys(self.launching, True) if self.blind else {})

    # === agents
    def open_wire(self, agent: SimAgent) -> Wire | None:
        world = self.world
        cut_off = world.now_s < agent.cut_off_until_s and not world.calm
        return None if cut_off or world.fault(0.05) else self.connect(agent)

    def work_of(self, assignment: Assignment) -> Work:
        """What an attempt of this command does: `seconds failing_attempts poison`."""
        seconds, failing, poison = assignment.command.split()
        attempt = assignment.ref.attempt
        timeout_s = assignment.batch.options.timeout_s
        duration_s = float(seconds) * self.world.delay_s(0.8, 1.2)
        outcome = Outcome.FAILED if attempt <= int(failing) else Outcome.COMPLETED
        if timeout_s is not None and duration_s > timeout_s:
            duration_s, outcome = timeout_s, Outcome.TIMEOUT
        return Work(min(int(duration_s * 2), 8), duration_s, outcome, kills_worker=attempt <= int(poison))

    def agent_exits(self, agent: SimAgent, why: str) -> None:
        """It ends by itself, its commands first."""
        if agent.alive:
            self._die(agent, Ended(reason=why, clean=why == "drained"), at_once=True)

    def agent_dies(self, agent: SimAgent, why: str, *, unordered: bool = True) -> None:
        """It is killed; its commands may outlive it until the runtime has seen to them."""
        if agent.alive:
            oom = unordered and self.world.random.random() < 0.3
            self._die(agent, Ended(reason=why, oom=oom), at_once=self.blind)

    def _die(self, agent: SimAgent, end: Ended, *, at_once: bool) -> None:
        self.world.note(agent.id, "dies:", end.reason, *agent.running)
        agent.alive = False
        if not agent.ordered:
            self.judge.unordered.update(agent.running.keys() | agent.results.keys())
        if agent.wire is not None:
            agent.wire.closed_by_agent()
        world = self.world
        reaped_s = 0.0 if at_once else world.delay_s(0.0, 1.0 if world.fault(0.3) else 0.02)
        for run in agent.running.values():
            if at_once:
                self._reap(agent, run)
            else:
                world.after(world.delay_s(0.0, reaped_s), self._reap, agent, run)
        if not self.blind or world.random.random() < 0.3:
            world.after(reaped_s + world.delay_s(0.001, 0.02), self._confirm, agent, end)

    def _reap(self, agent: SimAgent, run: Run) -> None:
        if run.event is not None:
            run.event.cancel()
        if run.assignment.ref.fence in self.judge.executions:
            self.judge.ends(run.assignment.ref.fence, "killed")

    def command_outlived(self, agent: SimAgent, run: Run) -> None:
        """A command ended by itself after its agent died and before it was reaped."""
        self.judge.ends(run.assignment.ref.fence, "unreported")

    def _confirm(self, agent: SimAgent, end: Ended) -> None:
        self._report(agent.id, end)

    def _report(self, worker_id: str, end: Ended) -> None:
        if worker_id not in self.gone:
            self.gone.add(worker_id)
            self.agents.pop(worker_id, None)
            self.on_ended(worker_id, end)
