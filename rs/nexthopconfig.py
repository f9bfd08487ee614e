"""The model of what next hops are worth: [next_hops], [[igp]] and [[orr]].

In: parsed values. Out: frozen objects, see rs/config.py. Tables of metrics are text to number: a
prefix, or an address for itself alone. RFC 4271 9.1.2.1 and 9.1.2.2 e, RFC 9107.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

import attrs

from rs import configvalues as kinds
from rs.configkeys import Effect, key
from rs.configvalues import BadValue, Kind, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_METRIC = 0xFFFF_FFFE
"""One more means unreachable, in the engine."""
MAIN_TABLE = 254
"""The routing table that `ip route` shows (RT_TABLE_MAIN)."""


class NextHopSource(StrEnum):
    """Where metric and reachability of next hops come from."""

    NONE = "none"
    STATIC = "static"
    KERNEL = "kernel"


def parse_metrics(value: object) -> dict[str, int]:
    """Return a table of metrics by prefix; BadValue names each entry that does not fit.

    An address stands for the prefix that holds it alone.
    """
    if not isinstance(value, dict):
        raise BadValue(f"{shown(value)} does not fit; want {METRICS.wants}")
    found: dict[str, int] = {}
    faults: list[tuple[tuple[int | str, ...], str]] = []
    for name, number in value.items():
        try:
            prefix = name if "/" in name else f"{name}/{ip_address(name).max_prefixlen}"
            prefix = kinds.PREFIX.parse(prefix)
        except (BadValue, ValueError):
            faults.append(((name,), f"{shown(name)} does not fit; want an address or a prefix"))
            continue
        try:
            metric = METRIC.parse(number)
        except BadValue as bad:
            faults += [((name,), words) for _, words in bad.faults]
            continue
        if prefix in found:
            faults.append(((name,), f"{prefix} has a metric already"))
        found[prefix] = metric
    if faults:
        raise BadValue(*faults)
    return found


METRIC = kinds.integer(0, MAX_METRIC)
METRICS = Kind("a table of addresses or prefixes and their metrics", parse_metrics)


@attrs.frozen(kw_only=True)
class NextHops:
    """[next_hops]: where metric and reachability of next hops come from."""

    source: NextHopSource | None = attrs.field(
        default=None,
        metadata=key(
            kinds.choice(NextHopSource), Effect.REEVALUATE, '"static" with [[igp]], else "none"'
        ),
    )
    table: int = attrs.field(
        default=MAIN_TABLE,
        metadata=key(kinds.integer(1, 0xFFFF_FFFF), Effect.REEVALUATE, "254"),
    )
    """The kernel's routing table, by number."""
    default_route: bool = attrs.field(
        default=False, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "false")
    )
    """Whether a next hop that only the kernel's default route covers is reachable."""


@attrs.frozen(kw_only=True)
class IgpRoute:
    """[[igp]]: a static metric to the next hops inside a prefix."""

    prefix: str = attrs.field(metadata=key(kinds.PREFIX, Effect.REEVALUATE, "required"))
    metric: int = attrs.field(metadata=key(METRIC, Effect.REEVALUATE, "required"))


@attrs.frozen(kw_only=True)
class OrrGroup:
    """[[orr]]: the metrics of next hops as a group of clients sees them (RFC 9107)."""

    name: str = attrs.field(
        metadata=key(kinds.text("a name", 64, r"[A-Za-z0-9_.:@-]+"), Effect.REEVALUATE, "required")
    )
    metrics: Mapping[str, int] = attrs.field(
        factory=dict, metadata=key(METRICS, Effect.REEVALUATE, "none")
    )
    file: Path | None = attrs.field(
        default=None, metadata=key(kinds.PATH, Effect.REEVALUATE, "none")
    )
    """More metrics, read again when it changes; they win over `metrics`."""
