"""Sets of AS numbers. See asnset.pyx for how they work."""

from collections.abc import Iterable
from typing import Self, final

@final
class AsnSet:
    """AS numbers, single ones hashed and ranges listed; immutable."""

    def __new__(
        cls, numbers: Iterable[int] = (), ranges: Iterable[tuple[int, int]] = ()
    ) -> Self: ...
    @property
    def n(self) -> int:
        """Single numbers."""
    def __contains__(self, asn: int, /) -> bool: ...
    def __len__(self) -> int: ...
