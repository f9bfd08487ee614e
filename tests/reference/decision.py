"""Rank the paths of one prefix: RFC 4271 9.1 with RFC 4456 9, RFC 5065 5.3 for confederations.

In: `Path` objects of one prefix and `Options`. Out: the eligible ones in rank order, each with the
step that put it behind the one before. A path whose next hop cannot be reached is not eligible
(RFC 4271 9.1.2).

RFC 9494 4.4: long-lived stale paths come last. The order *is* repeated selection: select the best, take it away, select again. That matters because
MED compares only paths of one neighboring AS, so "better than" between two paths is not transitive.

Interpretations:

 1. The neighboring AS is the first AS of the leading AS_SEQUENCE, confederation segments skipped
    (RFC 5065 5.3); a path that is empty or begins with a set belongs to our own AS (9.1.2.2 c).
 2. Deterministic: the best of each neighboring AS first, then the best among these. Otherwise: the
    order of arrival (`received`, then peer index, then path id), each newcomer against the holder.
 3. Oldest is asked only between two external paths (RFC 5004), and only with `prefer_oldest`.
 4. Router id: ORIGINATOR_ID in its place where present (RFC 4456 9). Peer address: IPv4 before IPv6,
    then by number.
 5. The step named for position i > 0 is the one that decides between path i-1 and path i alone.
    Without deterministic MED path i may be the one that wins this comparison.
"""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rs.iana import Decided, SegmentType

from .update import count_ases, is_confed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEFAULT_LOCAL_PREF = 100


@dataclass(frozen=True)
class Options:
    """How the decision process is configured."""

    own_asn: int = 64500
    med_always: bool = False
    deterministic_med: bool = True
    prefer_oldest: bool = True


@dataclass(frozen=True, eq=False)
class Path:
    """One peer's offer for a prefix. Compared by identity."""

    peer: int
    """Index of the peer."""
    peer_asn: int
    ibgp: bool
    router_id: int
    """BGP Identifier of the peer."""
    address: bytes | str
    """The peer's address, text or packed."""
    attrs: dict[str, Any] = field(default_factory=dict)
    path_id: int = 0
    received: float = 0
    """Any rising clock."""
    igp_metric: int | None = 0
    """To the next hop; None where it cannot be reached."""
    client: bool = False
    """Learned from a client of the reflector (RFC 4456)."""
    otc: int = 0
    """ONLY_TO_CUSTOMER that ingress had to add (RFC 9234 5); 0 for none."""
    cluster_id: str = ""
    """Cluster of that client, where it has one of its own."""
    last_choice: bool = False
    """Long-lived stale, to a speaker that knows what that is (RFC 9494 4.3)."""


def neighbor_as(path: Path, options: Options) -> int:
    """Return the AS the route came from, for MED."""
    for kind, asns in path.attrs.get("as_path", ()):
        if is_confed(kind):
            continue
        if kind == SegmentType.AS_SEQUENCE:
            return int(asns[0])
        break
    return options.own_asn


def address_key(address: bytes | str) -> tuple[int, bytes]:
    """Order addresses: IPv4 before IPv6, then by number."""
    packed = ipaddress.ip_address(address).packed if isinstance(address, str) else bytes(address)
    return len(packed), packed


def identifier(path: Path) -> int:
    """BGP Identifier for step f, or the ORIGINATOR_ID in its place (RFC 4456 9)."""
    originator = path.attrs.get("originator_id")
    return path.router_id if originator is None else int(ipaddress.IPv4Address(originator))


def compare(a: Path, b: Path, options: Options) -> tuple[Path, Decided]:
    """The better of two paths and the step that says so. `a` stays where nothing tells them apart."""

    def less(x: Any, y: Any, step: Decided) -> tuple[Path, Decided] | None:
        """Decide for the smaller value."""
        if x == y:
            return None
        return (a if x < y else b), step

    one, two = a.attrs, b.attrs
    same_neighbor = neighbor_as(a, options) == neighbor_as(b, options)
    steps = [
        # RFC 9494 4.4: less preferred than any that is not
        less(a.last_choice, b.last_choice, Decided.LLGR_STALE),
        # 9.1.1: the highest degree of preference
        less(
            -one.get("local_pref", DEFAULT_LOCAL_PREF),
            -two.get("local_pref", DEFAULT_LOCAL_PREF),
            Decided.LOCAL_PREF,
        ),
        # 9.1.2.2 a
        less(
            count_ases(one.get("as_path", ())),
            count_ases(two.get("as_path", ())),
            Decided.AS_PATH_LENGTH,
        ),
        # b
        less(one.get("origin", 0), two.get("origin", 0), Decided.ORIGIN),
        # c: "the lowest" of the same neighboring AS; a missing one is the lowest possible value
        less(one.get("med", 0), two.get("med", 0), Decided.MED)
        if same_neighbor or options.med_always
        else None,
        # d
        less(a.ibgp, b.ibgp, Decided.EBGP_OVER_IBGP),
        # e
        less(a.igp_metric, b.igp_metric, Decided.IGP_METRIC),
        # RFC 5004, between external paths
        less(a.received, b.received, Decided.OLDEST)
        if options.prefer_oldest and not a.ibgp and not b.ibgp
        else None,
        # f, as RFC 4456 9 has it
        less(identifier(a), identifier(b), Decided.ROUTER_ID),
        # RFC 4456 9
        less(
            len(one.get("cluster_list", ())),
            len(two.get("cluster_list", ())),
            Decided.CLUSTER_LIST_LENGTH,
        ),
        # g
        less(address_key(a.address), address_key(b.address), Decided.PEER_ADDRESS),
        # several paths of one peer (RFC 7911)
        less(a.path_id, b.path_id, Decided.PATH_ID),
    ]
    return next((s for s in steps if s is not None), (a, Decided.PATH_ID))


def winner(paths: Iterable[Path], options: Options) -> Path:
    """Compare each with the holder, in the given order."""
    first, *others = paths
    for path in others:
        first, _ = compare(first, path, options)
    return first


def select(paths: list[Path], options: Options) -> Path:
    """The best of `paths`, which are in order of arrival."""
    if not options.deterministic_med:
        return winner(paths, options)
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(neighbor_as(path, options), []).append(path)
    return winner([winner(group, options) for group in groups.values()], options)


def rank(paths: Iterable[Path], options: Options) -> list[tuple[Path, Decided]]:
    """Every eligible path, best first, with the deciding step."""
    left = sorted(
        (p for p in paths if p.igp_metric is not None),
        key=lambda p: (p.received, p.peer, p.path_id),
    )
    order: list[Path] = []
    while left:
        best = select(left, options)
        left.remove(best)
        order.append(best)
    reasons = [Decided.BEST] + [
        compare(ahead, behind, options)[1] for ahead, behind in itertools.pairwise(order)
    ]
    return list(zip(order, reasons, strict=False))


def seen_from(paths: Iterable[Path], metric_of: Callable[[str], int | None]) -> list[Path]:
    """The same paths with the metrics of somebody elsewhere in the AS (RFC 9107 3.1).

    What we cannot reach is eligible for nobody, whatever a table of metrics says.
    """
    return [
        replace(path, igp_metric=metric_of(path.attrs["next_hop"]))
        for path in paths
        if path.igp_metric is not None
    ]
