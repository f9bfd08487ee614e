"""Socket options that Python has no names for: TCP MD5 signatures, minimum TTL, binding.

In: a socket and what a neighbor's configuration asks. Errors are OSError from the kernel. Linux
values; RFC 2385 (MD5), RFC 5082 (GTSM).
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rs.config import Neighbor

TCP_MD5SIG = 14
RTT_AT = 68
"""Where tcpi_rtt, microseconds, stands in struct tcp_info."""
MIN_RTT_AT = 148
"""Where tcpi_min_rtt stands (Linux 4.6): the lowest of the last minutes, 5 by default."""
NO_RTT = 0xFFFF_FFFF
"""tcpi_min_rtt before anything has been acknowledged."""
TCP_MD5SIG_EXT = 32
TCP_MD5SIG_FLAG_PREFIX = 1
IP_MINTTL = 21
IPV6_MINHOPCOUNT = 73
IP_FREEBIND = 15
MAX_MD5_KEY = 80
"""Octets of a TCP MD5 key."""
LISTEN_BACKLOG = 4096
"""Connections waiting to be accepted: hundreds of members connect in the same second."""
BUFFER_LEN = 1 << 20
"""Octets asked for as socket buffers where the kernel's own tuning would start smaller."""

MAX_UNSENT = 32 << 10
"""Octets that the kernel takes of us before it has sent them, a socket."""


def family_of(host: str) -> socket.AddressFamily:
    """Return the socket family of an address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def listener(host: str, port: int) -> socket.socket:
    """Return a listening socket; OSError with the kernel's reason."""
    sock = socket.socket(family_of(host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket, neighbor: Neighbor) -> None:
    """Set what every connection with this neighbor needs, on either side of it."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What is not on its way yet stays in the log, once for all, and can still be superseded.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
    # Routing traffic: internetwork control (RFC 4271 has none; IP precedence 6 is the custom).
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, neighbor.ttl)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xC0)
        if neighbor.min_ttl:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, neighbor.min_ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, neighbor.ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xC0)
        if neighbor.min_ttl:
            sock.setsockopt(socket.IPPROTO_IP, IP_MINTTL, neighbor.min_ttl)


def round_trip_time(sock: socket.socket) -> int | None:
    """Return the lowest round-trip time of a TCP connection in ms; None if it is not known.

    The smoothed one counts delayed acknowledgments in: one of 40 ms adds 5 ms, and there is one
    whenever both sides have spoken in turn, as at the beginning of a session.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, MIN_RTT_AT + 4)
    except OSError:
        return None
    if len(info) < RTT_AT + 4:
        return None
    at = MIN_RTT_AT if len(info) >= MIN_RTT_AT + 4 else RTT_AT
    micros = int(struct.unpack_from("=I", info, at)[0])
    if micros == NO_RTT:
        micros = int(struct.unpack_from("=I", info, RTT_AT)[0])
    return round(micros / 1000)


def set_md5(sock: socket.socket, name: str, password: str) -> None:
    """Sign segments to and from an address or a range with TCP MD5 (RFC 2385).

    On a listening socket it binds the connections that will be accepted. OSError where the kernel
    has no TCP MD5, or no memory for one more key (net.core.optmem_max).
    """
    network = ip_network(name)
    key = password.encode()
    if network.version == 4:
        address = struct.pack("=HH4s", socket.AF_INET, 0, network.network_address.packed)
    else:
        address = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, network.network_address.packed, 0)
    whole = network.prefixlen == network.max_prefixlen
    value = struct.pack(
        "=128sBBHi80s",
        address,
        0 if whole else TCP_MD5SIG_FLAG_PREFIX,
        0 if whole else network.prefixlen,
        len(key),
        0,
        key,
    )
    sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG if whole else TCP_MD5SIG_EXT, value)
