"""Adj-RIB-In and Loc-RIB. See rib.pyx for how it works."""

from typing import Self, final

from rs._fastpath.asnset import AsnSet
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.filter import Filter
from rs._fastpath.memo import Memo
from rs._fastpath.sets import MemberSets
from rs._fastpath.terms import Terms
from rs._fastpath.trie import Trie

@final
class Table:
    """Paths of one family: Adj-RIB-In of all peers and, by rank, the Loc-RIB."""

    def __new__(cls, rib: Rib, family: int) -> Self: ...
    @property
    def family(self) -> int: ...
    @property
    def trie(self) -> Trie: ...
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
    def purge_step(self, slots: list[int], pos: int, n: int, only_stale: bool = False) -> int:
        """Remove the paths of these slots from `n` prefixes from handle `pos`, which begins at 1.

        Returns where to go on, 0 at the end. A table without prefixes returns 0.
        """
    def settle_step(self, slot: int, keep: bool, pos: int, n: int) -> int:
        """Leave no path of a peer stale in `n` prefixes from handle `pos`, which begins at 1.

        Keeps them as if heard again, or removes them. Returns where to go on, 0 when there are
        none any more.
        """
    def long_lived_step(self, slot: int, pos: int, n: int) -> int:
        """Make a peer's stale paths the last choice in `n` prefixes from handle `pos` (RFC 9494).

        LLGR_STALE is added to them, and those with NO_LLGR go. Returns where to go on, 0 at the
        end.
        """
    def recheck_step(
        self, slots: list[int], pos: int, n: int, only: bytearray | None = None
    ) -> int:
        """Check the paths of these slots again in `n` prefixes from handle `pos`.

        With `only` those received with an attribute set whose bit is set, see Rib.find_ases.
        Nobody has to send anything again (RFC 9324). Returns where to go on, 0 at the end.
        """
    def recheck_below(
        self, addr: bytes, plen: int, after: tuple[bytes, int] | None = None
    ) -> tuple[bytes, int] | None:
        """Check the paths of all peers again in up to 256 prefixes at or below a prefix.

        Begins after the key `after`. Returns the key to go on after, None at the end.
        """
    def mark_hops(self, hops: bytes, pos: int, n: int, rank: bool = True) -> int:
        """Queue those of `n` prefixes from handle `pos` that have a path with a wanted next hop.

        They are ranked again, or with `rank` False evaluated alone. `hops` has an octet for each
        next-hop handle, not 0 for those that are meant. Returns where to go on, 0 at the end.
        """

    def count_hops(self, counts: bytearray, pos: int, n: int) -> int:
        """Add up the paths that are not rejected by next hop, over `n` prefixes from handle `pos`.

        `counts` has a uint32 of the machine's for each next-hop handle. Returns where to go on, 0
        at the end.
        """

    def mark_all(self, pos: int, n: int, rank: bool = True) -> int:
        """Queue `n` prefixes from handle `pos` for evaluation; return where to go on or 0."""

