"""Messages of the kernel's routing tables: bytes to routes and links, and the requests for them.

In: what a netlink socket has received. Out: `RouteChange`, `LinkChange` and `Note` objects. No
sockets: rs/kernel.py has them, rs/kernelroutes.py keeps what is said here. Only what the way to a
next hop depends on is decoded; numbers are those of linux/netlink.h and linux/rtnetlink.h, fields
are in the machine's byte order and addresses in the network's.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

AF_INET, AF_INET6 = 2, 10
GROUPS = (1, 5, 7, 11, 32)
"""Multicast groups: links, IPv4 addresses, IPv4 routes, IPv6 routes, next-hop objects."""

_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_DELADDR = 21
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_DELNEXTHOP = 105
_F_DUMP = 0x301
"""NLM_F_REQUEST, NLM_F_ROOT, NLM_F_MATCH."""
_F_DUMP_INTR = 0x10
_F_REPLACE = 0x100
_F_CLONED = 0x200
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_UNICAST, _LOCAL = 1, 2
_REFUSING = {6, 7, 8}
"""Types of routes that say no: blackhole, unreachable, prohibit."""
_PROTO_KERNEL = 2
_ENOENT = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = (
    *(1, 4, 5, 6, 9, 15, 18),
)
_IFLA_IFNAME = 3

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_LINK = struct.Struct("=BxHiII")
_ATTR = struct.Struct("=HH")
_HOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")


class Hop(NamedTuple):
    """One way of a route: out of which interface, and to whom."""

    link: int
    """Index of the interface; 0 if the kernel does not say."""
    gateway: bytes
    """An address, or nothing where the destination is on the link itself."""


class Route(NamedTuple):
    """What the kernel has for a prefix."""

    metric: int
    """0 on the network of an interface, else the route's priority."""
    priority: int
    hops: tuple[Hop, ...]
    refuses: bool
    """A blackhole, unreachable or prohibit route."""


class RouteChange(NamedTuple):
    """A route is there, or no longer."""

    table: int
    prefix: str
    route: Route
    is_new: bool
    replaces: bool
    """It takes the place of the one with the same prefix and priority."""


class LinkChange(NamedTuple):
    """An interface: whether it can carry packets."""

    link: int
    """Its index."""
    name: str
    is_up: bool
    is_gone: bool


class Note(NamedTuple):
    """Something else: "done" and "error" end a dump, "again" says that it is not consistent.

    "flushed": the kernel may have dropped routes without saying which.
    """

    what: str
    error: int = 0
    """errno of an error."""


def links_request(seq: int) -> bytes:
    """Return the request for all interfaces."""
    return _HEADER.pack(_HEADER.size + _LINK.size, _GETLINK, _F_DUMP, seq, 0) + bytes(_LINK.size)


def routes_request(seq: int, family: int, table: int) -> bytes:
    """Return the request for all routes of a table; a kernel before 4.20 sends all tables."""
    body = _ROUTE.pack(family, 0, 0, 0, table if table < 256 else 0, 0, 0, 0, 0)
    body += _ATTR.pack(8, _RTA_TABLE) + _U32.pack(table)
    return _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _F_DUMP, seq, 0) + body


def decode(data: bytes) -> Iterator[RouteChange | LinkChange | Note]:
    """Yield what the messages of one read say; ValueError for bytes that are no netlink."""
    at, end = 0, len(data)
    try:
        while at < end:
            length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            if not _HEADER.size <= length <= end - at:
                raise ValueError(f"a netlink message of {length} octets in {end - at}")
            body, stop = at + _HEADER.size, at + length
            if flags & _F_DUMP_INTR:
                yield Note("again")
            if kind in {_NEWROUTE, _DELROUTE}:
                change = _route(data, body, stop, kind == _NEWROUTE, bool(flags & _F_REPLACE))
                if change is not None:
                    yield change
            elif kind in {_NEWLINK, _DELLINK}:
                yield _link(data, body, stop, is_gone=kind == _DELLINK)
            elif kind == _DONE:
                error = -_I32.unpack_from(data, body)[0] if stop - body >= 4 else 0
                yield Note("done") if error in {0, _ENOENT} else Note("error", error)
            elif kind == _ERROR:
                error = -_I32.unpack_from(data, body)[0]
                # A table that nobody has put a route into is no fault.
                yield Note("done") if error == _ENOENT else Note("error", error)
            elif kind in {_DELADDR, _DELNEXTHOP}:
                yield Note("flushed")
            at += (length + 3) & ~3
    except struct.error as error:
        raise ValueError(f"a netlink message is cut off: {error}") from None


