"""The configuration model: what rs/configfile.py reads and everything else is given.

In: parsed values. Out: frozen objects that own nothing and may be shared freely. Every key of the
file is an attribute here, with its default, its unit in the docstring below it, the kind of value
it takes and what a change of it does to a running session; docs/configuration.md is compared
with these by a test. A `Neighbor` is complete: [defaults] and the defaults that depend on the
role are applied already. Configuration objects are not runtime objects: a peer holds a Neighbor.

RFC 4271 8.1 and 10 (timers), 4456 (reflector), 7947 (route server), 5082 (GTSM), 2385 (MD5),
7911 and 7964 (ADD-PATH), 8654, 8950, 9687, 9774; 4724, 8538 and 9494 (restarts).
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.communityconfig import BlackHoles, Communities
from rs.configkeys import Effect
from rs.configkeys import key as _key
from rs.configvalues import BadValue, ByFamily, Endpoint, shown
from rs.filterconfig import FILTERS, NO_FILTERS, Filters, Rpki
from rs.iana import BGP_PORT, BgpRole, Family
from rs.nexthopconfig import IgpRoute, NextHops, NextHopSource, OrrGroup
from rs.policyconfig import POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rs.filterconfig import AsSetFiles, PrefixSetFiles
    from rs.policyconfig import Policy

HOLD_TIME = 90
"""Seconds offered in the OPEN without being told otherwise (RFC 4271 10)."""
MIN_SEND_HOLD_TIME = 480
"""Seconds: the least send-hold time that is chosen without being asked for (RFC 9687)."""


class Role(StrEnum):
    """What this speaker is to its neighbors."""

    ROUTE_SERVER = "route-server"
    ROUTE_REFLECTOR = "route-reflector"


class MedRule(StrEnum):
    """Between which paths MULTI_EXIT_DISC is compared (RFC 4271 9.1.2.2 c)."""

    SAME_AS = "same-as"
    ALWAYS = "always"


class AsSetRule(StrEnum):
    """What becomes of a path with AS_SET or AS_CONFED_SET (RFC 9774)."""

    REJECT = "reject"
    ACCEPT = "accept"


class Rtt(StrEnum):
    """A round-trip time that is not configured."""

    MEASURED = "measured"


class AddPath(StrEnum):
    """Directions in which ADD-PATH is offered to a neighbor (RFC 7911 4)."""

    OFF = "off"
    RECEIVE = "receive"
    SEND = "send"
    BOTH = "both"


class LocalRole(StrEnum):
    """What we are to a neighbor in the sense of BGP roles (RFC 9234 4)."""

    NONE = "none"
    PROVIDER = "provider"
    RS = "rs"
    RS_CLIENT = "rs-client"
    CUSTOMER = "customer"
    PEER = "peer"

    @property
    def number(self) -> BgpRole | None:
        """As the OPEN carries it; None for no role."""
        return None if self is LocalRole.NONE else BgpRole[self.name]


class AddPathSend(StrEnum):
    """Which of the paths that a neighbor may have it is sent (RFC 7911, RFC 7964 4)."""

    ALL = "all"
    BEST_PER_AS = "best-per-as"
    EQUAL = "equal"


class GracefulRestart(StrEnum):
    """What is done about restarts, a neighbor's and ours (RFC 4724)."""

    OFF = "off"
    HELPER = "helper"
    ON = "on"


def _parse_rtt(value: object) -> int | Rtt:
    if value == Rtt.MEASURED:
        return Rtt.MEASURED
    try:
        return int(_RTT_MS.parse(value))
    except BadValue:
        raise BadValue(f"{shown(value)} does not fit; want {RTT.wants}") from None


_RTT_MS = kinds.integer(0, 60_000, "milliseconds")
RTT = kinds.Kind(f'"measured" or {_RTT_MS.wants}', _parse_rtt)


