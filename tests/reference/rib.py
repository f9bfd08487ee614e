"""A whole router, slowly: peers with their Adj-RIB-In, the Loc-RIB, the exact table of each member.

In: peers coming and going, announcements and withdrawals (as attribute dicts or as UPDATE bodies).
Out: what every table must hold. Nothing is cached: each question is answered from the Adj-RIBs-In
alone, so the history cannot leave anything behind that a fresh router would not have, but for the
time a path was received (RFC 5004 asks for it).

Import checks; where several fail, any of them may be given as the reason why a path is kept but not
used, and the first one here is what `reject_reason` gives:

    AS_LOOP           our AS more than `allow_own_as` times in AS_PATH (RFC 4271 9.1.2)
    FIRST_AS          external, leftmost AS is not the peer's (RFC 4271 6.3, RFC 7606 7.2)
    AS_SET            an AS_SET or AS_CONFED_SET in AS_PATH (RFC 9774)
    NEXT_HOP_INVALID  no host address, or one of our own (RFC 4271 6.3)
    NEXT_HOP_UNREACHABLE   (RFC 4271 9.1.2.1)
    ORIGINATOR_LOOP   internal, ORIGINATOR_ID is our router id (RFC 4456 8)
    CLUSTER_LOOP      internal, a CLUSTER_ID of ours is in CLUSTER_LIST (RFC 4456 8)
    CONFED_SEGMENT    external, confederation segments in AS_PATH (RFC 5065 4)
    OTC_LEAK          ONLY_TO_CUSTOMER from a customer or RS client, or of another AS from a peer
                      (RFC 9234 5, ingress 1 and 2)

Interpretations:

 1. Not a host address: 0.0.0.0/8, 224.0.0.0 and above (RFC 1122 3.2.1.3), ::, ff00::/8. Other odd
    ones (loopback, IPv4-mapped) are a matter of policy.
 2. The first-AS check fails on an empty AS_PATH and on one that begins with a set; leading
    confederation segments are skipped, they fail their own check.
 3. An announcement equal to the path already held changes nothing, its time of receipt included.
    One with other attributes replaces the path and is received anew.
 4. Of one peer's paths for a prefix those beyond `path_limit` are not held (RFC 7911 leaves this
    open); what was announced beyond it is not remembered either.
 5. A peer that goes down takes all its paths with it; it comes back empty.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

from rs.iana import BgpRole, Decided, Family, RejectReason, SegmentType, WellKnownCommunity

from . import export
from .codec import family_of
from .decision import Options, Path, rank, seen_from
from .export import ExportOptions, Kind, Member, Role
from .update import Context, Outcome, Result, decode_update, is_confed

Attrs = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A configured peer, as source and as receiver."""

    index: int
    asn: int
    address: str
    router_id: str = "192.0.2.1"
    kind: Kind = Kind.RS_CLIENT
    enforce_first_as: bool = True
    local_address: str = "192.0.2.250"
    local_address6: str = "2001:db8:ffff::250"
    families: frozenset[Family] = frozenset(Family)
    role: BgpRole | None = None
    """What we are to it (RFC 9234)."""
    prepend: bool = False
    """A route server client that sees our AS in AS_PATH."""
    cluster_id: str = ""
    """Cluster of a client; empty is the router's own."""
    client_to_client: bool = True
    path_limit: int = 0
    """Paths of one prefix that are held; 0 for any number."""
    orr: str | None = None
    """Whose metrics choose what it is sent (RFC 9107); None for our own."""
    long_lived_said: bool = False
    """We have said that we know long-lived graceful restart (RFC 9494)."""
    long_lived_heard: bool = False
    """The peer has."""
    long_lived_partial: bool = False
    """It is sent long-lived stale paths even if it has not."""

    @property
    def ibgp(self) -> bool:
        """Of our own AS."""
        return self.kind.internal


