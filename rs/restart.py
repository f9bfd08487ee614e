"""Restarts of neighbors: whose routes stay when a session is lost, and what becomes of them.

In: sessions that are lost and come back, End-of-RIBs, time. Out: paths counted as stale in the RIB,
and removed in slices. The Restarts of a router own the record of each family kept (`Peer.kept`).

A path is stale when its generation bit differs from its peer's, see peers.pyx: the bits that an
enhanced route refresh uses. Staleness changes neither rank nor export (RFC 4724 4.2); after the
restart time come the rules of RFC 9494, where it does.

RFC 4724 4.2 (receiving speaker), RFC 8538 4 (notifications), RFC 9494 4.2 (long-lived), RFC 7313 4
(a BoRR while paths are stale).
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from attrs import define

from rs._fastpath.walks import long_lived_step, purge_step, settle_step
from rs.configvalues import in_family
from rs.fsm import Event
from rs.iana import HEADER_LEN, CeaseSubcode, Family, NotifyCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rs._fastpath.rib import Rib
    from rs.capabilities import Negotiated
    from rs.peer import Conn, Peer
    from rs.scheduler import Scheduler
    from rs.session_types import Down

STEP = 4096
"""Prefixes looked at between two looks at the clock."""


class Phase(StrEnum):
    """What a family that is kept waits for."""

    RESTARTING = "restarting"
    """The neighbor is away, within its restart time."""
    LONG_LIVED = "long-lived"
    """It is away longer: its routes are the last choice (RFC 9494)."""
    SYNCHRONIZING = "synchronizing"
    """It is back; its End-of-RIB has not come yet."""


@define
class Kept:
    """One family of one neighbor whose routes of a lost session are kept."""

    phase: Phase
    until: float
    """Time at which the phase ends by itself."""
    long_lived_time: float = 0.0
    """Seconds that the long-lived phase takes; 0 without one."""
    long_lived_until: float | None = None
    """End of a long-lived phase once it has begun; nothing but an End-of-RIB stops it."""
    bound: float = inf
    """Time at which stale routes go in any case, however often the session comes and goes."""


def keeps_routes(agreed: Negotiated, down: Down) -> bool:
    """Whether a session that ended like this leaves its routes behind (RFC 4724 4.2, 8538 4)."""
    if agreed.graceful_restart is None or down.event is Event.MANUAL_STOP:
        return False
    if not down.notification:
        return down.event is Event.TCP_CONNECTION_FAILS
    what = tuple(down.notification[HEADER_LEN : HEADER_LEN + 2])
    return agreed.notification_restart and what != (NotifyCode.CEASE, CeaseSubcode.HARD_RESET)


class Restarts:
    """The routes of neighbors that are away."""

    def __init__(
        self,
        rib: Rib,
        scheduler: Scheduler,
        purge: Callable[[Peer], None],
        feed: Callable[[Peer, Conn, bytes], None],
    ) -> None:
        """`purge` removes what a lost session had brought, in families that are not kept.

        `feed` hands bytes that were held back to a peer's session.
        """
        self._rib = rib
        self._scheduler = scheduler
        self._purge = purge
        self._feed = feed
        self._away: set[Peer] = set()
        """Peers with families that are kept."""
        self._settling: set[tuple[int, Family]] = set()
        """By slot: jobs that must end before another session's routes may come in."""
        self._stale_due: dict[Family, set[int]] = {family: set() for family in Family}
        """Slots whose stale paths are to be removed while their session is up."""
        self._stale_runs = False
        self._expired: set[tuple[int, Family]] = set()
        """By slot: the long time has ended before the End-of-RIB of the session there is."""
        self._unstalling: set[Conn] = set()
        """Connections whose session waits at a BoRR."""

    def settling(self, peer: Peer) -> bool:
        """Whether paths of an earlier session are still looked through."""
        return any((peer.slot, family) in self._settling for family in Family)

    # --- the session goes

    def lost(self, peer: Peer, down: Down, now: float) -> None:
        """Keep the routes of a session that is lost, in the families in which that is due."""
        agreed = peer.agreed
        keep = agreed is not None and not peer.retired and keeps_routes(agreed, down)
        for family in Family:
            was = peer.kept.pop(family, None)
            expired = (peer.slot, family) in self._expired
            self._expired.discard((peer.slot, family))
            if not keep or agreed is None or not self._rib.peer_counts(peer.slot, family)[0]:
                continue
            if expired:
                continue  # RFC 9494 4.2: it has never become as it was
            kept = self._kept(peer, agreed, family, now)
            older = False
            if was is not None and was.long_lived_until is not None:
                # RFC 9494 4.2: the timer goes on, and stale routes stay until it ends.
                kept, older = was, True
                kept.phase, kept.until = Phase.LONG_LIVED, was.long_lived_until
            elif was is not None and kept is not None:
                # RFC 9494 4.2 and RFC 8538 4.1, against RFC 4724 4.2: consecutive restarts.
                older = agreed.notification_restart or bool(kept.long_lived_time)
                if older:
                    kept.bound = was.bound
                    kept.until = min(kept.until, kept.bound)
                elif (peer.slot, family) in self._settling:
                    continue  # lost again before anything could come in: all there is was stale
            elif kept is None:
                continue
            peer.kept[family] = kept
            self._away.add(peer)
            self._make_stale(peer, family, keep=older if was is not None else None)

    def _kept(self, peer: Peer, agreed: Negotiated, family: Family, now: float) -> Kept | None:
        said, bound = agreed.graceful_restart, peer.neighbor
        if said is None or family not in agreed.families:
            return None
        restart = min(said.time, bound.stale_time) if said.lists(family) else 0
        stale = 0
        if agreed.long_lived:
            most = in_family(bound.long_lived_stale_time, family)
            stale = min(said.long_lived_of(family).time, most)
        if restart:
            last = now + restart + bound.stale_time + stale
            return Kept(Phase.RESTARTING, now + restart, stale, bound=last)
        if stale:
            # RFC 9494 4.2: a restart time of zero ends at once.
            return Kept(Phase.LONG_LIVED, now + stale, stale, now + stale)
        return None

    def _make_stale(self, peer: Peer, family: Family, *, keep: bool | None) -> None:
        """Count all paths of a family as stale.

        `keep` says what becomes of those that are stale already because of a restart before; None
        if there was none: then they are from a refresh, and kept if that has not ended.
        """
        rib, slot = self._rib, peer.slot
        if (slot, family) in self._settling:
            return  # no path has come in since
        if not rib.stale(slot, family):
            rib.lost(slot, family)
            if peer.kept[family].long_lived_until is not None:
                self._scheduler.add(self._demote(peer, family))
            return
        if keep is None:
            keep = not rib.refresh_ended(slot, family)
        self._settling.add((slot, family))
        self._scheduler.add(self._settle_lost(peer, family, keep=keep))

    def _settle_lost(self, peer: Peer, family: Family, *, keep: bool) -> Iterator[bool]:
        yield from self._settle(peer, family, keep=keep)
        self._rib.lost(peer.slot, family)
        self._settling.discard((peer.slot, family))
        if family not in peer.kept:
            self._remove(peer, family)  # given up meanwhile
        elif peer.kept[family].long_lived_until is not None:
            yield from self._demote(peer, family)

    def _settle(self, peer: Peer, family: Family, *, keep: bool) -> Iterator[bool]:
        table, at = self._rib.tables[family], 1
        while at := settle_step(table, peer.slot, keep, at, STEP):
            yield True

    # --- the session comes back

    def returned(self, peer: Peer, agreed: Negotiated, now: float, *, same: bool) -> None:
        """Take note of a new session; routes stay where the neighbor says that they may be used.

        `same`: it is the router that it was. Another one has other routes.
        """
        said = agreed.graceful_restart
        for family, kept in list(peer.kept.items()):
            usable = said is not None and said.forwarding(family)
            if said is not None and kept.long_lived_until is not None:
                # RFC 9494 4.2; and 5 for a family that has both F bits.
                usable = agreed.long_lived and said.long_lived_of(family).forwarding
                usable = usable and said.families.get((family.afi, family.safi), True)
            if not same or family not in agreed.families or not usable:
                self.give_up(peer, family)
                continue
            kept.phase = Phase.SYNCHRONIZING
            kept.until = min(now + peer.neighbor.stale_time, kept.bound)
            if kept.long_lived_until is not None:
                kept.until = min(kept.until, kept.long_lived_until)

    def end_of_rib(self, peer: Peer, family: Family) -> None:
        """Remove what the new session has not brought; Ingest has taken note in its place."""
        self._expired.discard((peer.slot, family))
        if peer.kept.pop(family, None) is not None:
            self._remove(peer, family)

    # --- time

    def tick(self, now: float) -> list[Peer]:
        """Do what is due, about once a second; return the peers whose log has something new."""
        told = []
        for peer in list(self._away):
            for family, kept in list(peer.kept.items()):
                if kept.until > now or (peer.slot, family) in self._settling:
                    continue
                told.append(peer)
                if kept.phase is Phase.RESTARTING and kept.long_lived_time:
                    peer.session.log("info", f"{family.label}: stale routes are the last choice")
                    kept.phase = Phase.LONG_LIVED
                    kept.until = min(now + kept.long_lived_time, kept.bound)
                    kept.long_lived_until = kept.until
                    self._scheduler.add(self._demote(peer, family))
                else:
                    peer.session.log("info", f"{family.label}: {kept.phase}: time is over")
                    if kept.phase is Phase.SYNCHRONIZING and kept.until == kept.long_lived_until:
                        self._expired.add((peer.slot, family))
                    self.give_up(peer, family)
            if not peer.kept:
                self._away.discard(peer)
        return told

    def _demote(self, peer: Peer, family: Family) -> Iterator[bool]:
        """Make the stale routes of a family the last choice (RFC 9494 4.2)."""
        table, at = self._rib.tables[family], 1
        while at and family in peer.kept:
            at = long_lived_step(table, peer.slot, at, STEP)
            yield True

    def give_up(self, peer: Peer, family: Family) -> None:
        """Remove the stale routes of a family."""
        known = peer.kept.pop(family, None) is not None
        if known and (peer.slot, family) not in self._settling:
            self._remove(peer, family)

    def forget(self, peer: Peer) -> None:
        """Keep nothing of a neighbor that is stopped by hand or no longer configured."""
        for family in Family:
            self._expired.discard((peer.slot, family))
            self.give_up(peer, family)

    # --- stale paths go

    def _remove(self, peer: Peer, family: Family) -> None:
        self._rib.give_up(peer.slot, family)
        if peer.conn is None:
            self._purge(peer)
        else:
            self.remove_stale(peer, family)

    def remove_stale(self, peer: Peer, family: Family) -> None:
        """Remove what a refresh or restart that has ended has not brought again."""
        self._stale_due[family].add(peer.slot)
        if not self._stale_runs:
            self._stale_runs = True
            self._scheduler.add(self._remove_stale())

    def _remove_stale(self) -> Iterator[bool]:
        """Remove the stale paths of all peers who are due before a round begins, in one go."""
        rib = self._rib
        while any(self._stale_due.values()):
            for family, due in self._stale_due.items():
                slots, at = sorted(due), 1
                while at and slots:
                    # A session that is lost, or a refresh begun, in the meantime has settled it.
                    slots = [
                        s for s in slots if rib.refresh_ended(s, family) and rib.stale(s, family)
                    ]
                    at = purge_step(rib.tables[family], slots, at, STEP, only_stale=True)
                    yield True
                for slot in sorted(due):
                    if rib.refresh_ended(slot, family) and not rib.stale(slot, family):
                        rib.refreshed(slot, family)
                due.difference_update([s for s in due if not rib.refresh_ended(s, family)])
        self._stale_runs = False

    def unstall(self, peer: Peer, conn: Conn, family: Family) -> None:
        """Begin the refresh that a BoRR has asked for while paths were stale, when none is."""
        conn.pause_reading()
        if conn not in self._unstalling:
            # A BoRR before it, in the same read, may have been told of only now.
            self._unstalling.add(conn)
            self._scheduler.add(self._unstall(peer, conn, family))

    def _unstall(self, peer: Peer, conn: Conn, family: Family) -> Iterator[bool]:
        table, at, slot = self._rib.tables[family], 1, peer.slot
        ingest = peer.ingest
        while at and peer.conn is conn:
            # Those of a refresh that never ended count as heard, those of one that did go.
            keep = self._rib.under_refresh(slot, family)
            at = settle_step(table, slot, keep, at, STEP)
            yield True
        self._unstalling.discard(conn)
        if peer.conn is conn and ingest is not None:
            self._rib.start_refresh(slot, family)
            held = ingest.resume()
            if held:
                self._feed(peer, conn, held)
            if peer.conn is conn and not ingest.stalled:
                conn.resume_reading()
