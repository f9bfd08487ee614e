"""The peers as the RIB knows them, by slot. See peers.pyx for how it works."""

from typing import Self

from typing_extensions import disjoint_base

from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.filter import Filter
from rs._fastpath.sets import MemberSets
from rs._fastpath.terms import Terms

@disjoint_base
class Peers:
    """What is known of each peer; the Rib is one, with the paths."""

    def __new__(cls, attrs: AttrTable, sets: MemberSets, control: Control) -> Self: ...
    @property
    def sets(self) -> MemberSets:
        """Member sets, over as many slots as there are."""
    @property
    def control(self) -> Control:
        """What attribute sets say about members."""
    @property
    def n_slots(self) -> int:
        """Slots allocated; peers[n_slots - 1] is the last."""
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
    def change_peer(self, slot: int, asn: int, kind: int) -> None:
        """Give a slot's peer another AS number and kind: those of its new session."""
    def set_router_id(self, slot: int, router_id: str) -> None:
        """Note the BGP Identifier of a peer's new session, for the decision process."""
    def set_cluster(self, slot: int, cluster_id: int) -> None:
        """Put a reflector's client into a cluster (RFC 4456 7), before it has any paths."""
    def set_role(self, slot: int, role: int) -> None:
        """Say what we are to a peer (RFC 9234), ROLE_*: before its session."""
    def remove_peer(self, slot: int) -> None:
        """Free a slot; its paths must have gone. ValueError if not."""
    def set_checks(
        self, slot: int, *, first_as: bool, reject_as_set: bool, allow_own_as: int
    ) -> None:
        """Change what import checks of a peer; the caller has its paths checked again."""
    def set_closed(self, slot: int, closed: bool) -> None:
        """Accept nothing of a peer (RFC 8212); the caller has its paths checked again."""
    def set_filter(self, slot: int, f: Filter | None) -> bool:
        """Use a filter for a peer's paths from now on; None for none.

        What is there the caller has checked again (walks.recheck_step). Returns whether accepted
        paths rank or are told of differently, so that all must be evaluated again.
        """
    def filter_of(self, slot: int) -> Filter | None:
        """Return the filter of a slot, or None."""
    def set_policy(self, slot: int, terms: Terms | None) -> None:
        """Use an import policy for a peer's paths from now on; None for none. As set_filter."""
    def policy(self, slot: int) -> Terms | None:
        """Return the import policy of a slot, or None."""
    def set_path_limit(self, slot: int, family: int, limit: int) -> None:
        """Enter at most so many paths of a peer for one prefix (RFC 7911).

        0 stands for 1,024, which is the most there can be. Paths that are there already stay.
        """
    def set_limit(
        self, slot: int, family: int, limit: int, accepted: bool = False, tagged: bool = False
    ) -> None:
        """Keep a peer's further paths rejected once it has `limit`, 0 for any number.

        Counted are accepted paths, with `tagged` also those that a rule refuses, or all.
        """
    def peer_counts(self, slot: int, family: int) -> tuple[int, int, int]:
        """Return (received, accepted, rejected) paths of a peer."""
    def refused_paths(self, slot: int, family: int) -> int:
        """Return how many paths of a peer were not entered, beyond its limit for one prefix."""
    def reject_counts(self, slot: int) -> dict[int, int]:
        """Return {RejectReason: paths} of a peer, over both families."""
    def filtered_count(self, slot: int, family: int) -> int:
        """Return how many paths of a peer a rule of the operator's refuses."""
    def start_refresh(self, slot: int, family: int) -> bool:
        """Begin a refresh as a BoRR does (RFC 7313 4); return whether it has begun.

        False: stale paths must be settled first, or a BoRR counts for nothing now.
        """
    def end_refresh(self, slot: int, family: int) -> bool:
        """EoRR: return whether stale paths may be left, for walks.purge_step to remove."""
    def under_refresh(self, slot: int, family: int) -> bool:
        """Whether a BoRR has come, and its EoRR not yet."""
    def refresh_ended(self, slot: int, family: int) -> bool:
        """Whether stale paths of an ended refresh or restart are still to be removed."""
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
    def set_long_lived(self, slot: int, *, said: bool, heard: bool, partial: bool = False) -> bool:
        """Note who knows long-lived graceful restart in a peer's session: we said so, the peer has.

        `partial`: an internal peer that has not is sent such paths all the same (RFC 9494 4.6).
        Returns whether long-lived stale paths go to others than before, or otherwise; the caller
        has them evaluated again.
        """
