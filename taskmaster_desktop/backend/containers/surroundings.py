"""What containers of an instance need around them, and who the engine is. Blocking; called on helper threads."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskmaster_desktop.backend.containers.api import Conflict, ContainerApi
from taskmaster_desktop.backend.containers.profile import (
    DATA_LABEL,
    INSTANCE_LABEL,
    KIND_NETWORK,
    LABEL,
    NETWORK_OPTIONS,
)
from taskmaster_desktop.backend.errors import EnvironmentProblem

log = logging.getLogger(__name__)

BRIDGE_NAME = "com.docker.network.bridge.name"


class Surroundings:
    """One bridge for each instance; idempotent and made again when somebody has removed it."""

    def __init__(self, api: ContainerApi, *, instance: str, data_dir: Path, network: bool) -> None:
        self.network_name = f"tm-{instance[:8]}"
        self._api = api
        self._instance = instance
        self._data_dir = data_dir
        self._id_file = data_dir / "run" / "docker-engine"
        self._wanted = network
        self._lock = threading.Lock()
        self._subnet: str | None = None  # made anew, it must lead to the address the door listens on

    def prepare(self) -> tuple[str, ...]:
        """See that the bridge is there; returns the addresses by which it leads to this machine.

        Raises EnvironmentProblem where somebody else's network has the name.
        """
        if not self._wanted:
            return ()
        with self._lock:
            network = self._network()
            if network is None:
                labels = {
                    LABEL: KIND_NETWORK,
                    INSTANCE_LABEL: self._instance,
                    DATA_LABEL: str(self._data_dir),
                }
                # Its interface is named too, so that a firewall's rule for it stays true when it is made anew.
                options = {**NETWORK_OPTIONS, BRIDGE_NAME: self.network_name}
                try:
                    self._api.create_network(
                        self.network_name, options=options, labels=labels, subnet=self._subnet
                    )
                except Conflict:
                    log.info("the network %s has just been made by another call", self.network_name)
                network = self._network()
            configs = (network or {}).get("IPAM", {}).get("Config") or []
            self._subnet = configs[0]["Subnet"] if configs else None
            return tuple(config["Gateway"].partition("/")[0] for config in configs if config.get("Gateway"))

    def _network(self) -> Mapping[str, Any] | None:
        network = self._api.network(self.network_name)
        if network is not None and (network.get("Labels") or {}).get(INSTANCE_LABEL) != self._instance:
            raise EnvironmentProblem(
                f"A network {self.network_name} that is not of this program is in the Docker Engine.",
                fix="Rename or remove it, or let workers do without a network (--no-network).",
            )
        return network

    def is_another_engine(self, engine_id: str) -> bool:
        """Whether an engine with another id answered last time; remembers this one."""
        try:
            before = self._id_file.read_text(encoding="utf-8")
        except OSError:
            before = engine_id
        try:
            self._id_file.parent.mkdir(parents=True, exist_ok=True)
            self._id_file.write_text(engine_id, encoding="utf-8")
        except OSError as error:
            log.warning("the engine's id could not be kept: %s", error)
        return before != engine_id

    def dismantle(self) -> None:
        """Take the bridge away, unless somebody is still on it; one that is not ours stays."""
        if self._wanted:
            with contextlib.suppress(EnvironmentProblem, Conflict):
                if self._network() is not None:
                    self._api.remove_network(self.network_name)
