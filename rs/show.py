"""What the looking glass sees of status and neighbors, read from a running router; names of things.

In: a Router and the time. Out: the dictionaries of `show_types`, ready for JSON. Nothing here
changes a route, and nothing holds the loop: what may be long is a *walk*, whose `step` returns the
next records when it is told that its time is up. Routes are shown by showroutes.py.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from rs import __version__, shownexthops
from rs.iana import BgpRole, Decided, Family, MessageType, RejectReason
from rs.peer import PeerKind, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rs.config import Neighbor as ConfiguredNeighbor
    from rs.peer import Peer
    from rs.router import Router
    from rs.show_types import (
        Fault,
        Messages,
        Negotiated,
        Neighbor,
        NeighborFamily,
        NeighborType,
        Rpki,
        Status,
    )

Key = tuple[bytes, int]
"""A prefix: address octets and length."""
T = TypeVar("T")

_TYPES: dict[PeerKind, NeighborType] = {
    PeerKind.RS_CLIENT: "rs-client",
    PeerKind.EBGP: "ebgp",
    PeerKind.IBGP: "ibgp",
    PeerKind.RR_CLIENT: "rr-client",
}
_MEMBER_STATES = ("walk", "live", "resync", "down")
_OUTCOMES = ("", "attribute-discard", "treat-as-withdraw", "session-reset")


class Walk(Protocol[T]):
    """A long answer in steps."""

    def step(self, spent: Callable[[], bool]) -> list[T] | None:
        """Return the next records, none or many; None when there are no more.

        Ends as soon as `spent()`, which it asks about every hundred microseconds.
        """
        ...


class Target(NamedTuple):
    """An address or a prefix that somebody asks for."""

    family: Family
    addr: bytes
    plen: int
    is_prefix: bool


def label(value: Decided | RejectReason | BgpRole) -> str:
    """Return the name of a step or a reason in the API, such as `as-path-length`."""
    return value.name.lower().replace("_", "-")


def decided_label(number: int) -> str:
    """Return the label of a step of the decision process."""
    return label(Decided(number))


def reject_label(number: int) -> str:
    """Return the label of a RejectReason; `reason-N` for one that has no name."""
    try:
        return label(RejectReason(number))
    except ValueError:
        return f"reason-{number}"


def prefix_text(key: Key) -> str:
    """Return a prefix as text, canonical."""
    addr, plen = key
    if len(addr) == 4:
        return f"{addr[0]}.{addr[1]}.{addr[2]}.{addr[3]}/{plen}"
    return f"{ipaddress.IPv6Address(addr)}/{plen}"


def parse_target(text: str) -> Target:
    """Read an address or a prefix; ValueError in words for what is neither."""
    head, slash, length = text.partition("/")
    try:
        address = ipaddress.ip_address(head)
    except ValueError:
        raise ValueError(f"{text!r} is neither an address nor a prefix") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError(f"{text!r}: an address with a zone is in no table")
    family = Family.IPV4_UNICAST if address.version == 4 else Family.IPV6_UNICAST
    if not slash:
        return Target(family, address.packed, address.max_prefixlen, is_prefix=False)
    if not (length.isascii() and length.isdecimal()) or int(length) > address.max_prefixlen:
        raise ValueError(f"{text!r}: a prefix length is 0 to {address.max_prefixlen}")
    network = ipaddress.ip_network((address.packed, int(length)), strict=False)
    if network.network_address != address:
        raise ValueError(f"{text!r} has host bits set; the prefix is {network}")
    return Target(family, address.packed, int(length), is_prefix=True)


def parse_family(text: str) -> Family:
    """Read a family's label; ValueError with the ones there are."""
    try:
        return Family.from_label(text)
    except KeyError:
        known = ", ".join(family.label for family in Family)
        raise ValueError(f"{text!r} is no family; there are {known}") from None


# --- status and neighbors -----------------------------------------------------------------------


