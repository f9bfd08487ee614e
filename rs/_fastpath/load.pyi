"""Types of the load client; see load.pyx for how it works."""

from collections.abc import Iterable
from typing import Any, Self, final

from rs._fastpath.speakers import Speakers

AS4: int
"""Option of a member: it speaks 4-octet AS numbers (RFC 6793)."""
EXTENDED: int
"""Option: extended messages (RFC 8654)."""
ADDPATH: int
"""Option: it can receive several paths for a prefix (RFC 7911)."""
IPV4: int
"""Option: IPv4 unicast (RFC 4760)."""
IPV6: int
"""Option: IPv6 unicast."""

UP: int
"""Goal: every watched member is Established."""
CONVERGED: int
"""Goal: every watched member is Established and exact."""
CHURN: int
"""Goal: every change is sent and the wanted number of receipts is there."""
QUIET: int
"""Goal: no UPDATE has come for `quiet_s`."""

@final
class LoadClient(Speakers):
    """BGP speakers in one process, and what each of them holds.

    `prefixes4` and `prefixes6` are the universe: 4 + 1 and 16 + 1 octets (address, length) a
    prefix. A prefix's index is its position, IPv4 first. A prefix that is there twice is a
    ValueError. Times are nanoseconds of the monotonic clock.
    """

    def __new__(cls, prefixes4: bytes, prefixes6: bytes = b"") -> Self: ...
    def connect(self, members: Iterable[int]) -> None:
        """Begin to connect; failed attempts are repeated. What the members held is forgotten."""

    def start(self, members: Iterable[int]) -> None:
        """Send the members' tables, at once or as soon as they are Established."""

    def drop(self, members: Iterable[int]) -> None:
        """Close the members' connections without a word."""

    def mark(self) -> int:
        """Begin a phase and give the time: members that are exact count as exact from now."""

    def churn(
        self, changes: list[tuple[int, int, bytes]], per_second: float, receipts: int
    ) -> None:
        """Send (member, prefix, UPDATE) at a steady pace from now on, each prefix once.

        A receipt is the first NLRI of a changed prefix at a member other than its sender. `run`
        with the goal CHURN ends when there are as many as wanted.
        """

    def churn_result(self) -> dict[str, int]:
        """Give changes sent, receipts, and latency from send to receipt in nanoseconds.

        p50_ns, p90_ns, p99_ns, p999_ns are exact to 1.6 %; max_ns is exact.
        """

    def churn_end(self) -> None:
        """Stop sending changes and counting receipts."""

    def run(self, goal: int, seconds: float, quiet_s: float = 0.2) -> bool:
        """Run all sessions until the goal (True) or for so many seconds (False)."""

    def member(self, member: int) -> dict[str, Any]:
        """Give a member's state, times, counters and faults.

        Faults: missing (due and not held), surplus (held, not due), wrong_next_hop, unknown
        (NLRI outside the universe), malformed. `exact` is true when there is none.
        """

    def holds(self, member: int) -> bytes:
        """Bitmap of what a member holds."""

    def now(self) -> int:
        """Now, in nanoseconds of the monotonic clock."""

    @property
    def counts(self) -> dict[str, int]:
        """How many members are watched, and of these up, and exact."""

    @property
    def last_update(self) -> int:
        """When the last UPDATE came."""

    @property
    def members_total(self) -> int:
        """Members added."""
