"""Why a member has a path of a prefix or not. See withheld.pyx for how it works."""

from rs._fastpath.adjout import AdjOut
from rs._fastpath.control import Control

def sources(adj: AdjOut, h: int, slot: int = 0) -> list[tuple[int, int, int, int]]:
    """Return (path identifier, attribute handle, member set handle, position) of what was sent.

    That is for a prefix, last; with `slot` to one member. The position is that of the path that it
    was made of, in Table.paths_of(); -1 if that path has gone or changed since.
    """

def verdicts(adj: AdjOut, h: int, slot: int) -> list[tuple[int, int]]:
    """Return (position, W_*) of each path of a prefix for one member.

    They stand in the order in which paths are ranked for it; what cannot be used comes last.
    """

def excluding(control: Control, attrs_h: int, slot: int) -> tuple[int, int, bytes] | None:
    """Return (ACT_*, KIND_*, octets) of the community value that keeps routes from a member.

    That is of routes with these attributes, and of several values the one that decides; None if
    there is none.
    """
