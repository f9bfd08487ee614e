"""Member sets. See sets.pyx for how it works."""

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
    def members(self, h: int, n_slots: int) -> list[int]:
        """Return the slots from 1 below `n_slots` that set `h` holds."""
    def drop_cache(self) -> None:
        """Forget cached results, so that `live` counts only sets that somebody keeps."""
    def stats(self) -> dict[str, int]:
        """Return the number of sets in use and the octets they take."""
