"""Types of `decode.pyx`."""

from typing import Any, Self, final

from rs._fastpath.attrs import AttrTable

@final
class Decoder:
    """Decodes UPDATEs one by one into Python data; for tests, files and tools.

    `families` and `addpath` are bit masks over Family; `ibgp` keeps LOCAL_PREF, ORIGINATOR_ID and
    CLUSTER_LIST; `ext_next_hop` allows IPv6 next hops for IPv4 routes (RFC 8950).
    """

    def __new__(
        cls,
        table: AttrTable,
        as4: bool = True,
        ibgp: bool = False,
        families: int = 3,
        addpath: int = 0,
        ext_next_hop: bool = False,
    ) -> Self: ...
    def decode(self, body: bytes) -> dict[str, Any]:
        """Decode one UPDATE without its 19-octet header; an error is a result, never raised.

        outcome: 0 fine, 1 attribute discard, 2 treat-as-withdraw, 3 session reset (RFC 7606 2);
        err_subcode, err_attr, err_data, discarded: the severest fault and how many attributes were
        dropped; eor: Family of an End-of-RIB or None; withdrawn, announced: [(prefix, path id)] of
        the classic fields; unreach, reach: [(family, prefix, path id)] of MP_*; attrs, mp_attrs:
        attribute dicts of announced and reach, None without.
        """

    def handles(self, body: bytes) -> tuple[int, int, int]:
        """Return (outcome, set for announced, set for reach), 0 for none; the caller drops them."""
