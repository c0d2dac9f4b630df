"""What the old API shows of tasks and workers, as bytes that are kept until something has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from taskmaster_desktop.backend.api import BackendApi
from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.http.old.answers import iso
from taskmaster_desktop.backend.http.old.kept import Kept
from taskmaster_desktop.backend.model import (
    ACTIVE_STATES,
    TaskFilter,
    TaskRecord,
    TaskState,
    WorkerRecord,
    WorkerState,
)
from taskmaster_desktop.backend.ports import Clock

MAX_TASKS = 1_000
MAX_GONE_WORKERS = 20
MAX_ACTIVE = 1_000


class Views:
    def __init__(self, api: BackendApi, clock: Clock | None = None) -> None:
        self._api = api
        self._clock = clock or SystemClock()
        self._living: frozenset[int] | None = None  # this and the next belong to whoever makes `stats`
        self._gone: Sequence[WorkerRecord] = ()
        self._newest_workers: Sequence[dict[str, Any]] = ()
        self.stats = Kept(api, self._make_stats)
        self.tasks = Kept(api, self._make_tasks)

    def forget(self) -> None:
        self.stats.forget()
        self.tasks.forget()

    async def workers(self) -> bytes:
        """The same moment as `stats` shows."""
        await self.stats.get()
        return _json(self._newest_workers)

    def _make_tasks(self) -> bytes:
        page = self._api.query.tasks(TaskFilter(), after=None, limit=MAX_TASKS, newest_first=True)
        return _json([task_view(task) for task in reversed(page.tasks)])

    def _make_stats(self) -> bytes:
        totals = self._api.totals  # before the workers: their figures are never behind the total
        workers = self._workers()
        self._newest_workers = workers
        return _json(
            {
                "total_tasks": totals.tasks,
                "pending_tasks": totals.pending + totals.assigned,
                "running_tasks": totals.running,
                "completed_tasks": totals.completed,
                "failed_tasks": totals.failed,
                "workers": workers,
            }
        )

    def _workers(self) -> list[dict[str, Any]]:
        """The living, and those that went last."""
        query = self._api.query
        living = query.workers(living_only=True)
        numbers = frozenset(worker.number for worker in living)
        if self._living is None or not self._living <= numbers:
            gone = [w for w in query.workers(living_only=False) if w.state is WorkerState.OFFLINE]
            gone.sort(key=lambda worker: worker.offline_us or 0)
            self._gone = gone[-MAX_GONE_WORKERS:]
        self._living = numbers
        shown = {worker.number: worker for worker in (*self._gone, *living)}
        active = query.tasks(
            TaskFilter(states=ACTIVE_STATES), after=None, limit=MAX_ACTIVE, newest_first=True
        )
        current: dict[int | None, TaskRecord] = {}
        for task in active.tasks:
            if task.worker not in current or task.state is TaskState.RUNNING:
                current[task.worker] = task
        return [self._worker_view(worker, current.get(worker.number)) for _, worker in sorted(shown.items())]

    def _worker_view(self, worker: WorkerRecord, task: TaskRecord | None) -> dict[str, Any]:
        online = worker.state in (WorkerState.ONLINE, WorkerState.DRAINING)
        heard = self._clock.now().wall_us if online and worker.number in self._api.usage else None
        return {
            "id": worker.number,
            "name": worker.name,
            "status": "online" if online else "offline",
            "current_task_id": str(task.uuid) if task is not None and online else None,
            "tasks_completed": worker.completed,
            "last_active_at": iso(heard or worker.offline_us or worker.online_us or worker.started_us),
        }


def task_view(task: TaskRecord) -> dict[str, Any]:
    finished = iso(task.finished_us)
    picked = task.attempt > 0
    return {
        "task_id": str(UUID(bytes=task.id)),
        "command": task.command,
        "scheduled_at": iso(task.run_at_us if task.run_at_us is not None else task.created_us),
        "picked_at": iso(task.assigned_us) if picked else "",
        "started_at": iso(task.started_us) if picked else "",
        "completed_at": finished if task.state is TaskState.COMPLETED else "",
        "failed_at": finished if task.state is TaskState.FAILED else "",
        "worker_id": task.worker,
    }


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
