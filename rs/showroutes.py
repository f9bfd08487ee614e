"""Routes as the looking glass sees them: paths of a prefix, of all prefixes, of what was sent.

In: a Router and the time. Out: the dictionaries of `show_types`, ready for JSON, at once for one
prefix, by walks for many (see show.Walk).

A walk keeps no snapshot. A prefix that appears, changes or goes meanwhile is shown as it is when
the walk comes by, each prefix at most once. Handles may mean something else after the loop has run
on, so between two steps only the last prefix is kept, as octets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import orjson

from rs._fastpath.aspa import PATH_STATES
from rs._fastpath.withheld import sources
from rs.attrtext import attributes_json, community_list
from rs.communities import reject_communities
from rs.filterconfig import RejectPolicy
from rs.iana import Decided, Family, RejectReason
from rs.reasons import AspaState, irr_state, reject_words, rpki_state
from rs.show import decided_label, prefix_text, reject_label
from rs.show_types import Match, RoutesView
from rs.showdelivery import Recipient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rs._fastpath.export import View
    from rs.peer import Peer
    from rs.router import Router
    from rs.show import Key, Target
    from rs.show_types import Path, PathState, Route, RouteItem

RawPath = tuple[int, int, int, int, int, int]
"""A path as Table.paths_of gives it: slot, path id, attribute set, flags, reason, ticks."""

PATH_REJECTED = 0x01
PATH_NOT_USABLE = 0x04
"""Flags of a path, see rib.pxd."""
UNUSED = PATH_REJECTED | PATH_NOT_USABLE
BATCH = 256
"""Prefixes fetched from the trie at a time."""
MATCHES: tuple[Match, ...] = get_args(Match)
VIEWS: tuple[RoutesView, ...] = get_args(RoutesView)

_DECIDED = {
    Decided.LOCAL_PREF: ("higher LOCAL_PREF", "lower LOCAL_PREF"),
    Decided.AS_PATH_LENGTH: ("shorter AS path", "longer AS path"),
    Decided.ORIGIN: ("better ORIGIN", "worse ORIGIN"),
    Decided.MED: ("lower MED", "higher MED"),
    Decided.EBGP_OVER_IBGP: ("external", "internal"),
    Decided.IGP_METRIC: ("nearer next hop", "farther next hop"),
    Decided.OLDEST: ("older", "younger"),
    Decided.ROUTER_ID: ("lower router id", "higher router id"),
    Decided.CLUSTER_LIST_LENGTH: ("shorter CLUSTER_LIST", "longer CLUSTER_LIST"),
    Decided.PEER_ADDRESS: ("lower neighbor address", "higher neighbor address"),
    Decided.LLGR_STALE: ("fresh", "long-lived stale"),
    Decided.PATH_ID: ("lower path id", "higher path id"),
}
"""A step of the decision process in words: of the path it prefers, and of the other one."""


def _family_of(prefix: str) -> Family:
    return Family.IPV6_UNICAST if ":" in prefix else Family.IPV4_UNICAST


class Glance:
    """What may be remembered while the loop is held, and no longer: handles get new meanings."""

    def __init__(self, router: Router, now: float) -> None:
        self.router = router
        self.now = now
        self._attributes: dict[int, orjson.Fragment] = {}
        self._slots: dict[View, frozenset[int]] = {}
        self._reached: dict[tuple[View, int], list[int]] = {}

    def attributes(self, attrs_h: int) -> Any:
        """Return an attribute set as JSON, encoded once for all the paths that share it."""
        found = self._attributes.get(attrs_h)
        if found is None:
            encoded = orjson.dumps(attributes_json(self.router.attrs.describe(attrs_h)))
            found = self._attributes[attrs_h] = orjson.Fragment(encoded)
        return found

    def aspa(self, slot: int, attrs_h: int) -> AspaState:
        """Return the state of a path's AS_PATH as received; nothing of it is kept with the path."""
        found = self.router.rib.filter_of(slot)
        peer = self.router.peers.get(slot)
        if found is None or peer is None:
            return "not-checked"
        received_h = self.router.attrs.raw_of(attrs_h)
        state = found.path_state(self.router.attrs, received_h, peer.asn)
        return "not-checked" if state is None else PATH_STATES[state]  # type: ignore[return-value]

    def reached(self, view: View, set_h: int) -> list[int]:
        """Return the slots of the view's members that a member set holds."""
        found = self._reached.get((view, set_h))
        if found is None:
            slots = self._slots.get(view)
            if slots is None:
                slots = frozenset(m.slot for group in view.groups for m in group.members)
                self._slots[view] = slots
            limit = max(slots, default=0) + 1
            found = [s for s in self.router.sets.members(set_h, limit) if s in slots]
            self._reached[view, set_h] = found
        return found

    def advertised(self, family: Family, h: int, raw: list[RawPath]) -> tuple[list[list[int]], int]:
        """Return for each path the slots that have been sent it, and how many have the prefix."""
        slots: list[list[int]] = [[] for _ in raw]
        total = 0
        for view in self.router.exporter.views[family]:
            entries = [(at, self.reached(view, set_h)) for _, _, set_h, at in sources(view.adj, h)]
            if view.adj.addpath:
                total += len(set().union(*(reached for _, reached in entries)))
            else:
                total += sum(len(reached) for _, reached in entries)  # nobody is in two of them
            for at, reached in entries:
                if at >= 0:
                    slots[at] += reached
        return slots, total

    def judge(
        self, prefix: str, raw: list[RawPath], i: int
    ) -> tuple[PathState, str | None, str | None, str]:
        """Return what became of a path, and if a policy refuses it, by which term."""
        found = judge(raw, i)
        slot, _, attrs_h, flags, reason, _ = raw[i]
        peer = self.router.peers.get(slot)
        if not flags & PATH_REJECTED or reason != RejectReason.POLICY_REJECT or peer is None:
            return found
        raw_h = self.router.attrs.raw_of(attrs_h)
        term = self.router.rules.policies.why_rejected(peer, prefix, raw_h, flags)
        if term is None:
            return found  # the policy has changed, and the path is about to be judged again
        words = f"{found[3]} {term}"
        return *found[:3], f"{words}: {term.reason}" if term.reason else words

    def reject_communities(self, raw: RawPath) -> list[str] | None:
        """Return what a rejected path is tagged with, where reject_policy asks for tags."""
        slot, _, _, flags, reason, _ = raw
        peer = self.router.peers.get(slot)
        if peer is None or not flags & PATH_REJECTED:
            return None
        if peer.neighbor.filters.reject_policy is RejectPolicy.REJECT:
            return None
        config = self.router.config
        tags = reject_communities(config.communities, config.router.asn, reason, peer.asn)
        return community_list(tags)

    def _add_optional(self, found: Path | RouteItem, raw: RawPath) -> None:
        """Add what few paths have: communities of a rejected one, what import has changed."""
        tags = self.reject_communities(raw)
        if tags is not None:
            found["reject_communities"] = tags
        raw_h = self.router.attrs.raw_of(raw[2])
        if raw_h != raw[2]:
            found["received"] = self.attributes(raw_h)

    def path(
        self, prefix: str, raw: list[RawPath], i: int, *, members: list[int], names: bool
    ) -> Path:
        """Return the i-th path of a prefix; `members` have it, and are named if wanted."""
        slot, path_id, attrs_h, _, _, ticks = raw[i]
        peer = self.router.peers.get(slot)
        state, decided_by, reject_reason, why = self.judge(prefix, raw, i)
        family = _family_of(prefix)
        found: Path = {
            "neighbor": peer.address if peer is not None else None,
            "asn": peer.asn if peer is not None else 0,
            "description": peer.description if peer is not None else "",
            "path_id": path_id,
            "best": state == "best",
            "state": state,
            "decided_by": decided_by,
            "reject_reason": reject_reason,
            "why": why,
            "rpki": rpki_state(raw[i][3]),
            "irr": irr_state(raw[i][3]),
            "aspa": self.aspa(slot, attrs_h),
            "age_s": self.router.age(ticks, self.now),
            "stale": self.router.rib.is_stale(slot, family, raw[i][3]),
            "attributes": self.attributes(attrs_h),
            "advertised_to": len(members),
        }
        self._add_optional(found, raw[i])
        if names:
            found["members"] = [self.router.peers[s].address for s in sorted(members)]
        return found

    def route(
        self, family: Family, h: int, key: Key, *, names: bool, to: Peer | None = None
    ) -> Route | None:
        """Return a prefix with its paths; None where it has none."""
        raw = self.router.rib.tables[family].paths_of(h)
        if not raw:
            return None
        slots, total = self.advertised(family, h, raw)
        prefix = prefix_text(key)
        found: Route = {
            "prefix": prefix,
            "family": family.label,
            "usable": not raw[0][3] & UNUSED,
            "advertised_to": total,
            "paths": [
                self.path(prefix, raw, i, members=slots[i], names=names) for i in range(len(raw))
            ],
        }
        if to is not None:
            found["to"], each = Recipient(self.router, to).route(
                family, h, prefix, raw, rejected=lambda i: self.judge(prefix, raw, i)[3]
            )
            for path, delivery in zip(found["paths"], each, strict=True):
                path["to"] = delivery
        return found

    def item(self, prefix: str, raw: list[RawPath], i: int) -> RouteItem:
        """Return the i-th path of a prefix for a list of many."""
        slot, path_id, attrs_h, _, _, ticks = raw[i]
        peer = self.router.peers.get(slot)
        state, decided_by, reject_reason, why = self.judge(prefix, raw, i)
        family = _family_of(prefix)
        found: RouteItem = {
            "prefix": prefix,
            "neighbor": peer.address if peer is not None else None,
            "asn": peer.asn if peer is not None else 0,
            "path_id": path_id,
            "state": state,
            "decided_by": decided_by,
            "reject_reason": reject_reason,
            "why": why,
            "rpki": rpki_state(raw[i][3]),
            "irr": irr_state(raw[i][3]),
            "aspa": self.aspa(slot, attrs_h),
            "age_s": self.router.age(ticks, self.now),
            "stale": self.router.rib.is_stale(slot, family, raw[i][3]),
            "attributes": self.attributes(attrs_h),
        }
        self._add_optional(found, raw[i])
        return found

    def sent_items(self, key: Key, h: int, view: View, slot: int) -> list[RouteItem]:
        """Return what a member has been sent for a prefix, with the paths that it came from."""
        sent = sources(view.adj, h, slot)
        raw: list[RawPath] = view.adj.table.paths_of(h) if sent else []
        prefix = prefix_text(key)
        return [
            self._sent_item(prefix, path_id, attrs_h, raw, at if at >= 0 else None)
            for path_id, attrs_h, _, at in sent
        ]

    def _sent_item(
        self, prefix: str, path_id: int, attrs_h: int, raw: list[RawPath], i: int | None
    ) -> RouteItem:
        if i is not None:
            found = self.item(prefix, raw, i)
            found.pop("received", None)
        else:
            # The path has gone or changed, and what follows from that is about to be sent.
            found = {
                "prefix": prefix,
                "neighbor": None,
                "asn": 0,
                "path_id": 0,
                "state": "outdated",
                "decided_by": None,
                "reject_reason": None,
                "why": "about to be replaced",
                "rpki": "not-checked",
                "irr": "not-checked",
                "aspa": "not-checked",
                "age_s": None,
                "stale": False,
                "attributes": {},
            }
        found["path_id"] = path_id
        found["attributes"] = self.attributes(attrs_h)
        return found


