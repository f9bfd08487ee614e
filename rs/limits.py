"""max_prefix: what happens to a neighbor that announces more than was agreed.

In: a peer after a read, its counters in the RIB. Out: a line in the log, or the end of its session
by Cease / Maximum Number of Prefixes Reached with family and limit (RFC 4486 4), and when it starts
again. The action "block" is the RIB's: it keeps what is beyond the limit rejected.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from rs.filterconfig import MaxPrefixAction, MaxPrefixCount, RejectPolicy
from rs.iana import CeaseSubcode, Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rs._fastpath.rib import Rib
    from rs.peer import Peer

_WARNED, _BEYOND = 1, 2


def check_limits(rib: Rib, peer: Peer, now: float) -> None:
    """Compare what a peer has announced with its limits; act on what is new about that."""
    rules = peer.neighbor.filters
    for family in Family:
        limit = rules.limit(family)
        if not limit or not peer.established:
            continue
        received, accepted, _ = rib.peer_counts(peer.slot, family)
        if rules.reject_policy is RejectPolicy.TAG:
            accepted += rib.filtered_count(peer.slot, family)  # in use as far as counting goes
        counted = accepted if rules.max_prefix_count is MaxPrefixCount.ACCEPTED else received
        stage = 0
        if counted > limit:
            stage = _BEYOND
        elif rules.max_prefix_warning and counted * 100 >= limit * rules.max_prefix_warning:
            stage = _WARNED
        before, peer.limit_stage[family] = peer.limit_stage[family], stage
        if stage <= before:
            continue
        words = f"{counted} {rules.max_prefix_count} {family.label} prefixes, limit {limit}"
        if stage == _BEYOND and rules.max_prefix_action in {
            MaxPrefixAction.SHUTDOWN,
            MaxPrefixAction.RESTART,
        }:
            _shut_down(peer, family, limit, words, now)
        else:
            blocks = stage == _BEYOND and rules.max_prefix_action is MaxPrefixAction.BLOCK
            peer.session.log("warning", f"{words}{': further ones are rejected' if blocks else ''}")


def _shut_down(peer: Peer, family: Family, limit: int, words: str, now: float) -> None:
    rules = peer.neighbor.filters
    peer.limit_stage[family] = 0
    peer.limited = True
    if rules.max_prefix_action is MaxPrefixAction.RESTART:
        peer.restart_at = now + 60 * rules.max_prefix_restart
        words += f"; back in {rules.max_prefix_restart} minutes"
    data = struct.pack(">HBI", family.afi, family.safi, limit)
    peer.session.stop(now, CeaseSubcode.MAX_PREFIXES, data=data, reason=words)


def restart_limited(peers: Iterable[Peer], now: float) -> Iterator[Peer]:
    """Start the sessions of peers whose pause is over; yield these peers."""
    for peer in list(peers):
        if peer.restart_at is None or now < peer.restart_at:
            continue
        peer.restart_at, peer.limited = None, False
        if peer.neighbor.enabled and not peer.retired:
            peer.session.start(now)
            yield peer
