"""Optimal route reflection (RFC 9107). See orr.pyx for how it works."""

from collections.abc import Callable
from typing import Self, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.rib import Table

@final
class Vantage:
    """The place in the network that a group of clients is at: its own metrics to next hops.

    `metric_of` maps a next hop in text to its metric from there, None for unreachable; it is asked
    once for each next hop.
    """

    def __new__(cls, attrs: AttrTable, metric_of: Callable[[str], int | None]) -> Self: ...
    @property
    def attrs(self) -> AttrTable:
        """The table whose next hops it has metrics of."""
    @property
    def ranked(self) -> int:
        """Prefixes ranked from here so far."""
    def ranking_of(self, table: Table, h: int) -> list[tuple[int, int, int, int]]:
        """Return the paths of a prefix as seen from here, best first.

        Each is (slot, path id, attribute handle, metric).
        """
    def metrics(self) -> dict[str, int]:
        """Return the metrics of next hops in use that have been asked for.

        4,294,967,295 is unreachable.
        """
    def use_metrics(self, metric_of: Callable[[str], int | None]) -> None:
        """Ask `metric_of` from now on; resolve_step() does so for next hops that are known."""
    def resolve_step(self, pos: int, n: int) -> tuple[int, list[int]]:
        """Ask again for `n` next hops from handle `pos`, beginning with 1.

        Returns where to go on, 0 at the end, and the handles of next hops whose metric changed.
        """
