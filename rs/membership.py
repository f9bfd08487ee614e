"""Who is there, as far as attribute sets are compiled for it.

In: neighbors that come, go or change. Out: the directory that control communities are compiled by,
and which addresses and clusters are ours (RFC 4271 9.1.2, 4456 8: loops); a job that compiles
attribute sets anew, and has evaluated again in place what came out otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs._fastpath.walks import recompile
from rs.config import Rtt
from rs.configvalues import identifier_number
from rs.peer import PeerKind, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.peer import Conn, Peer
    from rs.router import Router

MEASURE_EVERY = 60
"""Seconds between two measurements of a neighbor's round-trip time."""
COMPILE_STEP = 2048
"""Attribute sets compiled anew in between."""


class Membership:
    """The neighbors that attribute sets are compiled for."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.everything = False
        """Communities mean something else: judge and evaluate everything again."""
        self.runs = False
        """Whether attribute sets are being compiled for who is there now."""
        self._due = False
        """Neighbors have come or gone, and attribute sets do not know of it yet."""
        self._own_addresses: set[str] = set()
        self._clusters = {identifier_number(router.config.router.cluster_id)}

    def measure_again(self, now: float) -> None:
        """Measure a part of the neighbors, each about once in MEASURE_EVERY; call once a second.

        Only a shorter time counts: acknowledgments come late for many reasons, and never early. So
        a neighbor is moved as often as there are thresholds at most, and routes do not flap. Who
        knows that a path has become longer has it measured anew, or begins a session.
        """
        turn = int(now) % MEASURE_EVERY
        for peer in list(self._router.peers.values()):
            conn = peer.conn
            if peer.slot % MEASURE_EVERY != turn or conn is None:
                continue
            if peer.neighbor.rtt is Rtt.MEASURED:
                self.measure(peer, conn, shorter=True)

    def measure(self, peer: Peer, conn: Conn, *, shorter: bool = False) -> None:
        """Take over the round-trip time of a session for communities that go by it.

        `shorter`: only if it is shorter than what is known.
        """
        if peer.neighbor.rtt is not Rtt.MEASURED:
            return
        before, found = peer.measured_rtt, conn.rtt()
        if shorter and before is not None and (found is None or found >= before):
            return
        peer.measured_rtt = found
        thresholds = self._router.config.communities.rtt_thresholds
        if _side(before, thresholds) != _side(peer.measured_rtt, thresholds):
            self.renew()

    def _rounds(self) -> Iterator[bool]:
        """Compile attribute sets anew for the peers there are now; evaluate what that changes.

        Whoever comes or goes meanwhile is dealt with in another round, together.
        """
        router = self._router
        rib = router.rib
        while self._due:
            self._due = False
            moved = self.update_directory()
            everything = self.everything
            at, changed = 1, everything
            self.everything = False
            while at:
                at, some = recompile(rib, at, COMPILE_STEP, forms=everything)
                changed = changed or some
                yield True
            if moved or everything:
                # A next hop or cluster of ours cannot be used, one that was ours can.
                yield from router.revalidation.recheck_slots(sorted(router.peers))
            if changed:
                yield from router.revalidation.evaluate(rank=everything)
                queued = [table.queued() for table in rib.tables]
                while any(table.drained < n for table, n in zip(rib.tables, queued, strict=True)):
                    yield False
        self.runs = False

    def renew(self) -> None:
        """Have attribute sets compiled anew because neighbors have come or gone."""
        self._due = True
        if not self.runs:
            self.runs = True
            self._router.scheduler.add(self._rounds())

    def update_directory(self) -> bool:
        """Tell the compiler of communities who is there, and which addresses and clusters are ours.

        Return whether these changed: next hops and loops are then to be judged again.
        """
        router = self._router
        config = router.config
        slots: dict[int, list[int]] = {}
        # Others are not described yet: their slots may lie beyond the member sets.
        described = router.described()
        for peer in described:
            if peer.neighbor.asn and kind_of(peer.neighbor) is PeerKind.RS_CLIENT:
                slots.setdefault(peer.neighbor.asn, []).append(peer.slot)
        own = {
            endpoint.host
            for endpoint in config.router.listen
            if endpoint.host not in {"0.0.0.0", "::"}  # noqa: S104
        }
        own |= {p.neighbor.local_address for p in router.peers.values() if p.neighbor.local_address}
        communities, holes = config.communities, config.blackhole
        router.control.set_peers(
            slots,
            sorted(own),
            mapped={
                p.neighbor.mapped_asn: p.neighbor.asn
                for p in described
                if p.neighbor.mapped_asn and p.neighbor.asn
            },
            rtt={p.slot: p.rtt for p in described if p.rtt is not None},
            thresholds=communities.rtt_thresholds,
            no_black_holes=[p.slot for p in described if not p.receives_black_holes(holes)],
        )
        clusters = {identifier_number(config.router.cluster_id)}
        clusters |= {
            identifier_number(n.cluster) for n in config.neighbors if n.route_reflector_client
        }
        router.control.set_clusters(sorted(clusters))
        changed = own != self._own_addresses or clusters != self._clusters
        self._own_addresses, self._clusters = own, clusters
        return changed


def _side(rtt: int | None, thresholds: tuple[int, ...]) -> tuple[tuple[bool, bool], ...] | None:
    """Return of which thresholds a round-trip time is below and above."""
    return None if rtt is None else tuple((rtt < t, rtt > t) for t in thresholds)
