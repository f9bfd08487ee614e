"""What an attribute set says about members. See control.pyx for how it works."""

from collections.abc import Iterable
from typing import Self, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.commrules import CommunityRules
from rs._fastpath.sets import MemberSets

@final
class Control:
    """Compiles attribute sets: members they may reach, loops, next hops that cannot be used."""

    def __new__(
        cls,
        attrs: AttrTable,
        sets: MemberSets,
        local_asn: int,
        router_id: int,
        cluster_id: int,
        rules: CommunityRules | None = None,
        as_loop: bool = True,
    ) -> Self: ...
    @property
    def local_asn(self) -> int:
        """Our AS number."""
    @property
    def rules(self) -> CommunityRules | None:
        """None: communities are somebody else's business."""
    @property
    def always(self) -> int:
        """T_* of everything that is exported."""
    @property
    def some_stale(self) -> bool:
        """A set with LLGR_STALE has been compiled (RFC 9494)."""
    as_loop: bool
    """Members whose AS is in AS_PATH are not reached."""
    def use_identity(self, local_asn: int, router_id: int, cluster_id: int) -> None:
        """Be another speaker. Sets must be recompiled."""
    def set_clusters(self, ids: list[int]) -> None:
        """Be the reflector of these clusters, so that one of them in CLUSTER_LIST is a loop.

        RFC 4456 8. Sets must be recompiled.
        """
    def use_rules(self, rules: CommunityRules | None) -> None:
        """Act on other communities, None for none. Sets must be recompiled with their forms."""
    def shut_down_gracefully(self, yes: bool) -> None:
        """Add GRACEFUL_SHUTDOWN to everything that is announced, or stop doing so (RFC 8326 4.2).

        What has been announced must be evaluated again.
        """
    def set_black_holes(
        self, family: int, on: bool, next_hop: str | None = None, no_export: bool = False
    ) -> None:
        """Say what becomes of black holes of a family (RFC 7999). Sets must be recompiled.

        Nothing special, or they go to those who accept them, with another next hop if wanted.
        """
    def set_peers(
        self,
        slots_by_asn: dict[int, list[int]],
        own_addresses: Iterable[str] = (),
        *,
        mapped: dict[int, int] | None = None,
        rtt: dict[int, int] | None = None,
        thresholds: Iterable[int] = (),
        no_black_holes: Iterable[int] = (),
    ) -> None:
        """Replace the directory of peers: AS number -> list of slots. Sets must be recompiled.

        `own_addresses` are this router's, as text: a next hop among them cannot be used. `mapped`
        are 16-bit numbers that stand for AS numbers; `rtt` round-trip times in ms by slot, of which
        communities may name `thresholds`; `no_black_holes` the slots that accept none.
        ValueError for a slot that the member sets have no room for.
        """
    def members_of(self, attrs_h: int, n_slots: int) -> list[int]:
        """Return the slots below `n_slots` that a set's communities and AS_PATH leave."""
    def parts_of_set(self, attrs_h: int, n_slots: int) -> list[tuple[list[int], int]]:
        """Return [(slots, transform)]: members that get other attributes than the rest, T_*."""
