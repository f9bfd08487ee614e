"""The oracle beside a router: the reference, with what a configuration says of each neighbor.

In: a configuration and routes as they were sent. Out: who is due which path, in which form, and why
not; tests/routers.py compares. Slow and plain: it is the judge.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rs.communityconfig import BlackHolePolicy, BlackHoles, Communities
from rs.configvalues import in_family
from rs.iana import HEADER_LEN, Family, RejectReason
from rs.reasons import Withheld
from tests.farends import HOLES, V4, Attrs, Speaker
from tests.reference import codec, export, policy
from tests.reference.rib import Held, ReferenceRouter, RouterOptions, reject_reason
from tests.reference.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rs.config import Config, IgpRoute, Neighbor


POLICY_KINDS = {
    export.Kind.RS_CLIENT: "rs-client",
    export.Kind.EBGP: "ebgp",
    export.Kind.RR_CLIENT: "rr-client",
    export.Kind.IBGP: "ibgp",
}


def tags_of(config: Config) -> Tags | None:
    """What communities mean by a configuration, as the oracle reads it; None for the usual."""
    if config.communities == Communities() and config.blackhole == BlackHoles():
        return None
    holes = config.blackhole
    assert holes.policy_ipv4 is holes.policy_ipv6
    return Tags(
        definitions={
            name: {form: str(value) for form, value in definition.forms()}
            for name, definition in config.communities.definitions.items()
        },
        rs_asn=config.router.asn,
        thresholds=config.communities.rtt_thresholds,
        holes=holes.policy_ipv4 is BlackHolePolicy.REWRITE,
        holes_no_export=holes.add_noexport,
    )


class Oracle(ReferenceRouter):
    """The reference router, with what a configuration may say of each neighbor on its own."""

    def __init__(self, options: RouterOptions) -> None:
        super().__init__(options)
        self.neighbors: dict[int, Neighbor] = {}
        self.tags: Tags | None = None
        """What communities mean, where that is not the usual."""
        self.next_hops: dict[int, dict[Family, str]] = {}
        """Our own address where it replaces the next hop, by member and family."""
        self.many: dict[int, tuple[Family, ...]] = {}
        """Families in which a member gets several paths (RFC 7911)."""
        self.speakers: dict[int, Speaker] = {}
        self.asked: dict[int, int] = {}
        """How many paths of a prefix a member wants at most (PATHS-LIMIT), 0 for any number."""
        self.policies: dict[str, Any] = {}
        """Policies by name, as TOML would give them; see tests/reference/policy.py."""
        self.world = policy.World(local_asn=options.asn)
        self.import_policy: tuple[str, ...] = ()
        """Those of [router]."""
        self.export_policy: tuple[str, ...] = ()

    def admit(self, index: int, prefix: str, attrs: Attrs) -> tuple[Attrs, RejectReason]:
        """Run a neighbor's import policies."""
        neighbor = self.neighbors[index]
        names = [*self.import_policy, *neighbor.import_policy]
        route = policy.Route(prefix, attrs, self.facts(index))
        found = policy.run(self.policies, names, route, self.world)
        if not found.accepted:
            return attrs, RejectReason.POLICY_REJECT
        return policy.apply(attrs, found.edits, self.world), RejectReason.NONE

    def judge_again(self) -> None:
        """Judge every path anew, because policies have changed."""
        for index, table in self.adj_rib_in.items():
            for key, held in table.items():
                reason = reject_reason(held.raw, self.peers[index], self.options)
                used = held.raw
                if reason is RejectReason.NONE:
                    used, reason = self.admit(index, key[0], held.raw)
                table[key] = Held(dict(used), held.received, reason, held.raw)

    def facts(self, index: int) -> policy.Neighbor:
        """What a policy may ask of a neighbor."""
        peer = self.peers[index]
        return policy.Neighbor(peer.address, peer.asn, POLICY_KINDS[peer.kind])

    def verdict(self, prefix: str, path: Any, index: int) -> policy.Verdict:
        """What a member's export policies say of a path."""
        neighbor = self.neighbors[index]
        names = [*self.export_policy, *neighbor.export_policy]
        route = policy.Route(prefix, path.attrs, self.facts(path.peer), self.facts(index))
        return policy.run(self.policies, names, route, self.world)

    def due(self, prefix: str, ranked: Sequence[Any]) -> dict[int, list[Attrs]]:
        """What every member must have of one prefix, in order of preference."""
        family = codec.family_of(prefix)
        found: dict[int, list[Attrs]] = {}
        ours = ranked
        for member in self.members(family):
            neighbor = self.neighbors[member.index]
            ranked = self.ranked_for(member.index, list(ours))
            options = self.options_for(member.index)
            judged = {id(p): self.verdict(prefix, p, member.index) for p in ranked}
            many = family in self.many.get(member.index, ())
            if not many and member.kind is not export.Kind.RS_CLIENT:
                ranked = ranked[:1]  # the best path or nothing
            ranked = [
                p
                for p in ranked
                if judged[id(p)].accepted
                and self.obstacle(prefix, p, judged[id(p)], member, options) is None
            ]
            if many:
                choice = export.Choice(in_family(neighbor.add_path_send, family).value)
                limits = in_family(neighbor.add_path_limit, family), self.asked.get(member.index, 0)
                limit = min(filter(None, limits), default=0)
                decision = self.options.decision()
                paths = export.chosen(choice, limit, member, ranked, options, decision)
            else:
                best = export.best_for(member, ranked, options)
                paths = [] if best is None else [best]
            if paths:
                sent = [(self.output(p, member, family, options), judged[id(p)]) for p in paths]
                found[member.index] = [
                    self.edited(attrs, verdict, internal=member.kind.internal)
                    for attrs, verdict in sent
                ]
        return found

    def obstacle(
        self, prefix: str, path: Any, verdict: policy.Verdict, member: Any, options: Any
    ) -> Withheld | None:
        """Why no message can bring a path to a member that may have it."""
        family = codec.family_of(prefix)
        speaker = self.speakers[member.index]
        wide = family is V4 and ":" in path.attrs["next_hop"]
        if not wide and about(path.attrs) + 400 <= speaker.max_len:
            return None  # whatever is added on the way
        if not export.eligible(path, member, options):
            return None
        attrs = self.output(path, member, family, options)
        attrs = self.edited(attrs, verdict, internal=member.kind.internal)
        many = family in self.many.get(member.index, ())
        return obstacle(speaker, prefix, attrs, addpath=many)

    def reasons(
        self, prefix: str, ranked: Sequence[Any], index: int
    ) -> dict[tuple[int, int], set[Withheld]]:
        """Why a member does not get each usable path of a prefix, by (peer, path identifier): any
        reason that holds; NOT for one that it gets."""
        family = codec.family_of(prefix)
        (member,) = [m for m in self.members(family) if m.index == index]
        ranked = self.ranked_for(index, list(ranked))
        neighbor, options = self.neighbors[index], self.options_for(index)
        found: dict[tuple[int, int], set[Withheld]] = {}
        several = family in self.many.get(index, ())
        single = not several and member.kind is not export.Kind.RS_CLIENT
        decision = self.options.decision()
        given: list[Any] = []
        for place, path in enumerate(ranked):
            why = export.hindrances(path, member, options)
            if not self.verdict(prefix, path, index).accepted:
                why.add(Withheld.POLICY)
            if neighbor.lacks_export_policy:
                why.add(Withheld.NO_EXPORT_POLICY)
            if why:
                found[path.peer, path.path_id] = why
                continue
            verdict = self.verdict(prefix, path, index)
            if found_one := self.obstacle(prefix, path, verdict, member, options):
                why.add(found_one)
            if single and place:
                why.add(Withheld.BETTER_PATH if given else Withheld.NOT_BEST)
            elif not several and given:
                why.add(Withheld.BETTER_PATH)
            elif several:
                choice = export.Choice(in_family(neighbor.add_path_send, family).value)
                limits = in_family(neighbor.add_path_limit, family), self.asked.get(index, 0)
                limit = min(filter(None, limits), default=0)
                if path not in export.chosen(choice, 0, member, [*given, path], options, decision):
                    per_as = choice is export.Choice.BEST_PER_AS
                    why.add(Withheld.SAME_AS if per_as else Withheld.NOT_EQUAL)
                elif limit and len(given) >= limit:
                    why.add(Withheld.LIMIT)
            if not why:
                given.append(path)
                why = {Withheld.NOT}
            found[path.peer, path.path_id] = why
        return found

    def edited(self, attrs: Attrs, verdict: policy.Verdict, *, internal: bool) -> Attrs:
        """Attributes after export policies; LOCAL_PREF is for internal members (RFC 4271 5.1.5)."""
        out = policy.apply(attrs, verdict.edits, self.world)
        return out if internal else export.without(out, "local_pref")

    def options_for(self, index: int) -> export.ExportOptions:
        """How one member is exported to."""
        honor = self.neighbors[index].honor_well_known
        return replace(self.options.export(), honor_well_known=honor, tags=self.tags)

    def output(self, path: Any, member: Any, family: Family, options: Any) -> Attrs:
        """Attributes as a member gets them, with the next hop that its neighbor's keys ask for."""
        attrs = export.output_attrs(path, member, options)
        own = self.next_hops[member.index].get(family)
        for key in ("next_hop", "link_local"):
            attrs.pop(key, None)
            if key in path.attrs:
                attrs[key] = path.attrs[key]
        if own is not None and not (member.kind.internal and path.ibgp):
            attrs.pop("link_local", None)
            attrs["next_hop"] = own
        elif self.tags is not None and self.tags.holes and self.tags.is_hole(path.attrs):
            attrs.pop("link_local", None)
            attrs["next_hop"] = HOLES[family]
        return attrs

    def all_paths(self) -> dict[int, dict[str, list[Attrs]]]:
        """For every peer that is up the exact table it must hold."""
        tables: dict[int, dict[str, list[Attrs]]] = {index: {} for index in sorted(self.up)}
        for prefix, ranked in self.loc_rib().items():
            for index, paths in self.due(prefix, [path for path, _ in ranked]).items():
                tables[index][prefix] = paths
        return tables


