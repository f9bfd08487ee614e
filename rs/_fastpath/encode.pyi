"""UPDATEs from handles. See encode.pyx for how it works."""

from typing import Self, final

from rs._fastpath.attrs import AttrTable
from rs._fastpath.log import Log
from rs._fastpath.trie import Trie

@final
class Encoder:
    """Packs prefixes into messages; owns a scratch buffer for attributes in 2-octet form."""

    def __new__(
        cls,
        attrs: AttrTable,
        trie: Trie,
        family: int,
        as4: bool = True,
        max_len: int = 4096,
        ext_next_hop: bool = False,
        addpath: bool = False,
    ) -> Self: ...
    @property
    def too_long(self) -> int:
        """Announcements that were due and fit no message: few, as the Adj-RIB-Out asks before."""
    def encode_all(
        self, log: Log, attrs_h: int, set_h: int, prefixes: list[int], ids: list[int] | None = None
    ) -> None:
        """Announce prefix handles with one attribute set, or withdraw them if it is 0.

        With ADD-PATH `ids` are their path identifiers, 0 without.
        """
