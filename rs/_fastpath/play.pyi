"""Types of `play.pyx`."""

from typing import Self, final

from rs._fastpath.mrttable import Table
from rs._fastpath.recode import Rewriter
from rs.session_types import IngestEvent

@final
class Packer:
    """One peer's routes of a family as UPDATEs, routes with the same attributes together.

    The table must not be added to while this is in use. `valid_only` leaves out routes that a
    receiver may not use (RFC 7606). ValueError for a family that is none.
    """

    n_routes: int
    """Routes packed so far."""
    n_messages: int
    n_skipped: int
    """Routes left out: without next hop, with one that the session cannot carry, with attributes
    too long for its messages, or not valid."""
    def __new__(
        cls,
        table: Table,
        peer: int,
        family: int,
        rewriter: Rewriter,
        *,
        valid_only: bool = False,
    ) -> Self: ...
    def next(self, room: int = ...) -> bytes:
        """Return the next whole messages in up to `room` octets (256 KiB), empty at the end.

        ValueError when a message may need more than `room`.
        """

@final
class Sink:
    """An Ingest that counts UPDATEs and throws them away; see rs.session_types.Ingest.

    `limit` is the longest message that the other side may send.
    """

    updates: int
    keepalives: int
    octets: int
    """Octets received."""
    pending_events: int
    """True when `take_events` has something."""
    def __new__(cls, limit: int = 4096) -> Self: ...
    def feed(self, data: bytes | memoryview) -> int:
        """Take one read; return how many messages it completed, or -1 on an error event."""

    def take_events(self) -> list[IngestEvent]:
        """Return and forget what happened, in order."""
