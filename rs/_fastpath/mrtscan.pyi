"""Types of `mrtscan.pyx`."""

from typing import Self, final

from rs._fastpath.mrt import Framer
from rs._fastpath.mrttable import Table
from rs.mrt import PeerRow

@final
class Scan:
    """Reads records into peers and counters, and RIB entries into a Table if there is one."""

    framer: Framer
    table: Table | None
    indexed: bool
    """A PEER_INDEX_TABLE has been read."""
    view: str
    """View name of the first PEER_INDEX_TABLE."""
    collector: int
    """Its Collector BGP ID."""
    n_other: int
    """Records of further types, when there are more than can be counted apart."""
    n_faults: int
    """Damaged records."""
    n_malformed: int
    """UPDATEs that cannot be read to their end."""
    n_skipped: int
    """Whole records of no use here."""
    first_usec: int
    """Earliest and latest record, microseconds since 1970."""
    last_usec: int
    def __new__(cls, table: Table | None = None) -> Self: ...
    def feed(self, data: bytes) -> bool:
        """Read what is whole in the octets so far; False when framing is lost for good."""

    def read_index(self, body: bytes) -> int:
        """Read the body of a PEER_INDEX_TABLE; return 0 or the status of its fault."""

    def mapped(self, index: int) -> int:
        """Return the peer number of an index of the current PEER_INDEX_TABLE, -1 for none."""

    def peer_number(self, asn: int, address: bytes) -> int:
        """Return the number of a peer by AS and address; one not met before is added."""

    def kind_counts(self) -> list[tuple[int, int, int]]:
        """Return type, subtype and number of records, in order of first appearance."""

    def fault_list(self) -> list[tuple[int, int, int]]:
        """Return record number, offset and status of the first damaged records."""

    def totals(self) -> tuple[tuple[int, int], tuple[int, int], int]:
        """Return RIB records and entries by family, and MP attributes of other families."""

    def peer_list(self) -> list[PeerRow]:
        """Return all peers in order of their numbers."""
