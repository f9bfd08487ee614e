"""The way to an address by a routing table, slowly: every route is looked at for every question.

In: routes added and removed, interfaces up and down. Out: the metric to an address. The longest
prefix with a usable route counts, and of its routes the one with the lowest priority; a usable
route has an interface that is up; one that refuses makes the address unreachable.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KernelRoute:
    """A route as `ip route` shows it."""

    prefix: str
    priority: int
    links: tuple[int, ...]
    connected: bool = False
    """On an interface's own network."""
    refuses: bool = False

    @property
    def metric(self) -> int:
        """What it is worth."""
        return 0 if self.connected else self.priority


@dataclass
class KernelTable:
    """What is in the table now."""

    default_route: bool = False
    routes: set[KernelRoute] = field(default_factory=set)
    down: set[int] = field(default_factory=set)
    """Interfaces that are not up."""

    def get(self, address: str, _default: int | None = None) -> int | None:
        """Return the metric to an address, None where it cannot be reached.

        Called as a mapping's `get` is, so that it can stand where metrics by next hop do.
        """
        host = ipaddress.ip_address(address)
        candidates = []
        for route in self.routes:
            network = ipaddress.ip_network(route.prefix)
            if host not in network or (network.prefixlen == 0 and not self.default_route):
                continue
            if route.refuses or set(route.links) - self.down:
                candidates.append((-network.prefixlen, route.priority, route))
        if not candidates:
            return None
        _, _, best = min(candidates, key=lambda found: found[:2])
        return None if best.refuses else best.metric