def judge(raw: list[RawPath], i: int) -> tuple[PathState, str | None, str | None, str]:
    """Return state, deciding step, reject reason, and the latter two in words, of a path."""
    flags, reason = raw[i][3], raw[i][4]
    if flags & PATH_REJECTED:
        return "rejected", None, reject_label(reason), reject_words(reason)
    if flags & PATH_NOT_USABLE:
        return "unreachable", None, reject_label(reason), reject_words(reason)
    if i:
        return "usable", decided_label(reason), None, _DECIDED[Decided(reason)][1]
    if len(raw) > 1 and not raw[1][3] & UNUSED:
        step = raw[1][4]
        return "best", decided_label(step), None, f"best: {_DECIDED[Decided(step)][0]}"
    return "best", None, None, "best: the only one" if len(raw) == 1 else "best: the only usable"


def route(
    router: Router,
    target: Target,
    match: Match,
    now: float,
    *,
    names: bool,
    to: Peer | None = None,
) -> list[Route]:
    """Return what is there for an address or a prefix: exactly it, or its longest match.

    The longest match is the longest prefix with a usable path, because that is what a router would
    use; longer ones without come before it, because they are what one wonders about. `to`: a
    neighbor of whom it is said why it gets each path, or not.
    """
    glance = Glance(router, now)
    trie = router.rib.tables[target.family].trie
    if match == "exact":
        h = trie.get(target.addr, target.plen)
        found = glance.route(target.family, h, (target.addr, target.plen), names=names, to=to)
        return [found] if found is not None else []
    routes: list[Route] = []
    plen = target.plen
    while plen >= 0:
        h = trie.match(target.addr, plen)
        if h == 0:
            break
        key = trie.key(h)
        found = glance.route(target.family, h, key, names=names, to=to)
        if found is not None:
            routes.append(found)
            if found["usable"]:
                break
        plen = key[1] - 1
    return routes


