"""What concerns many prefixes or attribute sets at once, in stretches. See walks.pyx.

Every walk begins at handle 1.
"""

from rs._fastpath.asnset import AsnSet
from rs._fastpath.rib import Rib, Table

def purge_step(table: Table, slots: list[int], pos: int, n: int, only_stale: bool = False) -> int:
    """Remove the paths of these slots from `n` prefixes from handle `pos`, which begins at 1.

    Returns where to go on, 0 at the end.
    """

def settle_step(table: Table, slot: int, keep: bool, pos: int, n: int) -> int:
    """Leave no path of a peer stale in `n` prefixes from handle `pos`, which begins at 1.

    Keeps them as if heard again, or removes them. Returns where to go on, 0 when there are
    none any more.
    """

def long_lived_step(table: Table, slot: int, pos: int, n: int) -> int:
    """Make a peer's stale paths the last choice in `n` prefixes from handle `pos` (RFC 9494).

    LLGR_STALE is added to them, and those with NO_LLGR go. Returns where to go on, 0 at the
    end.
    """

def recheck_step(
    table: Table, slots: list[int], pos: int, n: int, only: bytearray | None = None
) -> int:
    """Check the paths of these slots again in `n` prefixes from handle `pos`.

    With `only` those received with an attribute set whose bit is set, see find_ases.
    Nobody has to send anything again (RFC 9324). Returns where to go on, 0 at the end.
    """

def recheck_below(
    table: Table, addr: bytes, plen: int, after: tuple[bytes, int] | None = None
) -> tuple[bytes, int] | None:
    """Check the paths of all peers again in up to 256 prefixes at or below a prefix.

    Begins after the key `after`. Returns the key to go on after, None at the end.
    """

def mark_all(table: Table, pos: int, n: int, rank: bool = True) -> int:
    """Queue `n` prefixes from handle `pos` for evaluation; return where to go on or 0."""

def mark_hops(table: Table, hops: bytes, pos: int, n: int, rank: bool = True) -> int:
    """Queue those of `n` prefixes from handle `pos` that have a path with a wanted next hop.

    They are ranked again, or with `rank` False evaluated alone. `hops` has an octet for each
    next-hop handle, not 0 for those that are meant. Returns where to go on, 0 at the end.
    """

def count_hops(table: Table, counts: bytearray, pos: int, n: int) -> int:
    """Add up the paths that are not rejected by next hop, over `n` prefixes from handle `pos`.

    `counts` has a uint32 of the machine's for each next-hop handle. Returns where to go on, 0
    at the end.
    """

def find_ases(rib: Rib, asns: AsnSet, found: bytearray, pos: int, n: int) -> int:
    """Set the bits of attribute sets whose AS_PATH holds one of these AS numbers.

    `n` sets from handle `pos`; bit h of `found` is that of handle h. Returns where to go on.
    """

def recompile(rib: Rib, pos: int, n: int, forms: bool = False) -> tuple[int, bool]:
    """Compile `n` attribute sets anew from handle `pos`, because the peers have changed.

    With `forms` what communities mean has changed too: exported forms made so far are given up.
    Returns (where to go on or 0, whether any set says something else about members).
    """