def _attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start, end) of the attributes between two places."""
    while at + 4 <= end:
        length, kind = _ATTR.unpack_from(data, at)
        if length < 4 or at + length > end:
            raise ValueError(f"a netlink attribute of {length} octets in {end - at}")
        yield kind & 0x3FFF, at + 4, at + length
        at += (length + 3) & ~3


def _link(data: bytes, at: int, end: int, *, is_gone: bool) -> LinkChange:
    _, _, index, flags, _ = _LINK.unpack_from(data, at)
    name = ""
    for kind, start, stop in _attributes(data, at + _LINK.size, end):
        if kind == _IFLA_IFNAME:
            name = data[start:stop].rstrip(b"\0").decode(errors="replace")
            break
    up = flags & _IFF_UP and flags & _IFF_RUNNING
    return LinkChange(index, name, bool(up) and not is_gone, is_gone)


def _hops(data: bytes, at: int, end: int) -> Iterator[Hop]:
    while at + _HOP.size <= end:
        length, _, _, link = _HOP.unpack_from(data, at)
        if not _HOP.size <= length <= end - at:
            raise ValueError(f"a next hop of {length} octets in {end - at}")
        gateway = b""
        for kind, start, stop in _attributes(data, at + _HOP.size, at + length):
            if kind == _RTA_GATEWAY:
                gateway = data[start:stop]
            elif kind == _RTA_VIA:
                gateway = data[start + 2 : stop]
        yield Hop(link, gateway)
        at += (length + 3) & ~3


def _route(
    data: bytes,
    at: int,
    end: int,
    is_new: bool,
    replaces: bool,
) -> RouteChange | None:
    family, plen, _, tos, table, proto, _, kind, flags = _ROUTE.unpack_from(data, at)
    refuses = kind in _REFUSING
    if family not in {AF_INET, AF_INET6} or tos or flags & _F_CLONED:
        return None
    if kind not in {_UNICAST, _LOCAL} and not refuses:
        return None
    destination = gateway = b""
    priority = link = 0
    hops: tuple[Hop, ...] = ()
    for name, start, stop in _attributes(data, at + _ROUTE.size, end):
        if name == _RTA_DST:
            destination = data[start:stop]
        elif name == _RTA_PRIORITY:
            priority = _U32.unpack_from(data, start)[0]
        elif name == _RTA_TABLE:
            table = _U32.unpack_from(data, start)[0]
        elif name == _RTA_OIF:
            link = _I32.unpack_from(data, start)[0]
        elif name == _RTA_GATEWAY:
            gateway = data[start:stop]
        elif name == _RTA_VIA:
            gateway = data[start + 2 : stop]
        elif name == _RTA_MULTIPATH:
            hops = tuple(_hops(data, start, stop))
    if family == AF_INET:
        a, b, c, d = destination or bytes(4)
        prefix = f"{a}.{b}.{c}.{d}/{plen}"
    else:
        prefix = f"{IPv6Address(destination or bytes(16))}/{plen}"
    hops = hops or (Hop(link, gateway),)
    connected = proto == _PROTO_KERNEL and not any(hop.gateway for hop in hops)
    metric = 0 if connected else min(priority, 0xFFFFFFFE)
    return RouteChange(table, prefix, Route(metric, priority, hops, refuses), is_new, replaces)
