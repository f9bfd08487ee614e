"""The configuration of the import filters: rules, named sets, RPKI sources.

In: parsed values. Out: frozen objects, as in rs/config.py. `Filters` is complete: the neighbor's
own rules lie over [filters], and these over the preset. Nothing is on without being asked for.

RFC 4486 (limits), 6811 (origin validation), 7454 (what to filter), 7947, 7948.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.configkeys import Effect, key, keys_of
from rs.configvalues import BadValue, Kind, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AsnRange = tuple[int, int]
"""First and last AS number."""
PrefixRange = tuple[str, int, int]
"""A prefix, and the shortest and longest length that it stands for."""
RouteRange = tuple[str, int, int, int | None]
"""The same with an origin AS; None for any."""


class Preset(StrEnum):
    """Rules that are on without being named."""

    NONE = "none"
    AROUTESERVER = "arouteserver"


class NextHopRule(StrEnum):
    """Which next hops a neighbor may announce."""

    ANY = "any"
    STRICT = "strict"
    SAME_AS = "same-as"
    AUTHORIZED = "authorized"


class RpkiRule(StrEnum):
    """What becomes of routes by their RPKI state (RFC 6811)."""

    OFF = "off"
    ACCEPT = "accept"
    REJECT = "reject"


class AspaRule(StrEnum):
    """What becomes of routes by the ASPA state of their AS_PATH."""

    OFF = "off"
    NOTE = "note"
    REJECT_INVALID = "reject-invalid"


class RejectPolicy(StrEnum):
    """What becomes of a route that a rule refuses."""

    REJECT = "reject"
    TAG = "tag"
    TAG_AND_REJECT = "tag-and-reject"


class TransitFreeRule(StrEnum):
    """What becomes of a route with a transit-free network behind the neighbor."""

    REJECT = "reject"
    WARNING = "warning"


class MaxPrefixCount(StrEnum):
    """Which paths count towards the limit."""

    RECEIVED = "received"
    ACCEPTED = "accepted"


class MaxPrefixAction(StrEnum):
    """What happens to a neighbor beyond its limit."""

    SHUTDOWN = "shutdown"
    RESTART = "restart"
    BLOCK = "block"
    WARNING = "warning"


class Empty(StrEnum):
    """What a set without entries means."""

    KEEP = "keep"
    REJECT = "reject"


def lengths(longest: int) -> Kind:
    """Return the kind of [SHORTEST, LONGEST] prefix lengths."""
    wants = f"[SHORTEST, LONGEST], two numbers of 0 to {longest}"

    def parse(value: object) -> tuple[int, int]:
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(isinstance(n, int) and not isinstance(n, bool) for n in value)
            or not 0 <= value[0] <= value[1] <= longest
        ):
            raise BadValue(f"{shown(value)} does not fit; want {wants}")
        return value[0], value[1]

    return Kind(wants, parse)


def _or_built_in(items: Kind) -> Kind:
    wants = f"true, false, or {items.wants}"

    def parse(value: object) -> Any:
        if isinstance(value, bool):
            return value
        if not isinstance(value, list):
            raise BadValue(f"{shown(value)} does not fit; want {wants}")
        return items.parse(value)

    return Kind(wants, parse)


def parse_table(model: type, value: object) -> dict[str, Any]:
    """Return the parsed values of a table by attribute; BadValue with the path of each fault."""
    if not isinstance(value, dict):
        raise BadValue(f"{shown(value)} does not fit; want a table")
    known = keys_of(model)
    values: dict[str, Any] = {}
    faults: list[tuple[tuple[int | str, ...], str]] = []
    for name, one in value.items():
        if name not in known:
            faults.append(((name,), f"unknown key; {kinds.suggestion(name, frozenset(known))}"))
            continue
        attribute, found = known[name]
        try:
            values[attribute] = found.kind.parse(one)
        except BadValue as bad:
            faults += [((name, *path), words) for path, words in bad.faults]
    if faults:
        raise BadValue(*faults)
    return values


def _route_range(value: object) -> RouteRange:
    text, origin = value, None
    if isinstance(value, str) and (found := re.fullmatch(r"(.*\S)\s+AS(\S+)", value)):
        text, origin = found[1], kinds.parse_asn(found[2])
    return (*kinds.PREFIX_RANGE.parse(text), origin)


ROUTE_RANGES = kinds.list_of(
    Kind('prefixes, each with "ge N", "le N", an origin "ASN" or none of them', _route_range),
    empty=True,
)
PREFIX_RANGES = kinds.list_of(kinds.PREFIX_RANGE, empty=True)
ASN_RANGES = kinds.list_of(kinds.ASN_RANGE, empty=True)
FILTERS = Kind("a table", lambda value: parse_table(Filters, value))


@attrs.frozen(kw_only=True)
class Filters:
    """[filters] and [neighbors.filters]: the rules for what a neighbor announces."""

    preset: Preset = attrs.field(
        default=Preset.NONE, metadata=key(kinds.choice(Preset), Effect.REEVALUATE, '"none"')
    )
    next_hop: NextHopRule = attrs.field(
        default=NextHopRule.ANY,
        metadata=key(kinds.choice(NextHopRule), Effect.REEVALUATE, '"any"'),
    )
    next_hop_addresses: tuple[str, ...] = attrs.field(
        default=(), metadata=key(kinds.list_of(kinds.HOST, empty=True), Effect.REEVALUATE, "[]")
    )
    max_as_path_length: int = attrs.field(
        default=0, metadata=key(kinds.integer(0, 2000), Effect.REEVALUATE, "0")
    )
    """AS numbers, 0 for any number of them."""
    bogon_asns: bool | tuple[AsnRange, ...] = attrs.field(
        default=False, metadata=key(_or_built_in(ASN_RANGES), Effect.REEVALUATE, "false")
    )
    transit_free_asns: bool | tuple[AsnRange, ...] = attrs.field(
        default=False, metadata=key(_or_built_in(ASN_RANGES), Effect.REEVALUATE, "false")
    )
    transit_free_action: TransitFreeRule = attrs.field(
        default=TransitFreeRule.REJECT,
        metadata=key(kinds.choice(TransitFreeRule), Effect.REEVALUATE, '"reject"'),
    )
    never_via_route_server_asns: tuple[AsnRange, ...] = attrs.field(
        default=(), metadata=key(ASN_RANGES, Effect.REEVALUATE, "[]")
    )
    max_communities: int = attrs.field(
        default=0, metadata=key(kinds.integer(0, 20000), Effect.REEVALUATE, "0")
    )
    """Communities of all kinds together, 0 for any number."""
    ipv6_global_unicast_only: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    black_list: tuple[PrefixRange, ...] = attrs.field(
        default=(), metadata=key(PREFIX_RANGES, Effect.REEVALUATE, "[]")
    )
    neighbor_black_list: tuple[PrefixRange, ...] = attrs.field(
        default=(), metadata=key(PREFIX_RANGES, Effect.REEVALUATE, "[]")
    )
    bogon_prefixes: bool | tuple[PrefixRange, ...] = attrs.field(
        default=False, metadata=key(_or_built_in(PREFIX_RANGES), Effect.REEVALUATE, "false")
    )
    irr_origins: str | None = attrs.field(
        default=None, metadata=key(kinds.SET_NAME, Effect.REEVALUATE, "none")
    )
    """Name of the [as_sets] with the AS numbers that may originate routes."""
    irr_prefixes: str | None = attrs.field(
        default=None, metadata=key(kinds.SET_NAME, Effect.REEVALUATE, "none")
    )
    """Name of the [prefix_sets] with the prefixes that may be announced."""
    irr_enforce_origin: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    irr_enforce_prefix: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    irr_allow_longer: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    irr_white_list_asns: tuple[AsnRange, ...] = attrs.field(
        default=(), metadata=key(ASN_RANGES, Effect.REEVALUATE, "[]")
    )
    irr_white_list_prefixes: tuple[PrefixRange, ...] = attrs.field(
        default=(), metadata=key(PREFIX_RANGES, Effect.REEVALUATE, "[]")
    )
    irr_white_list_routes: tuple[RouteRange, ...] = attrs.field(
        default=(), metadata=key(ROUTE_RANGES, Effect.REEVALUATE, "[]")
    )
    """Routes that no IRR rule looks at."""
    roas_as_route_objects: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    rpki: RpkiRule = attrs.field(
        default=RpkiRule.OFF, metadata=key(kinds.choice(RpkiRule), Effect.REEVALUATE, '"off"')
    )
    aspa: AspaRule = attrs.field(
        default=AspaRule.OFF,
        metadata=key(kinds.choice(AspaRule), Effect.REEVALUATE, '"off"'),
    )
    """draft-ietf-sidrops-aspa-verification; the direction follows from the neighbor's role."""
    prefix_length_ipv4: tuple[int, int] = attrs.field(
        default=(0, 32), metadata=key(lengths(32), Effect.REEVALUATE, "[0, 32]")
    )
    prefix_length_ipv6: tuple[int, int] = attrs.field(
        default=(0, 128), metadata=key(lengths(128), Effect.REEVALUATE, "[0, 128]")
    )
    graceful_shutdown: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    """Whether routes that ask for it are the last choice (RFC 8326)."""
    reject_policy: RejectPolicy = attrs.field(
        default=RejectPolicy.REJECT,
        metadata=key(kinds.choice(RejectPolicy), Effect.REEVALUATE, '"reject"'),
    )
    max_prefix_ipv4: int = attrs.field(
        default=0, metadata=key(kinds.integer(0, 100_000_000), Effect.INSTANT, "0")
    )
    """Paths of a neighbor in the family, 0 for any number."""
    max_prefix_ipv6: int = attrs.field(
        default=0, metadata=key(kinds.integer(0, 100_000_000), Effect.INSTANT, "0")
    )
    max_prefix_count: MaxPrefixCount = attrs.field(
        default=MaxPrefixCount.RECEIVED,
        metadata=key(kinds.choice(MaxPrefixCount), Effect.INSTANT, '"received"'),
    )
    max_prefix_action: MaxPrefixAction = attrs.field(
        default=MaxPrefixAction.SHUTDOWN,
        metadata=key(kinds.choice(MaxPrefixAction), Effect.INSTANT, '"shutdown"'),
    )
    max_prefix_restart: int = attrs.field(
        default=15, metadata=key(kinds.integer(1, 10_000, "minutes"), Effect.INSTANT, "15")
    )
    max_prefix_warning: int = attrs.field(
        default=80, metadata=key(kinds.integer(0, 100, "percent"), Effect.INSTANT, "80")
    )
    """Percent of the limit at which the log says so, 0 for never."""

    inherited: bool = attrs.field(default=False, eq=False, repr=False)
    """All of it is from [filters], nothing the neighbor's own."""

    @property
    def validates(self) -> bool:
        """Whether some rule looks at the state of an origin (RFC 6811)."""
        return self.rpki is not RpkiRule.OFF or self.roas_as_route_objects

    @property
    def uses_rpki(self) -> bool:
        """Whether some rule looks at RPKI data of any kind."""
        return self.validates or self.aspa is not AspaRule.OFF

    @property
    def restricts(self) -> bool:
        """Whether some rule could refuse a route: an import policy in the sense of RFC 8212."""
        lengths = ((0, 32), (0, 128))
        return bool(
            self.next_hop is not NextHopRule.ANY
            or self.max_as_path_length
            or self.bogon_asns
            or (self.transit_free_asns and self.transit_free_action is TransitFreeRule.REJECT)
            or self.never_via_route_server_asns
            or self.max_communities
            or self.ipv6_global_unicast_only
            or self.black_list
            or self.neighbor_black_list
            or self.bogon_prefixes
            or (self.irr_origins is not None and self.irr_enforce_origin)
            or (self.irr_prefixes is not None and self.irr_enforce_prefix)
            or self.rpki is RpkiRule.REJECT
            or self.aspa is AspaRule.REJECT_INVALID
            or (self.prefix_length_ipv4, self.prefix_length_ipv6) != lengths
        )

    def limit(self, family: int) -> int:
        """Return the limit of a family, 0 where there is none."""
        return self.max_prefix_ipv6 if family else self.max_prefix_ipv4


PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    Preset.NONE: {},
    Preset.AROUTESERVER: {
        "next_hop": NextHopRule.STRICT,
        "max_as_path_length": 32,
        "bogon_asns": True,
        "transit_free_asns": True,
        "ipv6_global_unicast_only": True,
        "bogon_prefixes": True,
        "irr_enforce_origin": True,
        "irr_enforce_prefix": True,
        "rpki": RpkiRule.REJECT,
        "prefix_length_ipv4": (8, 24),
        "prefix_length_ipv6": (12, 48),
    },
}
NO_FILTERS = Filters()


def complete_filters(own: Mapping[str, Any] | None, shared: Mapping[str, Any]) -> Filters:
    """Return a neighbor's rules: its own over the shared ones over the preset's."""
    values = {**shared, **(own or {})}
    preset = PRESETS[values.get("preset", Preset.NONE)]
    return Filters(**{**preset, **values}, inherited=own is None)


def filter_faults(filters: Filters) -> Iterator[tuple[str, str]]:
    """Yield (attribute, words) for rules that cannot stand together."""
    authorized = filters.next_hop is NextHopRule.AUTHORIZED
    if authorized and not filters.next_hop_addresses:
        yield "next_hop", '"authorized" wants next_hop_addresses beside it'
    if filters.next_hop_addresses and not authorized:
        yield "next_hop_addresses", 'is for next_hop = "authorized"; want that beside it'


