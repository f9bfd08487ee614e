"""What an attribute set says about members. See control.pyx for how it works."""

from collections.abc import Iterable
from typing import Self, final

from rs._fastpath.attrs import AttrTable
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
        communities: bool = True,
        as_loop: bool = True,
    ) -> Self: ...
    @property
    def local_asn(self) -> int: ...
    communities: bool
    """Act on the exclusion communities."""
    as_loop: bool
    """Members whose AS is in AS_PATH are not reached."""
    def use_identity(self, local_asn: int, router_id: int, cluster_id: int) -> None:
        """Be another speaker. Sets must be recompiled."""
    def set_clusters(self, ids: list[int]) -> None:
        """Be the reflector of these clusters, so that one of them in CLUSTER_LIST is a loop.

        RFC 4456 8. Sets must be recompiled.
        """
    def set_peers(
        self, slots_by_asn: dict[int, list[int]], own_addresses: Iterable[str] = ()
    ) -> None:
        """Replace the directory of peers: AS number -> list of slots. Sets must be recompiled.

        `own_addresses` are this router's, as text: a next hop among them cannot be used.
        """
    def members_of(self, attrs_h: int, n_slots: int) -> list[int]:
        """Return the slots below `n_slots` that a set's communities and AS_PATH leave."""
