"""A Docker Engine of the tests' own beside the one that others use too, so that it may be frozen and killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import docker

from tests.helpers.engines import runs
from tests.helpers.eventually import eventually
from tests.helpers.leaks import RUN_MARK

ANSWER_LIMIT_S = 60.0
MOUNTS = Path("/proc/self/mounts")


class SecondEngine:
    """Its containers have no network but the loopback. All it writes is in one short folder."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tm-dockerd-"))
        self.url = f"unix://{self._folder}/s"
        self._pid_file = self._folder / "pid"

    @property
    def pid(self) -> int:
        return int(self._pid_file.read_text())

    def start(self) -> None:
        """Returns once it answers."""
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        command = [
            "dockerd", f"--host={self.url}", "--bridge=none", "--iptables=false", "--ip-forward=false",
            "--ip-masq=false", f"--cgroup-parent=/{self._folder.name}", "--shutdown-timeout=5",
            *(f"--{name}={self._folder / place}" for name, place in places.items()),
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name != RUN_MARK}
        with (self._folder / "log").open("ab") as log:
            # Not a child of the tests: it lives on from one to the next. In a network namespace of its own:
            # an engine without a bridge takes away the one that the other engine uses.
            subprocess.run(
                ["setsid", "--fork", "unshare", "--net", *command],
                env=environment, stdout=log, stderr=log, check=True,
            )  # fmt: skip
        try:
            eventually(self._answers, timeout_s=ANSWER_LIMIT_S)
        except AssertionError as error:
            said = (self._folder / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"the second engine does not answer: {said}") from error

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as door:
            if door.connect_ex(str(self._folder / "s")):
                return False
        self.client().close()
        return True

    def client(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.url)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, number: signal.Signals) -> None:
        """Returns once it runs no more; its containers may."""
        pid = self.pid
        os.kill(pid, number)
        helper_file = self._folder / "exec" / "containerd" / "containerd.pid"
        helper = int(helper_file.read_text()) if helper_file.exists() else 0
        eventually(lambda: not (runs(pid) or runs(helper)), timeout_s=ANSWER_LIMIT_S, what="it has ended")
        # A new one would wait for what these name, though it is dead, while nobody has asked how it ended.
        self._pid_file.unlink(missing_ok=True)
        helper_file.unlink(missing_ok=True)

    def remove(self) -> None:
        """End it with everything it runs, and remove its folder."""
        if self._pid_file.exists() and runs(self.pid):
            self.signal(signal.SIGCONT)
            self.end(signal.SIGTERM)
        for line in reversed(MOUNTS.read_text().splitlines()):
            mounted = line.split()[1]
            if mounted.startswith(f"{self._folder}/"):
                subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        shutil.rmtree(self._folder)
