"""A policy as its documentation puts it: terms one after the other, on plain data.

In: a route (prefix, attribute dict, what import found out, the neighbor it came from, the neighbor
it is for), policies as TOML gives them. Out: accepted or not, the edits it is due, and which terms
fitted. Nothing of the product's reading or compiling is used: communities, ranges and expressions
over AS paths are read anew here, from docs/policy.md.

Interpretations:

 1. A term sees what terms before it have changed.
 2. Within a term: remove, set, add, prepend.
 3. What is rejected is kept as it was received.
 4. On export the conditions look at the path as the Loc-RIB has it, and at what earlier terms made
    of that; the edits are made on the attributes as they would have been sent.
 5. AS_PATH is read as its AS numbers in order, members of sets included.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from rs.iana import SegmentType, WellKnownCommunity

Attrs = dict[str, Any]
SEQUENCE = int(SegmentType.AS_SEQUENCE)
LLGR_STALE = int(WellKnownCommunity.LLGR_STALE)
NAMES = {
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "no-peer": "65535:65284",
    "blackhole": "65535:666",
    "graceful-shutdown": "65535:0",
    "llgr-stale": "65535:6",
    "no-llgr": "65535:7",
}
KINDS = ("rs-client", "ebgp", "ibgp", "rr-client")
ORIGINS = {"igp": 0, "egp": 1, "incomplete": 2}


@dataclass(frozen=True)
class Neighbor:
    """What a policy may ask of a neighbor."""

    address: str = "10.0.0.99"
    asn: int = 64999
    kind: str = "rs-client"


@dataclass
class Route:
    """One path of a prefix."""

    prefix: str
    attrs: Attrs
    source: Neighbor = Neighbor()
    target: Neighbor | None = None
    rpki: str = "not-checked"
    irr: str = "not-checked"


@dataclass
class World:
    """What policies refer to."""

    prefix_sets: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    as_sets: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    local_asn: int = 64500


@dataclass
class Verdict:
    """What becomes of a route."""

    accepted: bool
    edits: list[dict[str, Any]]
    """Terms whose changes are to be made, in order."""
    fired: list[tuple[str, str]]
    """(policy, term) that fitted; a policy's default is the term `default`."""


# --- values ---------------------------------------------------------------------------------------


def many(value: Any) -> list[Any]:
    """A value, or a list of them."""
    return value if isinstance(value, list) else [value]


def span(value: Any) -> tuple[int, int]:
    """A number, or [lowest, highest]."""
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def part(text: str, number: int) -> bool:
    """Whether one part of a pattern stands for a number."""
    if text == "*":
        return True
    low, _, high = text.partition("-")
    return int(low) <= number <= int(high or low)


def standard(text: str, value: int) -> bool:
    """Whether a pattern stands for a standard community."""
    words = NAMES.get(text, text).split(":")
    return len(words) == 2 and part(words[0], value >> 16) and part(words[1], value & 0xFFFF)


def large(text: str, value: tuple[int, int, int]) -> bool:
    """Whether a pattern stands for a large community."""
    words = text.split(":")
    if len(words) != 3 or words[0] in {"rt", "soo"}:
        return False
    return all(part(word, number) for word, number in zip(words, value, strict=True))


def extended(text: str, value: bytes) -> bool:
    """Whether a pattern stands for an extended community (RFC 4360, 5668)."""
    if re.fullmatch("[0-9A-Fa-f]{16}", text):
        return bytes.fromhex(text) == value
    words = text.split(":")
    if words[0] not in {"rt", "soo"} or value[1] != {"rt": 2, "soo": 3}[words[0]]:
        return False
    if "." in words[1]:
        address = ipaddress.IPv4Address(words[1]).packed
        return value[0] == 1 and value[2:6] == address and part(words[2], int.from_bytes(value[6:]))
    if value[0] == 0:
        first, second = int.from_bytes(value[2:4]), int.from_bytes(value[4:])
    elif value[0] == 2:
        first, second = int.from_bytes(value[2:6]), int.from_bytes(value[6:])
    else:
        return False
    return part(words[1], first) and part(words[2], second)


LISTS = {
    "communities": standard,
    "ext_communities": extended,
    "large_communities": large,
}


def tagged(attrs: Attrs, text: str) -> bool:
    """Whether a community is there that a pattern stands for."""
    return any(fits(text, v) for key, fits in LISTS.items() for v in attrs.get(key, ()))


def encoded(text: str) -> tuple[str, Any]:
    """The attribute and the value of one community."""
    if re.fullmatch("[0-9A-Fa-f]{16}", text):
        return "ext_communities", bytes.fromhex(text)
    words = NAMES.get(text, text).split(":")
    if len(words) == 2:
        return "communities", int(words[0]) << 16 | int(words[1])
    if words[0] not in {"rt", "soo"}:
        return "large_communities", tuple(int(word) for word in words)
    subtype = {"rt": b"\x02", "soo": b"\x03"}[words[0]]
    if "." in words[1]:
        head = b"\x01" + subtype + ipaddress.IPv4Address(words[1]).packed
        return "ext_communities", head + int(words[2]).to_bytes(2)
    asn = int(words[1])
    if asn < 65536:
        return "ext_communities", b"\0" + subtype + asn.to_bytes(2) + int(words[2]).to_bytes(4)
    return "ext_communities", b"\x02" + subtype + asn.to_bytes(4) + int(words[2]).to_bytes(2)


