"""Regular expressions over AS paths. See aspath.pyx for how they work."""

from collections.abc import Iterable, Mapping
from typing import Self, final

from rs._fastpath.asnset import AsnSet
from rs.aspathre import AsPathRegex

@final
class AsPath:
    """One expression: Glushkov's automaton with its at most 64 positions in one word."""

    def __new__(cls, regex: AsPathRegex, named: Mapping[str, AsnSet]) -> Self:
        """Make the matcher of an automaton; `named` holds the sets that it refers to."""

    def matches(self, asns: Iterable[int]) -> bool:
        """Return whether it is found in a path of these AS numbers, the leftmost first."""
