"""Transit-free networks behind a neighbor, where they are only warned of (transit_free_action).

In: what the import filters have counted since the last time. Out: totals with the peer, and a line
in the log for each network of a peer, once, and few lines at a time: a full table may bring a
thousand of them in a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs.filterconfig import TransitFreeRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rs._fastpath.rib import Rib
    from rs.peer import Peer

LINES = 5
"""Lines in the log at one call; what is left comes later."""
KEPT = 64
"""Networks kept for a peer: an operator may list any number of them."""


def note_transit(rib: Rib, peers: Iterable[Peer]) -> list[Peer]:
    """Collect what filters have counted; call about once a second.

    Return the peers whose sessions have something to log.
    """
    lines = LINES
    told: list[Peer] = []
    for peer in peers:
        found = rib.filter_of(peer.slot)
        if found is None or peer.neighbor.filters.transit_free_action is TransitFreeRule.REJECT:
            continue
        seen = peer.transit_seen
        for asn, count in found.take_transit().items():
            if asn in seen or len(seen) < KEPT:
                seen[asn] = seen.get(asn, 0) + count
        for asn in seen.keys() - peer.transit_logged:
            if not lines:
                return told
            lines -= 1
            peer.transit_logged.add(asn)
            peer.session.log("warning", f"transit-free AS{asn} in AS_PATH, accepted all the same")
            if peer not in told:
                told.append(peer)
    return told
