"""Paths judged again and prefixes evaluated again in place, because something has changed here.

In: peers whose rules have changed; changed prefixes and customer ASes, as a publisher of RPKI data
hands them over. Out: jobs for the scheduler, in slices. A changed VRP concerns the paths at or
below its prefix. A changed ASPA concerns paths whose AS_PATH holds the customer: attribute sets are
looked through first, then the prefixes for paths with one of those found. Nothing else is touched,
and nobody is asked to send anything (RFC 9324).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs._fastpath.asnset import AsnSet
from rs._fastpath.walks import find_ases, mark_all, recheck_below, recheck_step
from rs.filterconfig import AspaRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.peer import Peer
    from rs.router import Router

Prefixes = list[tuple[int, bytes, int]]
"""Family, address octets and length of each."""

BELOW_STEP = 32
"""Changed prefixes whose paths are judged again in between, if they have few paths below."""
SETS_STEP = 2048
"""Attribute sets looked through in between."""
PREFIXES_STEP = 4096
"""Prefixes looked at in between."""


class Revalidation:
    """What is to be judged or evaluated again."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._prefixes: Prefixes = []
        """Prefixes at or below which paths are to be judged again."""
        self._customers: set[int] = set()
        """ASes whose providers have changed."""
        self._below_runs = False
        self._paths_run = False
        self._recheck_due: set[int] = set()
        """Slots whose paths are to be judged again."""
        self._recheck_runs = False

    # --- paths of some peers, or everything

    def recheck(self, peer: Peer) -> None:
        """Judge a peer's paths again, in place; those of several peers together."""
        self._recheck_due.add(peer.slot)
        if not self._recheck_runs:
            self._recheck_runs = True
            self._router.scheduler.add(self._recheck())

    def _recheck(self) -> Iterator[bool]:
        router = self._router
        while self._recheck_due:
            slots = sorted(self._recheck_due)
            self._recheck_due.clear()
            yield from self.recheck_slots(slots)
            for slot in slots:
                if slot in router.peers:
                    router.check_limits(router.peers[slot])
                    router.on_commands(router.peers[slot])
        self._recheck_runs = False

    def recheck_slots(self, slots: list[int]) -> Iterator[bool]:
        """Judge the paths of these peers again."""
        for table in self._router.rib.tables:
            at = 1
            while at:
                at = recheck_step(table, slots, at, PREFIXES_STEP)
                yield True

    def evaluate(self, *, rank: bool = False) -> Iterator[bool]:
        """Evaluate every prefix again; `rank` chooses its paths anew first."""
        for table in self._router.rib.tables:
            at = 1
            while at:
                at = mark_all(table, at, PREFIXES_STEP, rank)
                yield True

    # --- RPKI data have changed

    def changed(self, prefixes: Prefixes, customers: set[int]) -> None:
        """Have paths judged again that a change concerns."""
        if prefixes:
            self._prefixes += prefixes
            if not self._below_runs:
                self._below_runs = True
                self._router.scheduler.add(self._below())
        if customers:
            self._customers |= customers
            if not self._paths_run:
                self._paths_run = True
                self._router.scheduler.add(self._paths())

    def _below(self) -> Iterator[bool]:
        while self._prefixes:
            batch, self._prefixes = self._prefixes[:BELOW_STEP], self._prefixes[BELOW_STEP:]
            for family, addr, plen in batch:
                table = self._router.rib.tables[family]
                after = recheck_below(table, addr, plen)
                while after is not None:
                    yield True
                    after = recheck_below(table, addr, plen, after)
            yield True
        self._below_runs = False

    def _paths(self) -> Iterator[bool]:
        rib = self._router.rib
        while self._customers:
            customers, self._customers = self._customers, set()
            slots = self._verified()
            if slots:
                # A set that comes later is judged by the new data as it comes.
                found = bytearray()
                asns = AsnSet(sorted(customers))
                at = 1
                while at:
                    at = find_ases(rib, asns, found, at, SETS_STEP)
                    yield True
                for table in rib.tables if any(found) else ():
                    at = 1
                    while at:
                        at = recheck_step(table, slots, at, PREFIXES_STEP, found)
                        yield True
                for slot in slots:
                    if slot in self._router.peers:
                        self._router.check_limits(self._router.peers[slot])
            yield True
        self._paths_run = False

    def _verified(self) -> list[int]:
        """Return the slots of peers whose paths an ASPA can refuse."""
        return sorted(
            peer.slot
            for peer in self._router.peers.values()
            if peer.neighbor.filters.aspa is AspaRule.REJECT_INVALID and peer.neighbor.has_direction
        )