def status(router: Router, now: float, rss: int) -> Status:
    """Return the daemon as a whole; `rss` is its resident memory in octets."""
    settings = router.config.router
    tables = {family: router.rib.tables[family].stats() for family in Family}
    sets = router.attrs.stats()
    return {
        "version": __version__,
        "role": settings.role.value,
        "asn": settings.asn,
        "router_id": settings.router_id,
        "uptime_s": round(now - router.started, 3),
        "rss_bytes": rss,
        "prefixes": sum(t["prefixes"] for t in tables.values()),
        "paths": sum(t["paths"] for t in tables.values()),
        "attribute_sets": sets["sets"],
        "attribute_bytes": sets["bytes"],
        "member_sets": router.sets.stats()["sets"],
        "groups": len(router.groups),
        "jobs": router.scheduler.jobs,
        "startup": {
            "waiting_for": router.startup.missing(),
            "left_s": round(max(0.0, router.startup.until - now), 3),
        }
        if router.startup.holding
        else None,
        "longest_slice_ms": round(router.loop.longest_slice * 1e3, 3),
        "slices": [
            {"up_to_ms": None if bound == float("inf") else bound * 1e3, "slices": count}
            for bound, count in router.loop.histogram
        ],
        "neighbors": {
            "total": sum(not peer.retired for peer in router.peers.values()),
            "established": sum(peer.established for peer in router.peers.values()),
        },
        "next_hops": shownexthops.status(router),
        "families": {
            family.label: {
                "prefixes": table["prefixes"],
                "usable": table["usable"],
                "paths": table["paths"],
                "dirty": table["dirty"],
                "changes": table["changes"],
                "bytes": table["bytes"],
                "groups": sum(len(view.groups) for view in router.exporter.views[family]),
            }
            for family, table in tables.items()
        },
    }


def client_cluster(neighbor: ConfiguredNeighbor) -> str | None:
    """Return the cluster of a client of the reflector, None for others."""
    return neighbor.cluster if neighbor.route_reflector_client else None


def rpki(router: Router) -> Rpki:
    """Return the RPKI data in use and their sources."""
    roas: dict[str, Any] = router.roas.stats()
    aspas: dict[str, Any] = router.aspas.stats()
    caches, files = router.rpki_sources()
    return {
        "ready": router.rules.rpki_ready,
        "vrps_ipv4": roas["vrps_ipv4"],
        "vrps_ipv6": roas["vrps_ipv6"],
        "aspas": aspas["customers"],
        "bytes": roas["bytes"] + aspas["bytes"],
        "pending": roas["pending"] + aspas["pending"],
        "caches": caches,
        "files": files,
    }


def neighbor(router: Router, peer: Peer, now: float, *, faults: bool = False) -> Neighbor:
    """Return one neighbor; with `faults` also its last malformed UPDATEs."""
    session, ingest, agreed = peer.session, peer.ingest, peer.session.negotiated
    peer.count_sent()
    counters = session.counters
    families = {
        family.label: _neighbor_family(router, peer, family) for family in peer.neighbor.families
    }
    up = peer.established and peer.up_since is not None
    found: Neighbor = {
        "address": peer.address,
        "asn": peer.asn,
        "description": peer.description,
        "type": _TYPES[kind_of(peer.neighbor)],
        "cluster_id": client_cluster(peer.neighbor),
        "dynamic": peer.dynamic,
        "local_role": peer.neighbor.local_role.value,
        "enabled": session.enabled,
        "state": session.state.label,  # type: ignore[typeddict-item]
        "uptime_s": round(now - peer.up_since, 3) if up and peer.up_since is not None else 0.0,
        "state_s": round(max(0.0, now - (counters.last_change or router.started)), 3),
        "router_id": agreed.peer_router_id if agreed is not None else None,
        "flaps": counters.flaps,
        "last_error": session.last_error,
        "capabilities": list(agreed.peer_capabilities) if agreed is not None else [],
        "negotiated": _negotiated(agreed),
        "messages": {
            "received": _messages(counters.received),
            "sent": _messages(counters.sent),
        },
        "updates": {
            "announced": getattr(ingest, "announced", 0),
            "withdrawn": getattr(ingest, "withdrawn", 0),
            "attribute_discard": getattr(ingest, "discards", 0),
            "treat_as_withdraw": getattr(ingest, "treat_as_withdraw", 0),
        },
        "rejects": {
            reject_label(reason): count
            for reason, count in router.rib.reject_counts(peer.slot).items()
        },
        "transit_free": {str(asn): count for asn, count in sorted(peer.transit_seen.items())},
        "lag_bytes": max((f["lag_bytes"] for f in families.values()), default=0),
        "families": families,
    }
    if faults:
        found["faults"] = [_fault(*fault) for fault in getattr(ingest, "faults", ())]
    return found