@dataclass(frozen=True)
class RouterOptions:
    """The router's configuration."""

    role: Role = Role.ROUTE_SERVER
    asn: int = 64500
    router_id: str = "10.0.0.1"
    cluster_id: str = "10.0.0.1"
    clusters: frozenset[str] = frozenset()
    """Further clusters that we are the reflector of."""
    own_addresses: frozenset[str] = frozenset()
    allow_own_as: int = 0
    accept_as_sets: bool = False
    metrics: dict[str, int | None] = field(default_factory=dict)
    """IGP metric by next hop, None unreachable; 0 for those not listed."""
    orr: dict[str, dict[str, int | None]] = field(default_factory=dict)
    """By group its metrics, as above, but for those not listed unreachable."""
    med_always: bool = False
    deterministic_med: bool = True
    prefer_oldest: bool = True
    exclude_as_loop: bool = True
    honor_well_known: bool = False
    set_med: int | None = None

    def decision(self) -> Options:
        """The part that concerns ranking."""
        return Options(self.asn, self.med_always, self.deterministic_med, self.prefer_oldest)

    def export(self) -> ExportOptions:
        """The part that concerns export."""
        return ExportOptions(
            self.asn, self.cluster_id, self.exclude_as_loop, self.honor_well_known, self.set_med
        )


@dataclass(frozen=True)
class Held:
    """One entry of an Adj-RIB-In."""

    attrs: Attrs
    """As import policy left them."""
    received: float
    reason: RejectReason
    raw: Attrs
    """As they were received."""
    stale: bool = False
    """Not heard since the session was lost (RFC 4724 4.2)."""


def first_as(attrs: Attrs) -> int | None:
    """Leftmost AS outside confederation segments; None where there is none, or a set leads."""
    for kind, asns in attrs.get("as_path", ()):
        if is_confed(kind):
            continue
        return int(asns[0]) if kind == SegmentType.AS_SEQUENCE else None
    return None


def no_host(next_hop: str) -> bool:
    """Whether an address cannot be that of a host."""
    address = ipaddress.ip_address(next_hop)
    if address.version == 4:
        return not 0 < address.packed[0] < 224
    return address.is_unspecified or address.is_multicast


def reject_reasons(attrs: Attrs, peer: Peer, options: RouterOptions) -> list[RejectReason]:
    """Every check of import that a path fails."""
    segments = attrs.get("as_path", ())
    kinds = {kind for kind, _ in segments}
    sets = {SegmentType.AS_SET, SegmentType.AS_CONFED_SET}
    next_hop = ipaddress.ip_address(attrs["next_hop"])
    own = {ipaddress.ip_address(a) for a in options.own_addresses}
    internal, external = peer.ibgp, not peer.ibgp
    checks = {
        RejectReason.AS_LOOP: sum(asns.count(options.asn) for _, asns in segments)
        > options.allow_own_as,
        RejectReason.FIRST_AS: external and peer.enforce_first_as and first_as(attrs) != peer.asn,
        RejectReason.AS_SET: not options.accept_as_sets and bool(kinds & sets),
        RejectReason.NEXT_HOP_INVALID: no_host(attrs["next_hop"]) or next_hop in own,
        RejectReason.NEXT_HOP_UNREACHABLE: options.metrics.get(attrs["next_hop"], 0) is None,
        RejectReason.ORIGINATOR_LOOP: internal and attrs.get("originator_id") == options.router_id,
        RejectReason.CLUSTER_LOOP: internal
        and not {options.cluster_id, *options.clusters}.isdisjoint(attrs.get("cluster_list", ())),
        RejectReason.CONFED_SEGMENT: external and any(is_confed(kind) for kind in kinds),
        RejectReason.OTC_LEAK: "otc" in attrs
        and (
            peer.role in {BgpRole.PROVIDER, BgpRole.RS}
            or (peer.role is BgpRole.PEER and attrs["otc"] != peer.asn)
        ),
    }
    return [reason for reason, fails in checks.items() if fails]


def added_otc(attrs: Attrs, peer: Peer) -> int:
    """Return what ingress has to add (RFC 9234 5, ingress 3), 0 for nothing."""
    above = {BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT}
    return peer.asn if peer.role in above and "otc" not in attrs else 0


def reject_reason(attrs: Attrs, peer: Peer, options: RouterOptions) -> RejectReason:
    """Judge one path on import; NONE means that it is used."""
    return next(iter(reject_reasons(attrs, peer, options)), RejectReason.NONE)


