"""The places of a session in views and update groups: taken, moved, and left empty.

In: a session that is up and what its neighbor's configuration asks for. Out: keys of views and
groups, members attached to the outbox of the connection. The groups own the members; an Adj-RIB-Out
without members is taken apart here, in slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs.configvalues import identifier_number, in_family
from rs.groups import GroupKey, ViewKey
from rs.iana import Family
from rs.peer import PeerKind, choice_of, end_of_rib, kind_of, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs._fastpath.adjout import AdjOut
    from rs.capabilities import Negotiated
    from rs.config import Neighbor
    from rs.peer import Conn, Peer
    from rs.router import Router

RELEASE_STEP = 4096
"""Prefixes of an Adj-RIB-Out that go between two looks at the clock."""


class Joining:
    """Brings sessions into their groups."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def join(self, peer: Peer, conn: Conn, agreed: Negotiated) -> None:
        """Add a peer to its groups; after attribute sets know of it, so nothing leaks to it."""
        if self._router.membership.runs:
            self._router.scheduler.add(self._join_later(peer, conn, agreed))
        else:
            self._join_now(peer, conn, agreed)

    def _join_later(self, peer: Peer, conn: Conn, agreed: Negotiated) -> Iterator[bool]:
        yield True
        while self._router.membership.runs:
            yield False
        if peer.conn is conn and peer.established:
            self._join_now(peer, conn, agreed)

    def _join_now(self, peer: Peer, conn: Conn, agreed: Negotiated) -> None:
        peer._groups = self._router.groups  # noqa: SLF001
        peer.export_terms = self._router.rules.policies.export_terms(peer)
        for family in agreed.families:
            key = self._view_key(peer, conn, agreed, family)
            member = self._router.groups.join(peer.slot, key, GroupKey.of(agreed, family))
            peer.members[family] = member
            conn.outbox.attach(member, end_of_rib(family))

    def _view_key(self, peer: Peer, conn: Conn, agreed: Negotiated, family: Family) -> ViewKey:
        neighbor = peer.neighbor
        addpath = family in agreed.addpath_send
        limits = (in_family(neighbor.add_path_limit, family), agreed.paths_limit.get(family, 0))
        kind = kind_of(neighbor)
        client = kind is PeerKind.RR_CLIENT
        return ViewKey(
            family=family,
            kind=kind,
            next_hop=self._own_next_hop(neighbor, conn, family),
            honor_well_known=neighbor.honor_well_known,
            addpath=addpath,
            choice=choice_of(neighbor, family) if addpath else 0,
            max_paths=min(filter(None, limits), default=0) if addpath else 0,
            role=role_of(neighbor),
            closed=neighbor.lacks_export_policy,
            prepend=neighbor.prepend_own_as,
            cluster_id=identifier_number(neighbor.cluster) if client else 0,
            client_to_client=neighbor.client_to_client or not client,
            orr=neighbor.orr if neighbor.internal else None,
            policy=peer.export_terms,
        )

    def _own_next_hop(self, neighbor: Neighbor, conn: Conn, family: Family) -> str | None:
        """Our address towards a neighbor whose routes get us as next hop; None where they do not.

        For the family that the session does not run over it is our listening address of that
        family; where there is none, the next hop stays.
        """
        if not neighbor.next_hop_self:
            return None
        wide = family is Family.IPV6_UNICAST
        if (":" in conn.local_address) is wide:
            return conn.local_address
        for endpoint in self._router.config.router.listen:
            if (":" in endpoint.host) is wide and endpoint.host not in {"0.0.0.0", "::"}:  # noqa: S104
                return endpoint.host
        return None

    def rejoin(self, peer: Peer) -> None:
        """Move an established peer to the groups that its changed configuration asks for."""
        agreed = peer.session.negotiated
        conn = peer.conn
        if conn is None or agreed is None or not peer.established:
            return
        peer.export_terms = self._router.rules.policies.export_terms(peer)
        for family, old in list(peer.members.items()):
            key = self._view_key(peer, conn, agreed, family)
            member = self._router.groups.move(old, key, GroupKey.of(agreed, family))
            peer.members[family] = member
            conn.outbox.replace(old, member)
            old.leave()
            self._router.groups.left(old)

    def release(self, adj: AdjOut) -> None:
        """Take an Adj-RIB-Out apart that has no members any more, in slices."""
        self._router.scheduler.add(self._release_steps(adj))
        self._router.on_wake()

    @staticmethod
    def _release_steps(adj: AdjOut) -> Iterator[bool]:
        at = 1
        while at:
            at = adj.release_step(at, RELEASE_STEP)
            yield True