@dataclass
class SentPath:
    """As much of a path as deciding who may have it takes."""

    peer: int
    attrs: Attrs
    ibgp: bool
    client: bool = False
    router_id: int = 0
    otc: int = 0
    cluster_id: str = ""
    last_choice: bool = False


class Metrics(dict[str, "int | None"]):
    """IGP metrics as the oracle asks for them: by next hop, from a table by prefix."""

    def __init__(self, routes: Iterable[IgpRoute] | None) -> None:
        super().__init__()
        self._routes = None if routes is None else tuple(routes)

    def get(self, next_hop: str, _default: int | None = None) -> int | None:  # type: ignore[override]
        if self._routes is None:
            return 0
        address = ipaddress.ip_address(next_hop)
        found = [
            (net.prefixlen, route.metric)
            for route in self._routes
            if address in (net := ipaddress.ip_network(route.prefix))
        ]
        return max(found)[1] if found else None


KINDS = {
    (False, False): export.Kind.EBGP,
    (False, True): export.Kind.RS_CLIENT,
    (True, False): export.Kind.IBGP,
    (True, True): export.Kind.RR_CLIENT,
}


def oracle_kind(neighbor: Neighbor) -> export.Kind:
    client = neighbor.route_reflector_client if neighbor.internal else neighbor.route_server_client
    return KINDS[neighbor.internal, client]


