"""Checks of configuration values against each other.

In: parsed values by attribute name of the model. Out: faults in words, or a complete `Neighbor`.
Pure: no files, no lines; rs/configfile.py knows where a value was written and reports.

A `Conflict` names the attributes whose removal would end it. One that comes from [defaults] gives
way, so a default serves the neighbors it fits; what a neighbor itself says does not, and is a
fault.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from rs.config import HOLD_TIME, LocalRole, Neighbor, Role, role_defaults
from rs.configkeys import keys_of
from rs.configvalues import Endpoint
from rs.filterconfig import AspaRule, RpkiRule
from rs.iana import BGP_PORT, Family
from rs.nexthopconfig import NextHopSource
from rs.prefixset import PrefixTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rs.config import Api, Router
    from rs.filterconfig import Rpki
    from rs.nexthopconfig import NextHops

    Values = Mapping[str, Any]

LOOPBACK = ("127.", "::1")


@attrs.frozen
class Conflict:
    """Values that cannot stand together: the attributes that could give way, and why."""

    attributes: tuple[str, ...]
    words: str


@cache
def _names() -> dict[str, str]:
    return {attribute: name for name, (attribute, _) in keys_of(Neighbor).items()}


def key_name(attribute: str) -> str:
    """Return the name in the file of an attribute of Neighbor."""
    return _names()[attribute]


def _clash(one: Endpoint, other: Endpoint) -> bool:
    """Whether two sockets cannot be bound together."""
    if one.port != other.port or one.is_ipv6 != other.is_ipv6:
        return False
    return one.host == other.host or one.is_wildcard or other.is_wildcard


def router_faults(router: Router) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what does not fit within [router]."""
    for index, endpoint in enumerate(router.listen):
        for other in router.listen[:index]:
            if _clash(endpoint, other):
                yield ("listen", index), f"{endpoint} is covered by {other}; remove one of them"


def api_faults(api: Api, router: Router) -> Iterator[str]:
    """Yield what does not fit between [api] and [router]."""
    if api.listen is not None:
        for endpoint in router.listen:
            if _clash(api.listen, endpoint):
                yield f"{api.listen} is taken by router.listen, {endpoint}; want another port"


def api_warning(api: Api) -> str | None:
    """Return a warning when the API is open to other hosts, which it does not authenticate."""
    if api.listen is None or api.listen.host.startswith(LOOPBACK):
        return None
    return f"{api.listen} is open to other hosts and asks for no password"


def contradictions(values: Values) -> Iterator[Conflict]:
    """Yield conflicts that no neighbor could mend: they hold within [defaults] already."""
    if values.get("ttl_security") and values.get("multihop"):
        yield Conflict(
            ("ttl_security", "multihop"),
            "ttl_security asks for a neighbor one hop away (RFC 5082); want no multihop beside it",
        )
    hold, keepalive = values.get("hold_time", HOLD_TIME), values.get("keepalive")
    if hold and keepalive and keepalive * 3 > hold:
        yield Conflict(
            ("keepalive",),
            f"{keepalive} is more than a third of hold_time {hold}; want at most {hold // 3}",
        )


def _identity_conflicts(values: Values, router: Router) -> Iterator[Conflict]:
    asns = values.get("asns", ())
    internal = asns == (router.asn,)
    if values.get("address") and len(asns) != 1:
        yield Conflict(("asns",), "want one AS number; a list is for a range")
    if values.get("route_reflector_client"):
        if router.role is not Role.ROUTE_REFLECTOR:
            yield Conflict(
                ("route_reflector_client",),
                'a route server has none; want false, or router.role = "route-reflector"',
            )
        elif asns and not internal:
            yield Conflict(
                ("route_reflector_client",),
                f"clients are internal; want asn = {router.asn}, as in [router]",
            )
    if not values.get("route_reflector_client"):
        for key in ("cluster_id", "client_to_client"):
            if key in values:
                yield Conflict(
                    (key,), "is for clients of a reflector; want route_reflector_client = true"
                )
    if values.get("orr") and asns and not internal:
        yield Conflict(
            ("orr",),
            f"is for internal neighbors (RFC 9107); want asn = {router.asn}, as in [router]",
        )
    if values.get("route_server_client"):
        if router.role is not Role.ROUTE_SERVER:
            yield Conflict(
                ("route_server_client",),
                'a route reflector has none; want false, or router.role = "route-server"',
            )
        elif internal:
            yield Conflict(
                ("route_server_client",),
                f"asn {router.asn} is our own and clients are external; want false",
            )
    client = role_defaults(
        router, internal=internal, route_server_client=values.get("route_server_client")
    )["route_server_client"]
    if client and values.get("next_hop_self"):
        yield Conflict(
            ("next_hop_self",),
            "NEXT_HOP goes unchanged to route-server clients (RFC 7947 2.2.1); "
            "want false, or route_server_client = false",
        )
    if values.get("prepend_own_as") and not client:
        yield Conflict(
            ("prepend_own_as",),
            "is for route-server clients; other external neighbors see our AS anyway, want false",
        )
    if values.get("long_lived_partial") and asns and not internal:
        yield Conflict(
            ("long_lived_partial",),
            f"is for internal neighbors (RFC 9494 4.6); want asn = {router.asn}, as in [router]",
        )
    if internal and values.get("require_policy"):
        yield Conflict(("require_policy",), "is for external neighbors (RFC 8212); want false")
    if internal and values.get("first_as_check"):
        yield Conflict(
            ("first_as_check",),
            "an internal neighbor does not put its AS first (RFC 4271 5.1.2); want false",
        )


