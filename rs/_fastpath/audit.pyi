"""Policies over recorded UPDATEs. See audit.pyx for how it works."""

from typing import Any, Self, TypeAlias, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.filter import Filter
from rs._fastpath.terms import Terms

_Seen: TypeAlias = tuple[str, int, list[int], dict[str, Any], dict[str, Any] | None]
"""Prefix, reason, terms that fitted, attributes before, and after if they have changed."""

@final
class Audit:
    """The policies of one neighbor over what it has sent."""

    def __new__(
        cls,
        attrs: AttrTable,
        terms: Terms,
        *,
        states: Filter | None = None,
        asn: int = 0,
        address: str = "192.0.2.0",
        kind: int = 0,
        ibgp: bool = False,
        addpath: int = 0,
    ) -> Self:
        """Take the neighbor's facts; `states` finds out the RPKI and IRR states of routes.

        `addpath` is a bit for each family whose routes have path identifiers.
        """

    @property
    def accepted(self) -> int:
        """Routes, those with changed attributes included."""
    @property
    def changed(self) -> int:
        """Of the accepted routes, those with other attributes than they came with."""
    @property
    def refused(self) -> int:
        """Routes that a term rejects."""
    @property
    def malformed(self) -> int:
        """UPDATEs that announce nothing for that (RFC 7606)."""
    def feed(self, data: bytes, seen: list[_Seen] | None = None) -> int:
        """Run the policies over every route in whole messages; return how many there were.

        With `seen` each is put there. ValueError for octets that are not whole messages.
        """
