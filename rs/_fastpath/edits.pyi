"""Changes that policies make to attribute sets. See edits.pyx for how it works."""

from collections.abc import Iterable
from typing import Self, TypeAlias, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.memo import Memo

_Pattern: TypeAlias = tuple[int, int, int, tuple[tuple[int, int], ...]]
"""Attribute type; form (EXT_*) and subtype of an extended one; lowest and highest of its parts."""

@final
class Edits:
    """All edits there are, the sequences in which they have been met, and how they are made."""

    def __new__(cls, memo: Memo, local_asn: int) -> Self: ...
    local_asn: int
    """Stands for the leftmost AS number of an empty path."""
    def define(
        self,
        *,
        origin: int | None = None,
        med: int | None = None,
        no_med: bool = False,
        local_pref: int | None = None,
        hops: tuple[str, ...] = (),
        replace: bool = False,
        remove: tuple[_Pattern, ...] = (),
        add: tuple[tuple[bytes, ...], ...] = ...,
        prepend: tuple[int, int] | None = None,
    ) -> int:
        """Return the number of an edit; the same for the same content.

        `hops` holds a next hop for each IP version at most. `replace` takes all communities out
        first. `add` holds the octets of communities by kind: standard, extended, large. `prepend`
        is an AS number, 0 for the leftmost one, and how often.
        """

    def apply(self, attrs: AttrTable, attrs_h: int, edits: Iterable[int], raw: int = 0) -> int:
        """Return a new reference to a set after these edits, 0 if that is too long.

        `raw` is the set as received that the result belongs to; KeyError for what is not there.
        """

    def stats(self) -> dict[str, int]:
        """Return how many edits, and sequences of them, there are."""
