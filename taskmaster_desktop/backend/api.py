"""The one door to the engine for window, HTTP and command line. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from taskmaster_desktop.backend.commands import Command
from taskmaster_desktop.backend.core.stimuli import Heartbeat
from taskmaster_desktop.backend.events import Listener
from taskmaster_desktop.backend.model import BatchRecord, Totals
from taskmaster_desktop.backend.ports import Query, Sighting


class Submitted(NamedTuple):
    """The answer to `SubmitBatch`.

    Attributes:
        repeated: the idempotency key was known; this is the first answer again.
    """

    batch: BatchRecord
    repeated: bool

    @property
    def batch_id(self) -> UUID:
        return UUID(bytes=self.batch.id)

    @property
    def task_numbers(self) -> range:
        return range(self.batch.first_task, self.batch.first_task + self.batch.size)


class BackendApi(Protocol):
    """What a running engine offers. All methods may be called from any thread and return at once."""

    def submit(self, command: Command) -> Future[Any]:
        """Ask for something; the future is done once the effect is durable.

        Results: `Submitted` for a batch, the number of affected tasks for `TaskAction`s, None otherwise.
        Errors: UserError (nothing was done), EnvironmentProblem (try again after mending).
        """

    def wait_batch(self, batch: int) -> Future[BatchRecord]:
        """Done when every task of the batch is in a terminal state."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of events on the engine's thread; must be quick. Returns how to stop it."""

    @property
    def query(self) -> Query:
        """Reads; each blocks its caller for some milliseconds, never the engine."""

    @property
    def totals(self) -> Totals:
        """The figures as of the last commit."""

    @property
    def usage(self) -> dict[int, Heartbeat]:
        """The newest heartbeat of each connected worker, by its number."""

    @property
    def heard(self) -> dict[int, int]:
        """When the newest heartbeat of each connected worker came, in microseconds, by its number."""

    @property
    def epoch(self) -> int:
        """Which life of the engine on this database it is; greater than every earlier one."""

    @property
    def changes(self) -> int:
        """Grows with every commit: whoever shows something looks again when it has."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, with the fix."""

    @property
    def fleet_trouble(self) -> str | None:
        """Why workers can neither be started nor ended at the moment, with the fix."""

    @property
    def sightings(self) -> Mapping[str, Sighting]:
        """How the runtime saw its living workers last, by worker id; empty where it sees no more than life."""

    def worker_log(self, worker: int, *, tail_bytes: int = 65_536) -> Future[bytes]:
        """The end of a worker's own log."""