@attrs.frozen(kw_only=True)
class Router:
    """[router]: this speaker."""

    role: Role = attrs.field(
        default=Role.ROUTE_SERVER,
        metadata=_key(kinds.choice(Role), Effect.RESET, '"route-server"'),
    )
    asn: int = attrs.field(metadata=_key(kinds.ASN, Effect.RESET, "required"))
    router_id: str = attrs.field(metadata=_key(kinds.IDENTIFIER, Effect.RESET, "required"))
    """BGP Identifier (RFC 6286)."""
    cluster_id: str = attrs.field(
        default=attrs.Factory(lambda self: self.router_id, takes_self=True),
        metadata=_key(kinds.IDENTIFIER, Effect.RESET, "router_id"),
    )
    """RFC 4456 8; only the reflector uses it."""
    listen: tuple[Endpoint, ...] = attrs.field(
        default=(Endpoint("0.0.0.0", BGP_PORT), Endpoint("::", BGP_PORT)),  # noqa: S104
        metadata=_key(kinds.list_of(kinds.ENDPOINT), Effect.INSTANT, '["0.0.0.0:179", "[::]:179"]'),
    )
    hostname: str | None = attrs.field(
        default=None, metadata=_key(kinds.HOSTNAME, Effect.NEXT_SESSION, "none")
    )
    """Said in the FQDN capability; None leaves the capability out."""
    med: MedRule = attrs.field(
        default=MedRule.SAME_AS,
        metadata=_key(kinds.choice(MedRule), Effect.REEVALUATE, '"same-as"'),
    )
    deterministic_med: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    """Whether paths are compared neighboring AS by neighboring AS, so that order of arrival
    does not matter."""
    prefer_oldest: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    """Whether between equal eBGP paths the one held longest stays (RFC 5004)."""
    control_communities: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    """Whether communities steer announcements and are added to them, see [communities]."""
    graceful_shutdown: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    """Whether what we announce asks to be the last choice (RFC 8326)."""
    import_policy: tuple[str, ...] = attrs.field(
        default=(), metadata=_key(POLICIES, Effect.REEVALUATE, "none")
    )
    """Policies for what all neighbors announce, before their own."""
    export_policy: tuple[str, ...] = attrs.field(
        default=(), metadata=_key(POLICIES, Effect.REEVALUATE, "none")
    )
    """Policies for what is announced to all neighbors, before their own."""

    @property
    def identifier(self) -> int:
        """`router_id` as the OPEN carries it."""
        return int(IPv4Address(self.router_id))

    @property
    def is_route_server(self) -> bool:
        """Whether the role is that of RFC 7947."""
        return self.role is Role.ROUTE_SERVER


@attrs.frozen(kw_only=True)
class Api:
    """[api]: where `rs show` and other HTTP clients connect; nowhere when both are None."""

    listen: Endpoint | None = attrs.field(
        default=None, metadata=_key(kinds.ENDPOINT, Effect.INSTANT, "none")
    )
    socket: str | None = attrs.field(
        default=None, metadata=_key(kinds.SOCKET_PATH, Effect.INSTANT, "none")
    )
    """Path of a Unix socket; made absolute, relative to the configuration file."""


class Awaited(StrEnum):
    """What a start may wait for before it announces anything."""

    END_OF_RIB = "end-of-rib"
    RPKI = "rpki"


@attrs.frozen(kw_only=True)
class Startup:
    """[startup]: what is waited for before the first route is chosen (RFC 4724 4.1)."""

    wait_for: tuple[Awaited, ...] = attrs.field(
        default=tuple(Awaited),
        metadata=_key(
            kinds.list_of(kinds.choice(Awaited), empty=True),
            Effect.INSTANT,
            '["end-of-rib", "rpki"]',
        ),
    )
    timeout: int = attrs.field(
        default=60, metadata=_key(kinds.integer(1, 3600, "seconds"), Effect.INSTANT, "60")
    )
    """Seconds after which it is waited no longer: the Selection_Deferral_Timer."""
    always: bool = attrs.field(default=False, metadata=_key(kinds.BOOLEAN, Effect.INSTANT, "false"))
    """Whether also a start waits that is no restart."""
    state_file: str | None = attrs.field(
        default=None,
        metadata=_key(kinds.PATH, Effect.INSTANT, "the API's `socket` with `.state` behind it"),
    )
    """Tells a restart from a first start; made absolute. None: every start is a first one."""


