"""Types of `mrttable.pyx`."""

from typing import Any, Self, final

from rs.mrt import Summary

@final
class Table:
    """A RIB file's routes by peer, ready to be packed into UPDATEs; owns all it holds."""

    summary: Summary
    n_blocks: int
    """Distinct attribute blocks, and one more."""
    n_routes: int
    n_invalid: int
    """Routes among them that a receiver may not use (RFC 7606)."""
    n_unusable: int
    """Entries left out because their attributes cannot be cut apart or lack ORIGIN or AS_PATH."""
    def __new__(cls, *, only: int = -1) -> Self:
        """Keep the routes of peer index `only`; -1 = all."""

    def count(self, peer: int, family: int) -> tuple[int, int]:
        """Return a peer's routes of a family, and how many attribute blocks they have."""

    def has_path_ids(self, peer: int, family: int) -> bool:
        """Tell whether some route of the peer has a path identifier."""

    def describe_block(
        self, family: int, nlri: bytes, as4: bool, block: bytes
    ) -> dict[str, Any] | None:
        """Return an attribute block of a RIB entry as an attribute dict; None if it is invalid.

        `nlri` is a length octet and a prefix of the family, masked; `as4` whether AS numbers in
        the block have 4 octets. ValueError when an argument cannot be one of these.
        """
