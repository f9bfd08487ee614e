"""Member sets. See sets.pyx for how it works."""

from collections.abc import Iterable
from typing import Self, final

@final
class MemberSets:
    """Interned bitmaps over peer slots, reference counted; owns their memory."""

    def __new__(cls, n_slots: int = 64) -> Self: ...
    @property
    def words(self) -> int:
        """64-bit words a set."""
    @property
    def live(self) -> int:
        """Sets in use, SET_ALL and SET_NONE included."""
    def make(self, slots: Iterable[int], others: bool = False) -> int:
        """Return a new reference to the set of these slots, for tests.

        With `others` it holds all slots without a peer too. IndexError for a slot without room.
        """
    def without(self, h: int, slot: int) -> int:
        """Return a new reference to set `h` less one slot."""
    def drop(self, h: int) -> None:
        """Give back a reference."""
    def members(self, h: int, n_slots: int) -> list[int]:
        """Return the slots from 1 below `n_slots` that set `h` holds."""
    def drop_cache(self) -> None:
        """Forget cached results, so that `live` counts only sets that somebody keeps."""
    def stats(self) -> dict[str, int]:
        """Return the number of sets in use and the octets they take."""