def _neighbor_family(router: Router, peer: Peer, family: Family) -> NeighborFamily:
    received, accepted, rejected = router.rib.peer_counts(peer.slot, family)
    member, view = peer.members.get(family), peer.view(family)
    agreed = peer.session.negotiated
    eor = getattr(peer.ingest, "eor", (False, False))
    kept = peer.kept.get(family)
    return {
        "negotiated": agreed is not None and family in agreed.families,
        "received": received,
        "accepted": accepted,
        "rejected": rejected,
        "refused": router.rib.refused_paths(peer.slot, family),
        "advertised": view.adj.advertised(peer.slot) if view is not None else 0,
        "end_of_rib": peer.established and bool(eor[family]),
        "stale": router.rib.stale(peer.slot, family),
        "restart": kept.phase.value if kept is not None else None,
        "restart_s": round(max(0.0, kept.until - router.now()), 3) if kept is not None else None,
        "sending": _MEMBER_STATES[member.state] if member is not None else "down",  # type: ignore[typeddict-item]
        "lag_bytes": member.lag() if member is not None else 0,
        "resyncs": member.resyncs if member is not None else 0,
    }


def _negotiated(agreed: Any) -> Negotiated | None:
    if agreed is None:
        return None
    return {
        "hold_time_s": agreed.hold_time,
        "keepalive_s": agreed.keepalive,
        "four_octet_as": agreed.four_octet_as,
        "extended_message": agreed.extended_message,
        "route_refresh": agreed.route_refresh,
        "enhanced_route_refresh": agreed.enhanced_route_refresh,
        "addpath_receive": [family.label for family in sorted(agreed.addpath_receive)],
        "addpath_send": [family.label for family in sorted(agreed.addpath_send)],
        "paths_limit": {family.label: n for family, n in sorted(agreed.paths_limit.items())},
        "extended_next_hop": [family.label for family in sorted(agreed.extended_next_hop)],
        "role": "" if agreed.peer_role is None else label(agreed.peer_role),
        "hostname": ".".join(filter(None, (agreed.peer_hostname, agreed.peer_domain))),
    }


def _messages(counts: list[int]) -> Messages:
    return {
        "open": counts[MessageType.OPEN],
        "update": counts[MessageType.UPDATE],
        "notification": counts[MessageType.NOTIFICATION],
        "keepalive": counts[MessageType.KEEPALIVE],
        "route_refresh": counts[MessageType.ROUTE_REFRESH],
        "total": sum(counts),
    }


def _fault(outcome: int, attribute: int, subcode: int, octets: bytes) -> Fault:
    return {
        "outcome": _OUTCOMES[outcome],  # type: ignore[typeddict-item]
        "attribute": attribute or None,
        "subcode": subcode,
        "octets": octets.hex(),
    }


def in_order(peers: Iterable[Peer]) -> list[Peer]:
    """Return peers by address, IPv4 before IPv6."""

    def order(peer: Peer) -> tuple[int, bytes]:
        packed = ipaddress.ip_address(peer.address).packed
        return len(packed), packed

    return sorted(peers, key=order)


class PeerWalk(Generic[T]):
    """Something about every peer that is configured or connected, in the order of addresses."""

    def __init__(self, router: Router, record: Callable[[Peer], T]) -> None:
        self._router = router
        self._record = record
        self._peers: Iterator[Peer] = iter(in_order(router.peers.values()))

    def step(self, spent: Callable[[], bool]) -> list[T] | None:
        """See Walk."""
        out: list[T] = []
        for peer in self._peers:
            # One may have gone since the walk began.
            if not peer.retired and self._router.peers.get(peer.slot) is peer:
                out.append(self._record(peer))
            if spent():
                return out
        return out or None
