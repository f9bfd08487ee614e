"""RPKI data as the import filter asks for it. See roa.pyx for how it works."""

from collections.abc import Iterable
from typing import Self, final

from rs._fastpath.vrplist import VrpList, _Vrp

STAGE_OK: int
STAGE_DUPLICATE: int
"""Announced, and the source says it already."""
STAGE_UNKNOWN: int
"""Withdrawn, and the source does not say it."""
STAGE_CORRUPT: int
"""What no source may send: lengths that cannot be, a withdrawal in a reset, customer AS 0."""
STAGE_LIMIT: int
"""More than the source may hold."""

STATES: tuple[str, str, str]
"""Words for ROA_*: "not-found", "valid", "invalid"."""

@final
class RoaFamily:
    """The VRPs of one family; a part of RoaTable."""

    vrps: int
    """VRPs in use."""

    def __new__(cls, width: int) -> Self: ...

@final
class RoaTable:
    """VRPs of both families with the sources that say them (RFC 6811, RFC 8210 10).

    A VRP is in use as long as a source says it. Sources are numbers below 16.
    """

    def validate(self, prefix: str, origin_as: int) -> str:
        """Return a word of STATES (RFC 6811 2); origin_as 0 for a path that ends in an AS_SET.

        ValueError if `prefix` is none.
        """

    def covering(self, prefix: str) -> list[tuple[str, int, int, tuple[str, ...]]]:
        """Return the VRPs that cover a prefix, longest first: (prefix, max length, AS, sources)."""

    def snapshot(self) -> list[_Vrp]:
        """Return all VRPs in use, in the order of addresses.

        It holds the loop, 1 us a VRP: for tests and small tables.
        """

    def stats(self) -> dict[str, int | dict[str, int]]:
        """Return counts, octets in use and the VRPs of every source."""

    def add_source(self, name: str) -> int:
        """Return the number of a new source; ValueError when all 16 are in use."""

    def remove_source(self, source: int) -> None:
        """Give back the number of a source; ValueError if it still holds VRPs."""

    def held(self, source: int) -> int:
        """Return how many VRPs a source says."""

    def begin(self, source: int, reset: bool, limit: int = 0x7FFFFFFF) -> None:
        """Open a transaction: a reset says everything anew, a delta what changed.

        One per source at a time, ValueError otherwise. `limit` bounds the VRPs of the source.
        """

    def stage(
        self,
        source: int,
        vrps: VrpList,
        start: int = 0,
        n: int | None = None,
        announce: bool = True,
    ) -> int:
        """Stage a stretch of a batch; returns where the next one starts.

        What is there already, or not there to be withdrawn, is passed over. ValueError beyond the
        limit.
        """

    def stage_pdus(self, source: int, data: bytes, pos: int, version: int) -> tuple[int, int]:
        """Stage the RTR Prefix PDUs that stand at `pos`, one after the other.

        Returns (position after the last one taken, STAGE_*). STAGE_OK is no verdict on what stands
        there: another PDU, a part of one, one of another version or with a wrong length. Any other
        code is about the PDU at that position (RFC 8210 5.6, 5.7, 12).
        """

    def commit(self, source: int, report: bool = True) -> tuple[int, int]:
        """Put a transaction into use in one go; returns how many VRPs are (new, gone).

        About 3 ns a VRP of the table for a reset, also if little changed. Without `report` the
        changed prefixes are not kept for `changes`: for a consumer who looks at all paths anyway.
        """

    def abort(self, source: int) -> None:
        """Forget what was staged."""

    @property
    def pending_changes(self) -> int:
        """Prefixes with changes that were committed and not yet handed out, or memory to free."""

    def changes(self, n: int = 0xFFFFFFFF) -> list[tuple[int, bytes, int]]:
        """Hand out up to `n` of them: (family, address octets, length), in order.

        Prefixes below another of the list are left out, so it may be shorter than `n`, or empty,
        with more pending. Also frees the memory of what is gone: call it until pending_changes is
        0. About 0.4 us each.
        """

    def drop_changes(self, n: int = 0xFFFFFFFF) -> None:
        """Pass over up to `n` of them, for a consumer who looks at all paths anyway."""

    def apply(
        self,
        announced: Iterable[_Vrp] | VrpList,
        withdrawn: Iterable[_Vrp] | VrpList,
        source: int = 0,
    ) -> list[tuple[int, bytes, int]]:
        """Announce and withdraw VRPs of a source in one go; returns the changed prefixes."""

    def replace(
        self, vrps: Iterable[_Vrp] | VrpList, source: int = 0
    ) -> list[tuple[int, bytes, int]]:
        """Make these the source's VRPs; returns the changed prefixes."""
