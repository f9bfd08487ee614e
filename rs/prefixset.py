"""Tables keyed by prefix whose values are Python objects and whose look-ups are rare.

In: canonical prefixes as text. Out: the value of the longest prefix that covers an address. Used
when a session is accepted (`NeighborIndex`) or a next hop is seen for the first time
(`NextHopMetrics`), never per route: a look-up costs about a microsecond, the RIB's own trie is in
the fast path. PyTricia keeps one tree per IP version and reads an address of the other version as
if it were of its own, so every key is sent to its tree here.

RFC 4271 9.1.2.1 (next hop resolvability).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytricia

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rs.config import Neighbor

V = TypeVar("V")


class PrefixTable(Generic[V]):
    """A map from prefixes of both IP versions to values, with longest match."""

    def __init__(self) -> None:
        # The address family argument is only for raw output, which is not used.
        self._ipv4: Any = pytricia.PyTricia(32)
        self._ipv6: Any = pytricia.PyTricia(128)

    def _tree(self, key: str) -> Any:
        return self._ipv6 if ":" in key else self._ipv4

    def __len__(self) -> int:
        return len(self._ipv4) + len(self._ipv6)

    def __iter__(self) -> Iterator[str]:
        yield from self._ipv4.keys()
        yield from self._ipv6.keys()

    def add(self, prefix: str, value: V) -> None:
        """Put a value under a prefix, in the place of one that is there."""
        self._tree(prefix)[prefix] = value

    def get(self, prefix: str) -> V | None:
        """Return the value under exactly this prefix, or None."""
        tree = self._tree(prefix)
        if not tree.has_key(prefix):
            return None
        found: V = tree[prefix]
        return found

    def remove(self, prefix: str) -> None:
        """Take a prefix out; KeyError if it is not there."""
        del self._tree(prefix)[prefix]

    def match(self, address: str) -> str | None:
        """Return the longest prefix that covers an address, or None."""
        found: str | None = self._tree(address).get_key(address)
        return found

    def find(self, address: str) -> V | None:
        """Return the value of the longest prefix that covers an address, or None."""
        found: V | None = self._tree(address).get(address)
        return found

    def parent(self, prefix: str) -> str | None:
        """Return the longest prefix in the table that covers `prefix`, which is in it too."""
        found: str | None = self._tree(prefix).parent(prefix)
        return found


class NeighborIndex:
    """Who an address belongs to: the neighbor of that address, else the longest range."""

    def __init__(self, neighbors: Iterable[Neighbor]) -> None:
        self._exact: dict[str, Neighbor] = {}
        self._ranges: PrefixTable[Neighbor] = PrefixTable()
        for neighbor in neighbors:
            if neighbor.address is not None:
                self._exact[neighbor.address] = neighbor
            elif neighbor.range is not None:
                self._ranges.add(neighbor.range, neighbor)

    def find(self, address: str) -> Neighbor | None:
        """Return the neighbor for an address in canonical text, or None for a stranger."""
        return self._exact.get(address) or self._ranges.find(address)


class NextHopMetrics:
    """Static metrics to next hops: those of [[igp]], or of a group of [[orr]].

    Without a table every next hop is at metric 0.
    """

    def __init__(self, metrics: Mapping[str, int] | None) -> None:
        self._table: PrefixTable[int] | None = None
        if metrics is not None:
            self._table = PrefixTable()
            for prefix, metric in metrics.items():
                self._table.add(prefix, metric)

    def find(self, next_hop: str) -> int | None:
        """Return the metric to a next hop in canonical text, None when it is unreachable."""
        return 0 if self._table is None else self._table.find(next_hop)

    def match(self, next_hop: str) -> str | None:
        """Return the prefix that the metric to a next hop is for, None where there is none."""
        return None if self._table is None else self._table.match(next_hop)
