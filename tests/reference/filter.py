"""The import filter as its documentation puts it: one rule after the other, on plain data.

In: a route (prefix, AS_PATH as numbers, next hop, communities in all), a neighbor's rules. Out: the
reason of the first rule that refuses it, 0 if none does, and what was found out about RPKI and IRR.
The order is that of ARouteServer; see docs/configuration.md, [filters]. RFC 6811.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rs.iana import RejectReason as R
from tests.reference.rpki import validate

if TYPE_CHECKING:
    from tests.reference.rpki import Vrp

Range = tuple[str, int, int]
"""A prefix, and the lengths it stands for."""
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


@dataclass
class Rules:
    """What is checked; an empty list or None is no rule."""

    next_hops: list[str] | None = None
    max_as_path_length: int = 0
    bogon_asns: list[tuple[int, int]] = field(default_factory=list)
    transit_free: list[tuple[int, int]] = field(default_factory=list)
    transit_warning: bool = False
    never_via: list[tuple[int, int]] = field(default_factory=list)
    max_communities: int = 0
    global_unicast_only: bool = False
    black_list: list[Range] = field(default_factory=list)
    neighbor_black_list: list[Range] = field(default_factory=list)
    bogon_prefixes: list[Range] = field(default_factory=list)
    origins: list[tuple[int, int]] | None = None
    prefixes: list[Range] | None = None
    enforce_origin: bool = False
    enforce_prefix: bool = False
    allow_longer: bool = False
    white_asns: list[tuple[int, int]] = field(default_factory=list)
    white_prefixes: list[Range] = field(default_factory=list)
    white_routes: list[tuple[str, int, int, int | None]] = field(default_factory=list)
    roas_as_route_objects: bool = False
    vrps: list[Vrp] | None = None
    reject_invalid: bool = False
    lengths: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By IP version."""


@dataclass
class Verdict:
    """What becomes of a route, and why."""

    reason: int
    rpki: str = "not-checked"
    irr: str = "not-checked"


def named(asn: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether an AS number is in one of the ranges."""
    return any(first <= asn <= last for first, last in ranges)


def listed(prefix: str, ranges: list[Range], *, longer: bool = False) -> bool:
    """Whether a prefix is on a list, or with `longer` below something on it."""
    net = ipaddress.ip_network(prefix)
    for text, low, high in ranges:
        outer = ipaddress.ip_network(text)
        if outer.version != net.version or not net.subnet_of(outer):  # type: ignore[arg-type]
            continue
        if longer or low <= net.prefixlen <= high:
            return True
    return False


def judge(
    prefix: str,
    rules: Rules,
    *,
    path: tuple[int, ...],
    next_hop: str,
    n_communities: int,
    peer: int,
) -> Verdict:
    """Return the verdict on a route of the neighbor with AS number `peer`."""
    net = ipaddress.ip_network(prefix)
    behind = list(path)
    while behind and behind[0] == peer:
        behind.pop(0)
    if rules.next_hops is not None and next_hop not in rules.next_hops:
        return Verdict(R.FILTER_NEXT_HOP)
    if rules.max_as_path_length and len(path) > rules.max_as_path_length:
        return Verdict(R.FILTER_AS_PATH_LENGTH)
    if path[0] != peer:
        return Verdict(R.FIRST_AS)
    if any(named(asn, rules.bogon_asns) for asn in path):
        return Verdict(R.FILTER_BOGON_ASN)
    if not rules.transit_warning and any(named(asn, rules.transit_free) for asn in behind):
        return Verdict(R.FILTER_TRANSIT_FREE)
    if any(named(asn, rules.never_via) for asn in behind):
        return Verdict(R.FILTER_NEVER_VIA_ROUTE_SERVER)
    if rules.max_communities and n_communities > rules.max_communities:
        return Verdict(R.FILTER_COMMUNITIES)

    found = Verdict(0)
    origin = path[-1]
    if rules.vrps is not None:
        found.rpki = validate(rules.vrps, prefix, origin).replace("not-found", "unknown")
    found.reason = _by_prefix(prefix, net, rules)
    if not found.reason:
        found.reason = _by_origin(prefix, origin, rules, found)
    low, high = rules.lengths.get(net.version, (0, 128))
    if not found.reason and not low <= net.prefixlen <= high:
        found.reason = R.FILTER_PREFIX_LENGTH
    return found


def _by_prefix(
    prefix: str, net: ipaddress.IPv4Network | ipaddress.IPv6Network, rules: Rules
) -> int:
    outside = net.version == 6 and not net.subnet_of(GLOBAL_UNICAST)  # type: ignore[arg-type]
    if rules.global_unicast_only and outside:
        return R.FILTER_NOT_GLOBAL_UNICAST
    if listed(prefix, rules.black_list):
        return R.FILTER_BLACK_LIST
    if listed(prefix, rules.neighbor_black_list):
        return R.FILTER_NEIGHBOR_BLACK_LIST
    if listed(prefix, rules.bogon_prefixes):
        return R.FILTER_BOGON_PREFIX
    return 0


def _by_origin(prefix: str, origin: int, rules: Rules, found: Verdict) -> int:
    if rules.origins is not None or rules.prefixes is not None:
        origin_ok = rules.origins is None or named(origin, rules.origins)
        prefix_ok = rules.prefixes is None or listed(
            prefix, rules.prefixes, longer=rules.allow_longer
        )
        found.irr = "valid" if origin_ok and prefix_ok else "invalid"
        if any(
            listed(prefix, [(text, low, high)]) and asn in {None, origin}
            for text, low, high, asn in rules.white_routes
        ):
            origin_ok = prefix_ok = True
        rescued = rules.roas_as_route_objects and found.rpki == "valid"
        if rules.enforce_origin and not origin_ok and not named(origin, rules.white_asns):
            return R.FILTER_IRR_ORIGIN
        white = listed(prefix, rules.white_prefixes)
        if rules.enforce_prefix and not prefix_ok and not white and not rescued:
            return R.FILTER_IRR_PREFIX
    if rules.reject_invalid and found.rpki == "invalid":
        return R.FILTER_RPKI_INVALID
    return 0
