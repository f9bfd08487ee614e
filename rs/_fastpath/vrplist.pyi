"""Batches of VRPs on their way into the table. See vrplist.pyx for how it works."""

from collections.abc import Iterator
from typing import TypeAlias, final

_Vrp: TypeAlias = tuple[str, int, int]
"""Prefix, max length, AS number."""

@final
class VrpList:
    """A batch of VRPs, 24 octets each."""

    count: int

    def add(self, prefix: str, max_length: int | None, asn: int) -> None:
        """Append a VRP; max_length None is the prefix's own length.

        ValueError says what is wrong: no prefix, bits past its length, numbers out of range.
        """

    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> _Vrp: ...
    def __iter__(self) -> Iterator[_Vrp]: ...