def message_len(prefix: str, attrs: Attrs, *, as4: bool) -> int:
    """Octets of the shortest message that announces one prefix."""
    classic = codec.family_of(prefix) is V4 and ":" not in attrs["next_hop"]
    parts = codec.encode_attributes(attrs, as4=as4, next_hop=classic)
    n = HEADER_LEN + 4 + sum(map(len, parts.values())) + len(codec.encode_nlri([prefix]))
    return n if classic else n + 3 + 5 + len(codec.encode_next_hop(attrs))


def about(attrs: Attrs) -> int:
    """Octets of a message with these attributes, or a little less than so many."""
    n = 200 + sum(8 + len(value) for _, _, value in attrs.get("unknown", ()))
    n += sum(10 * len(asns) for _, asns in attrs.get("as_path", ()))
    sizes = {"communities": 4, "ext_communities": 8, "large_communities": 12, "cluster_list": 4}
    return n + sum(size * len(attrs.get(key, ())) for key, size in sizes.items())


def obstacle(
    speaker: Speaker, prefix: str, attrs: Attrs, *, addpath: bool = False
) -> Withheld | None:
    """Why a route cannot be put into a message that this speaker understands."""
    v6_hop = codec.family_of(prefix) is V4 and ":" in attrs["next_hop"]
    if v6_hop and not speaker.extended_next_hop:
        return Withheld.EXTENDED_NEXT_HOP
    n = message_len(prefix, attrs, as4=speaker.four_octet_as) + 4 * addpath
    return Withheld.TOO_LONG if n > speaker.max_len else None
