"""Whom the kernel names as the owner of a connection, with real sockets of this and of another user."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from taskmaster_desktop.backend.http import caller
from taskmaster_desktop.backend.http.caller import Address, Caller, caller_of, is_loopback, judge, owner_of
from tests.helpers.eventually import eventually
from tests.helpers.http_serving import BECOME_NOBODY, NEEDS_ROOT, NOBODY

PAIRS = {
    "4 to 4": ("127.0.0.1", "127.0.0.1"),
    "6 to 6": ("::1", "::1"),
    "4 to both": ("::", "127.0.0.1"),
    "mapped to 4": ("127.0.0.1", "::ffff:127.0.0.1"),
    "mapped to both": ("::", "::ffff:127.0.0.1"),
    "6 to both": ("::", "::1"),
}
_CONNECT = """
host, port = sys.argv[1], int(sys.argv[2])
connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
connection.connect((host, port))
sys.stdin.read()
"""


def listening(host: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((host, 0))
    listener.listen()
    return listener


@contextmanager
def connected(near: str, far: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(the client's end, ours)"""
    client = socket.socket(socket.AF_INET6 if ":" in far else socket.AF_INET)
    with closing(listening(near)) as listener, closing(client):
        client.connect((far, listener.getsockname()[1]))
        ours, _ = listener.accept()
        with closing(ours):
            yield client, ours


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_our_own_connection_is_ours(pair: tuple[str, str]) -> None:
    with connected(*pair) as (_, ours):
        assert caller_of(ours) is Caller.SAME_USER


@NEEDS_ROOT
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_another_users_is_not(pair: tuple[str, str]) -> None:
    near, far = pair
    with closing(listening(near)) as listener:
        command = [sys.executable, "-I", "-S", "-c", BECOME_NOBODY + _CONNECT, far]
        stranger = subprocess.Popen([*command, str(listener.getsockname()[1])], stdin=subprocess.PIPE)
        with stranger, closing(listener.accept()[0]) as ours:
            here, there = Address(*ours.getsockname()[:2]), Address(*ours.getpeername()[:2])
            assert owner_of(there, here) == NOBODY
            assert caller_of(ours) is Caller.OTHER_USER
            stranger.communicate()
            # Its socket is gone, and the kernel would name root now.
            eventually(lambda: caller_of(ours) is Caller.UNKNOWN, what="a closed socket is nobody's")
            assert owner_of(there, here) is None


def test_a_closed_or_half_closed_socket_is_nobodys() -> None:
    with connected("127.0.0.1", "127.0.0.1") as (client, ours):
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.close()
        assert ours.recv(3) == b"GET"  # the request can still be read
        assert caller_of(ours) is Caller.UNKNOWN
    with connected("127.0.0.1", "127.0.0.1") as (client, ours):
        client.shutdown(socket.SHUT_WR)
        assert caller_of(ours) is Caller.UNKNOWN


def test_a_later_connection_from_the_same_port_does_not_answer_for_an_earlier_one() -> None:
    """A stranger may send a request, reset the connection, and leave the port to somebody who is trusted."""
    with closing(listening("127.0.0.1")) as listener:
        at = listener.getsockname()
        first = socket.socket()
        first.connect(at)
        port = first.getsockname()
        ours, _ = listener.accept()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.sendall(b"GET")
        first.close()
        with closing(ours), closing(socket.socket()) as second:
            second.bind(port)
            second.connect(at)
            assert owner_of(Address(*port), Address(*at)) == os.geteuid()
            assert caller_of(_Remembers(ours, at, port)) is Caller.UNKNOWN
            again, _ = listener.accept()
            with closing(again):
                assert caller_of(again) is Caller.SAME_USER


class _Remembers:
    """A reset socket that still knows its addresses, as asyncio's transport does."""

    def __init__(self, connection: socket.socket, near: object, far: object) -> None:
        self._near, self._far = near, far
        self.getsockopt = connection.getsockopt

    def getsockname(self) -> object:
        return self._near

    def getpeername(self) -> object:
        return self._far


def test_nobody_is_found_where_nobody_connects() -> None:
    with closing(listening("127.0.0.1")) as listener:
        at = Address(*listener.getsockname())
        assert owner_of(Address("127.0.0.1", 1), at) is None
        assert owner_of(at, at) is None  # the listening socket itself is none that connects
    assert owner_of(Address("::1", 1), Address("::1", 2)) is None


def test_a_doubt_is_never_taken_for_the_same_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert caller_of(None) is Caller.UNKNOWN
    with closing(socket.socket()) as alone:
        assert caller_of(alone) is Caller.UNKNOWN
    with connected("127.0.0.1", "127.0.0.1") as (_, ours):

        def fails(*_: object) -> None:
            raise OSError("no netlink here")

        for broken in (fails, lambda *_: None):
            monkeypatch.setattr(caller, "owner_of", broken)
            assert caller_of(ours) is Caller.UNKNOWN
        monkeypatch.undo()
        for answer in (None, b"", bytes(20)):
            monkeypatch.setattr(caller, "_ask", lambda *_, answer=answer: answer)
            assert caller_of(ours) is Caller.UNKNOWN
        monkeypatch.undo()
        monkeypatch.setattr(sys, "platform", "darwin")
        assert caller_of(ours) is Caller.UNKNOWN


def test_users_without_a_number_here_are_nobodys_equal() -> None:
    assert judge(1000, own=1000, nobody=NOBODY) is Caller.SAME_USER
    assert judge(1000, own=1001, nobody=NOBODY) is Caller.OTHER_USER
    assert judge(0, own=1000, nobody=NOBODY) is Caller.OTHER_USER
    assert judge(NOBODY, own=NOBODY, nobody=NOBODY) is Caller.OTHER_USER


def test_loopback_addresses() -> None:
    for host in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1", "localhost", ""):
        assert not is_loopback(host)