@attrs.frozen(kw_only=True)
class PrefixSetFiles:
    """[prefix_sets.NAME]: prefixes that several neighbors may share."""

    files: tuple[Path, ...] = attrs.field(
        default=(),
        metadata=key(kinds.list_of(kinds.PATH, empty=True), Effect.REEVALUATE, "[]"),
    )
    """Absolute, or relative to where the daemon runs."""
    prefixes: tuple[PrefixRange, ...] = attrs.field(
        default=(), metadata=key(PREFIX_RANGES, Effect.REEVALUATE, "[]")
    )
    empty: Empty = attrs.field(
        default=Empty.KEEP, metadata=key(kinds.choice(Empty), Effect.REEVALUATE, '"keep"')
    )


@attrs.frozen(kw_only=True)
class AsSetFiles:
    """[as_sets.NAME]: AS numbers that several neighbors may share."""

    files: tuple[Path, ...] = attrs.field(
        default=(),
        metadata=key(kinds.list_of(kinds.PATH, empty=True), Effect.REEVALUATE, "[]"),
    )
    asns: tuple[AsnRange, ...] = attrs.field(
        default=(), metadata=key(ASN_RANGES, Effect.REEVALUATE, "[]")
    )
    empty: Empty = attrs.field(
        default=Empty.KEEP, metadata=key(kinds.choice(Empty), Effect.REEVALUATE, '"keep"')
    )


