"""The file that tells the next process how this one went: there after a crash, gone after a stop.

In: a path, the addresses of neighbors to wait for, the time of day. Out: the file, or what the
process before had left in it. It is written while the daemon runs, replaced as a whole, so that it
also tells of a process that was killed.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs.startup import Before

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERY = 30.0
"""Seconds after which the file is written again though nothing has changed: it tells the time."""


def write(path: str, neighbors: Iterable[str], now: float) -> None:
    """Write the state; OSError if that cannot be done. `now`: seconds since 1970."""
    state = {"written": math.floor(now * 1000) / 1000, "neighbors": sorted(neighbors)}
    new = Path(f"{path}.new")
    new.write_text(json.dumps(state) + "\n")
    new.replace(path)


def remove(path: str) -> None:
    """Remove the file: the neighbors have been told that we stop."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def read(path: str, now: float, max_age: float) -> Before | None:
    """Return what a process before this one left behind; None if none did within `max_age` s.

    A file that makes no sense tells of a restart, and not who was up.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    try:
        state: Any = json.loads(text)
        written, neighbors = float(state["written"]), state["neighbors"]
    except (ValueError, TypeError, KeyError):
        return Before()
    if not 0 <= now - written <= max_age + EVERY:
        return None
    if not isinstance(neighbors, list) or not all(isinstance(n, str) for n in neighbors):
        return Before()
    return Before(frozenset(neighbors))
