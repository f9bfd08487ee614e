"""The import filter of one neighbor. See filter.pyx for the order of its rules."""

from collections.abc import Iterable, Sequence
from typing import Self, final

from rs._fastpath.asnset import AsnSet
from rs._fastpath.aspa import AspaTable
from rs._fastpath.attrs import AttrTable
from rs._fastpath.pfxset import PrefixSet
from rs._fastpath.roa import RoaTable

@final
class Filter:
    """One neighbor's import filter; large sets are shared with others."""

    max_path_len: int
    max_communities: int
    bogon_asns: AsnSet | None
    transit_free: AsnSet | None
    warn_transit: bool
    """Transit-free networks are only counted."""
    never_via: AsnSet | None
    global_unicast_only: bool
    black_list: PrefixSet | None
    neighbor_black_list: PrefixSet | None
    bogons: PrefixSet | None
    irr_origins: AsnSet | None
    irr_prefixes: PrefixSet | None
    enforce_origin: bool
    enforce_prefix: bool
    allow_longer: bool
    roas_as_route_objects: bool
    white_origins: AsnSet | None
    white_prefixes: PrefixSet | None
    roas: RoaTable | None
    reject_invalid: bool
    graceful_shutdown: bool
    aspas: AspaTable | None
    downstream: bool
    """The neighbor is a provider."""
    from_server: bool
    """The neighbor is a route server, which need not be in AS_PATH."""
    reject_aspa_invalid: bool
    per_prefix: bool

    @property
    def black_holes(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """By family: None, or the (shortest, longest) black hole that is accepted."""
    def __new__(cls) -> Self: ...
    def set_next_hops(self, addresses: Iterable[str] | None) -> None:
        """Accept only these next hops, in text; None accepts any."""
    def set_lengths(self, family: int, low: int, high: int) -> None:
        """Accept prefixes of `low` to `high` bits in a family."""
    def set_black_holes(self, family: int, low: int, high: int) -> None:
        """Serve requests to drop traffic to prefixes of `low` to `high` bits (at least 1)."""
    def set_white_routes(self, routes: Sequence[tuple[str, int, int, int | None]]) -> None:
        """Let these escape the IRR rules: (prefix, shortest, longest, origin or None) each."""
    def take_transit(self) -> dict[int, int]:
        """Return and forget {AS number: times seen} of transit-free networks only counted."""
    def path_state(self, attrs: AttrTable, attrs_h: int, peer_asn: int) -> int | None:
        """Return the ASPA_* of a path from the neighbor, None where paths are not verified."""
    def finish(self) -> None:
        """Note whether prefixes have to be looked at; call after the last change."""