def _role_conflicts(values: Values, router: Router) -> Iterator[Conflict]:
    """Yield what does not fit about BGP roles (RFC 9234)."""
    role = values.get("local_role", LocalRole.NONE)
    internal = values.get("asns", ()) == (router.asn,)
    client = role_defaults(
        router, internal=internal, route_server_client=values.get("route_server_client")
    )["route_server_client"]
    if role is not LocalRole.NONE and internal:
        yield Conflict(
            ("local_role",), 'roles are between ASes (RFC 9234 4); want "none" for an internal one'
        )
    elif role is LocalRole.RS and not client:
        yield Conflict(
            ("local_role",),
            '"rs" is towards route-server clients; want another one, or route_server_client = true',
        )
    elif role not in {LocalRole.NONE, LocalRole.RS} and client:
        yield Conflict(
            ("local_role",),
            f'"{role.value}" does not go with a route-server client; want "rs", '
            "or route_server_client = false",
        )
    if values.get("strict_role") and role is LocalRole.NONE:
        yield Conflict(("strict_role",), "is about roles; want local_role beside it")


def _transport_conflicts(values: Values, router: Router) -> Iterator[Conflict]:
    name: str = values.get("address") or values["range"]
    is_ipv6 = ":" in name
    version = "IPv6" if is_ipv6 else "IPv4"
    is_range = "range" in values
    local = values.get("local_address")
    if local and (":" in local) != is_ipv6:
        yield Conflict(("local_address",), f"{local} cannot reach {name}; want an {version} one")
    if local == name and not name.startswith(LOOPBACK):
        yield Conflict(("local_address",), f"{local} is the neighbor's own address; want ours")
    if is_range and values.get("passive") is False:
        yield Conflict(("passive",), "a range only waits for its neighbors; want true")
    if is_range and "port" in values:
        yield Conflict(("port",), "a range is never connected to; want no port")
    if not is_range and "max_peers" in values:
        yield Conflict(("max_peers",), "one address is one neighbor; want it with a range")
    if is_range or values.get("passive", False):
        doors = [endpoint for endpoint in router.listen if endpoint.is_ipv6 == is_ipv6]
        if not doors:
            yield Conflict(
                ("range" if is_range else "address",),
                f"{name} must connect to us, and router.listen has no {version} address; want one",
            )
        elif local and not any(door.is_wildcard or door.host == local for door in doors):
            yield Conflict(
                ("local_address",),
                f"{name} must connect to us at {local}, which router.listen lacks; "
                f"want one of {', '.join(door.host for door in doors)}",
            )
    if not is_range and Endpoint(name, values.get("port", BGP_PORT)) in router.listen:
        yield Conflict(
            ("address",), f"{name} is our own address, in router.listen; want the neighbor's"
        )


def conflicts(values: Values, router: Router) -> Iterator[Conflict]:
    """Yield everything that cannot stand together in one neighbor."""
    yield from _identity_conflicts(values, router)
    yield from _role_conflicts(values, router)
    yield from _transport_conflicts(values, router)
    yield from contradictions(values)
    if values.get("enhanced_refresh") and values.get("route_refresh") is False:
        yield Conflict(
            ("enhanced_refresh", "route_refresh"),
            "refines route refresh (RFC 7313); want route_refresh = true beside it, or false",
        )
    families = values.get("families", tuple(Family))
    if values.get("extended_next_hop") and Family.IPV4_UNICAST not in families:
        yield Conflict(
            ("extended_next_hop",),
            "is about IPv4 prefixes (RFC 8950); want ipv4-unicast in families",
        )


