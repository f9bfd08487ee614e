"""Policies as they run. See terms.pyx for how it works."""

from typing import Any, Self, TypeAlias, final

from rs._fastpath.aspa import AspaTable
from rs._fastpath.attrs import AttrTable
from rs._fastpath.edits import Edits

_Condition: TypeAlias = tuple[int, int, int, tuple[Any, ...]]
"""OP_*, lowest or a mask, highest, and the sets, expressions or patterns it is about."""
_Conditions: TypeAlias = tuple[_Condition, ...]
_Term: TypeAlias = tuple[_Conditions, _Conditions, _Conditions, int, int, int]
"""_Conditions about the set, about the route, of `unless`; number of the edit, ACTION_*, and the
term to go on with."""

@final
class Terms:
    """The policies of one neighbor in one direction; equal content, equal program."""

    def __new__(
        cls, number: int, edits: Edits, aspas: AspaTable | None, terms: list[_Term]
    ) -> Self:
        """Make the program of a number that stands for its content, below 4,194,304."""

    @property
    def number(self) -> int:
        """No other program has it; equal content is the same program."""
    @property
    def edits(self) -> Edits:
        """What its terms change."""
    @property
    def n_terms(self) -> int:
        """Terms, those of all its policies together."""
    @property
    def n_fired(self) -> int:
        """Terms that fitted in the last run."""
    @property
    def per_route(self) -> bool:
        """Whether some term looks at more than the attribute set."""
    @property
    def uses_state(self) -> bool:
        """Whether some term looks at what the import filter found out."""
    def count(self) -> None:
        """Count from now on how often each term fits."""
    def counted(self) -> list[int]:
        """Return how often each term has fitted, and last how many routes reached the end.

        ValueError if nothing has been counted.
        """
    def judge(
        self,
        attrs: AttrTable,
        attrs_h: int,
        prefix: str,
        *,
        state: int = 0,
        asn: int = 0,
        address: str = "192.0.2.0",
        kind: int = 0,
        receive: bool = True,
    ) -> tuple[int, int, list[int]]:
        """Return (reason, new reference to the set that the route gets, terms that fitted).

        asn, address and kind (PEER_*) are of the neighbor that the route came from. With `receive`
        the result is linked to the set as received, as on import.
        """
