"""A start of ours: what the neighbors are told of it, and the first routes, held back for a while.

In: whether this start is a restart, and who was connected before it; End-of-RIBs, RPKI data, time.
Out: the restart bit in our OPENs, and the moment from which routes are chosen and announced. Until
then sessions come up and paths come in, and the scheduler evaluates nothing: neighbors that kept
our routes are not told of a table that is only half there.

RFC 4724 4.1 (restarting speaker, Selection_Deferral_Timer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from rs.config import Awaited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rs.config import Startup as Settings
    from rs.peer import Peer
    from rs.router import Router


@frozen
class Before:
    """What is known of the process before this one, when it went without taking leave."""

    neighbors: frozenset[str] | None = None
    """Addresses of the neighbors that were up; None where that is not known."""


class Startup:
    """The first minute of a router."""

    def __init__(
        self, router: Router, settings: Settings, before: Before | None, *, rpki: bool
    ) -> None:
        """`before` is None for a start that is no restart; `rpki`: RPKI data are expected."""
        self._router = router
        self.restarted = before is not None
        """Whether our OPENs say that we have restarted."""
        self.until = router.started + settings.timeout
        """Time at which waiting ends, whatever has come."""
        self._expected = before.neighbors if before is not None else None
        waits = self.restarted or settings.always
        self._for = set(settings.wait_for) if waits else set()
        if not rpki:
            self._for.discard(Awaited.RPKI)
        self.holding = bool(self._for)
        """Whether nothing is chosen and announced yet."""

    def missing(self) -> list[str]:
        """Return what is waited for: `rpki`, and addresses of neighbors."""
        if not self.holding:
            return []
        out = []
        if Awaited.RPKI in self._for and not self._router.rules.rpki_ready:
            out.append("rpki")
        if Awaited.END_OF_RIB in self._for:
            out += self._missing_neighbors()
        return out

    def _missing_neighbors(self) -> Iterable[str]:
        router = self._router
        if self._expected is None:
            expected = {p.address for p in router.peers.values() if not p.dynamic}
        else:
            expected = {a for a in self._expected if router.knows(a)}
        for address in sorted(expected):
            peer = router.peer_for(address)
            if peer is None or _awaited(peer):
                yield address

    def check(self, now: float) -> bool:
        """Go on if everything has come or time is over; return whether it has ended just now."""
        over = now >= self.until
        if over and self.restarted:
            self._tell_no_more()
        if not self.holding or (not over and self.missing()):
            return False
        self.holding = False
        self._tell_no_more()
        return True

    def _tell_no_more(self) -> None:
        self.restarted = False
        for peer in self._router.peers.values():
            peer.tell_restarted(restarted=False)


def _awaited(peer: Peer) -> bool:
    """Whether a neighbor still owes us an End-of-RIB (RFC 4724 4.1).

    Not if it has restarted itself, or has no graceful restart and so may never send one.
    """
    if not peer.neighbor.enabled or peer.limited:
        return False
    agreed = peer.session.negotiated
    if not peer.established or agreed is None:
        return True
    said = agreed.graceful_restart
    if said is None or said.restarted:
        return False
    eor = peer.ingest.eor if peer.ingest is not None else (False, False)
    return not all(eor[family] for family in agreed.families)