class LongerWalk:
    """A prefix and all more specific ones, each with its paths."""

    def __init__(
        self, router: Router, target: Target, *, names: bool, to: Peer | None = None
    ) -> None:
        self._router = router
        self._to = to
        self._family = target.family
        self._below = (target.addr, target.plen)
        self._after: Key | None = None
        self._names = names

    def step(self, spent: Callable[[], bool]) -> list[Route] | None:
        """See Walk."""
        glance = Glance(self._router, self._router.now())
        trie = self._router.rib.tables[self._family].trie
        out: list[Route] = []
        while True:
            handles = trie.below(*self._below, self._after, BATCH)
            for h in handles:
                self._after = key = trie.key(h)
                found = glance.route(self._family, h, key, names=self._names, to=self._to)
                if found is not None:
                    out.append(found)
                if spent():
                    return out
            if len(handles) < BATCH:
                return out or None


class RoutesWalk:
    """Paths of many prefixes, by neighbor and by what became of them.

    `after` is the prefix to go on behind. With `limit` the walk ends with the prefix at which so
    many paths are reached, so that the last prefix received is where to go on.
    """

    def __init__(
        self,
        router: Router,
        view: RoutesView,
        *,
        peer: Peer | None = None,
        families: Iterable[Family] = Family,
        below: Target | None = None,
        after: Target | None = None,
        limit: int | None = None,
    ) -> None:
        if view == "advertised" and peer is None:
            raise ValueError("view=advertised needs a neighbor")
        self._router = router
        self._view = view
        self._peer = peer
        self._left = limit
        self._families = [f for f in families if below is None or f is below.family]
        self._below = (below.addr, below.plen) if below is not None else None
        self._after: Key | None = None
        if after is not None:
            self._families = [f for f in self._families if f >= after.family]
            if self._families and self._families[0] is after.family:
                self._after = (after.addr, after.plen)

    def step(self, spent: Callable[[], bool]) -> list[RouteItem] | None:
        """See Walk."""
        glance = Glance(self._router, self._router.now())
        out: list[RouteItem] = []
        while self._families and self._left != 0:
            family = self._families[0]
            trie = self._router.rib.tables[family].trie
            below = self._below or (bytes(trie.width), 0)
            handles = trie.below(*below, self._after, BATCH)
            for h in handles:
                self._after = key = trie.key(h)
                found = self._items(glance, family, h, key)
                out += found
                if self._left is not None:
                    self._left = max(0, self._left - len(found))
                    if self._left == 0:
                        return out
                if spent():
                    return out
            if len(handles) < BATCH:
                self._families.pop(0)
                self._after = None
        return out or None

    def _items(self, glance: Glance, family: Family, h: int, key: Key) -> list[RouteItem]:
        table, peer, view = self._router.rib.tables[family], self._peer, self._view
        if view == "advertised":
            assert peer is not None
            sender = peer.view(family)
            return glance.sent_items(key, h, sender, peer.slot) if sender is not None else []
        raw: list[RawPath] = table.paths_of(h)
        chosen = []
        for i, (slot, _, _, flags, _, _) in enumerate(raw):
            if peer is not None and slot != peer.slot:
                continue
            unused = flags & UNUSED
            if (
                view == "received"
                or (view == "rejected" and flags & PATH_REJECTED)
                or (view == "accepted" and not flags & PATH_REJECTED)
                or (view == "best" and i == 0 and not unused)
            ):
                chosen.append(i)
        if not chosen:
            return []
        prefix = prefix_text(key)
        return [glance.item(prefix, raw, i) for i in chosen]
