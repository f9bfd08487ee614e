"""Origin and path validation as the documents put them, on sets and dicts.

In: VRPs as (prefix, max length, AS number), ASPAs as {customer: set of providers}, AS_PATHs as
segments of an attribute dict. Out: "valid", "invalid" and "not-found" (RFC 6811 2) or "unknown"
(draft-ietf-sidrops-aspa-verification-27 5).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Vrp = tuple[str, int, int]
Segments = tuple[tuple[int, tuple[int, ...]], ...]

AS_SET = 1
AS_SEQUENCE = 2


def covers(outer: str, inner: str) -> bool:
    """Whether every address of `inner` is one of `outer`."""
    a = ipaddress.ip_network(outer)
    b = ipaddress.ip_network(inner)
    return a.version == b.version and b.subnet_of(a)  # type: ignore[arg-type]


def origin(segments: Segments) -> int | None:
    """The route origin AS: the last AS of the path, None if the path ends in a set (RFC 6811 2)."""
    if not segments or segments[-1][0] != AS_SEQUENCE:
        return None
    return segments[-1][1][-1]


def validate(vrps: Iterable[Vrp], prefix: str, origin_as: int | None) -> str:
    """RFC 6811 2: Covered and Matched; AS 0 matches nothing (RFC 6483 4)."""
    covering = [vrp for vrp in vrps if covers(vrp[0], prefix)]
    if not covering:
        return "not-found"
    length = ipaddress.ip_network(prefix).prefixlen
    for _, max_length, asn in covering:
        matched = length <= max_length and origin_as is not None and asn == origin_as
        if matched and asn != 0:
            return "valid"
    return "invalid"


def authorized(aspas: Mapping[int, set[int]], x: int, y: int) -> str:
    """5.2, Figure 1: whether AS y is an attested provider of AS x."""
    if x not in aspas:
        return "No Attestation"
    if y in aspas[x]:
        return "Provider+"
    return "Not Provider+"


def compress(segments: Segments) -> list[int]:
    """COMPRESSED_AS_PATH of 5.1 as [AS(1), ..., AS(N)], so origin first."""
    path: list[int] = []
    for _, asns in segments:
        for asn in asns:
            if not path or path[-1] != asn:
                path.append(asn)
    return path[::-1]


def ramps(aspas: Mapping[int, set[int]], path: list[int]) -> tuple[int, int, int, int]:
    """5.3: max_up_ramp, min_up_ramp, max_down_ramp, min_down_ramp."""
    n = len(path)

    def a(i: int) -> int:
        return path[i - 1]

    def up(stops: set[str]) -> int:
        found = [i for i in range(1, n) if authorized(aspas, a(i), a(i + 1)) in stops]
        return min(found) if found else n

    def down(stops: set[str]) -> int:
        found = [j for j in range(2, n + 1) if authorized(aspas, a(j), a(j - 1)) in stops]
        return n - max(found) + 1 if found else n

    sure = {"Not Provider+"}
    either = {"Not Provider+", "No Attestation"}
    return up(sure), up(either), down(sure), down(either)


def verify(
    aspas: Mapping[int, set[int]],
    segments: Segments,
    *,
    downstream: bool,
    neighbor_as: int | None = None,
) -> str:
    """5.4 for upstream paths, 5.5 for downstream paths; neighbor_as None: an RS client's view."""
    path = compress(segments)
    if not path:
        return "invalid"
    if neighbor_as is not None and path[-1] != neighbor_as:
        return "invalid"
    if any(kind == AS_SET for kind, _ in segments):
        return "invalid"
    max_up, min_up, max_down, min_down = ramps(aspas, path)
    if not downstream:
        max_down = min_down = 0
    if max_up + max_down < len(path):
        return "invalid"
    if min_up + min_down < len(path):
        return "unknown"
    return "valid"
