"""Files of prefixes into a PrefixSet. See irrload.pyx for the forms."""

from typing import Self, final

from rs._fastpath.pfxset import PrefixSet

@final
class PrefixReader:
    """The prefixes of one file, read a stretch at a time."""

    def __new__(cls, data: bytes, target: PrefixSet) -> Self: ...
    @property
    def count(self) -> int:
        """Entries read so far."""
    def step(self, n: int = 0xFFFFFFFF) -> bool:
        """Read up to `n` entries; return whether that was all. ValueError says where a fault is."""
