"""Who gets which path of a prefix, and with which attributes.

In: the role, the members, the ranked paths of one prefix. Out: for each member the path it is due
and the attribute dict to send, or nothing. RFC 7947 (route server), RFC 4456 (reflector), RFC 4271
5.1 and 9.1.3 (the rest), RFC 1997 (well-known communities), RFC 9234 5 (roles).

Control communities, for member m and our AS rs; the earlier rule wins:

    never to m          large rs:0:m, standard 0:m
    to m all the same   large rs:1:m, standard rs:m
    to nobody           large rs:0:0, standard 0:rs
    otherwise           to m

A standard form exists only where every AS number in it fits 16 bits.

Interpretations:

 1. The reflector and plain BGP send the best path or nothing: who may not have it gets no other. A
    route server client gets the first path in rank order that it may have (RFC 7947 2.3.1).
 2. Scrubbed towards route server clients: standard 0:* and (where rs fits) rs:*, large rs:0:* and
    rs:1:*. Nothing is scrubbed for other members. A community attribute left empty is left out.
 3. AIGP goes to internal members only: its sessions are disabled by default on others (RFC 7311
    3.3). LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST likewise (RFC 4271 5.1.5, RFC 4456 8: both are
    non-transitive). Extended communities are not looked into.
 4. An unknown attribute without Optional and Transitive is never sent (RFC 4271 5).
 5. With `honor_well_known`: NO_ADVERTISE goes to nobody, NO_EXPORT and NO_EXPORT_SUBCONFED to no
    external member. Without it they are passed like any community (RFC 7947 2.2.4).
 6. `exclude_as_loop` looks for the member's AS anywhere in AS_PATH, sets and confederation segments
    included, and is for route server clients only.
 7. With ADD-PATH every kind of member gets the paths it may have in rank order: all of them, the
    first of each neighboring AS (RFC 7964 4), or those that steps a to e of RFC 4271 9.1.2.2 tell
    apart from none that it gets already; what comes after (RFC 5004, f and g, RFC 4456 9) makes a
    path no worse. A limit keeps the first ones of these.
 8. A reflector with several clusters (RFC 4456 7): CLUSTER_LIST gets the cluster of the client that
    the route comes from, and in front of it that of the client it goes to where this is another
    one. Without `client_to_client` a member gets no routes of other clients of its cluster.
 9. Routes from external peers go to all internal members, and are not reflected: no ORIGINATOR_ID,
    no CLUSTER_LIST. In the route server role an internal member gets them in the same way.
10. A route that ingress has to mark (RFC 9234 5) carries ONLY_TO_CUSTOMER from there on, internally
    as well; only the Adj-RIB-In shows it as it came.
11. With `tags` the six forms above are whatever is defined there, see tags.py.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from rs.iana import AttrFlag, BgpRole, Decided, SegmentType, WellKnownCommunity
from rs.reasons import Withheld

from .decision import DEFAULT_LOCAL_PREF, Options, Path, compare, neighbor_as
from .update import is_confed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .tags import Tags

Attrs = dict[str, Any]


class Role(Enum):
    """What the router is; `[router] role`, or a speaker without either."""

    ROUTE_SERVER = "route-server"
    ROUTE_REFLECTOR = "route-reflector"


class Choice(Enum):
    """Which of the paths that a member may have it gets with ADD-PATH (RFC 7911)."""

    ALL = "all"
    BEST_PER_AS = "best-per-as"
    EQUAL = "equal"


class Kind(Enum):
    """What a member is to us."""

    RS_CLIENT = "route server client"
    EBGP = "plain external neighbor"
    RR_CLIENT = "internal, client of the reflector"
    IBGP = "internal, no client"

    @property
    def internal(self) -> bool:
        """Of our own AS."""
        return self in {Kind.RR_CLIENT, Kind.IBGP}


@dataclass(frozen=True)
class Member:
    """One peer that is up, as a receiver."""

    index: int
    asn: int
    kind: Kind = Kind.RS_CLIENT
    local_address: str = "192.0.2.250"
    """Our next hop towards it, in place of an IPv4 one: for next-hop-self."""
    local_address6: str = "2001:db8:ffff::250"
    """The same in place of an IPv6 one."""
    role: BgpRole | None = None
    """What we are to it (RFC 9234)."""
    prepend: bool = False
    """A route server client that sees our AS in AS_PATH (RFC 7947 2.2.2.1)."""
    cluster_id: str = ""
    """Cluster of a client; empty is that of the options."""
    client_to_client: bool = True
    """It gets the routes of other clients of its cluster."""
    long_lived: bool = False
    """It has said that it knows long-lived stale routes (RFC 9494)."""
    partial: bool = False
    """It is sent them though it has not (RFC 9494 4.6)."""


@dataclass(frozen=True)
class ExportOptions:
    """How the router exports."""

    rs_asn: int = 64500
    cluster_id: str = "10.0.0.1"
    exclude_as_loop: bool = True
    honor_well_known: bool = False
    set_med: int | None = None
    """MED for plain external members; None sends none."""
    tags: Tags | None = None
    """What communities mean, in the place of the rules above."""


# --- eligibility --------------------------------------------------------------------------------


def fits(*asns: int) -> bool:
    """Whether the AS numbers can stand in a standard community."""
    return all(0 <= asn <= 0xFFFF for asn in asns)


def standard(high: int, low: int) -> int:
    """Standard community `high:low`."""
    return high << 16 | low


def control_allows(attrs: Attrs, member_asn: int, rs_asn: int) -> bool:
    """Evaluate the control communities for one member."""
    communities = set(attrs.get("communities", ()))
    large = set(attrs.get("large_communities", ()))

    def tagged(large_form: tuple[int, int, int], high: int, low: int) -> bool:
        return large_form in large or (fits(high, low) and standard(high, low) in communities)

    if tagged((rs_asn, 0, member_asn), 0, member_asn):
        return False
    if tagged((rs_asn, 1, member_asn), rs_asn, member_asn):
        return True
    return not tagged((rs_asn, 0, 0), 0, rs_asn)


def well_known_allows(attrs: Attrs, *, internal: bool) -> bool:
    """RFC 1997: what a router that honors well-known communities may pass on."""
    communities = set(attrs.get("communities", ()))
    if WellKnownCommunity.NO_ADVERTISE in communities:
        return False
    stay = {WellKnownCommunity.NO_EXPORT, WellKnownCommunity.NO_EXPORT_SUBCONFED}
    return internal or not stay & communities


def only_to_customer(path: Path) -> int | None:
    """ONLY_TO_CUSTOMER of a path behind ingress: as it came, or as ingress added it."""
    otc: int | None = path.attrs.get("otc")
    return path.otc or None if otc is None else otc


def marked(attrs: Attrs, path: Path, member: Member, rs_asn: int) -> Attrs:
    """RFC 9234 5, egress 1, and what ingress 3 has added."""
    otc = only_to_customer(path)
    if otc is None and member.role in {BgpRole.PROVIDER, BgpRole.PEER, BgpRole.RS}:
        otc = rs_asn
    return attrs if otc is None else {**attrs, "otc": otc}


def eligible(path: Path, member: Member, options: ExportOptions) -> bool:
    """Whether `member` may have `path`."""
    if path.peer == member.index:
        return False
    if path.last_choice and not (member.long_lived or member.partial):
        return False  # RFC 9494 4.3
    above = {BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT}
    if member.role in above and only_to_customer(path) is not None:
        return False  # RFC 9234 5, egress 2
    if options.honor_well_known and not well_known_allows(
        path.attrs, internal=member.kind.internal
    ):
        return False
    if member.kind is Kind.RS_CLIENT:
        if options.exclude_as_loop and any(
            member.asn in asns for _, asns in path.attrs.get("as_path", ())
        ):
            return False
        if options.tags is not None:
            return options.tags.allows(path.attrs, member.index)
        return control_allows(path.attrs, member.asn, options.rs_asn)
    if member.kind is Kind.IBGP:
        return not path.ibgp or path.client
    if member.kind is Kind.RR_CLIENT and path.client and not member.client_to_client:
        return cluster_of(path, options) != cluster_of(member, options)
    return True


def hindrances(path: Path, member: Member, options: ExportOptions) -> set[Withheld]:
    """Every reason why `member` may not have `path`: none exactly if it may."""
    if eligible(path, member, options):
        return set()
    found: set[Withheld] = set()
    attrs, otc = path.attrs, only_to_customer(path)
    communities = set(attrs.get("communities", ()))
    if path.peer == member.index:
        found.add(Withheld.OWN)
    if path.last_choice and not member.long_lived:
        found.add(Withheld.LLGR_STALE)
    if otc is not None and member.role is not None:
        found.add(Withheld.ROLE)
    if options.honor_well_known and not well_known_allows(attrs, internal=member.kind.internal):
        none = WellKnownCommunity.NO_ADVERTISE in communities
        found.add(Withheld.NO_ADVERTISE if none else Withheld.NO_EXPORT)
    if member.kind is Kind.IBGP and path.ibgp and not path.client:
        found.add(Withheld.NON_CLIENT)
    if member.kind is Kind.RR_CLIENT and path.client and not member.client_to_client:
        found.add(Withheld.CLIENT_TO_CLIENT)
    if member.kind is Kind.RS_CLIENT:
        if any(member.asn in asns for _, asns in attrs.get("as_path", ())):
            found.add(Withheld.AS_LOOP)
        if options.tags is None:
            if not control_allows(attrs, member.asn, options.rs_asn):
                found.add(Withheld.COMMUNITY)
        elif not options.tags.allows(attrs, member.index):
            hole = options.tags.holes and options.tags.is_hole(attrs)
            found.add(Withheld.COMMUNITY)
            if hole and not options.tags.far[member.index].holes:
                found.add(Withheld.BLACK_HOLE)
                if replace(options.tags, holes=False).allows(attrs, member.index):
                    found.remove(Withheld.COMMUNITY)
    return found


def best_for(member: Member, ranked: Sequence[Path], options: ExportOptions) -> Path | None:
    """The path a member is due: for route server clients the first it may have."""
    candidates = ranked if member.kind is Kind.RS_CLIENT else ranked[:1]
    return next((path for path in candidates if eligible(path, member, options)), None)


def chosen(  # noqa: PLR0917
    choice: Choice,
    limit: int,
    member: Member,
    ranked: Sequence[Path],
    options: ExportOptions,
    decision: Options,
) -> list[Path]:
    """The paths a member is due with ADD-PATH; `limit` 0 is none."""
    paths: list[Path] = []
    for path in ranked:
        if not eligible(path, member, options):
            continue
        if choice is Choice.BEST_PER_AS:
            neighbor = neighbor_as(path, decision)
            fits = all(neighbor != neighbor_as(other, decision) for other in paths)
        else:
            fits = choice is Choice.ALL or all(
                Decided.IGP_METRIC < compare(other, path, decision)[1] < Decided.LLGR_STALE
                for other in paths
            )
        if fits:
            paths.append(path)
    return paths[: limit or len(paths)]


def cluster_of(who: Path | Member, options: ExportOptions) -> str:
    """The cluster of a client, as the source of a path or as a member."""
    return who.cluster_id or options.cluster_id


# --- attributes ---------------------------------------------------------------------------------


def without(attrs: Attrs, *keys: str) -> Attrs:
    """Copy of a dict without some keys."""
    return {k: v for k, v in attrs.items() if k not in keys}


NO_EXPORT = int(WellKnownCommunity.NO_EXPORT)
INTERNAL_ONLY = ("local_pref", "originator_id", "cluster_list", "aigp")


def transitive_unknown(attrs: Attrs) -> Attrs:
    """Keep unknown attributes only where they are optional and transitive."""
    both = AttrFlag.OPTIONAL | AttrFlag.TRANSITIVE
    kept = tuple(u for u in attrs.get("unknown", ()) if u[0] & both == both)
    return {**attrs, "unknown": kept} if kept else without(attrs, "unknown")


def scrub(attrs: Attrs, rs_asn: int) -> Attrs:
    """Take the control communities out."""
    ours = {0, rs_asn} if fits(rs_asn) else {0}
    out = dict(attrs)
    lists: dict[str, tuple[Any, ...]] = {
        "communities": tuple(c for c in attrs.get("communities", ()) if c >> 16 not in ours),
        "large_communities": tuple(
            c for c in attrs.get("large_communities", ()) if not (c[0] == rs_asn and c[1] in {0, 1})
        ),
    }
    for key, kept in lists.items():
        out.pop(key, None)
        if kept:
            out[key] = kept
    return out


def for_route_server_client(attrs: Attrs, options: ExportOptions) -> Attrs:
    """RFC 7947 2.2: AS_PATH, NEXT_HOP and MED as they came."""
    return scrub(transitive_unknown(without(attrs, *INTERNAL_ONLY)), options.rs_asn)


def prepend(segments: Iterable[tuple[int, tuple[int, ...]]], asn: int) -> tuple[Any, ...]:
    """Prepend our AS (RFC 4271 5.1.2 b), confederation segments removed (RFC 5065 4)."""
    plain = [(kind, asns) for kind, asns in segments if not is_confed(kind)]
    sequence = int(SegmentType.AS_SEQUENCE)
    if plain and plain[0][0] == sequence and len(plain[0][1]) < 255:
        return ((sequence, (asn, *plain[0][1])), *plain[1:])
    return ((sequence, (asn,)), *plain)


def for_external(attrs: Attrs, member: Member, options: ExportOptions) -> Attrs:
    """RFC 4271 5.1: own AS in front, next hop self, MED not passed on (5.1.4)."""
    out = transitive_unknown(without(attrs, *INTERNAL_ONLY, "med", "link_local"))
    out["as_path"] = prepend(attrs.get("as_path", ()), options.rs_asn)
    wide = ":" in attrs["next_hop"]
    out["next_hop"] = member.local_address6 if wide else member.local_address
    if options.set_med is not None:
        out["med"] = options.set_med
    return out


def for_internal(attrs: Attrs) -> Attrs:
    """RFC 4271 5.1.5: LOCAL_PREF is always there; nothing else changes."""
    out = transitive_unknown(attrs)
    out.setdefault("local_pref", DEFAULT_LOCAL_PREF)
    return out


def reflected(path: Path, member: Member, options: ExportOptions) -> Attrs:
    """RFC 4456 8: ORIGINATOR_ID where there is none, our CLUSTER_ID in front of the list."""
    passed: list[str] = []
    if path.client:
        passed.append(cluster_of(path, options))
    if member.kind is Kind.RR_CLIENT and cluster_of(member, options) not in passed:
        passed.insert(0, cluster_of(member, options))
    out = for_internal(path.attrs)
    out.setdefault("originator_id", str(ipaddress.IPv4Address(path.router_id)))
    out["cluster_list"] = (*passed, *path.attrs.get("cluster_list", ()))
    return out


def output_attrs(path: Path, member: Member, options: ExportOptions) -> Attrs:
    """Attributes as `member` gets them."""
    out = marked(_by_kind(path, member, options), path, member, options.rs_asn)
    if path.last_choice and not member.long_lived:
        # RFC 9494 4.6
        known = out.get("communities", ())
        added = () if NO_EXPORT in known else (NO_EXPORT,)
        out = {**out, "local_pref": 0, "communities": (*known, *added)}
    return out


def _by_kind(path: Path, member: Member, options: ExportOptions) -> Attrs:
    if member.kind is Kind.RS_CLIENT and options.tags is not None:
        plain = transitive_unknown(without(path.attrs, *INTERNAL_ONLY))
        return options.tags.output(plain, path.attrs, path.peer_asn, member.index)
    if member.kind is Kind.RS_CLIENT:
        out = for_route_server_client(path.attrs, options)
        if member.prepend:
            out["as_path"] = prepend(path.attrs.get("as_path", ()), options.rs_asn)
        return out
    if member.kind is Kind.EBGP:
        return for_external(path.attrs, member, options)
    return reflected(path, member, options) if path.ibgp else for_internal(path.attrs)


def outputs(
    role: Role, members: Iterable[Member], ranked: Sequence[Path], options: ExportOptions
) -> dict[int, tuple[Path, Attrs]]:
    """For one prefix: member index -> (path, attributes to send). Who gets nothing is absent."""
    out = {}
    for member in members:
        if role is Role.ROUTE_REFLECTOR and member.kind is Kind.RS_CLIENT:
            raise ValueError(f"member {member.index}: a reflector has no route server clients")
        path = best_for(member, ranked, options)
        if path is not None:
            out[member.index] = (path, output_attrs(path, member, options))
    return out
