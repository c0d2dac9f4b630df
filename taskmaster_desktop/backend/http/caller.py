"""Who is at the other end of a connection, as the kernel knows it.

On Linux the kernel tells which user owns the connecting socket of a loopback connection (netlink `sock_diag`,
in less than 0.1 ms). The answer belongs to one connection and is asked for when it is accepted: a socket that
its owner has closed since then would be shown as root's.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import struct
import sys
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

SOCK_DIAG_BY_FAMILY = 20
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST = 1
TCP_ESTABLISHED = 1
ANY_COOKIE = 0xFFFFFFFF

_MESSAGE_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_SOCKET_ID = struct.Struct("!HH16s16s")  # source port, destination port, source, destination
_ID_REST = struct.Struct("=III")  # interface, cookie
_ANSWER = struct.Struct("=BBxx")  # family, state
_OWNER = struct.Struct("=IIIII")  # expires, read queue, write queue, user, inode
_SEQUENCES = itertools.count(1)


class Caller(Enum):
    """What is known of a connection's other end."""

    SAME_USER = "same user"
    OTHER_USER = "other user"
    UNKNOWN = "unknown"


class Address(NamedTuple):
    host: str
    port: int


def is_loopback(host: str) -> bool:
    """Whether an address, given in digits, is this machine's loopback."""
    try:
        return _plain(host).is_loopback
    except ValueError:
        return False


def caller_of(connection: Any) -> Caller:
    """The verdict on an accepted TCP connection; UNKNOWN wherever a doubt is left.

    Args:
        connection: a socket or what asyncio gives for one.
    """
    if sys.platform != "linux" or connection is None:
        return Caller.UNKNOWN
    try:
        near, far = Address(*connection.getsockname()[:2]), Address(*connection.getpeername()[:2])
        if not (is_loopback(near.host) and is_loopback(far.host)):
            return Caller.UNKNOWN
        owner = owner_of(far, near)
        # Looked at after the question: while our end is established nobody else can have taken the same pair of
        # addresses, so what was found is the other end of this connection and not of a later one.
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, ValueError, struct.error):
        return Caller.UNKNOWN
    if owner is None or info[0] != TCP_ESTABLISHED:
        return Caller.UNKNOWN
    return judge(owner, own=os.geteuid(), nobody=_unmapped_user())


def judge(owner: int, *, own: int, nobody: int) -> Caller:
    """`nobody` stands for all users that have no number here, so it is nobody's equal."""
    if owner == own and owner != nobody:
        return Caller.SAME_USER
    return Caller.OTHER_USER


def owner_of(source: Address, destination: Address) -> int | None:
    """The user who holds the established socket at `source` that is connected to `destination`.

    None where there is none, or where it is closed already. Raises OSError where the kernel does not answer.
    """
    # A socket that speaks IPv4 through an IPv6 address is found among those of IPv4.
    near, far = _plain(source.host), _plain(destination.host)
    family = socket.AF_INET if near.version == 4 else socket.AF_INET6
    identity = _SOCKET_ID.pack(source.port, destination.port, near.packed, far.packed)
    answer = _ask(family, identity)
    if answer is None or len(answer) < _ANSWER.size + len(identity) + _ID_REST.size + _OWNER.size:
        return None
    _, state = _ANSWER.unpack_from(answer)
    found = answer[
        _ANSWER.size : _ANSWER.size + 4
    ]  # a listening socket is an answer too: it has no such ports
    *_, user, inode = _OWNER.unpack_from(answer, _ANSWER.size + len(identity) + _ID_REST.size)
    if state != TCP_ESTABLISHED or inode == 0 or found != identity[:4]:
        return None
    return int(user)


def _ask(family: int, identity: bytes) -> bytes | None:
    sequence = next(_SEQUENCES) & 0xFFFFFFFF
    body = (
        _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << TCP_ESTABLISHED)
        + identity
        + _ID_REST.pack(0, ANY_COOKIE, ANY_COOKIE)
    )
    header = _MESSAGE_HEADER.pack(
        _MESSAGE_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, 0
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.setblocking(False)  # the answer is there when `send` returns
        netlink.send(header + body)
        answer, sender = netlink.recvfrom(4096)
    length, kind, _, echoed, _ = _MESSAGE_HEADER.unpack_from(answer)
    if sender[0] != 0 or kind != SOCK_DIAG_BY_FAMILY or echoed != sequence or length > len(answer):
        return None
    return answer[_MESSAGE_HEADER.size : length]


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _unmapped_user() -> int:
    """The number the kernel shows for users of another user namespace."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65_534
