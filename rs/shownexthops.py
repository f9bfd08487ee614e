"""What the looking glass says of next hops: how far, by which route, for how many paths.

In: a Router. Out: the dictionaries of `show_types`, ready for JSON; see rs/show.py for walks. The
paths of each next hop are counted by a walk over the prefixes, 50 ms for 1,000,000 of them,
in slices: counters kept with every path would cost every path.
"""

from __future__ import annotations

import ipaddress
from array import array
from typing import TYPE_CHECKING

from rs._fastpath.walks import count_hops
from rs.nexthopconfig import NextHopSource
from rs.nexthops import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rs.router import Router
    from rs.show_types import NextHop, NextHopStatus

COUNT_STEP = 2048
"""Prefixes looked at between two looks at the clock."""
HOP_STEP = 128
"""Next hops shown in between."""


def status(router: Router) -> NextHopStatus:
    """Return where metrics come from, and what has become of them."""
    hops = router.next_hops
    sets = router.attrs.stats()
    kernel = hops.kernel
    state = None
    if kernel is not None:
        state = "in-step" if kernel.in_step else "lost" if kernel.ready else "never-read"
    return {
        "source": hops.source.value,
        "known": sets["next_hops"],
        "unreachable": sets["next_hops_unreachable"],
        "changes": hops.changes,
        "kernel": state,  # type: ignore[typeddict-item]
        "kernel_prefixes": None if kernel is None else len(kernel),
        "faults": [group.fault for group in hops.groups.values() if group.fault],
    }


class NextHopWalk:
    """Every next hop that a path has, by address."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._steps = self._walk()

    def step(self, spent: Callable[[], bool]) -> list[NextHop] | None:
        """See show.Walk."""
        out: list[NextHop] = []
        for records in self._steps:
            out += records
            if spent():
                return out
        return out or None

    def _walk(self) -> Iterator[list[NextHop]]:
        router = self._router
        counts = bytearray()
        at = 1
        found: list[tuple[int, str, int, int]] = []
        while at:
            at, some = router.attrs.hops_from(at, HOP_STEP)
            found += some
            yield []
        if found:
            counts.extend(bytes(4 * (found[-1][0] + 1)))
        for table in router.rib.tables:
            at = 1
            while at:
                at = count_hops(table, counts, at, COUNT_STEP)
                yield []
        paths = array("I", bytes(counts))
        shown: dict[str, tuple[int, int, int]] = {}
        for handle, address, metric, sets in found:
            # Two with the same global address may differ in the link-local one.
            if paths[handle]:
                _, held, total = shown.get(address, (0, 0, 0))
                shown[address] = metric, held + sets, total + paths[handle]
        yield []
        in_order = sorted(shown, key=lambda a: (":" in a, ipaddress.ip_address(a).packed))
        for address in in_order:
            yield [self._record(address, *shown[address])]

    def _record(self, address: str, metric: int, sets: int, paths: int) -> NextHop:
        hops = self._router.next_hops
        static = hops.static.match(address)
        route = gateway = interface = None
        source = hops.source
        if static is not None:
            source, route = NextHopSource.STATIC, static
        elif hops.kernel is not None:
            way = hops.kernel.way(address)
            if way is not None:
                route = way.prefix
                interface = hops.kernel.name_of(way.hop.link) or None
                gateway = way.hop.gateway or None
        return {
            "address": address,
            "metric": None if metric == UNREACHABLE else metric,
            "source": source.value,
            "route": route,
            "gateway": gateway,
            "interface": interface,
            "paths": paths,
            "attribute_sets": sets,
            "orr": {name: group.table.find(address) for name, group in hops.groups.items()},
        }
