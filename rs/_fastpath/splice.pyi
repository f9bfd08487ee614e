"""Types of the floor; see splice.pyx for how it works."""

from typing import Self, final

@final
class Splice:
    """Copies UPDATEs between the sessions that come in on `listener`.

    `listener` is the descriptor of a listening, non-blocking socket that the caller keeps open.
    """

    def __new__(cls, listener: int, asn: int, router_id: int) -> Self: ...
    def run(self, seconds: float) -> None:
        """Serve for about so long."""
