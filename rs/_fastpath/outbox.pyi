"""What goes out on a connection. See outbox.pyx for how it works."""

from typing import Self, final

from rs._fastpath.group import Member

@final
class Outbox:
    """The sending side of one connection; `fd` is a non-blocking socket, borrowed."""

    def __new__(cls, fd: int = -1) -> Self: ...
    @property
    def fd(self) -> int:
        """The socket; borrowed."""
    @property
    def members(self) -> list[Member]:
        """Whose bytes go over this connection."""
    blocked: bool
    """The socket took no more; cleared by the transport."""
    @property
    def bytes_sent(self) -> int:
        """Octets that the socket has taken."""
    @property
    def writes(self) -> int:
        """Calls of writev."""
    def push(self, message: bytes) -> None:
        """Queue a whole message of the session."""
    def attach(self, member: Member, epilogue: bytes = b"") -> None:
        """Send what this member gets; `epilogue` goes out when it has got the table."""
    def replace(self, old: Member, new: Member) -> None:
        """Send what `new` gets from now on instead of `old`, whose begun message is ended first."""
    def refresh(self, member: Member, begin: bytes = b"", end: bytes = b"") -> None:
        """Send a member the table again, with the messages `begin` before and `end` after it."""
    def pending(self) -> bool:
        """Whether there may be something to send."""
    def send(self, room: int = 262144) -> int:
        """Write up to about `room` octets; return 0, or the errno of a broken connection.

        Afterwards `blocked` says whether the socket is full: call again when it is writable.
        Without `blocked` and with pending() there is more to send now.
        """
    def take(self, room: int = ...) -> bytes:
        """Return the next octets and move on, as a socket would that takes `room` of them."""
    def take_counts(self) -> tuple[int, int]:
        """Return (UPDATEs, BoRRs and EoRRs) sent since the last call, whole ones.

        What was pushed is the session's and counted there.
        """
    def close(self) -> None:
        """Leave every group."""

def pump(
    outboxes: list[Outbox], room: int, most: int
) -> tuple[int, list[Outbox], list[Outbox], list[tuple[Outbox, int]]]:
    """Send from each outbox that has something and is not blocked, until `most` octets are sent.

    Up to about `room` of each. Returns (seen, busy, blocked, broken): how many outboxes it came to;
    which of these have more to send now, became blocked in this call, are broken, with errno.
    """
