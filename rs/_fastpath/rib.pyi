"""Adj-RIB-In and Loc-RIB. See rib.pyx for how it works."""

from typing import Self, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.memo import Memo
from rs._fastpath.peers import Peers
from rs._fastpath.sets import MemberSets
from rs._fastpath.trie import Trie

@final
class Table:
    """Paths of one family: Adj-RIB-In of all peers and, by rank, the Loc-RIB."""

    def __new__(cls, rib: Rib, family: int) -> Self: ...
    @property
    def family(self) -> int:
        """Family, 0 or 1."""
    @property
    def trie(self) -> Trie:
        """Its prefixes and their handles."""
    @property
    def drained(self) -> int:
        """Prefixes ever taken from the queue."""
    @property
    def usable(self) -> int:
        """Prefixes with a path in use."""
    @property
    def changes(self) -> int:
        """Updates and withdrawals that changed something."""
    @property
    def refused(self) -> int:
        """Paths not entered, beyond a peer's limit for one prefix."""
    def stats(self) -> dict[str, int]:
        """Return counts and octets: prefixes, paths, usable prefixes, queue, memory."""
    def queued(self) -> int:
        """Return what `drained` will be when all that is dirty now has been evaluated."""
    def handle(self, addr: bytes, plen: int) -> int:
        """Return the handle of exactly this prefix, or 0."""
    def paths_of(self, h: int) -> list[tuple[int, int, int, int, int, int]]:
        """Return the paths of a prefix, best first; ranks the prefix if it has changed.

        A path is (slot, path id, attribute handle, flags, reason, ticks).
        """
    def set_path(
        self, addr: bytes, plen: int, slot: int, attrs_h: int, path_id: int = 0, ticks: int = 0
    ) -> None:
        """Enter a path as import would: checked, and kept with its reason if rejected."""
    def drop_path(self, addr: bytes, plen: int, slot: int, path_id: int = 0) -> bool:
        """Withdraw a path; return whether it was there."""

@final
class Rib(Peers):
    """Both tables, the peers they come from, and what they share."""

    def __new__(cls, attrs: AttrTable, sets: MemberSets, control: Control) -> Self: ...
    @property
    def attrs(self) -> AttrTable:
        """Every attribute set in use."""
    @property
    def tables(self) -> list[Table]:
        """Table by family."""
    @property
    def memo(self) -> Memo:
        """What policies know of attribute sets."""
    state_matters: bool
    """What the import filter finds out decides what is exported."""
    ticks: int
    """Now, 1/16 s since start; set before bytes are fed."""
    def set_options(
        self,
        *,
        med_always: bool = False,
        med_deterministic: bool = True,
        prefer_oldest: bool = True,
    ) -> None:
        """Set what the decision process may vary in; the caller re-ranks what is there."""
    def check_attrs(self, slot: int, attrs_h: int) -> int:
        """Return the RejectReason that import would give a path of this peer, 0 for none."""