@attrs.frozen(kw_only=True)
class Neighbor:
    """[[neighbors]]: one neighbor (`address`), or a range from which neighbors may come.

    Complete, as the session uses it. For a range it is the model of the neighbors it stands for;
    `instance` gives the Neighbor of one that has come.
    """

    address: str | None = attrs.field(
        default=None, metadata=_key(kinds.HOST, Effect.RESET, "required, or range")
    )
    range: str | None = attrs.field(
        default=None, metadata=_key(kinds.PREFIX, Effect.RESET, "required, or address")
    )
    max_peers: int = attrs.field(
        default=100, metadata=_key(kinds.integer(1, 100_000), Effect.INSTANT, "100")
    )
    """Sessions that a range may hold at one time."""
    asns: tuple[int, ...] = attrs.field(
        default=(), metadata=_key(kinds.ASNS, Effect.RESET, "required; any in a range", "asn")
    )
    """AS numbers accepted in the OPEN; exactly one with `address`, none means any."""
    description: str = attrs.field(
        default="", metadata=_key(kinds.text("one line", 255), Effect.INSTANT, '""')
    )
    enabled: bool = attrs.field(default=True, metadata=_key(kinds.BOOLEAN, Effect.INSTANT, "true"))
    """False keeps the neighbor configured and its session down."""
    families: tuple[Family, ...] = attrs.field(
        default=tuple(Family),
        metadata=_key(
            kinds.list_of(kinds.FAMILY), Effect.RESET, '["ipv4-unicast", "ipv6-unicast"]'
        ),
    )
    hold_time: int = attrs.field(
        default=HOLD_TIME,
        metadata=_key(kinds.integer(3, 65535, "seconds", zero=True), Effect.NEXT_SESSION, "90"),
    )
    """Seconds; 0 does without keepalives (RFC 4271 4.2)."""
    keepalive: int | None = attrs.field(
        default=None,
        metadata=_key(
            kinds.integer(1, 21845, "seconds"), Effect.NEXT_SESSION, "a third of the hold time"
        ),
    )
    """Seconds; see `keepalive_for`."""
    send_hold_time: int | None = attrs.field(
        default=None,
        metadata=_key(
            kinds.integer(3, 65535, "seconds", zero=True),
            Effect.INSTANT,
            "twice the hold time, at least 480",
        ),
    )
    """Seconds, 0 never; see `send_hold_for`."""
    connect_retry: int = attrs.field(
        default=30,
        metadata=_key(kinds.integer(1, 65535, "seconds"), Effect.INSTANT, "30"),
    )
    """Seconds before jitter (RFC 4271 10 suggests 120, too long after a restart)."""
    passive: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.INSTANT, "false; true in a range")
    )
    """Whether to wait for the neighbor to connect."""
    local_address: str | None = attrs.field(
        default=None, metadata=_key(kinds.HOST, Effect.RESET, "any")
    )
    """Our end of the connection, both when connecting and when accepting."""
    port: int = attrs.field(default=BGP_PORT, metadata=_key(kinds.PORT, Effect.NEXT_SESSION, "179"))
    """TCP port to connect to."""
    multihop: int = attrs.field(default=0, metadata=_key(kinds.MULTIHOP, Effect.RESET, "false"))
    """TTL towards an external neighbor that is not on a common network; 0 when it is."""
    ttl_security: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.RESET, "false")
    )
    """GTSM: send with TTL 255 and drop what arrives with less (RFC 5082)."""
    password: str | None = attrs.field(
        default=None, repr=False, metadata=_key(kinds.PASSWORD, Effect.RESET, "none")
    )
    """TCP MD5 key (RFC 2385); read from `password_file` where that is given."""
    password_file: str | None = attrs.field(
        default=None, eq=False, metadata=_key(kinds.PATH, Effect.INSTANT, "none")
    )
    route_server_client: bool = attrs.field(
        default=False,
        metadata=_key(kinds.BOOLEAN, Effect.RESET, "true for external neighbors of a route server"),
    )
    """Whether AS_PATH, NEXT_HOP and MED go to and from it unchanged (RFC 7947 2.2)."""
    route_reflector_client: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.RESET, "false")
    )
    """RFC 4456 6."""
    cluster_id: str | None = attrs.field(
        default=None, metadata=_key(kinds.IDENTIFIER, Effect.RESET, "cluster_id of [router]")
    )
    """Cluster that a client belongs to (RFC 4456 7); see `cluster`."""
    client_to_client: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    """Whether a client gets the routes of other clients of its cluster; those of other clusters
    it gets in any case."""
    orr: str | None = attrs.field(
        default=None,
        metadata=_key(
            kinds.text("the name of a group", 64, r"[A-Za-z0-9_.:@-]+"), Effect.REEVALUATE, "none"
        ),
    )
    """Its best paths are chosen with the metrics of this group of [[orr]] (RFC 9107)."""
    next_hop_self: bool = attrs.field(
        default=False,
        metadata=_key(
            kinds.BOOLEAN,
            Effect.REEVALUATE,
            "true for external neighbors that are not route-server clients",
        ),
    )
    first_as_check: bool = attrs.field(
        default=False,
        metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true for external neighbors"),
    )
    """Whether the leftmost AS must be the neighbor's own (RFC 4271 6.3)."""
    as_set: AsSetRule = attrs.field(
        default=AsSetRule.REJECT,
        metadata=_key(kinds.choice(AsSetRule), Effect.REEVALUATE, '"reject"'),
    )
    allow_own_as: int = attrs.field(
        default=0, metadata=_key(kinds.integer(0, 10), Effect.REEVALUATE, "0")
    )
    """How often our own AS may stand in AS_PATH before it is a loop."""
    local_role: LocalRole = attrs.field(
        default=LocalRole.NONE,
        metadata=_key(kinds.choice(LocalRole), Effect.RESET, '"none"'),
    )
    """What we are to it (RFC 9234): said in the OPEN, and what keeps routes from leaking."""
    strict_role: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "false")
    )
    """Whether a neighbor that says no role is refused (RFC 9234 4.2)."""
    require_policy: bool = attrs.field(
        default=False,
        metadata=_key(
            kinds.BOOLEAN,
            Effect.REEVALUATE,
            "true for external neighbors that are not route-server clients",
        ),
    )
    """Whether nothing is accepted without an import policy, nor sent without an export policy
    (RFC 8212)."""
    prepend_own_as: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    """Whether a route-server client sees our AS in front of AS_PATH (RFC 7947 2.2.2.1)."""
    honor_well_known: bool = attrs.field(
        default=True,
        metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "true except for route-server clients"),
    )
    """Whether NO_EXPORT and NO_ADVERTISE (RFC 1997) bind us, or are passed on for others."""
    add_path: AddPath | ByFamily[AddPath] = attrs.field(
        default=AddPath.OFF,
        metadata=_key(kinds.by_family(kinds.choice(AddPath), AddPath.OFF), Effect.RESET, '"off"'),
    )
    """Directions in which several paths of a prefix may go (RFC 7911)."""
    add_path_send: AddPathSend | ByFamily[AddPathSend] = attrs.field(
        default=AddPathSend.ALL,
        metadata=_key(
            kinds.by_family(kinds.choice(AddPathSend), AddPathSend.ALL), Effect.REEVALUATE, '"all"'
        ),
    )
    add_path_limit: int | ByFamily[int] = attrs.field(
        default=0,
        metadata=_key(kinds.by_family(kinds.integer(0, 65535), 0), Effect.REEVALUATE, "0"),
    )
    """Paths of a prefix that are sent, the best of those that `add_path_send` chooses; 0 for any
    number."""
    add_path_receive_limit: int | ByFamily[int] = attrs.field(
        default=0, metadata=_key(kinds.by_family(kinds.integer(0, 1024), 0), Effect.RESET, "0")
    )
    """Paths of a prefix that are taken in, and asked for by PATHS-LIMIT; 0 takes in 1,024."""
    extended_messages: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "true")
    )
    """RFC 8654."""
    extended_next_hop: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.RESET, "false")
    )
    """IPv4 prefixes with an IPv6 next hop (RFC 8950)."""
    route_refresh: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "true")
    )
    """RFC 2918."""
    enhanced_refresh: bool = attrs.field(
        default=True, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "as route_refresh")
    )
    """RFC 7313."""
    graceful_restart: GracefulRestart = attrs.field(
        default=GracefulRestart.HELPER,
        metadata=_key(kinds.choice(GracefulRestart), Effect.NEXT_SESSION, '"helper"'),
    )
    """HELPER keeps the routes of a neighbor that restarts; ON also asks it to keep ours."""
    graceful_notification: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "false")
    )
    """Whether routes are also kept after a NOTIFICATION or a hold timer's end (RFC 8538)."""
    restart_time: int = attrs.field(
        default=120,
        metadata=_key(kinds.integer(1, 4095, "seconds"), Effect.NEXT_SESSION, "120"),
    )
    """Seconds that we ask the neighbor to wait for us."""
    stale_time: int = attrs.field(
        default=180, metadata=_key(kinds.integer(1, 65535, "seconds"), Effect.INSTANT, "180")
    )
    """Seconds that its routes are kept at most while it is away, whatever time it asks for, and
    again from its return to its End-of-RIB."""
    long_lived_stale_time: int | ByFamily[int] = attrs.field(
        default=0,
        metadata=_key(
            kinds.by_family(kinds.integer(0, 0xFF_FFFF, "seconds"), 0), Effect.NEXT_SESSION, "0"
        ),
    )
    """Seconds that they are kept beyond that, as the last choice (RFC 9494); 0 does without."""
    long_lived_partial: bool = attrs.field(
        default=False, metadata=_key(kinds.BOOLEAN, Effect.NEXT_SESSION, "false")
    )
    """Whether an internal neighbor that does not know such routes is sent them all the same
    (RFC 9494 4.6)."""
    filters: Filters = attrs.field(
        default=NO_FILTERS, metadata=_key(FILTERS, Effect.REEVALUATE, "[filters]")
    )
    """Rules for what it announces."""
    import_policy: tuple[str, ...] = attrs.field(
        default=(), metadata=_key(POLICIES, Effect.REEVALUATE, "none")
    )
    """Policies for what it announces, in order, behind [router]'s."""
    export_policy: tuple[str, ...] = attrs.field(
        default=(), metadata=_key(POLICIES, Effect.REEVALUATE, "none")
    )
    """Policies for what is announced to it, in order, behind [router]'s."""

    mapped_asn: int | None = attrs.field(
        default=None, metadata=_key(kinds.integer(64512, 65534), Effect.REEVALUATE, "none")
    )
    """What stands for its AS number in standard communities."""
    rtt: int | Rtt | None = attrs.field(default=None, metadata=_key(RTT, Effect.REEVALUATE, "none"))
    """Round-trip time in ms, for the communities that go by it."""
    blackhole_receive: bool | None = attrs.field(
        default=None, metadata=_key(kinds.BOOLEAN, Effect.REEVALUATE, "receive in [blackhole]")
    )
    """Whether it is sent routes whose traffic is to be dropped (RFC 7999)."""

    router: Router = attrs.field(eq=False, repr=False)
    derived: frozenset[str] = attrs.field(default=frozenset(), eq=False, repr=False)
    """Attributes that nobody set: they follow from role and AS number, see `instance`."""
    source: str = attrs.field(default="", eq=False, repr=False)
    """Where it is configured, in words for the operator."""

    @property
    def name(self) -> str:
        """The address or the range: what identifies the neighbor in the configuration."""
        return self.address or self.range or ""

    @property
    def is_range(self) -> bool:
        """Whether it stands for dynamic neighbors."""
        return self.range is not None

    @property
    def is_ipv6(self) -> bool:
        """Whether the session runs over IPv6."""
        return ":" in self.name

    @property
    def asn(self) -> int | None:
        """The neighbor's AS number, None where a range leaves it open."""
        return self.asns[0] if len(self.asns) == 1 else None

    @property
    def internal(self) -> bool:
        """Whether the session is iBGP; False while a range leaves it open."""
        return self.asns == (self.router.asn,)

    @property
    def cluster(self) -> str:
        """The cluster that a client of the reflector belongs to."""
        return self.cluster_id or self.router.cluster_id

    @property
    def lacks_import_policy(self) -> bool:
        """Whether nothing it announces may be used, for want of a rule that says so (RFC 8212)."""
        policies = self.router.import_policy or self.import_policy
        return self.require_policy and not policies and not self.filters.restricts

    @property
    def lacks_export_policy(self) -> bool:
        """Whether nothing may be announced to it (RFC 8212)."""
        return self.require_policy and not (self.router.export_policy or self.export_policy)

    @property
    def has_direction(self) -> bool:
        """Whether it is known which way routes from it go: ASPA verification asks for that."""
        return self.route_server_client or self.local_role is not LocalRole.NONE

    @property
    def ttl(self) -> int:
        """TTL or hop limit of what we send."""
        if self.ttl_security or (self.internal and not self.multihop):
            return 255
        return self.multihop or 1

    @property
    def min_ttl(self) -> int:
        """Lowest TTL or hop limit that is received, 0 for any (RFC 5082)."""
        return 255 if self.ttl_security else 0

    def accepts_asn(self, asn: int) -> bool:
        """Return whether an OPEN with this AS number may come from the neighbor."""
        return not self.asns or asn in self.asns

    def keepalive_for(self, hold_time: int) -> float:
        """Return seconds between KEEPALIVEs under a negotiated hold time, 0 for none.

        A third of the hold time; a configured interval shrinks with the hold time when the
        neighbor's is lower than ours (RFC 4271 4.4, 10).
        """
        if hold_time == 0:
            return 0.0
        third = hold_time / 3
        return third if self.keepalive is None else min(float(self.keepalive), third)

    def send_hold_for(self, hold_time: int) -> float:
        """Return seconds without progress in sending after which the session ends, 0 for never.

        `hold_time` is the negotiated one. Default: twice that, at least 8 minutes (RFC 9687).
        """
        if self.send_hold_time is not None:
            return float(self.send_hold_time)
        return float(max(MIN_SEND_HOLD_TIME, 2 * hold_time)) if hold_time else 0.0

    def instance(self, address: str, asn: int) -> Neighbor:
        """Return the neighbor that a range becomes when `address` connects with `asn`.

        Whether it is internal is known only now, so what depends on that is settled here.
        """
        client = None if "route_server_client" in self.derived else self.route_server_client
        settled = role_defaults(
            self.router, internal=asn == self.router.asn, route_server_client=client
        )
        changes: dict[str, Any] = {name: settled[name] for name in self.derived}
        if asn == self.router.asn:
            changes["local_role"], changes["strict_role"] = LocalRole.NONE, False
            if self.filters.inherited:
                changes["filters"] = NO_FILTERS  # [filters] is for external neighbors
        return attrs.evolve(self, address=address, range=None, asns=(asn,), **changes)


