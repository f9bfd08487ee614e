"""Types of `mrt.pyx`."""

from typing import final

STATUS_TEXT: dict[int, str]
"""What a status other than "fine" and "of no use here" means, in words."""

PEER_OUT_OF_RANGE: int
"""The status of an entry whose peer index is beyond the PEER_INDEX_TABLE."""

@final
class Framer:
    """Cuts decompressed octets into records; owns its buffer, which grows to the largest record."""

    number: int
    """Records given out."""
    offset: int
    """Of the next record, in octets of the uncompressed data."""
    @property
    def pending(self) -> int:
        """Octets held that are not yet a whole record."""

    def feed(self, data: bytes) -> None:
        """Append decompressed octets."""

    def read(self) -> tuple[int, int, int, int, int, int, bytes] | int | None:
        """Return the next record.

        Number, offset, seconds, microseconds, type, subtype, body; None when more octets are
        needed; an int status when framing is lost.
        """

def parse_rib(
    kind: int, subtype: int, body: bytes
) -> int | tuple[int, bytes, list[tuple[int | tuple[int, bytes], int, int | None, bytes]], int]:
    """Return a RIB record as family, NLRI, entries and the status of the last entry (0 = fine).

    An entry is the peer index (TABLE_DUMP: AS and address), the time it was originated, the path
    identifier or None, and the attribute block. For what is no RIB record: an int status.
    """

def parse_bgp4mp(
    kind: int, subtype: int, body: bytes
) -> int | tuple[int, int, bytes, bytes, bool, bool, bool, bytes | None, int, int]:
    """Return a BGP4MP record, or an int status for what is none.

    Peer and local AS, peer and local address, whether AS numbers have 4 octets, whether NLRI have
    path identifiers, whether the collector sent it, the BGP message or None, and old and new state.
    """