class ReferenceRouter:
    """The judge of churn tests. Peers are added down; a peer that is down has no tables."""

    def __init__(self, options: RouterOptions | None = None) -> None:
        self.options = options or RouterOptions()
        self.peers: dict[int, Peer] = {}
        self.up: set[int] = set()
        self.adj_rib_in: dict[int, dict[tuple[str, int], Held]] = {}
        self.clock = 0.0

    # --- what happens ---------------------------------------------------------------------------

    def add_peer(self, peer: Peer, *, up: bool = True) -> None:
        """Configure a peer."""
        self.peers[peer.index] = peer
        if up:
            self.peer_up(peer.index)

    def peer_up(self, index: int) -> None:
        """Let a session reach Established."""
        self.up.add(index)
        self.adj_rib_in.setdefault(index, {})

    def peer_down(self, index: int) -> None:
        """Take a peer and its paths away."""
        self.up.discard(index)
        self.adj_rib_in.pop(index, None)

    def peer_lost(self, index: int, *, long_gone: bool = False, lasting: bool = False) -> None:
        """Lose a session and keep its routes; what was stale already goes (RFC 4724 4.2).

        `lasting`: nothing goes where both have long-lived restarts or those with NOTIFICATIONs
        (RFC 9494 4.2, RFC 8538 4.1). `long_gone`: the long-lived timer runs already.
        """
        self.up.discard(index)
        table = self.adj_rib_in.get(index, {})
        self.adj_rib_in[index] = {
            key: replace(held, stale=True)
            for key, held in table.items()
            if long_gone or lasting or not held.stale
        }
        if long_gone:
            self.long_gone(index)

    def end_of_rib(self, index: int) -> None:
        """Drop what has not been heard again."""
        table = self.adj_rib_in[index]
        self.adj_rib_in[index] = {key: held for key, held in table.items() if not held.stale}

    def long_gone(self, index: int) -> None:
        """Mark what is stale LLGR_STALE; NO_LLGR means that it shall not be kept (RFC 9494 4.2)."""
        table = self.adj_rib_in[index]
        for key, held in list(table.items()):
            communities = held.attrs.get("communities", ())
            if not held.stale:
                continue
            if WellKnownCommunity.NO_LLGR in communities:
                del table[key]
            elif WellKnownCommunity.LLGR_STALE not in communities:
                marked = (*communities, int(WellKnownCommunity.LLGR_STALE))
                known = {"communities": marked}
                raw = {**held.raw, **known}
                table[key] = replace(held, attrs={**held.attrs, **known}, raw=raw)

    def announce(
        self,
        index: int,
        prefix: str,
        attrs: Attrs,
        path_id: int = 0,
        now: float | None = None,
    ) -> RejectReason:
        """Put a path into the peer's Adj-RIB-In. Without `now` every call is a tick later."""
        self._tick(now)
        table = self.adj_rib_in[index]
        held = table.get((prefix, path_id))
        if held is not None and held.raw == attrs:
            table[prefix, path_id] = replace(held, stale=False)
            return held.reason
        limit = self.peers[index].path_limit
        if held is None and limit and sum(p == prefix for p, _ in table) >= limit:
            return RejectReason.NONE
        reason = reject_reason(attrs, self.peers[index], self.options)
        used = attrs
        if reason is RejectReason.NONE:
            used, reason = self.admit(index, prefix, attrs)
        table[prefix, path_id] = Held(dict(used), self.clock, reason, dict(attrs))
        return reason

    def admit(self, index: int, prefix: str, attrs: Attrs) -> tuple[Attrs, RejectReason]:
        """Run import policies, of which there are none here, over what has passed the checks."""
        del index, prefix
        return attrs, RejectReason.NONE

    def withdraw(self, index: int, prefix: str, path_id: int = 0) -> None:
        """Remove a path; unknown ones are ignored (RFC 7911 5)."""
        self.adj_rib_in[index].pop((prefix, path_id), None)

    def update(
        self, index: int, body: bytes, ctx: Context | None = None, now: float | None = None
    ) -> Result:
        """Take an UPDATE body; RESET brings the peer down. All its paths get the same time."""
        peer = self.peers[index]
        result = decode_update(body, ctx or Context(ibgp=peer.ibgp, families=peer.families))
        if result.outcome is Outcome.RESET:
            self.peer_down(index)
            return result
        self._tick(now)
        for _, prefix, path_id in result.withdrawn:
            self.withdraw(index, prefix, path_id)
        for (_, prefix, path_id), attrs in result.routes():
            self.announce(index, prefix, attrs, path_id, self.clock)
        return result

    def rejudge(self) -> None:
        """Judge every path again: metrics have changed, and nothing was received."""
        for index, table in self.adj_rib_in.items():
            for key, held in table.items():
                reason = reject_reason(held.attrs, self.peers[index], self.options)
                table[key] = replace(held, reason=reason)

    def _tick(self, now: float | None) -> None:
        self.clock = self.clock + 1 if now is None else now

    # --- what must be true ----------------------------------------------------------------------

    def prefixes(self) -> list[str]:
        """Every prefix with an accepted or rejected path."""
        return sorted({prefix for table in self.adj_rib_in.values() for prefix, _ in table})

    def paths(self, prefix: str) -> list[Path]:
        """Return the accepted paths of a prefix, as the decision process takes them."""
        found = []
        for index, table in self.adj_rib_in.items():
            peer = self.peers[index]
            for (held_prefix, path_id), held in table.items():
                if held_prefix != prefix or held.reason is not RejectReason.NONE:
                    continue
                found.append(
                    Path(
                        peer=index,
                        peer_asn=peer.asn,
                        ibgp=peer.ibgp,
                        router_id=int(ipaddress.IPv4Address(peer.router_id)),
                        address=peer.address,
                        attrs=held.attrs,
                        path_id=path_id,
                        received=held.received,
                        igp_metric=self.options.metrics.get(held.attrs["next_hop"], 0),
                        client=peer.kind is Kind.RR_CLIENT,
                        otc=added_otc(held.attrs, peer),
                        cluster_id=peer.cluster_id,
                        last_choice=peer.long_lived_said
                        and WellKnownCommunity.LLGR_STALE in held.attrs.get("communities", ()),
                    )
                )
        return found

    def loc_rib(self) -> dict[str, list[tuple[Path, Decided]]]:
        """Every prefix that has a usable path, ranked."""
        ranked = {p: rank(self.paths(p), self.options.decision()) for p in self.prefixes()}
        return {p: paths for p, paths in ranked.items() if paths}

    def rejected(self) -> dict[tuple[int, str, int], RejectReason]:
        """What is held and not used: (peer, prefix, path id) -> reason."""
        return {
            (index, prefix, path_id): held.reason
            for index, table in self.adj_rib_in.items()
            for (prefix, path_id), held in table.items()
            if held.reason is not RejectReason.NONE
        }

    def members(self, family: Family) -> list[Member]:
        """Every peer that is up and takes the family."""
        return [
            Member(
                p.index,
                p.asn,
                p.kind,
                p.local_address,
                p.local_address6,
                p.role,
                p.prepend,
                p.cluster_id,
                p.client_to_client,
                p.long_lived_heard,
                p.long_lived_partial,
            )
            for p in self.peers.values()
            if p.index in self.up and family in p.families
        ]

    def tables(self) -> dict[int, dict[str, Attrs]]:
        """For every peer that is up the exact table it must hold: prefix -> attributes."""
        tables: dict[int, dict[str, Attrs]] = {index: {} for index in sorted(self.up)}
        for prefix, ranked in self.loc_rib().items():
            for member in self.members(family_of(prefix)):
                order = self.ranked_for(member.index, [path for path, _ in ranked])
                due = export.outputs(self.options.role, [member], order, self.options.export())
                for index, (_, attrs) in due.items():
                    tables[index][prefix] = attrs
        return tables

    def ranked_for(self, index: int, ranked: list[Path]) -> list[Path]:
        """Paths in the order that counts for a member: ours, or that of its group (RFC 9107)."""
        group = self.peers[index].orr
        if group is None:
            return ranked
        seen = seen_from(ranked, self.options.orr[group].get)
        return [path for path, _ in rank(seen, self.options.decision())]

    def table(self, index: int) -> dict[str, Attrs]:
        """The table one member must hold."""
        return self.tables()[index]
