"""Messages, each with the members it is for. See log.pyx for how it works."""

from typing import Self, final

from rs._fastpath.sets import MemberSets

@final
class Log:
    """An append-only sequence of whole messages; owns the chunks and a reference per run's set."""

    def __new__(cls, sets: MemberSets) -> Self: ...
    @property
    def end(self) -> int:
        """Octets ever logged."""
    @property
    def messages(self) -> int:
        """Messages ever logged."""
    @property
    def held(self) -> int:
        """Octets of payload capacity in chunks."""
    def append(self, message: bytes, set_h: int) -> None:
        """Log one whole message."""
    def stats(self) -> dict[str, int]:
        """Return octets and messages ever logged, and octets held."""
