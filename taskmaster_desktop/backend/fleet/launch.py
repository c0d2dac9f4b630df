"""Starting an agent's process and handing it its secret. Blocking; called on the runtime's helper threads."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskmaster_desktop.backend.fleet.linux import ProcessRef, boot_id
from taskmaster_desktop.backend.fleet.worker_folder import LOG_NAME, WORK_NAME, Trace, WorkerFolders
from taskmaster_desktop.backend.handover import bundle_of
from taskmaster_desktop.backend.ports import WorkerSecret

MARK = "TASKMASTER_WORKER"
"""The worker's name, in the environment of the agent and of its commands: by it an engine knows its own."""

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH")


class _Detached(subprocess.Popen[bytes]):
    """A process that may outlive this object without a warning; it is watched and reaped by its pidfd."""

    def __del__(self) -> None:
        pass


def launch_agent(
    command: Sequence[str], folders: WorkerFolders, secret: WorkerSecret, extra_env: Mapping[str, str]
) -> tuple[Trace, ProcessRef]:
    """Starts the agent in a new session. Its trace is on disk before it gets its secret, so that an agent
    that works can always be found again; one that never gets its secret exits.

    Raises:
        OSError: the process could not be started or its folder not be written; nothing runs.
    """
    folder = folders.create(secret.worker_id)
    process = _start(command, folder, _environment(secret.name, extra_env))
    assert process.stdin is not None
    with process.stdin:
        ref = ProcessRef.open(process.pid)
        assert ref is not None, "a child that nobody waited for still exists"
        trace = Trace(
            worker_id=secret.worker_id,
            name=secret.name,
            pid=ref.pid,
            started=ref.started,
            boot_id=boot_id(),
        )
        try:
            folders.write(trace)
        except OSError:
            ref.send_signal(signal.SIGKILL)
            process.wait()
            ref.close()
            raise
        _hand_over(process.stdin.fileno(), bundle_of(secret, work_dir=str(folder / WORK_NAME)))
    return trace, ref


def _start(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> _Detached:
    descriptor = os.open(folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log_file:
        return _Detached(
            list(command),
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(env),
            start_new_session=True,
            bufsize=0,
        )


def _environment(name: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Little, and nothing secret: everybody with the same user may read it."""
    inherited = {variable: os.environ[variable] for variable in _INHERITED if variable in os.environ}
    if "PYTHONPATH" in inherited:  # its relative parts would mean another place in the agent's folder
        parts = inherited["PYTHONPATH"].split(os.pathsep)
        inherited["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
    return inherited | dict(extra) | {MARK: name}


def _hand_over(descriptor: int, bundle: bytes) -> None:
    """An agent that is already dead reads nothing; its end is noticed elsewhere."""
    view = memoryview(bundle)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        pass