@attrs.frozen(kw_only=True)
class Cache:
    """One of [rpki] caches: an RPKI cache that speaks RTR (RFC 8210)."""

    host: str = attrs.field(metadata=key(kinds.HOST_OR_NAME, Effect.INSTANT, "required"))
    port: int = attrs.field(default=323, metadata=key(kinds.PORT, Effect.INSTANT, "323"))
    preference: int = attrs.field(
        default=100, metadata=key(kinds.integer(0, 65535), Effect.INSTANT, "100")
    )
    """Lower is asked first; caches with the same number are used together."""
    local_address: str | None = attrs.field(
        default=None, metadata=key(kinds.HOST, Effect.INSTANT, "any")
    )
    """Address that we connect from."""
    password: str | None = attrs.field(
        default=None, repr=False, metadata=key(kinds.PASSWORD, Effect.INSTANT, "none")
    )
    """TCP MD5 key (RFC 8210 9.3)."""
    version: int = attrs.field(default=2, metadata=key(kinds.integer(0, 2), Effect.INSTANT, "2"))
    """Highest version of the protocol that is offered."""
    refresh: int | None = attrs.field(
        default=None,
        metadata=key(kinds.integer(1, 86400, "seconds"), Effect.INSTANT, "the cache's"),
    )
    """Seconds between queries, in place of what the cache says (RFC 8210 6), as the next two."""
    retry: int | None = attrs.field(
        default=None,
        metadata=key(kinds.integer(1, 7200, "seconds"), Effect.INSTANT, "the cache's"),
    )
    """Seconds until a failed query is tried again, at most."""
    expire: int | None = attrs.field(
        default=None,
        metadata=key(kinds.integer(600, 172800, "seconds"), Effect.INSTANT, "the cache's"),
    )
    """Seconds without an answer after which the cache's data are no longer used."""


def _caches(value: object) -> tuple[Cache, ...]:
    if not isinstance(value, list):
        raise BadValue(f"{shown(value)} does not fit; want {CACHES.wants}")
    found: dict[tuple[str, int], Cache] = {}
    for index, item in enumerate(value):
        if isinstance(item, dict) and "host" not in item:
            raise BadValue(((index, "host"), "missing; want the cache's address or name"))
        try:
            values = parse_table(Cache, item)
        except BadValue as bad:
            raise BadValue(*(((index, *path), words) for path, words in bad.faults)) from None
        cache = Cache(**values)
        if (cache.host, cache.port) in found:
            raise BadValue(((index,), f"{cache.host} port {cache.port} is there twice"))
        slow = max(cache.refresh or 0, cache.retry or 0)
        if cache.expire is not None and cache.expire <= slow:
            raise BadValue(((index, "expire"), f"want more than refresh and retry, {slow}"))
        found[cache.host, cache.port] = cache
    return tuple(found.values())


CACHES = Kind("a list of tables with host, port, preference and more", _caches)


@attrs.frozen(kw_only=True)
class Rpki:
    """[rpki]: where RPKI data come from."""

    caches: tuple[Cache, ...] = attrs.field(default=(), metadata=key(CACHES, Effect.INSTANT, "[]"))
    files: tuple[Path, ...] = attrs.field(
        default=(), metadata=key(kinds.list_of(kinds.PATH, empty=True), Effect.INSTANT, "[]")
    )
