"""What ARouteServer looks up while it builds, out of local files instead: PeeringDB and RTTs.

In: the JSON that PeeringDB's API answers for /api/net, and lists of round trip times. Out: plain
values. Nothing is fetched. Faults are ValueErrors that name file and entry.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

from rs.arouteserver import AS_SET
from rs.configvalues import BadValue, parse_host

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_RTT = 1e6
"""Milliseconds."""


@attrs.frozen
class Network:
    """What PeeringDB says of a network."""

    prefixes_ipv4: int = 0
    prefixes_ipv6: int = 0
    """How many prefixes others should expect; 0 where nothing is said."""
    as_sets: tuple[str, ...] = ()
    never_via_route_servers: bool = False


@attrs.frozen
class Extras:
    """Everything that is known beside the YAML files."""

    networks: Mapping[int, Network] | None = None
    """By AS number; None without a file of PeeringDB."""
    rtts: Mapping[str, float] | None = None
    """Milliseconds by address; None without a file."""
    caches: tuple[tuple[str, int], ...] = ()
    """RPKI caches: host and port."""
    router_id: str | None = None
    """Which of several router ids this configuration is for."""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def peeringdb_as_sets(text: str) -> tuple[str, ...]:
    """Return the AS-SETs of the field irr_as_set, which people fill in in several ways."""
    found = []
    for part in re.split(r"[\s,;&]+", text):
        name = part
        if "@" in part:
            name = "::".join(reversed(part.split("@", 1)))
        if AS_SET.fullmatch(name):
            found.append(name.upper())
    return tuple(dict.fromkeys(found))


def read_peeringdb(path: Path) -> dict[int, Network]:
    """Read networks as /api/net gives them: `{"data": [{"asn": ..., ...}]}`, or the list alone."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise ValueError(f"{path}: {words}") from None
    rows = found.get("data") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise ValueError(  # noqa: TRY004 - a fault of the file
            f'{path}: want {{"data": [...]}} with a network in each entry'
        )
    networks = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("asn"), int):
            words = f"{path}: data[{index}]: no asn; want the network's AS number"
            raise ValueError(words)  # noqa: TRY004 - a fault of the file
        networks[row["asn"]] = Network(
            _count(row.get("info_prefixes4")),
            _count(row.get("info_prefixes6")),
            peeringdb_as_sets(str(row.get("irr_as_set") or "")),
            row.get("info_never_via_route_servers") is True,
        )
    return networks


def read_rtts(path: Path) -> dict[str, float]:
    """Read lines of an address and milliseconds, with comments behind `#`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"{path}: {words}") from None
    rtts = {}
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        try:
            address, rtt = parse_host(fields[0]), float("".join(fields[1:]))
        except (ValueError, BadValue):
            rtt = -1.0
        if not 0 <= rtt < MAX_RTT:
            wants = 'want an address and milliseconds, such as "192.0.2.1 4.5"'
            raise ValueError(f"{path}: line {number}: {line.strip()!r}: {wants}")
        rtts[address] = rtt
    return rtts