def role_defaults(
    router: Router, *, internal: bool, route_server_client: bool | None = None
) -> dict[str, bool]:
    """Return the defaults that follow from the role and from whether the neighbor is internal."""
    client = router.is_route_server and not internal
    if route_server_client is not None:
        client = route_server_client
    return {
        "route_server_client": client,
        "next_hop_self": not internal and not client,
        "first_as_check": not internal,
        "honor_well_known": not client,
        "require_policy": not internal and not client,
    }


@attrs.frozen(kw_only=True)
class Config:
    """A configuration that has passed every check."""

    router: Router
    api: Api = attrs.field(factory=Api)
    startup: Startup = attrs.field(factory=Startup)
    defaults: Mapping[str, Any] = attrs.field(factory=dict)
    """[defaults] by attribute of Neighbor; applied already, kept for neighbors added later."""
    neighbors: tuple[Neighbor, ...] = ()
    igp: tuple[IgpRoute, ...] | None = None
    """None: no [[igp]]."""
    next_hops: NextHops = attrs.field(factory=NextHops)
    orr: tuple[OrrGroup, ...] = ()
    prefix_sets: Mapping[str, PrefixSetFiles] = attrs.field(factory=dict)
    as_sets: Mapping[str, AsSetFiles] = attrs.field(factory=dict)
    """What the sets consist of; their contents are read by rs/irr.py."""
    policies: Mapping[str, Policy] = attrs.field(factory=dict)
    rpki: Rpki = attrs.field(factory=Rpki)
    communities: Communities = attrs.field(factory=Communities)
    blackhole: BlackHoles = attrs.field(factory=BlackHoles)
    path: Path = attrs.field(default=Path(), eq=False)
    files: tuple[Path, ...] = attrs.field(default=(), eq=False)
    """Every file read, the main one first."""
    warnings: tuple[str, ...] = attrs.field(default=(), eq=False)

    @property
    def next_hop_source(self) -> NextHopSource:
        """Where metrics come from: `next_hops.source`, or what follows from [[igp]]."""
        if self.next_hops.source is not None:
            return self.next_hops.source
        return NextHopSource.NONE if self.igp is None else NextHopSource.STATIC
