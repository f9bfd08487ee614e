"""Prefix sets. See pfxset.pyx for how they work."""

from typing import Self, final

@final
class PrefixSet:
    """Prefixes with the range of lengths that each stands for; owns two hash tables."""

    def __new__(cls) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def n4(self) -> int:
        """IPv4 entries."""
    @property
    def n6(self) -> int:
        """IPv6 entries."""
    def add(self, prefix: str, ge: int = -1, le: int = -1) -> None:
        """Add "10.0.0.0/8", standing for itself, or for lengths `ge` to `le`.

        Only `ge` given, it is up to the longest there is. ValueError for what is no prefix or no
        range.
        """
    def fit(self) -> None:
        """Give back the room that was for growing; call when a set is complete."""
    def contains(self, prefix: str, longer: bool = False) -> bool:
        """Whether a prefix is on the list; `longer`: or below one that is."""
    def stats(self) -> dict[str, int]:
        """Return entries by family and the octets they take."""