def numbers(attrs: Attrs) -> list[int]:
    """AS numbers of the path, in order."""
    return [asn for _, asns in attrs.get("as_path", ()) for asn in asns]


def length(attrs: Attrs) -> int:
    """AS_PATH length as the decision process counts it (RFC 4271 9.1.2.2 a, RFC 5065 5.3)."""
    count = {SEQUENCE: None, int(SegmentType.AS_SET): 1}
    total = 0
    for kind, asns in attrs.get("as_path", ()):
        if kind in count:
            total += count[kind] or len(asns)
    return total


def origin_as(attrs: Attrs) -> int | None:
    """The AS number at the end of the path; None if it is empty or ends in a set."""
    plain = [s for s in attrs.get("as_path", ()) if s[0] in {SEQUENCE, int(SegmentType.AS_SET)}]
    if not attrs.get("as_path") or attrs["as_path"][-1][0] != SEQUENCE or not plain:
        return None
    return int(attrs["as_path"][-1][1][-1])


def listed(prefix: str, entries: list[tuple[str, int, int]]) -> bool:
    """Whether a prefix is on a list."""
    net = ipaddress.ip_network(prefix)
    for text, low, high in entries:
        outer = ipaddress.ip_network(text)
        if outer.version == net.version and net.subnet_of(outer) and low <= net.prefixlen <= high:  # type: ignore[arg-type]
            return True
    return False


def entry(text: str) -> tuple[str, int, int]:
    """A prefix with "ge N" and "le N"."""
    words = text.split()
    given = dict(zip(words[1::2], map(int, words[2::2]), strict=True))
    plen, bits = int(words[0].partition("/")[2]), 128 if ":" in words[0] else 32
    low = given.get("ge", plen)
    return words[0], low, given.get("le", bits if "ge" in given else plen)


def as_numbers(world: World, items: Any) -> list[tuple[int, int]]:
    """Ranges of AS numbers, those of named sets included."""
    found = []
    for item in many(items):
        if isinstance(item, int):
            found.append((item, item))
        elif re.fullmatch(r"[\d-]+", item):
            low, _, high = item.partition("-")
            found.append((int(low), int(high or low)))
        else:
            found += world.as_sets[item]
    return found


def named(asn: int, ranges: list[tuple[int, int]]) -> bool:
    """Whether an AS number is in one of the ranges."""
    return any(low <= asn <= high for low, high in ranges)


def is_neighbor(neighbor: Neighbor, items: Any) -> bool:
    """Whether a neighbor is one of a list."""
    for item in many(items):
        if item in KINDS:
            if neighbor.kind == item:
                return True
        elif isinstance(item, int) or re.fullmatch(r"[\d-]+", item):
            if named(neighbor.asn, as_numbers(World(), item)):
                return True
        elif ipaddress.ip_address(neighbor.address) in ipaddress.ip_network(item):
            return True
    return False


# --- expressions over AS paths --------------------------------------------------------------------


def to_python(world: World, text: str) -> str:
    """An expression as one of Python's `re` over a string with a character for each AS number."""

    def sets(items: list[tuple[int, int]]) -> str:
        return "".join(f"{chr(low)}-{chr(high)}" for low, high in items)

    def one(match: re.Match[str]) -> str:
        word = match[0]
        if word[0] == "[" and word not in {"[0-9]+", "[0-9]*"}:
            body = word[1:-1].strip()
            ranges: list[tuple[int, int]] = []
            for item in body.removeprefix("^").split():
                ranges += as_numbers(world, item.strip("<>"))
            inverse = "^" if body.startswith("^") else ""
            return f"[{inverse}{sets(ranges)}{BEGIN + END if inverse else ''}]"
        if word[0].isdigit():
            return f"[{sets(as_numbers(world, word))}]"
        if word[0] == "<":
            return f"[{sets(world.as_sets[word[1:-1]])}]"
        return {".": f"[^{BEGIN}{END}]", "^": BEGIN, "$": END, "_": "", " ": ""}[word]

    return re.sub(
        r"\[[^\]]*\]|\{\d*,?\d*\}|\d+(?:-\d+)?|<[^>]*>|[.^$_ ]",
        lambda m: m[0] if m[0][0] == "{" else one(m),
        text,
    )


BEGIN, END = "\ue000", "\ue001"


def path_matches(world: World, text: str, path: list[int]) -> bool:
    """Whether an expression is found in a path; AS numbers here are below 55296."""
    subject = BEGIN + "".join(map(chr, path)) + END
    return re.search(to_python(world, text), subject, re.DOTALL) is not None


# --- terms ----------------------------------------------------------------------------------------


