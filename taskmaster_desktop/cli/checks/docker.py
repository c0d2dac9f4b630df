"""Checks of the Docker Engine: which one, does it answer, is the worker image there, and by which ways does a
worker in a container reach us.

An engine that is simply not there is no failure where `runtime` leaves the choice to us.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

from taskmaster_desktop.backend.clock import SystemClock
from taskmaster_desktop.backend.containers.context import read_inputs, shipped_sources, worker_image_tag
from taskmaster_desktop.backend.containers.endpoint import Endpoint, refuse_remote
from taskmaster_desktop.backend.containers.preparing import DESKTOP, Prepared
from taskmaster_desktop.backend.containers.profile import Profile
from taskmaster_desktop.backend.containers.runtime import ContainerRuntime
from taskmaster_desktop.backend.errors import EnvironmentProblem
from taskmaster_desktop.cli.checks.finding import Finding, ok, problem
from taskmaster_desktop.cli.checks.storage import LONGEST_SOCKET, SOCKET_PLACE
from taskmaster_desktop.cli.checks.workers import Way, probe
from taskmaster_desktop.docker_ctl import DockerApi, find_endpoint
from taskmaster_desktop.settings import Settings

ENGINE_LIMIT_S = 5.0
GIB = 1 << 30
LOOPBACK = "127.0.0.1"
BRIDGES = "tm-+"
"""The interfaces of all our bridges, as iptables, ufw and firewalld write it."""


class Images(Protocol):
    """What is asked of an engine about images."""

    def image(self, name: str) -> Mapping[str, Any] | None: ...


def docker_findings(settings: Settings) -> Iterator[Finding]:
    if settings.runtime == "process":
        yield ok("docker", "not used: the runtime is set to process")
        return
    needed = settings.runtime == "docker"
    try:
        endpoint = find_endpoint(settings.docker_host)
        refuse_remote(endpoint.url)
    except EnvironmentProblem as found:
        yield problem("docker", "fail" if needed else "warn", found)
        return
    with closing(DockerApi(endpoint, limit_s=ENGINE_LIMIT_S)) as api:
        try:
            info = api.info()
        except EnvironmentProblem as found:
            yield silent_finding(endpoint, found, needed=needed)
            return
        yield engine_finding(endpoint, info, api.api_version)
        if info.get("OSType", "linux") != "linux":
            yield Finding("docker", _status(needed), "The engine runs Windows containers.",
                          "Switch Docker to Linux containers.")  # fmt: skip
            return
        yield from container_findings(settings, api, info)


def silent_finding(endpoint: Endpoint, found: EnvironmentProblem, *, needed: bool) -> Finding:
    """No answer. Nobody has named the usual socket, so that an engine is missing there is no news."""
    if not needed and endpoint.why == "the usual socket" and not _listens(endpoint.url):
        return ok("docker", "no engine here; workers run as processes")
    return problem("docker", _status(needed), found)


def engine_finding(endpoint: Endpoint, info: Mapping[str, Any], api_version: str) -> Finding:
    kind = ""
    if info.get("OperatingSystem") == DESKTOP:
        kind = " in Docker Desktop"
    elif any("rootless" in option for option in info.get("SecurityOptions") or ()):
        kind = ", rootless"
    size = f"{info.get('NCPU', '?')} processor(s), {info.get('MemTotal', 0) / GIB:.1f} GiB of memory"
    return ok(
        "docker",
        f"Docker Engine {info.get('ServerVersion', '?')} (API {api_version}){kind} answers at {endpoint.url}, "
        f"{endpoint.why}; {size}",
    )


def container_findings(settings: Settings, api: DockerApi, info: Mapping[str, Any]) -> Iterator[Finding]:
    image = worker_image_tag(read_inputs(shipped_sources()), base=settings.worker_base)
    try:
        there = api.image(image) is not None
        yield image_finding(api, image, there=there, base=settings.worker_base)
    except EnvironmentProblem as found:
        yield problem("worker image", "fail", found)
        return
    if not there:
        yield ok("container", "not tried: it needs the worker image, which the first start builds")
        return
    prepared = Prepared(
        profile=Profile(image=image, network=settings.network),
        engine_id=str(info.get("ID", "")),
        engine="",
        desktop=info.get("OperatingSystem") == DESKTOP,
    )
    yield from _probe_containers(settings.data_dir, api, prepared)


def image_finding(api: Images, image: str, *, there: bool, base: str) -> Finding:
    if there:
        return ok("worker image", f"{image} is there")
    how = "which is there" if api.image(base) is not None else "which is pulled then"
    return ok("worker image", f"not there yet; the first start builds it on {base}, {how}")


def _probe_containers(data_dir: Path, api: DockerApi, prepared: Prepared) -> Iterator[Finding]:
    instance = f"doc{secrets.token_hex(8)}"
    with tempfile.TemporaryDirectory(prefix="tm-", dir=_place(data_dir)) as name:
        folder = Path(name)
        kept = _take_port(data_dir, folder)
        runtime = ContainerRuntime(
            api, prepared=prepared, instance=instance, data_dir=folder, clock=SystemClock()
        )

        def ways(endpoints: Sequence[str]) -> list[Way]:
            return container_ways(endpoints, prepared, bridge=f"tm-{instance[:8]}", kept=kept)

        findings = probe(folder, runtime, instance, ways)
    if not findings:
        fix = "Switch the workers' network on, or choose a data folder with a shorter path."
        findings = [Finding("container", "fail", "No way leads from a container to this program.", fix)]
    yield from findings


def container_ways(endpoints: Sequence[str], prepared: Prepared, *, bridge: str, kept: str) -> list[Way]:
    """Those of the door's endpoints that a container of this engine may reach, in the order they are tried.

    `kept`: the port of the user's own instance; empty where it never ran.
    """
    ways = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if endpoint.startswith("unix:"):
            if not prepared.desktop:
                ways.append(Way(name="container, socket", endpoint=endpoint, fix=SOCKET_FIX))
        elif not prepared.profile.network or (host == LOOPBACK and not prepared.desktop):
            continue
        elif host == LOOPBACK:
            ways.append(Way(name="container, loopback", endpoint=endpoint, fix=LOOPBACK_FIX))
        else:
            fix = f"It tried {endpoint} through the interface {bridge}. {firewall_fix(port if port == kept else None)}"
            ways.append(Way(name="container, bridge", endpoint=endpoint, fix=fix))
    return ways


SOCKET_FIX = (
    "Look whether SELinux or the engine's user namespaces (userns-remap) bar containers from sockets in folders "
    "of this machine; TaskMaster works by the bridge too."
)
LOOPBACK_FIX = "Look whether a firewall bars Docker Desktop from ports of this machine's loopback."


def firewall_fix(port: str | None) -> str:
    """The rule that lets our bridges in, as three firewalls write it; to this port where it is one that stays."""
    at = f" --dport {port}" if port is not None else ""
    ufw = f" to any port {port} proto tcp" if port is not None else ""
    return (
        f"Open the firewall of this machine for it: iptables -I INPUT -i {BRIDGES} -p tcp{at} -j ACCEPT; or, with "
        f"ufw: ufw allow in on {BRIDGES}{ufw}; or, with firewalld: firewall-cmd --permanent --zone=trusted "
        f"--add-interface={BRIDGES} && firewall-cmd --reload."
    )


def _status(needed: bool) -> Literal["warn", "fail"]:
    return "fail" if needed else "warn"


def _listens(url: str) -> bool:
    """Whether there is anybody, even one who lets us not in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ENGINE_LIMIT_S)
        try:
            connection.connect(url.removeprefix("unix://"))
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED)
        return True


def _place(data_dir: Path) -> Path | None:
    """Where containers see what they will see in the data folder; None, which is the usual place, where that
    is not there or would leave no room for a socket's name."""
    room = len(os.fsencode(data_dir / "tm-12345678" / SOCKET_PLACE)) <= LONGEST_SOCKET
    return data_dir if room and os.access(data_dir, os.W_OK) else None


def _take_port(data_dir: Path, folder: Path) -> str:
    """Have the door in `folder` take the port of the user's instance, if that is free; returns it."""
    try:
        kept = (data_dir / "run" / "port").read_text(encoding="ascii")
        (folder / "run").mkdir()
        (folder / "run" / "port").write_text(kept, encoding="ascii")
    except (OSError, ValueError):
        return ""
    return kept.strip()
