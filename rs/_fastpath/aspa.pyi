"""Types of `aspa.pyx`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import final

PATH_STATES: tuple[str, str, str]
"""Words for ASPA_*: "unknown", "valid", "invalid"."""

@final
class AspaTable:
    """Provider sets per customer AS (draft-ietf-sidrops-aspa-verification-27).

    The union of what all sources say; sources are numbers as in RoaTable, and need not be known.
    """

    count: int
    """Customers with an attestation."""

    def verify_path(self, asns: Iterable[int], downstream: bool, neighbor_as: int = 0) -> str:
        """Return a word of PATH_STATES for a path of AS numbers, the neighbor's first.

        5.5 of the draft if `downstream` (from a provider), else 5.4. neighbor_as, unless 0, has to
        be the first of the path.
        """

    def verify_wire(self, path: bytes, downstream: bool, neighbor_as: int = 0) -> str:
        """Return the same for an AS_PATH value with 4-octet AS numbers."""

    def hops(self, asns: Sequence[int]) -> list[tuple[int, int, str, str]]:
        """Return what is attested between neighbors of a path, for explanations.

        A list of (left AS, right AS, right says of left, left says of right); what is said is
        "provider", "not-provider" or "no-attestation".
        """

    def providers(self, customer: int) -> tuple[int, ...] | None:
        """Return a customer's providers in rising order, None without an attestation.

        An empty tuple says that it has none (an ASPA with AS 0 alone).
        """

    def stats(self) -> dict[str, int | dict[int, int]]:
        """Return counts and the octets of the table itself, what is kept per source left aside."""

    def held(self, source: int) -> int:
        """Return how many ASPAs a source says."""

    def begin(self, source: int, reset: bool, limit: int = 0x7FFFFFFF) -> None:
        """Open a transaction of a source; `limit` bounds its ASPAs and, ten times, providers."""

    def stage(
        self, source: int, customer: int, providers: Sequence[int] | None, afi: int = 0
    ) -> int:
        """Stage an announcement, or with providers None a withdrawal; returns STAGE_*.

        An announcement replaces an earlier one (draft-ietf-sidrops-8210bis-27 5.12). `afi` (0, 1 or
        2) keeps apart what older caches say per address family; the union counts.
        """

    def said(self, source: int, customer: int, afi: int = 0) -> tuple[int, ...] | None:
        """Return a customer's providers as a source says them, with what is staged, or None.

        KeyError without an open transaction.
        """

    def commit(self, source: int) -> None:
        """Take a transaction into the source's ASPAs; `changes` puts them into use."""

    def abort(self, source: int) -> None:
        """Forget what was staged."""

    @property
    def pending_changes(self) -> int:
        """Customers to look at in `changes`."""

    def changes(self, n: int = 0xFFFFFFFF) -> set[int]:
        """Look at up to `n` customers named in commits; returns those whose providers changed.

        About 2 us each.
        """

    def apply(
        self, announced: Mapping[int, Sequence[int]], withdrawn: Iterable[int], source: int = 0
    ) -> set[int]:
        """Announce {customer: providers} and withdraw customers; returns the changed customers."""

    def replace(self, aspas: Mapping[int, Sequence[int]], source: int = 0) -> set[int]:
        """Make {customer: providers} the source's ASPAs; returns the changed customers."""