def fits(match: dict[str, Any], route: Route, attrs: Attrs, world: World) -> bool:
    """Whether all conditions hold, for the attributes as they are by now."""
    net = ipaddress.ip_network(route.prefix)
    hop = ipaddress.ip_address(attrs["next_hop"])

    def prefixes(items: Any) -> bool:
        entries = []
        for item in many(items):
            entries += [entry(item)] if "/" in item else world.prefix_sets[item]
        return listed(route.prefix, entries)

    def ranged(value: int | None, limits: Any) -> bool:
        return value is not None and span(limits)[0] <= value <= span(limits)[1]

    origin = origin_as(attrs)
    checks = {
        "family": lambda v: f"ipv{net.version}-unicast" in many(v),
        "prefixes": prefixes,
        "as_path": lambda v: any(path_matches(world, t, numbers(attrs)) for t in many(v)),
        "as_path_length": lambda v: ranged(length(attrs), v),
        "as_path_origin": lambda v: origin is not None and named(origin, as_numbers(world, v)),
        "as_path_contains": lambda v: any(
            named(asn, as_numbers(world, v)) for asn in numbers(attrs)
        ),
        "communities": lambda v: any(tagged(attrs, text) for text in many(v)),
        "all_communities": lambda v: all(tagged(attrs, text) for text in many(v)),
        "next_hop": lambda v: any(hop in ipaddress.ip_network(one) for one in many(v)),
        "origin": lambda v: attrs["origin"] in [ORIGINS[word] for word in many(v)],
        "med": lambda v: ranged(attrs.get("med"), v),
        "local_pref": lambda v: ranged(attrs.get("local_pref", 100), v),
        "rpki": lambda v: route.rpki in many(v),
        "irr": lambda v: route.irr in many(v),
        "from": lambda v: is_neighbor(route.source, v),
        "to": lambda v: route.target is not None and is_neighbor(route.target, v),
    }
    return all(checks[key](value) for key, value in match.items())


def edit(attrs: Attrs, term: dict[str, Any], world: World) -> Attrs:
    """Attributes as a term leaves them."""
    out = dict(attrs)
    given, removed = term.get("set", {}), term.get("remove", {})
    for key, matches in LISTS.items():
        taken = removed.get("communities", ())
        before = out.get(key, ())
        kept = [v for v in before if not any(matches(text, v) for text in taken)]
        if "communities" in given:
            kept = []
        # RFC 9494 4.3: only who names it takes it out.
        if key == "communities" and LLGR_STALE in before and LLGR_STALE not in kept:
            named = any(text in {"llgr-stale", "65535:6"} for text in taken)
            kept = [v for v in before if v in kept or (v == LLGR_STALE and not named)]
        out[key] = tuple(kept)
    if removed.get("med"):
        out.pop("med", None)
    for key in ("local_pref", "med"):
        if key in given:
            out[key] = given[key]
    if "origin" in given:
        out["origin"] = ORIGINS[given["origin"]]
    for address in many(given.get("next_hop", [])):
        if (":" in address) == (":" in out["next_hop"]):
            out["next_hop"] = address
            out.pop("link_local", None)
    for text in (*given.get("communities", ()), *term.get("add", {}).get("communities", ())):
        key, value = encoded(text)
        if value not in out[key]:
            out[key] = (*out[key], value)
    for key in LISTS:
        if not out[key]:
            del out[key]
    if "prepend" in term:
        prepend = term["prepend"]
        times = prepend if isinstance(prepend, int) else prepend.get("times", 1)
        path = out["as_path"]
        leading = path and path[0][0] == SEQUENCE
        asn = path[0][1][0] if leading else world.local_asn
        if isinstance(prepend, dict):
            asn = prepend["asn"]
        if leading and len(path[0][1]) + times <= 255:
            out["as_path"] = ((SEQUENCE, (asn,) * times + path[0][1]), *path[1:])
        else:
            out["as_path"] = ((SEQUENCE, (asn,) * times), *path)
    return out


def run(policies: dict[str, Any], names: list[str], route: Route, world: World) -> Verdict:
    """Run the named policies, in order, over a route."""
    attrs = route.attrs
    edits: list[dict[str, Any]] = []
    fired: list[tuple[str, str]] = []
    for name in names:
        policy = policies[name]
        for index, term in enumerate(policy.get("terms", [])):
            if not fits(term.get("match", {}), route, attrs, world):
                continue
            if "unless" in term and fits(term["unless"], route, attrs, world):
                continue
            fired.append((name, term.get("name", str(index + 1))))
            action = term.get("action", "next")
            if action == "reject":
                return Verdict(False, [], fired)
            if {"set", "add", "remove", "prepend"} & term.keys():
                edits.append(term)
                attrs = edit(attrs, term, world)
            if action == "accept":
                return Verdict(True, edits, fired)
            if action == "next-policy":
                break
        else:
            default = policy.get("default", "next-policy")
            if default != "next-policy":
                fired.append((name, "default"))
                return Verdict(default == "accept", edits if default == "accept" else [], fired)
    return Verdict(True, edits, fired)


def apply(attrs: Attrs, edits: list[dict[str, Any]], world: World) -> Attrs:
    """Attributes after the edits of a verdict."""
    for term in edits:
        attrs = edit(attrs, term, world)
    return attrs