def layer(own: Values, defaults: Values, router: Router) -> tuple[dict[str, Any], list[Conflict]]:
    """Return a neighbor's values over the defaults that suit it, and the conflicts that remain."""
    values = {**defaults, **own}
    if "password" in own and "password_file" not in own:
        values.pop("password_file", None)
    while True:
        remaining: list[Conflict] = []
        for conflict in conflicts(values, router):
            gives_way = [name for name in conflict.attributes if name in values and name not in own]
            if gives_way:
                del values[gives_way[0]]
                break
            remaining.append(conflict)
        else:
            return values, remaining


def complete(values: Values, router: Router, source: str) -> Neighbor:
    """Return the neighbor of values without conflicts; `source` says where it is configured."""
    full = dict(values)
    is_range = "range" in full
    if is_range:
        full["passive"] = True
        if full.get("route_reflector_client"):
            full.setdefault("asns", (router.asn,))
    if full.get("route_refresh") is False:
        full["enhanced_refresh"] = False
    settled = role_defaults(
        router,
        internal=full.get("asns") == (router.asn,),
        route_server_client=full.get("route_server_client"),
    )
    derived = settled.keys() - full.keys()
    full |= {name: settled[name] for name in derived}
    return Neighbor(
        **full,
        router=router,
        derived=frozenset(derived) if is_range else frozenset(),
        source=source,
    )


def next_hop_faults(next_hops: NextHops, igp: object) -> Iterator[tuple[str, str]]:
    """Yield (key, what does not fit between [next_hops] and [[igp]])."""
    if next_hops.source is NextHopSource.STATIC and igp is None:
        yield "source", '"static" without [[igp]] leaves every next hop unreachable; want [[igp]]'
    if next_hops.source is NextHopSource.NONE and igp is not None:
        yield "source", '"none" beside [[igp]]; want "static", or "kernel"'


def filter_warnings(neighbors: Iterable[Neighbor]) -> Iterator[str]:
    """Yield a warning for each rule that is on and has nothing to compare with."""
    for key, source in (
        ("irr_enforce_origin", "irr_origins"),
        ("irr_enforce_prefix", "irr_prefixes"),
    ):
        found = [
            neighbor.name
            for neighbor in neighbors
            if getattr(neighbor.filters, key) and getattr(neighbor.filters, source) is None
        ]
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            yield f"{key} without {source} checks nothing: {', '.join(found[:3])}{more}"


def rpki_warnings(neighbors: Iterable[Neighbor], rpki: Rpki) -> Iterator[str]:
    """Yield a warning when routes are to be refused by RPKI, and nobody says what is invalid."""
    if rpki.caches or rpki.files:
        return
    found = [n.name for n in neighbors if n.filters.rpki is RpkiRule.REJECT]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        yield (
            f'rpki = "reject" without caches or files in [rpki] checks nothing: '
            f"{', '.join(found[:3])}{more}"
        )


def mapped_faults(neighbors: Iterable[Neighbor]) -> Iterator[tuple[str, str]]:
    """Yield (neighbor, words) where a number would stand for more than one AS."""
    known = list(neighbors)
    real = {neighbor.asn: neighbor.name for neighbor in known if neighbor.asn is not None}
    found: dict[int, Neighbor] = {}
    for neighbor in known:
        number = neighbor.mapped_asn
        if number is None:
            continue
        first = found.setdefault(number, neighbor)
        if neighbor.asn is None:
            yield neighbor.name, "stands for one AS number; want asn beside it"
        elif first.asn != neighbor.asn:
            yield neighbor.name, f"{number} stands for AS{first.asn} already, at {first.name}"
        elif number in real:
            yield neighbor.name, f"{number} is the AS number of {real[number]}; want another one"


def policy_warnings(neighbors: Iterable[Neighbor]) -> Iterator[str]:
    """Yield warnings of neighbors that nothing comes from or goes to, and of paths not verified."""
    neighbors = tuple(neighbors)
    for words, found in (
        (
            "nothing is accepted without a rule in filters or require_policy = false (RFC 8212)",
            [n.name for n in neighbors if n.lacks_import_policy],
        ),
        (
            "nothing is announced without an export policy or require_policy = false (RFC 8212)",
            [n.name for n in neighbors if n.lacks_export_policy],
        ),
        (
            "aspa without local_role checks nothing, since nobody knows which way routes go",
            [
                n.name
                for n in neighbors
                if n.filters.aspa is not AspaRule.OFF and not n.internal and not n.has_direction
            ],
        ),
    ):
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            yield f"{words}: {', '.join(found[:3])}{more}"


def nested_ranges(neighbors: Iterable[Neighbor]) -> Iterator[tuple[str, str]]:
    """Yield (outer, inner) for each range that lies within another."""
    ranges = PrefixTable[Neighbor]()
    for neighbor in neighbors:
        if neighbor.range is not None:
            ranges.add(neighbor.range, neighbor)
    for inner in ranges:
        outer = ranges.parent(inner)
        if outer is not None:
            yield outer, inner
