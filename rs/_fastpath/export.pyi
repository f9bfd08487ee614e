"""From dirty prefixes to messages. See export.pyx for how it works."""

from typing import Self, final

from rs._fastpath.adjout import AdjOut
from rs._fastpath.group import Group
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib

@final
class View:
    """One Adj-RIB-Out and the groups that are sent it, each in its own encoding."""

    def __new__(cls, adj: AdjOut) -> Self: ...
    @property
    def adj(self) -> AdjOut:
        """What its members have been sent."""
    @property
    def groups(self) -> list[Group]:
        """Its members, by what their messages look like."""

@final
class Exporter:
    """Evaluates dirty prefixes for every view, in slices."""

    def __new__(cls, rib: Rib, rewriter: Rewriter) -> Self: ...
    @property
    def rib(self) -> Rib:
        """Where dirty prefixes come from."""
    @property
    def rewriter(self) -> Rewriter:
        """Exported forms of attribute sets, for all views."""
    @property
    def views(self) -> list[list[View]]:
        """By family: list of View."""
    @property
    def faults(self) -> int:
        """Prefixes whose evaluation raised: always 0, or a bug."""
    @property
    def last_fault(self) -> str | None:
        """The last of them in words."""
    @property
    def evaluated(self) -> int:
        """Prefixes evaluated, once for each time."""
    def step(self, n: int) -> int:
        """Evaluate up to `n` dirty prefixes and log what follows; return how many there were.

        The caller keeps `n` so small that a call stays within its slice: a thousand prefixes take
        about 0.2 ms.
        """
    def walk(self, n: int, now: float = 0.0) -> int:
        """Encode up to `n` prefixes for each group with joiners; return how many were seen.

        `now` (seconds) tells members who are slow from those who read nothing at all.
        """
    def enforce(self) -> None:
        """Keep every log within its bound."""
    def ready(self, now: float) -> bool:
        """Whether more should be encoded now: at least half of the members keep up.

        Those who read nothing are not counted; `now` is in seconds.
        """
    def hold(self) -> None:
        """Evaluate what is queued now, and no more until this or release() is called again."""
    def release(self) -> None:
        """Evaluate whatever is queued."""
    def changes(self) -> tuple[int, int, int]:
        """Return the changes of paths so far, and how many of them were further paths.

        That is, they brought a prefix that somebody else had brought before; the third number are
        those of them that came after the prefix had been evaluated.
        """
    def dirty(self) -> int:
        """Return the number of prefixes waiting to be evaluated."""
    def walking(self) -> bool:
        """Whether any member waits for the end of a walk."""
