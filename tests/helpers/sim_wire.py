"""One simulated connection: order is kept in each direction, anything may be delayed, and it may break anywhere."""

from __future__ import annotations

from typing import Any, Protocol

from tests.helpers.sim_world import World


class WireEnd(Protocol):
    def receive(self, wire: Wire, message: Any) -> None: ...

    def wire_lost(self, wire: Wire) -> None: ...


class Direction:
    """What flows one way.

    Attributes:
        last_s: when the message sent last arrives.
        dead: nothing arrives any more, not even what is under way.
    """

    __slots__ = ("dead", "last_s", "receiver", "wire", "world")

    def __init__(self, world: World, wire: Wire, receiver: WireEnd) -> None:
        self.world = world
        self.wire = wire
        self.receiver = receiver
        self.last_s = 0.0
        self.dead = False

    def send(self, message: Any) -> None:
        if self.dead:
            return
        world = self.world
        delay_s = world.delay_s(0.0, 0.002)
        if world.fault(world.stalls):
            delay_s = world.delay_s(0.0, 1.0) if world.fault(0.7) else world.delay_s(0.0, 12.0)
            world.note("wire", self.wire.name, "stalls for", delay_s)
        self.last_s = max(self.last_s, world.now_s + delay_s)
        world.at(self.last_s, self._arrive, message)

    def _arrive(self, message: Any) -> None:
        if not self.dead:
            self.receiver.receive(self.wire, message)

    def end(self, *, lose: bool) -> None:
        """The sender has let go; what is under way is lost or arrives before the receiver learns of the end."""
        if self.dead:
            return
        if lose:
            self.dead = True
            self.world.after(self.world.delay_s(0.0, 3.0), self._tell)
        else:
            self.world.at(self.last_s + self.world.delay_s(0.0, 0.01), self._tell)

    def _tell(self) -> None:
        self.dead = True
        self.receiver.wire_lost(self.wire)


class Wire:
    """A connection that an agent opened."""

    def __init__(self, world: World, name: str, agent: WireEnd, engine: WireEnd) -> None:
        self.world = world
        self.name = name
        self.up = Direction(world, self, engine)
        self.down = Direction(world, self, agent)
        if world.fault(0.15):
            world.after(world.delay_s(0.0, 20.0), self.cut)

    def cut(self) -> None:
        """The network fails: both halves lose what is under way and learn of it at different times."""
        if not self.world.calm:
            self.world.note("wire", self.name, "is cut")
            self.up.end(lose=True)
            self.down.end(lose=True)

    def closed_by_agent(self) -> None:
        self.down.dead = True
        self.up.end(lose=self.world.fault(0.5))

    def closed_by_engine(self) -> None:
        self.up.dead = True
        self.down.end(lose=self.world.fault(0.5))
