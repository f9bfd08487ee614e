"""Neighbors of whom nothing is accepted: one line in the log a session, with the reasons.

In: what the RIB counts. Out: peers whose sessions have something to log. A single rejected route is
nobody's business in a log; a neighbor that brings routes and sees none of them used is most likely
configured otherwise than it was meant, on one side or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs.iana import Family
from rs.reasons import reject_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rs._fastpath.rib import Rib
    from rs.peer import Peer

AFTER = 5.0
"""Seconds that a session has been up, so that lists and caches had their time."""
REASONS = 3
"""Reasons told, those with the most routes first."""


def note_unwanted(rib: Rib, peers: Iterable[Peer], now: float) -> list[Peer]:
    """Look once at each session, some time after it has brought routes; call about once a second.

    Return the peers whose sessions have something to log.
    """
    told: list[Peer] = []
    for peer in peers:
        if peer.looked_at or peer.up_since is None or now < peer.up_since + AFTER:
            continue
        counts = [rib.peer_counts(peer.slot, family) for family in Family]
        received = sum(count[0] for count in counts)
        if not received:
            continue
        peer.looked_at = True
        if any(accepted for _, accepted, _ in counts):
            continue
        found = sorted(rib.reject_counts(peer.slot).items(), key=lambda item: -item[1])
        why = "; ".join(f"{n}: {reject_words(reason)}" for reason, n in found[:REASONS])
        peer.session.log("warning", f"none of its {received} routes is accepted: {why}")
        told.append(peer)
    return told
