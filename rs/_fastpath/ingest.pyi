"""A session's bytes into the RIB. See ingest.pyx for how it works."""

from collections import deque
from typing import Any, Self, final

from rs._fastpath.rib import Rib

@final
class Ingest:
    """Bytes of one peer's established session into the RIB."""

    def __new__(
        cls,
        rib: Rib,
        slot: int,
        *,
        as4: bool = True,
        ibgp: bool = False,
        families: int = 3,
        addpath: int = 0,
        ext_next_hop: bool = False,
        extended_message: bool = False,
        enhanced_refresh: bool = False,
    ) -> Self: ...
    @property
    def pending_events(self) -> list[tuple[Any, ...]]:
        """What take_events will return."""
    @property
    def messages(self) -> int:
        """Messages taken whole, of all types."""
    @property
    def updates(self) -> int:
        """UPDATEs of them."""
    @property
    def keepalives(self) -> int:
        """KEEPALIVEs of them."""
    @property
    def announced(self) -> int:
        """NLRI."""
    @property
    def withdrawn(self) -> int:
        """NLRI."""
    @property
    def discards(self) -> int:
        """UPDATEs with an attribute discarded (RFC 7606)."""
    @property
    def treat_as_withdraw(self) -> int:
        """UPDATEs whose routes count as withdrawn for a fault (RFC 7606)."""
    @property
    def faults(self) -> deque[tuple[int, int, int, bytes]]:
        """Deque of (outcome, attribute type, subcode, octets)."""
    @property
    def eor(self) -> list[bool]:
        """By family: End-of-RIB seen."""
    @property
    def stalled(self) -> bool:
        """At a BoRR that has to wait; see resume."""
    def resume(self) -> bytes:
        """Go on behind the BoRR that has stalled it; return what came meanwhile, to be fed again.

        A BoRR makes paths stale, and those that are stale already must be settled first, which
        takes a walk over the table. The caller does that in slices and reads nothing meanwhile.
        """
    def take_events(self) -> list[tuple[Any, ...]]:
        """Return and forget what came beside UPDATEs; see feed."""
    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes as read; return the whole messages in them, or -1 when the session must end.

        After a -1, or when `pending_events` is not empty, take_events() tells:
        ("refresh", afi, safi, subtype), ("eor", family), ("notification", code, subcode, data) and
        ("error", code, subcode, data, reason), which is the last one.
        """
