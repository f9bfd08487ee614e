"""The kernel's routing table as far as next hops need it: which route leads there, how far it is.

In: changes of routes and interfaces, as rs/netlink.py reads them from dumps and as they happen.
Out: for an address the route that leads there. Nothing is worked out in advance: an interface that
goes down costs nothing here, and each next hop is looked up anew, in 1 to 2 microseconds.

A dump is read into a table of its own beside the one in use; changes that arrive meanwhile go into
both, and doing one twice does no harm. So a table read again, because changes were lost or the
kernel does not say what it has dropped (IPv4 routes of an interface that is taken down), never
shows anything half. Memory: about 0.3 KB a route. RFC 4271 9.1.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rs.prefixset import PrefixTable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Hop(NamedTuple):
    """One way of a route: out of which interface, and to whom."""

    link: int
    """Index of the interface; 0 if the kernel does not say."""
    gateway: str
    """An address, or "" where the destination is on the link itself."""


class Route(NamedTuple):
    """What the kernel has for a prefix."""

    metric: int
    """0 on the network of an interface, else the route's priority."""
    priority: int
    hops: tuple[Hop, ...]
    refuses: bool
    """A blackhole, unreachable or prohibit route."""


class RouteChange(NamedTuple):
    """A route is there, or no longer."""

    table: int
    prefix: str
    route: Route
    is_new: bool
    replaces: bool
    """It takes the place of the one with the same prefix and priority."""


class LinkChange(NamedTuple):
    """An interface: whether it can carry packets."""

    link: int
    """Its index."""
    name: str
    is_up: bool
    is_gone: bool


class Note(NamedTuple):
    """Something else: "done" and "error" end a dump, "again" says that it is not consistent.

    "flushed": the kernel may have dropped routes without saying which.
    """

    what: str
    error: int = 0
    """errno of an error."""


class Way(NamedTuple):
    """How an address is reached."""

    prefix: str
    route: Route
    hop: Hop
    """The first one whose interface is up."""


Routes = PrefixTable["tuple[Route, ...]"]


class KernelRoutes:
    """The routes of one table, with longest match."""

    def __init__(self, table: int, *, default_route: bool = False) -> None:
        self.table = table
        self.default_route = default_route
        self.ready = False
        """Whether there has been a whole dump."""
        self.in_step = False
        """Whether changes arrive; without, the table is as old as the loss."""
        self._routes: Routes = PrefixTable()
        self._links: dict[int, bool] = {}
        self._names: dict[int, str] = {}
        self._dump: Routes | None = None
        self._since: list[RouteChange] = []
        """Changes that arrived while a dump was read."""
        self._shared: dict[tuple[Hop, ...], tuple[Hop, ...]] = {}
        """Hops that routes have in common, kept once."""

    def __len__(self) -> int:
        """Return the number of prefixes."""
        return len(self._routes)

    # --- in

    def begin_dump(self) -> None:
        """From here on dumped() gives what there is."""
        self._dump = PrefixTable()
        self._since.clear()
        self._shared.clear()

    def dumped(self, items: Iterable[RouteChange | LinkChange | Note]) -> None:
        """Take a part of a dump."""
        assert self._dump is not None
        for item in items:
            if isinstance(item, RouteChange):
                if item.table == self.table:
                    self._apply(self._dump, item)
            elif isinstance(item, LinkChange):
                self._link(item)

    def end_dump(self) -> None:
        """Use what was dumped from now on."""
        assert self._dump is not None
        self._routes, self._dump = self._dump, None
        for change in self._since:
            self._apply(self._routes, change)
        self._since.clear()
        self.ready = self.in_step = True

    def drop_dump(self) -> None:
        """Forget a dump that cannot be finished."""
        self._dump = None
        self._since.clear()

    def changed(self, items: Iterable[RouteChange | LinkChange | Note]) -> tuple[bool, bool]:
        """Take changes as they happen; return whether any matters here, and whether to dump again.

        That is so where the kernel drops routes and does not say which.
        """
        matters = again = False
        for item in items:
            if isinstance(item, RouteChange):
                if item.table != self.table:
                    continue
                matters = True
                again = not self._apply(self._routes, item) or again
                if self._dump is not None:
                    self._since.append(item)
            elif isinstance(item, LinkChange):
                was = self._links.get(item.link)
                self._link(item)
                if was is not item.is_up or item.is_gone:
                    matters = True
                    again = again or not item.is_up
            elif item.what == "flushed":
                again = True
        return matters, again

    def _link(self, change: LinkChange) -> None:
        if change.is_gone:
            self._links[change.link] = False
            self._names.pop(change.link, None)
        else:
            self._links[change.link] = change.is_up
            self._names[change.link] = change.name

    def _apply(self, routes: Routes, change: RouteChange) -> bool:
        """Put a change into a table; False if it does not fit what is there."""
        route = change.route
        route = route._replace(hops=self._shared.setdefault(route.hops, route.hops))
        there = routes.get(change.prefix) or ()
        if not change.is_new:
            return self._remove(routes, change.prefix, there, route)
        same = [r for r in there if r.priority == route.priority]
        gone: Route | None = None
        if change.replaces and same:
            gone = same[0]
        else:
            # The same again, or IPv6 with another hop for the same route.
            gone = next((r for r in same if set(r.hops) <= set(route.hops)), None)
        kept = [r for r in there if r is not gone]
        routes.add(change.prefix, tuple(sorted([*kept, route], key=lambda r: r.priority)))
        return not (change.replaces and not same)

    @staticmethod
    def _remove(routes: Routes, prefix: str, there: tuple[Route, ...], route: Route) -> bool:
        found = next(
            (r for r in there if r.priority == route.priority and r.hops == route.hops), None
        )
        kept = [r for r in there if r is not found]
        if found is None:
            # One hop less of a route with several, as IPv6 has it.
            found = next(
                (
                    r
                    for r in there
                    if r.priority == route.priority and set(route.hops) < set(r.hops)
                ),
                None,
            )
            if found is None:
                return not there
            left = tuple(hop for hop in found.hops if hop not in route.hops)
            kept = [r._replace(hops=left) if r is found else r for r in there]
        if kept:
            routes.add(prefix, tuple(kept))
        else:
            routes.remove(prefix)
        return True

    # --- out

    def find(self, address: str) -> int | None:
        """Return the metric to an address, None if it cannot be reached."""
        way = self.way(address)
        return None if way is None else way.route.metric

    def way(self, address: str) -> Way | None:
        """Return how an address is reached: by the longest prefix with a usable route.

        Of routes for one prefix the one with the lowest priority counts. A route is usable if one
        of its interfaces is up; one that refuses ends the search.
        """
        prefix = self._routes.match(address)
        while prefix is not None:
            if prefix.endswith("/0") and not self.default_route:
                return None
            for route in self._routes.get(prefix) or ():
                if route.refuses:
                    return None
                for hop in route.hops:
                    if self._links.get(hop.link, True):
                        return Way(prefix, route, hop)
            prefix = self._routes.parent(prefix)
        return None

    def name_of(self, link: int) -> str:
        """Return the name of an interface."""
        return self._names.get(link, f"#{link}" if link else "")
