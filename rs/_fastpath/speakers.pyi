"""Types of the load client's members; see speakers.pyx for how it works."""

from typing import Self

from typing_extensions import disjoint_base

@disjoint_base
class Speakers:
    """BGP speakers and their sessions; `rs._fastpath.load.LoadClient` is the class to use."""

    def __new__(cls, prefixes4: bytes, prefixes6: bytes = b"") -> Self: ...
    def add_member(
        self,
        host: int,
        port: int,
        source: int,
        asn: int,
        router_id: int,
        opts: int,
        table: bytes,
    ) -> int:
        """Add a member that will connect to `host`:`port` from `source` (0 = any); give its number.

        Addresses are IPv4 addresses as integers. `table` is what it sends once started: whole
        UPDATE messages.
        """

    def set_table(self, member: int, table: bytes) -> None:
        """Replace a member's table; ValueError while the old one is half sent."""

    def set_due(self, member: int, due: bytes, own: bytes | None = None) -> None:
        """Say what a member must hold: a bitmap over the universe, least significant bit first.

        `own` marks prefixes that only this member brings. Getting those back is counted (`echoed`)
        but is no fault.
        """

    def set_due_next_hops(self, member: int, next_hops: bytes) -> None:
        """Have a member's next hops checked: 4 octets a prefix, native order; 0 = any will do.

        Of an IPv6 next hop the last four octets of the global address count.
        """

    def set_rate(self, member: int, octets_per_s: int) -> None:
        """Read at this rate from Established on; 0 = nothing, -1 = all there is."""

    def watch(self, member: int, watched: bool) -> None:
        """Say whether a member counts towards the goals; none does at first."""
