"""Decides what an assignment means: a built-in job, a shell command or an argument list.

Owns the environment that commands get. On the one asyncio loop.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping

from taskmaster_worker._pb import worker_pb2 as pb
from taskmaster_worker.attempts import Execution, RunningAttempt, WorkError
from taskmaster_worker.jobs import JobExecution, parse_job
from taskmaster_worker.runner import CANNOT_EXECUTE, CommandExecution, CommandPlan, Workshop

# All that a command sees of the worker's own environment.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Launchpad:
    """Makes the execution of one assignment after another."""

    def __init__(self, shop: Workshop, *, worker_name: str, env: Mapping[str, str]) -> None:
        self._shop = shop
        self._worker_name = worker_name
        self._base_env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._base_env.update(env)
        self._base_env["TASKMASTER_WORKER"] = worker_name

    def __call__(self, assign: pb.Assign, run: RunningAttempt) -> Execution:
        """Raises WorkError when the assignment makes no sense or the disk is at fault."""
        kind = assign.WhichOneof("work")
        if kind == "command":
            job = parse_job(assign.command)
            if job is not None:
                return JobExecution(self._shop.loop, job, run, self._worker_name)
            if not assign.command.strip():
                raise WorkError(CANNOT_EXECUTE, "the command is empty")
            return self._command(["/bin/sh", "-c", assign.command], assign, run)
        if kind == "argv" and assign.argv.items and assign.argv.items[0]:
            return self._command(list(assign.argv.items), assign, run)
        raise WorkError(CANNOT_EXECUTE, "the engine sent no command to execute")

    def _command(self, argv: list[str], assign: pb.Assign, run: RunningAttempt) -> CommandExecution:
        env = self._environment(assign)
        temp_folder = None if assign.cwd else self._borrow_folder()
        plan = CommandPlan(argv=argv, cwd=assign.cwd or temp_folder or "", env=env, temp_folder=temp_folder)
        return CommandExecution(self._shop, plan, run)

    def _environment(self, assign: pb.Assign) -> dict[str, str]:
        if len(assign.task_id) != 16:
            raise WorkError(CANNOT_EXECUTE, "the engine sent no valid task id")
        env = self._base_env.copy()
        env["TASKMASTER_TASK_ID"] = str(uuid.UUID(bytes=assign.task_id))
        env["TASKMASTER_TASK_NUMBER"] = str(assign.task)
        env["TASKMASTER_ATTEMPT"] = str(assign.attempt)
        env.update(assign.env)
        return env

    def _borrow_folder(self) -> str:
        try:
            return self._shop.folders.borrow()
        except OSError as error:
            raise WorkError(CANNOT_EXECUTE, f"no temporary folder could be made: {error}") from error
