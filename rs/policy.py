"""Import filters out of the configuration: one Filter per neighbor, large sets shared.

In: a neighbor's `Filters`, the other neighbors (for "same-as" next hops), the named sets, the RPKI
table. Out: a Filter for the fast path, None where no rule is on. What two neighbors have in common
(bogons, black lists, AS numbers) exists once. RFC 6811, 7454, 7947, 7948.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs._fastpath.asnset import AsnSet
from rs._fastpath.filter import Filter
from rs._fastpath.pfxset import PrefixSet
from rs.bogons import BOGON_ASNS, BOGON_PREFIXES, TRANSIT_FREE_ASNS
from rs.communityconfig import BlackHolePolicy
from rs.config import LocalRole
from rs.filterconfig import (
    AspaRule,
    MaxPrefixAction,
    MaxPrefixCount,
    NextHopRule,
    RejectPolicy,
    RpkiRule,
    TransitFreeRule,
)
from rs.iana import Family

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.rib import Rib
    from rs._fastpath.roa import RoaTable
    from rs.communityconfig import BlackHoles
    from rs.config import Neighbor
    from rs.filterconfig import AsnRange, Filters, PrefixRange
    from rs.irr import Sets
    from rs.peer import Peer


class Policy:
    """The import filters of one configuration."""

    def __init__(
        self,
        neighbors: Iterable[Neighbor],
        sets: Sets,
        roas: RoaTable | None,
        holes: BlackHoles | None = None,
        aspas: AspaTable | None = None,
    ) -> None:
        """Take what filters are made of.

        The tables are None while there are no RPKI data: states are then "not checked".
        """
        self._holes = holes
        self._sets = sets
        self._aspas = aspas
        self._roas = roas
        self._prefixes: dict[tuple[PrefixRange, ...], PrefixSet] = {}
        self._asns: dict[tuple[AsnRange, ...], AsnSet] = {}
        self._hops: dict[int, list[str]] = {}
        """Addresses of the neighbors of an AS."""
        for neighbor in neighbors:
            if neighbor.address is not None and neighbor.asn is not None:
                self._hops.setdefault(neighbor.asn, []).append(neighbor.address)

    def filter_for(
        self, neighbor: Neighbor, address: str, *, validate: bool = False
    ) -> Filter | None:
        """Return the filter for what a neighbor at `address` announces.

        With `validate` it finds out the RPKI state of routes even if no rule asks for it.
        """
        rules = neighbor.filters
        found = Filter()
        found.set_next_hops(self._next_hops(neighbor, address))
        found.max_path_len = rules.max_as_path_length
        found.max_communities = rules.max_communities
        found.bogon_asns = self._asn_set(rules.bogon_asns, BOGON_ASNS)
        found.transit_free = self._asn_set(rules.transit_free_asns, TRANSIT_FREE_ASNS)
        found.warn_transit = rules.transit_free_action is TransitFreeRule.WARNING
        found.never_via = self._asn_set(rules.never_via_route_server_asns)
        found.global_unicast_only = rules.ipv6_global_unicast_only
        found.black_list = self._prefix_set(rules.black_list)
        found.neighbor_black_list = self._prefix_set(rules.neighbor_black_list)
        found.bogons = self._prefix_set(rules.bogon_prefixes, BOGON_PREFIXES)
        self._irr(rules, found)
        if rules.validates or validate:
            found.roas = self._roas
        found.reject_invalid = rules.rpki is RpkiRule.REJECT
        self._aspa(neighbor, found)
        found.set_lengths(Family.IPV4_UNICAST, *rules.prefix_length_ipv4)
        found.set_lengths(Family.IPV6_UNICAST, *rules.prefix_length_ipv6)
        found.graceful_shutdown = rules.graceful_shutdown
        if self._holes is not None:
            for family in Family:
                if self._holes.policy(family) is not BlackHolePolicy.NONE:
                    found.set_black_holes(family, *self._holes.lengths(family))
        found.finish()
        by_attributes = (
            rules.next_hop is not NextHopRule.ANY
            or found.max_path_len
            or found.max_communities
            or found.bogon_asns is not None
            or found.transit_free is not None
            or found.never_via is not None
            or found.graceful_shutdown
            or found.aspas is not None
        )
        return found if found.per_prefix or by_attributes else None

    def differs(self, old: Policy, peer: Peer) -> bool:
        """Whether the filter of a peer is another one than the old policy made.

        The rules of a neighbor whose configuration has changed are not compared here.
        """
        rules = peer.neighbor.filters
        asn = peer.neighbor.asn or 0
        return (
            self._holes != old._holes
            or (
                rules.irr_prefixes is not None
                and self._sets.prefixes.get(rules.irr_prefixes)
                is not old._sets.prefixes.get(rules.irr_prefixes)
            )
            or (
                rules.irr_origins is not None
                and self._sets.asns.get(rules.irr_origins)
                is not old._sets.asns.get(rules.irr_origins)
            )
            or (
                rules.next_hop is NextHopRule.SAME_AS
                and sorted(self._hops.get(asn, ())) != sorted(old._hops.get(asn, ()))
            )
        )

    def _aspa(self, neighbor: Neighbor, found: Filter) -> None:
        """Verify paths by what the neighbor is to us; without a role there is no way to tell."""
        rules = neighbor.filters
        if rules.aspa is AspaRule.OFF or not neighbor.has_direction:
            return
        found.aspas = self._aspas
        found.downstream = neighbor.local_role is LocalRole.CUSTOMER
        found.from_server = neighbor.local_role is LocalRole.RS_CLIENT
        found.reject_aspa_invalid = rules.aspa is AspaRule.REJECT_INVALID

    def _irr(self, rules: Filters, found: Filter) -> None:
        if rules.irr_origins is not None:
            found.irr_origins = self._sets.asns[rules.irr_origins]
            found.enforce_origin = rules.irr_enforce_origin
        if rules.irr_prefixes is not None:
            found.irr_prefixes = self._sets.prefixes[rules.irr_prefixes]
            found.enforce_prefix = rules.irr_enforce_prefix
        found.allow_longer = rules.irr_allow_longer
        found.white_origins = self._asn_set(rules.irr_white_list_asns)
        found.white_prefixes = self._prefix_set(rules.irr_white_list_prefixes)
        found.set_white_routes(rules.irr_white_list_routes)
        found.roas_as_route_objects = rules.roas_as_route_objects

    def _next_hops(self, neighbor: Neighbor, address: str) -> list[str] | None:
        rules = neighbor.filters
        match rules.next_hop:
            case NextHopRule.ANY:
                return None
            case NextHopRule.AUTHORIZED:
                return list(rules.next_hop_addresses)
            case NextHopRule.SAME_AS:
                return sorted({address, *self._hops.get(neighbor.asn or 0, ())})
            case NextHopRule.STRICT:
                return [address]

    def _asn_set(
        self, value: bool | tuple[AsnRange, ...], built_in: tuple[AsnRange, ...] = ()
    ) -> AsnSet | None:
        ranges = built_in if value is True else value or ()
        if not ranges:
            return None
        if ranges not in self._asns:
            singles = [first for first, last in ranges if first == last]
            wide = [pair for pair in ranges if pair[0] != pair[1]]
            self._asns[ranges] = AsnSet(singles, wide)
        return self._asns[ranges]

    def _prefix_set(
        self, value: bool | tuple[PrefixRange, ...], built_in: tuple[PrefixRange, ...] = ()
    ) -> PrefixSet | None:
        ranges = built_in if value is True else value or ()
        if not ranges:
            return None
        if ranges not in self._prefixes:
            made = PrefixSet()
            for prefix, low, high in ranges:
                made.add(prefix, low, high)
            self._prefixes[ranges] = made
        return self._prefixes[ranges]


def set_limits(rib: Rib, slot: int, filters: Filters) -> None:
    """Have the RIB keep what is beyond a limit rejected, where that is the action."""
    for family in Family:
        blocks = filters.max_prefix_action is MaxPrefixAction.BLOCK
        rib.set_limit(
            slot,
            family,
            filters.limit(family) if blocks else 0,
            filters.max_prefix_count is MaxPrefixCount.ACCEPTED,
            tagged=filters.reject_policy is RejectPolicy.TAG,
        )
