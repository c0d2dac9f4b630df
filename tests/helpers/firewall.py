"""What a firewall does to the traffic of a bridge, and a network namespace of the tests' own. Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def dropped(interface: str) -> Iterator[None]:
    """All that comes from an interface to this machine is dropped, as a default-deny firewall does; + is any end."""
    rule = ("INPUT", "-i", interface, "-j", "DROP")
    _run("iptables", "--wait", "-I", *rule)
    try:
        yield
    finally:
        _run("iptables", "--wait", "-D", *rule)


@contextmanager
def namespace() -> Iterator[str]:
    """The name of a network namespace that reaches this machine, and by default route whatever this machine has."""
    digits = uuid4().hex[:6]
    name, here, there = f"tm-{digits}", f"tmh{digits}", f"tmt{digits}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _run("ip", "address", "add", "10.213.77.1/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run("ip", "-n", name, "address", "add", "10.213.77.2/30", "dev", there)
        _run("ip", "-n", name, "link", "set", there, "up")
        _run("ip", "-n", name, "route", "add", "default", "via", "10.213.77.1")
        yield name
    finally:
        _run("ip", "netns", "delete", name)  # takes the pair of interfaces along
