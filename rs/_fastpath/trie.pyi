"""Prefixes to handles. See trie.pyx for how it works."""

from typing import Self, final

@final
class Trie:
    """Prefixes of one family to 32-bit handles; owns the keys, so that a handle gives its prefix.

    Handles are dense and small, so users keep what belongs to a prefix in arrays indexed by it.
    """

    def __new__(cls, width: int) -> Self: ...
    @property
    def width(self) -> int:
        """Octets of an address: 4 or 16."""
    @property
    def count(self) -> int:
        """Prefixes held."""
    def add(self, addr: bytes, plen: int) -> int:
        """Insert a prefix given as `width` octets and a length; return its handle."""
    def get(self, addr: bytes, plen: int) -> int:
        """Return the handle of exactly this prefix, or 0."""
    def discard(self, h: int) -> None:
        """Remove the prefix behind a handle; KeyError if there is none."""
    def match(self, addr: bytes, max_plen: int = 128) -> int:
        """Return the handle of the longest prefix covering an address, or 0."""
    def key(self, h: int) -> tuple[bytes, int]:
        """Return (address octets, length) of a handle; KeyError if there is none."""
    def below(
        self, addr: bytes, plen: int, after: tuple[bytes, int] | None = None, limit: int = 1000
    ) -> list[int]:
        """Return up to `limit` handles at or below a prefix, after the key `after`, in order."""
    def stats(self) -> dict[str, int]:
        """Return counts and the octets in use, keys included."""
