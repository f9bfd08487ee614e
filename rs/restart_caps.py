"""What an OPEN says about restarts: the capabilities Graceful Restart and its long-lived kin.

In: octets of the capabilities 64 and 71, or what is to be said. Out: the other. The meaning for a
session is made of both sides' in `capabilities.negotiate`; what is done about it is in `restart`.

RFC 4724 3 (Graceful Restart), RFC 8538 2 (N bit), RFC 9494 3.1 (long-lived).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rs.iana import CapabilityCode, Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_RESTART_TIME = 0xFFF
"""Seconds: the field has 12 bits."""
MAX_STALE_TIME = 0xFF_FFFF
"""Seconds: the field has 24 bits."""

_RESTARTED = 0x8000
_NOTIFICATION = 0x4000
_FORWARDING = 0x80

Pair = tuple[int, int]
"""AFI and SAFI."""


@dataclass(frozen=True, slots=True)
class LongLived:
    """One family of the long-lived capability."""

    forwarding: bool
    """F bit: routes of before the restart may still be used."""
    time: int
    """Seconds that they may be kept beyond the restart time."""


@dataclass(frozen=True, slots=True)
class GracefulRestart:
    """What one side says in its OPEN."""

    restarted: bool = False
    """R bit: it has restarted, so nobody need wait for its End-of-RIB before sending."""
    notification: bool = False
    """N bit: a NOTIFICATION, or a hold timer that expires, is no reason to drop routes."""
    time: int = 0
    """Seconds that it takes at most to come back."""
    families: Mapping[Pair, bool] = field(default_factory=dict)
    """Families whose routes shall be kept meanwhile, and the F bit: they may still be used."""
    long_lived: Mapping[Pair, LongLived] | None = None
    """None without the long-lived capability; empty for a mere helper."""

    def lists(self, family: Family) -> bool:
        """Whether a family's routes shall be kept while this side is away."""
        return (family.afi, family.safi) in self.families

    def forwarding(self, family: Family) -> bool:
        """Whether a family is listed with its F bit."""
        return self.families.get((family.afi, family.safi), False)

    def long_lived_of(self, family: Family) -> LongLived:
        """Return what the long-lived capability says of a family; no time without it."""
        return (self.long_lived or {}).get((family.afi, family.safi), LongLived(False, 0))


def encode_restart(said: GracefulRestart) -> bytes:
    """Return the value of capability 64 (RFC 4724 3)."""
    flags = _RESTARTED * said.restarted | _NOTIFICATION * said.notification
    return (flags | said.time).to_bytes(2) + b"".join(
        afi.to_bytes(2) + bytes([safi, _FORWARDING * forwarding])
        for (afi, safi), forwarding in said.families.items()
    )


def encode_long_lived(families: Mapping[Pair, LongLived]) -> bytes:
    """Return the value of capability 71 (RFC 9494 3.1)."""
    return b"".join(
        afi.to_bytes(2) + bytes([safi, _FORWARDING * kept.forwarding]) + kept.time.to_bytes(3)
        for (afi, safi), kept in families.items()
    )


def decode_restart(value: bytes) -> GracefulRestart | None:
    """Read capability 64; None for one whose length makes no sense."""
    if len(value) < 2 or (len(value) - 2) % 4:
        return None
    head = int.from_bytes(value[:2])
    return GracefulRestart(
        restarted=bool(head & _RESTARTED),
        notification=bool(head & _NOTIFICATION),
        time=head & MAX_RESTART_TIME,
        families={
            (int.from_bytes(value[n : n + 2]), value[n + 2]): bool(value[n + 3] & _FORWARDING)
            for n in range(2, len(value), 4)
        },
    )


def decode_long_lived(value: bytes) -> dict[Pair, LongLived] | None:
    """Read capability 71; None for one whose length makes no sense."""
    if len(value) % 7:
        return None
    return {
        (int.from_bytes(value[n : n + 2]), value[n + 2]): LongLived(
            bool(value[n + 3] & _FORWARDING), int.from_bytes(value[n + 4 : n + 7])
        )
        for n in range(0, len(value), 7)
    }


def heard(capabilities: Iterable[tuple[int, bytes]]) -> GracefulRestart | None:
    """Return what the capabilities of an OPEN say; None where they say nothing of restarts.

    Of several the last one counts (RFC 4724 3), and the long-lived one only beside the other one
    (RFC 9494 4.5).
    """
    found: GracefulRestart | None = None
    long_lived: Mapping[Pair, LongLived] | None = None
    for code, value in capabilities:
        if code == CapabilityCode.GRACEFUL_RESTART:
            found = decode_restart(value)
        elif code == CapabilityCode.LONG_LIVED_GRACEFUL_RESTART:
            long_lived = decode_long_lived(value)
    if found is None or long_lived is None:
        return found
    return GracefulRestart(
        found.restarted, found.notification, found.time, found.families, long_lived
    )


def describe(code: int, value: bytes, name_of: Callable[[int, int], str]) -> str:
    """Return one of the two capabilities in words; `name_of` names families."""
    if code == CapabilityCode.LONG_LIVED_GRACEFUL_RESTART:
        kept = decode_long_lived(value)
        if kept is None:
            return f"long-lived-graceful-restart not understood ({value.hex()})"
        families = [
            f"{name_of(*pair)} {one.time} s{'' if one.forwarding else ' not forwarding'}"
            for pair, one in kept.items()
        ]
        return " ".join(["long-lived-graceful-restart", ", ".join(families) or "helper"])
    said = decode_restart(value)
    if said is None:
        return f"graceful-restart not understood ({value.hex()})"
    words = ["graceful-restart", f"{said.time} s"]
    words += ["restarted"] if said.restarted else []
    words += ["notification"] if said.notification else []
    families = [
        f"{name_of(*pair)}{'' if forwarding else ' not forwarding'}"
        for pair, forwarding in said.families.items()
    ]
    return " ".join([*words, ", ".join(families) or "helper"])
