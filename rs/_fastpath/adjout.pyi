"""What the peers of one export program have been sent. See adjout.pyx for how it works."""

from typing import Self, final

from rs._fastpath.encode import Encoder
from rs._fastpath.orr import Vantage
from rs._fastpath.rewrite import Program, Rewriter
from rs._fastpath.rib import Rib, Table
from rs._fastpath.terms import Terms

@final
class AdjOut:
    """What all peers with one export program have been sent, exact, 8 B for the common prefix."""

    def __new__(
        cls,
        rib: Rib,
        family: int,
        rewriter: Rewriter,
        program: Program,
        client_to_client: bool = True,
        addpath: bool = False,
        max_paths: int = 0,
        choice: int = 0,
        vantage: Vantage | None = None,
        policy: Terms | None = None,
    ) -> Self: ...
    @property
    def table(self) -> Table:
        """Where the paths are."""
    @property
    def program(self) -> Program:
        """What forms of attribute sets its members get."""
    @property
    def policy(self) -> Terms | None:
        """What an export policy says of each path."""
    client_to_client: bool
    """RFC 4456: a client gets the routes of other clients of its cluster."""
    @property
    def vantage(self) -> Vantage | None:
        """RFC 9107: what ranks for these members; None for the RIB's own ranking."""
    @property
    def addpath(self) -> bool:
        """RFC 7911: a member may have several paths of a prefix."""
    @property
    def choice(self) -> int:
        """Which ones: a `PathChoice`."""
    @property
    def max_paths(self) -> int:
        """Of these at most so many, 0 = all."""
    @property
    def encoders(self) -> list[Encoder]:
        """Of the groups with members: what their messages can hold."""
    @property
    def prefixes(self) -> int:
        """Prefixes that somebody has."""
    def sent(self, h: int) -> list[tuple[int, int]]:
        """Return [(attribute handle, member set handle)] of a prefix, as sent last."""
    def sent_to(self, h: int, slot: int) -> int:
        """Return the attribute handle that a member has for a prefix, 0 for none."""
    def sent_paths(self, h: int, slot: int) -> list[tuple[int, int]]:
        """Return [(path identifier, attribute handle)] that a member has for a prefix."""
    def advertised(self, slot: int) -> int:
        """Return the number of prefixes that a member has: a walk over sets, not over prefixes.

        With ADD-PATH it is the number of paths.
        """
    def release_step(self, pos: int, n: int) -> int:
        """Forget what `n` prefixes from handle `pos` were sent with, once all members have left.

        Returns where to go on, 0 at the end; start with 1.
        """
    def stats(self) -> dict[str, int]:
        """Return prefixes with anybody, and octets."""
