"""Groups of peers that are sent the same bytes. See group.pyx for how it works."""

from typing import Self, final

from rs._fastpath.adjout import AdjOut
from rs._fastpath.encode import Encoder
from rs._fastpath.log import Log
from rs._fastpath.rib import Table

@final
class Member:
    """One peer's place in one group: cursors, never a table or a queue of its own."""

    def __new__(cls, group: Group, slot: int) -> Self: ...
    @property
    def group(self) -> Group:
        """Where its messages come from."""
    @property
    def slot(self) -> int:
        """The peer's slot."""
    @property
    def state(self) -> int:
        """MEMBER_*."""
    borr: bool
    """Enhanced refresh: EoRR is due at the end of the walk."""
    @property
    def resyncs(self) -> int:
        """Times it fell behind."""
    @property
    def messages_sent(self) -> int:
        """UPDATEs that have gone out whole; not those of an outbox, as an End-of-RIB."""
    def refresh(self) -> bool:
        """Send the table again, before anything newer: ROUTE-REFRESH (RFC 2918)."""
    def leave(self) -> None:
        """Give up the place in the group; the member is of no use afterwards."""
    def lag(self) -> int:
        """Return octets of the log not read yet, those for others included."""
    def progress(self, h: int) -> tuple[bool, int]:
        """Return whether the present state of a prefix has yet to be encoded for this member.

        And the octets that it has not read of what is, those for others included.
        """
    def take(self, room: int = ...) -> bytes:
        """Return the next bytes and move on, as a socket would: for tests and tools."""

@final
class Group:
    """Peers with equal export program and equal encoding; owns the log and the walk."""

    def __new__(cls, adj: AdjOut, encoder: Encoder) -> Self: ...
    @property
    def adj(self) -> AdjOut:
        """What the members of its view have been sent."""
    @property
    def table(self) -> Table:
        """Where the paths are."""
    @property
    def encoder(self) -> Encoder:
        """Writes messages in the form that its members understand."""
    @property
    def log(self) -> Log:
        """Changes, encoded, with whom they are for."""
    @property
    def walk(self) -> Log:
        """The table, encoded once for all who join together."""
    @property
    def members(self) -> list[Member]:
        """Who is in it now."""
    @property
    def walkers(self) -> int:
        """Members still waiting for the end of a walk."""
    @property
    def n_resync(self) -> int:
        """Members with a bitmap."""
    log_bound: int
    """Octets, LOG_BOUND."""
    def join(self, slot: int) -> Member:
        """Add a peer: it gets the table, then every change. Returns its Member."""
    def walk_ready(self, now: float) -> bool:
        """Whether the walk should go on: half of those who read it have little left to read.

        Nobody waits for a member that has read nothing for a quarter of a second; `now` is in
        seconds.
        """
    def join_all(self, slot: int, old: Member) -> Member:
        """Add a peer that has routes of ours already, by other rules. Returns its Member.

        It gets the present state of every prefix, a withdrawal where there is nothing for it. `old`
        is its place so far, of no use afterwards but for the end of a message begun.
        """
    def keeping_up(self, now: float) -> tuple[int, int]:
        """Return (members near the end of what there is to send, these and those on the way there).

        Who has fallen off the log, or reads nothing, is in neither number.
        """
    def stats(self) -> dict[str, int]:
        """Return members by state, octets held, messages encoded."""