@final
class Rib:
    """Both tables, the peers they come from, and what they share."""

    def __new__(cls, attrs: AttrTable, sets: MemberSets, control: Control) -> Self: ...
    @property
    def attrs(self) -> AttrTable: ...
    @property
    def sets(self) -> MemberSets: ...
    @property
    def control(self) -> Control: ...
    @property
    def tables(self) -> list[Table]:
        """Table by family."""
    @property
    def n_slots(self) -> int:
        """Slots allocated; peers[n_slots - 1] is the last."""
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
    def add_peer(
        self,
        slot: int,
        asn: int,
        address: str,
        kind: int,
        *,
        first_as: bool = True,
        reject_as_set: bool = True,
        allow_own_as: int = 0,
    ) -> None:
        """Describe the peer in a slot (1 to 65,535); the table of slots grows as needed."""
    def set_checks(
        self, slot: int, *, first_as: bool, reject_as_set: bool, allow_own_as: int
    ) -> None:
        """Change what import checks of a peer; the caller has its paths checked again."""
    def set_closed(self, slot: int, closed: bool) -> None:
        """Accept nothing of a peer (RFC 8212); the caller has its paths checked again."""
    def find_ases(self, asns: AsnSet, found: bytearray, pos: int, n: int) -> int:
        """Set the bits of attribute sets whose AS_PATH holds one of these AS numbers.

        `n` sets from handle `pos`; bit h of `found` is that of handle h. Returns where to go on.
        """
    def set_role(self, slot: int, role: int) -> None:
        """Say what we are to a peer (RFC 9234), ROLE_*: before its session."""
    def set_long_lived(self, slot: int, *, said: bool, heard: bool) -> bool:
        """Note who knows long-lived graceful restart in a peer's session: we said so, the peer has.

        Returns whether long-lived stale paths go to others than before; the caller has them
        evaluated again.
        """
    def set_cluster(self, slot: int, cluster_id: int) -> None:
        """Put a reflector's client into a cluster (RFC 4456 7), before it has any paths."""
    def set_path_limit(self, slot: int, family: int, limit: int) -> None:
        """Enter at most so many paths of a peer for one prefix (RFC 7911).

        0 stands for 1,024, which is the most there can be. Paths that are there already stay.
        """
    def set_policy(self, slot: int, terms: Terms | None) -> None:
        """Use an import policy for a peer's paths from now on; None for none. As set_filter."""
    def policy(self, slot: int) -> Terms | None:
        """Return the import policy of a slot, or None."""
    def set_filter(self, slot: int, f: Filter | None) -> bool:
        """Use a filter for a peer's paths from now on; None for none.

        What is there the caller has checked again (Table.recheck_step). Returns whether accepted
        paths rank or are told of differently, so that all must be evaluated again.
        """
    def set_limit(
        self, slot: int, family: int, limit: int, accepted: bool = False, tagged: bool = False
    ) -> None:
        """Keep a peer's further paths rejected once it has `limit`, 0 for any number.

        Counted are accepted paths, with `tagged` also those that a rule refuses, or all.
        """
    def filtered_count(self, slot: int, family: int) -> int:
        """Return how many paths of a peer a rule of the operator's refuses."""
    def filter_of(self, slot: int) -> Filter | None:
        """Return the filter of a slot, or None."""
    def change_peer(self, slot: int, asn: int, kind: int) -> None:
        """Give a slot's peer another AS number and kind: those of its new session."""
    def start_refresh(self, slot: int, family: int) -> bool:
        """Begin a refresh as a BoRR does (RFC 7313 4); return whether it has begun.

        False: stale paths must be settled first, or a BoRR counts for nothing now.
        """
    def end_refresh(self, slot: int, family: int) -> bool:
        """EoRR: return whether stale paths may be left, for Table.purge_step to remove."""
    def refresh_ended(self, slot: int, family: int) -> bool:
        """Whether stale paths of an ended refresh or restart are still to be removed."""
    def under_refresh(self, slot: int, family: int) -> bool:
        """Whether a BoRR has come, and its EoRR not yet."""
    def refreshed(self, slot: int, family: int) -> None:
        """Take note that the stale paths of a refresh have gone, or its session has."""
    def lost(self, slot: int, family: int) -> None:
        """Count a peer's paths as stale: its session is gone and they stay (RFC 4724 4.2).

        ValueError if some are stale already: settle them first.
        """
    def give_up(self, slot: int, family: int) -> None:
        """Wait no longer for stale paths of a lost session; the caller removes them."""
    def stale(self, slot: int, family: int) -> int:
        """Return how many paths of a peer are stale."""
    def is_stale(self, slot: int, family: int, flags: int) -> bool:
        """Whether a path with these flags has not been heard since its session was lost.

        Or since a refresh began.
        """
    def remove_peer(self, slot: int) -> None:
        """Free a slot; its paths must have gone. ValueError if not."""
    def set_router_id(self, slot: int, router_id: str) -> None:
        """Note the BGP Identifier of a peer's new session, for the decision process."""
    def peer_counts(self, slot: int, family: int) -> tuple[int, int, int]:
        """Return (received, accepted, rejected) paths of a peer."""
    def refused_paths(self, slot: int, family: int) -> int:
        """Return how many paths of a peer were not entered, beyond its limit for one prefix."""
    def reject_counts(self, slot: int) -> dict[int, int]:
        """Return {RejectReason: paths} of a peer, over both families."""
    def check_attrs(self, slot: int, attrs_h: int) -> int:
        """Return the RejectReason that import would give a path of this peer, 0 for none."""
    def recompile(self, pos: int, n: int, forms: bool = False) -> tuple[int, bool]:
        """Compile `n` attribute sets anew from handle `pos`, because the peers have changed.

        With `forms` what communities mean has changed too: exported forms made so far are given up.
        Returns (where to go on or 0, whether any set says something else about members).
        """
