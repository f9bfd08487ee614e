"""Types of `attrs.pyx`; an *attribute dict* holds the keys named at `AttrTable.describe`."""

from collections.abc import Callable
from typing import Any, Self, final

@final
class AttrTable:
    """Every attribute set in use, each once; handles are integers, 0 is none.

    `metric_of` maps a next hop in text to its IGP metric (0 to 4,294,967,294), or None for
    unreachable; without it every next hop is reachable at metric 0. `seed` makes the hash
    repeatable and is for tests only.
    """

    def __new__(
        cls, metric_of: Callable[[str], int | None] | None = None, *, seed: int | None = None
    ) -> Self: ...
    def describe(self, h: int) -> dict[str, Any]:
        """Return set `h` as an attribute dict; an absent attribute is an absent key.

        Keys: origin, as_path, next_hop, link_local, med, local_pref, atomic_aggregate, aggregator,
        communities, ext_communities, large_communities, originator_id, cluster_list, otc, aigp,
        unknown. KeyError for a handle not in use.
        """

    def wire_bytes(self, h: int) -> bytes:
        """Return the canonical block of set `h`; KeyError for a handle not in use."""

    def summary(self, h: int) -> dict[str, int]:
        """Return what decisions read of set `h`, see attrset_t; KeyError likewise."""

    def refs(self, h: int) -> int:
        """Return the number of owners of set `h`; KeyError likewise."""

    def drop(self, h: int) -> None:
        """Give back one reference to set `h`; the last one frees it. KeyError likewise."""

    def raw_of(self, h: int) -> int:
        """Return the set as received that import made set `h` of, else `h`; KeyError likewise."""

    def intern_attrs(self, attrs: dict[str, Any], family: int, raw: int = 0) -> int:
        """Return a new reference to the set of an attribute dict for routes of `family`.

        origin, as_path and next_hop must be there. `raw` is the set as received that import has
        made it of, 0 where it is one itself. ValueError names the key that is missing, unknown or
        cannot be encoded.
        """

    def stats(self) -> dict[str, int]:
        """Return counters.

        sets, next_hops, next_hops_unreachable, next_hop_refs and wire_bytes (octets) count what is
        in use; bytes is the memory of the table with its indices; hits counts lookups answered
        without parsing, misses the blocks that were parsed.
        """

    def nexthops(self) -> list[tuple[str, int, int]]:
        """Return (next hop, metric, sets that use it); metric 4,294,967,295 is unreachable."""

    def hops_from(self, pos: int, n: int) -> tuple[int, list[tuple[int, str, int, int]]]:
        """Return the next hops in use among `n` handles from `pos`, beginning with 1.

        First where to go on, 0 at the end; then (handle, next hop, metric, sets that use it).
        """

    def use_metrics(self, metric_of: Callable[[str], int | None] | None) -> None:
        """Use `metric_of` for next hops from now on; resolve_step() does so for known ones."""

    def resolve_step(self, pos: int, n: int) -> tuple[int, list[int]]:
        """Ask again for the metrics of `n` next hops from handle `pos`, beginning with 1.

        Returns where to go on, 0 at the end, and the handles of next hops whose metric changed. The
        caller has prefixes that use these ranked again: walks.mark_hops.
        """

    def set_metrics(self, metric_of: Callable[[str], int | None] | None) -> int:
        """Use `metric_of` from now on, for known next hops too; return how many changed."""
