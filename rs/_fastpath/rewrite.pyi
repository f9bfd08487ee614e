"""Exported forms of attribute sets. See rewrite.pyx for how it works."""

from typing import Self, final

from rs._fastpath.rib import Rib

@final
class Program:
    """What happens to attributes on the way to one kind of peer; equal content, equal program."""

    def __new__(
        cls,
        number: int,
        kind: int,
        local_asn: int,
        cluster_id: int = 0,
        next_hop: str | None = None,
        honor_well_known: bool = False,
        role: int = 0,
        closed: bool = False,
        prepend: bool = False,
    ) -> Self: ...
    @property
    def number(self) -> int:
        """Given by the owner; part of the key of cached forms."""
    @property
    def kind(self) -> int:
        """PROG_*."""
    @property
    def cluster_id(self) -> int:
        """Of the peers it is for, host order."""
    @property
    def honor_well_known(self) -> bool:
        """NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED are obeyed."""
    @property
    def role(self) -> int:
        """What we are to the peers (RFC 9234), ROLE_*."""

@final
class Rewriter:
    """Derives exported forms and keeps each with its source set, until that set goes."""

    def __new__(cls, rib: Rib) -> Self: ...
    def derived_form(self, program: Program, attrs_h: int, source: int, transform: int = 0) -> int:
        """Return the handle of the set sent instead of `attrs_h` of peer slot `source`."""
    def stats(self) -> dict[str, int]:
        """Return the number of exported forms that differ from, or were checked for, their set."""
