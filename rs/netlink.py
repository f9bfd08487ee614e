"""Messages of the kernel's routing tables, by pyroute2: bytes to routes and links, and requests.

In: what a netlink socket has received. Out: `RouteChange`, `LinkChange` and `Note` objects. No
sockets: rs/kernel.py has them, and imports this module (that is, pyroute2) only where the kernel is
asked. Here is only what a message means to the way to a next hop.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import (
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nlmsg,
    rtnl,
)
from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.rtnl.ifinfmsg import IFF_RUNNING, IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from rs.kernelroutes import Hop, LinkChange, Note, Route, RouteChange

if TYPE_CHECKING:
    from collections.abc import Iterator

AF_INET, AF_INET6 = 2, 10
GROUPS = (
    rtnl.RTNLGRP_LINK,
    rtnl.RTNLGRP_IPV4_IFADDR,
    rtnl.RTNLGRP_IPV4_ROUTE,
    rtnl.RTNLGRP_IPV6_ROUTE,
    32,  # RTNLGRP_NEXTHOP, which pyroute2 does not name
)
"""Multicast groups: what the kernel is asked to tell."""

_DELNEXTHOP = 105
_F_CLONED = 0x200
_PATHS = {rtnl.rt_type["unicast"], rtnl.rt_type["local"]}
_REFUSING = {rtnl.rt_type[name] for name in ("blackhole", "unreachable", "prohibit")}
_PROTO_KERNEL = rtnl.rt_proto["kernel"]


class _Done(nlmsg):  # type: ignore[misc]
    """The end of a dump, which says why it is one."""

    fields = (("error", "i"),)


class _Marshal(Marshal):  # type: ignore[misc]
    """What is decoded beyond the header."""

    msg_map = {  # noqa: RUF012 - as the library has it
        rtnl.RTM_NEWLINK: ifinfmsg,
        rtnl.RTM_DELLINK: ifinfmsg,
        rtnl.RTM_NEWROUTE: rtmsg,
        rtnl.RTM_DELROUTE: rtmsg,
        NLMSG_DONE: _Done,
    }


_marshal = _Marshal()


def links_request(seq: int) -> bytes:
    """Return the request for all interfaces."""
    return _request(ifinfmsg(), rtnl.RTM_GETLINK, seq)


def routes_request(seq: int, family: int, table: int) -> bytes:
    """Return the request for all routes of a table; a kernel before 4.20 sends all tables."""
    message = rtmsg()
    message["family"] = family
    message["attrs"] = [("RTA_TABLE", table)]
    return _request(message, rtnl.RTM_GETROUTE, seq)


def _request(message: Any, kind: int, seq: int) -> bytes:
    message["header"].update(type=kind, flags=NLM_F_REQUEST | NLM_F_DUMP, sequence_number=seq)
    message.encode()
    return bytes(message.data)


def decode(data: bytes) -> Iterator[RouteChange | LinkChange | Note]:
    """Yield what the messages of one read say; ValueError for bytes that are no netlink."""
    size = 0
    try:
        for message in _marshal.parse(data):
            header = message["header"]
            size += header["length"]
            kind, flags = header["type"], header["flags"]
            if flags & NLM_F_DUMP_INTR:
                yield Note("again")
            if kind in {rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE}:
                change = _route(message, kind == rtnl.RTM_NEWROUTE, bool(flags & NLM_F_REPLACE))
                if change is not None:
                    yield change
            elif kind in {rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK}:
                yield _link(message, is_gone=kind == rtnl.RTM_DELLINK)
            elif kind in {NLMSG_DONE, NLMSG_ERROR}:
                error = -message["error"]
                # A table that nobody has put a route into is no fault.
                yield Note("done") if error in {0, errno.ENOENT} else Note("error", error)
            elif kind in {rtnl.RTM_DELADDR, _DELNEXTHOP}:
                yield Note("flushed")
    except (struct.error, LookupError, TypeError) as error:
        raise ValueError(f"a netlink message that cannot be read: {error}") from None
    if size != len(data):  # where a length makes no sense, the library stops without a word
        raise ValueError(f"netlink messages of {size} octets in {len(data)}")


def _link(message: Any, *, is_gone: bool) -> LinkChange:
    up = message["flags"] & IFF_UP and message["flags"] & IFF_RUNNING
    name = message.get_attr("IFLA_IFNAME") or ""
    return LinkChange(message["index"], name, bool(up) and not is_gone, is_gone)


def _hop(attrs: dict[str, Any], link: int) -> Hop:
    if "RTA_VIA" in attrs:
        return Hop(link, attrs["RTA_VIA"].value["addr"])
    return Hop(link, attrs["RTA_GATEWAY"].value if "RTA_GATEWAY" in attrs else "")


def _attrs(message: Any) -> dict[str, Any]:
    """Return attributes by name; what is not asked for its value is not decoded."""
    return {slot.name: slot for slot in message["attrs"]}


def _route(message: Any, is_new: bool, replaces: bool) -> RouteChange | None:
    family, kind = message["family"], message["type"]
    refuses = kind in _REFUSING
    if family not in {AF_INET, AF_INET6} or message["tos"] or message["flags"] & _F_CLONED:
        return None
    if kind not in _PATHS and not refuses:
        return None
    attrs = _attrs(message)
    hops: tuple[Hop, ...]
    if "RTA_MULTIPATH" in attrs:
        hops = tuple(_hop(_attrs(hop), hop["oif"]) for hop in attrs["RTA_MULTIPATH"].value)
    else:
        hops = (_hop(attrs, attrs["RTA_OIF"].value if "RTA_OIF" in attrs else 0),)
    priority = attrs["RTA_PRIORITY"].value if "RTA_PRIORITY" in attrs else 0
    table = attrs["RTA_TABLE"].value if "RTA_TABLE" in attrs else message["table"]
    anywhere = "0.0.0.0" if family == AF_INET else "::"  # noqa: S104 - a prefix, nothing bound
    destination = attrs["RTA_DST"].value if "RTA_DST" in attrs else anywhere
    prefix = f"{destination}/{message['dst_len']}"
    connected = message["proto"] == _PROTO_KERNEL and not any(hop.gateway for hop in hops)
    metric = 0 if connected else min(priority, 0xFFFFFFFE)
    return RouteChange(table, prefix, Route(metric, priority, hops, refuses), is_new, replaces)
