"""What community values mean here. See commrules.pyx for how it works."""

from typing import final

@final
class CommunityRules:
    """Every community value that is ours to act on, to take out or to add."""

    @property
    def inform_source(self) -> bool:
        """Some informational community names the source."""
    @property
    def informative(self) -> bool:
        """Whether any route is given informational communities."""
    def add(
        self,
        kind: int,
        value: bytes,
        mask: bytes,
        action: int,
        amount: int = 0,
        var_at: int = 0,
        var_len: int = 0,
    ) -> None:
        """Act on the values of a kind that are `value` under `mask`; the most specific come first.

        `var_len` octets at `var_at` name an AS number or a time. ValueError for other lengths.
        """
    def inform(
        self, tells: int, kind: int, value: bytes, var_at: int = 0, var_len: int = 0
    ) -> None:
        """Add a value to routes of which `tells` holds; an AS number goes into its octets."""
    def find_value(self, kind: int, value: bytes) -> int | None:
        """Return the action that a value asks for, None for a value that is not ours."""
