"""Types of `recode.pyx`."""

from typing import Self, final

@final
class Rewriter:
    """How recorded attributes and UPDATEs become those of one session.

    `as4`, `families`, `addpath` (bit masks over Family), `ext_next_hop` and `max_len` (octets of a
    message, 4,096 to 65,535) are what the session has negotiated. `ibgp` keeps LOCAL_PREF,
    ORIGINATOR_ID and CLUSTER_LIST and adds LOCAL_PREF 100 where it is missing; without it they are
    left out. `prepend` is put in front of each AS_PATH, 0 = nothing. `next_hop4` (4 octets) and
    `next_hop6` (16 or 32) replace recorded next hops; empty keeps them. ValueError for a length
    that is none of these.
    """

    as4: bool
    ibgp: bool
    prepend: int
    max_len: int
    families: int
    addpath: int
    ext_next_hop: bool
    n_announced: int
    """NLRI announced, and withdrawn, by converted UPDATEs."""
    n_withdrawn: int
    n_malformed: int
    """Recorded UPDATEs with lengths that do not add up, sent as they are; and those with 2-octet
    AS numbers that could not be widened, dropped."""
    n_filtered: int
    """Recorded UPDATEs dropped because they are about families that the session does not have."""
    n_too_long: int
    """Recorded UPDATEs dropped, in whole or part, because they fit no message of the session."""
    def __new__(
        cls,
        *,
        as4: bool = True,
        ibgp: bool = False,
        prepend: int = 0,
        max_len: int = 4096,
        families: int = 3,
        addpath: int = 0,
        ext_next_hop: bool = False,
        next_hop4: bytes = b"",
        next_hop6: bytes = b"",
    ) -> Self: ...
    def convert(self, raw: bytes, as4: bool, addpath: bool) -> bytes:
        """Return a recorded UPDATE as the session may send it: none, one or more messages.

        `as4` and `addpath` say how it was recorded: with 4-octet AS numbers, with path
        identifiers. ValueError when it is no UPDATE.
        """
