"""The rules that routes of neighbors are judged by: filters, policies, RPKI; changed in place.

In: neighbors with their configuration, named sets, changes of RPKI data. Out: each neighbor's
import filter and policies in the RIB, and jobs that judge again what a change concerns (RFC 9324:
nobody is asked to send anything again).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs.iana import Family
from rs.policies import Policies
from rs.policy import Policy, set_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.communityconfig import BlackHoles
    from rs.config import Config
    from rs.irr import Sets
    from rs.peer import Peer
    from rs.router import Router

FILTER_STEP = 32
"""Import filters made in between."""


def black_holes(config: Config) -> BlackHoles | None:
    """Return what becomes of black holes; None where that is somebody else's business."""
    return config.blackhole if config.router.is_route_server else None


class Rules:
    """Filters and policies as they are used now, and what they are made of."""

    def __init__(self, router: Router, sets: Sets) -> None:
        """Compile the configuration's filters and policies; `sets` are its named sets."""
        self._router = router
        config = router.config
        self.rpki_ready = False
        """Whether there are RPKI data; without, states are "not checked"."""
        self.sets = sets
        self.policy = Policy(config.neighbors, sets, None, black_holes(config))
        self.policies = Policies(config, sets, router.rib, router.aspas)

    def set_filter(self, peer: Peer) -> None:
        """Use the import filter of a peer's configuration from now on."""
        router = self._router
        peer.validated = self.policies.validates(peer.neighbor)
        found = self.policy.filter_for(peer.neighbor, peer.address, validate=peer.validated)
        if router.rib.set_filter(peer.slot, found) and peer.ups:
            router.scheduler.add(router.revalidation.evaluate(rank=True))
        router.rib.set_closed(peer.slot, peer.neighbor.lacks_import_policy)
        set_limits(router.rib, peer.slot, peer.neighbor.filters)

    def use_filters(self, sets: Sets) -> None:
        """Use the configuration's filters with these sets, and judge again what that concerns."""
        router = self._router
        old = self.policy
        self.sets = sets
        self._renew_policy()
        self.policies.use(router.config, sets)
        differing = [p for p in router.described() if self.policy.differs(old, p)]
        router.scheduler.add(self._refilter(differing))
        router.on_wake()

    def use_policies(self) -> None:
        """Use the configuration's policies; call when neighbors have theirs.

        Judged again are the paths of those for whom another program came out, sent again what is
        announced to those.
        """
        router = self._router
        for peer in router.described():
            if self.policies.validates(peer.neighbor) is not peer.validated:
                self.refilter(peer)
            router.rib.set_closed(peer.slot, peer.neighbor.lacks_import_policy)
            if self.policies.set_import(peer):
                router.revalidation.recheck(peer)
            if self.policies.export_terms(peer) is not peer.export_terms:
                router.joining.rejoin(peer)
        self.policies.settle()
        router.on_wake()

    def _renew_policy(self) -> None:
        router = self._router
        roas, aspas = (router.roas, router.aspas) if self.rpki_ready else (None, None)
        holes = black_holes(router.config)
        self.policy = Policy(router.config.neighbors, self.sets, roas, holes, aspas)

    def _refilter(self, peers: list[Peer]) -> Iterator[bool]:
        for i, peer in enumerate(peers):
            if self._router.peers.get(peer.slot) is peer and not peer.retired:
                self.set_filter(peer)
                self._router.revalidation.recheck(peer)
            if i % FILTER_STEP == FILTER_STEP - 1:
                yield True

    def refilter(self, peer: Peer) -> None:
        """Use a peer's changed rules, and judge its paths again."""
        self.set_filter(peer)
        self._router.revalidation.recheck(peer)

    def relimit(self, peer: Peer) -> None:
        """Use a peer's changed limits; paths that were kept out may come in now."""
        set_limits(self._router.rib, peer.slot, peer.neighbor.filters)
        peer.limit_stage = dict.fromkeys(Family, 0)
        self._router.revalidation.recheck(peer)

    def rpki_changed(
        self, prefixes: list[tuple[int, bytes, int]] | None, customers: set[int], ready: bool
    ) -> None:
        """Judge again what a change of RPKI data concerns, in place (RFC 9324).

        `prefixes` are those at or below which paths have to be looked at, None for all. Without
        data (`ready` is False) nothing is validated. `customers` are those whose ASPAs changed.
        """
        router = self._router
        if customers:
            self._aspas_changed()
        if ready is not self.rpki_ready or prefixes is None:
            self.rpki_ready = ready
            self._renew_policy()
            asking = [p for p in router.described() if p.neighbor.filters.uses_rpki or p.validated]
            router.scheduler.add(self._refilter(asking))
        else:
            router.revalidation.changed(prefixes, customers)

    def _aspas_changed(self) -> None:
        for peer in self._router.described():
            if self.policies.asks_aspa(peer.neighbor):
                self._router.revalidation.recheck(peer)
        if self.policies.export_asks_aspa:
            self._router.scheduler.add(self._router.revalidation.evaluate())
