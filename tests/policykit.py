"""Random policies and routes that meet: few AS numbers, communities and prefixes of each kind.

In: hypothesis' choices. Out: policies as TOML would give them, routes as attribute dicts, and the
product's parts to run them with.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rs._fastpath.asnset import AsnSet
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.edits import Edits
from rs._fastpath.pfxset import PrefixSet
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs.irr import Sets
from rs.policycompile import Compiler
from rs.policyconfig import parse_policy
from tests.reference import policy as model

LOCAL_ASN = 64500
ASNS = st.sampled_from([1, 2, 3, 4, 64501])
ASN_ITEMS = st.one_of(ASNS, st.sampled_from(["1-2", "3-64501", "own"]))
PREFIXES = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "2001:db8::/32",
            "2001:db8:1::/48"]  # fmt: skip
RANGES = ["10.0.0.0/8", "10.0.0.0/8 le 16", "10.0.0.0/8 ge 17", "0.0.0.0/0 ge 24 le 24", "::/0 le 128",
          "2001:db8::/32 ge 48", "listed"]  # fmt: skip
VALUES = ["1:1", "1:2", "2:1", "64500:7", "no-export", "1:1:1", "1:1:2", "64500:0:7", "rt:1:1", "rt:70000:2",
          "soo:1:1", "rt:192.0.2.1:3", "800000000000abcd"]  # fmt: skip
PATTERNS = [*VALUES, "*:1", "1:*", "1:1-5", "*:*", "1:*:2", "*:*:*", "64500:0-1:*", "rt:*:*", "rt:1:*", "soo:*:1",
            "rt:192.0.2.1:*"]  # fmt: skip
REGEXES = ["^1", "2$", "_2_", "^$", "^1_2", "^1 .* 3$", "(1|2) 3", "^[1 2]+$", "^(1_)+2", ".{3}", "[^1-3]", "<own>",
           "^.?$", "1{2,}", "^(1|2)?3*$", "64501", "2-4 2-4", "^.(1|<own> 2){1,2}$", "(^|2)1($|3)"]  # fmt: skip
HOPS = ["10.9.0.1", "10.9.0.2", "2001:db8::9", "2001:db8::a"]
NETS = ["10.9.0.1", "10.9.0.0/24", "2001:db8::/64", "2001:db8::a"]
NEIGHBORS = [
    model.Neighbor("10.9.0.1", 1, "rs-client"),
    model.Neighbor("10.9.0.2", 2, "ebgp"),
    model.Neighbor("2001:db8::9", 64500, "rr-client"),
]
WHO = [1, 2, "1-2", "10.9.0.2", "10.9.0.0/24", "2001:db8::/32", "ibgp", "ebgp", "rr-client", "rs-client"]  # fmt: skip
WORLD = model.World(
    prefix_sets={"listed": [("192.0.2.0/24", 24, 24), ("10.1.0.0/16", 16, 24)]},
    as_sets={"own": [(2, 2), (64501, 64501)]},
    local_asn=LOCAL_ASN,
)


def some(items: Any, size: int = 3) -> Any:
    """One value, or a list of different ones."""
    item = st.sampled_from(items) if isinstance(items, list) else items
    return st.one_of(item, st.lists(item, min_size=1, max_size=size, unique=True))


def listing(items: list[str], size: int = 3, least: int = 1) -> Any:
    return st.lists(st.sampled_from(items), min_size=least, max_size=size, unique=True)


def limits(numbers: list[int]) -> Any:
    number = st.sampled_from(numbers)
    return st.one_of(number, st.tuples(number, number).map(sorted))


STATES = {
    "rpki": ["valid", "unknown", "invalid", "not-checked"],
    "irr": ["valid", "invalid", "not-checked"],
}


def matches(*, export: bool = False) -> Any:
    keys: dict[str, Any] = {
        "family": some(["ipv4-unicast", "ipv6-unicast"]),
        "prefixes": some(RANGES),
        "as_path": some(REGEXES, 2),
        "as_path_length": limits([0, 1, 2, 3, 5]),
        "as_path_origin": some(ASN_ITEMS),
        "as_path_contains": some(ASN_ITEMS, 2),
        "communities": some(PATTERNS),
        "all_communities": some(PATTERNS, 2),
        "next_hop": some(NETS),
        "origin": some(["igp", "egp", "incomplete"]),
        "med": limits([0, 5, 10]),
        "local_pref": limits([0, 100, 200]),
        "rpki": some(STATES["rpki"]),
        "irr": some(STATES["irr"]),
        "from": some(WHO),
    }
    if export:
        keys["to"] = some(WHO)
    return st.lists(st.sampled_from(list(keys)), max_size=2, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({key: keys[key] for key in chosen})
    )


@st.composite
def terms(draw: Any, *, export: bool = False) -> dict[str, Any]:
    term: dict[str, Any] = {"match": draw(matches(export=export))}
    if draw(st.integers(0, 4)) == 0:
        term["unless"] = draw(matches(export=export))
    term["action"] = draw(
        st.sampled_from(["accept", "reject", "next", "next", "next", "next-policy"])
    )
    if term["action"] != "reject":
        changes = draw(st.sets(st.sampled_from(["set", "add", "remove", "prepend"])))
        if not changes and term["action"] == "next":
            changes = {"add"}
        if "set" in changes:
            term["set"] = draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "local_pref": st.sampled_from([0, 100, 200]),
                        "med": st.sampled_from([0, 5, 7]),
                        "origin": st.sampled_from(["igp", "egp", "incomplete"]),
                        "next_hop": st.sampled_from(["10.9.0.2", ["2001:db8::a", "10.9.0.1"]]),
                        "communities": listing(VALUES, least=0),
                    },
                ).filter(bool)
            )
        if "add" in changes:
            term["add"] = {"communities": draw(listing(VALUES))}
        if "remove" in changes:
            term["remove"] = {"communities": draw(listing(PATTERNS))}
            if "med" not in term.get("set", {}) and draw(st.booleans()):
                term["remove"]["med"] = True
        if "prepend" in changes:
            term["prepend"] = draw(st.sampled_from([1, 2, {"asn": 4, "times": 2}, {"asn": 3}]))
    return term


def policies(*, export: bool = False) -> Any:
    """One to three policies by name."""
    one = st.fixed_dictionaries(
        {"terms": st.lists(terms(export=export), max_size=5)},
        optional={"default": st.sampled_from(["accept", "reject", "next-policy"])},
    )
    return st.lists(one, min_size=1, max_size=3).map(
        lambda found: {f"p{i}": policy for i, policy in enumerate(found)}
    )


@st.composite
def attributes(draw: Any, v6: bool) -> dict[str, Any]:
    """An attribute dict; its path may be empty, or hold a set."""
    path: list[tuple[int, tuple[int, ...]]] = []
    if asns := draw(st.lists(ASNS, max_size=4)):
        path.append((2, tuple(asns)))
    if draw(st.integers(0, 5)) == 0:
        path.append((1, tuple(draw(st.lists(ASNS, min_size=1, max_size=2, unique=True)))))
    attrs: dict[str, Any] = {
        "origin": draw(st.integers(0, 2)),
        "as_path": tuple(path),
        "next_hop": draw(st.sampled_from(HOPS[2:] if v6 else HOPS[:2])),
    }
    for key in ("med", "local_pref"):
        if draw(st.booleans()):
            attrs[key] = draw(st.sampled_from([0, 5, 100, 200]))
    for text in draw(listing(VALUES, 6, least=0)):
        kind, value = model.encoded(text)
        attrs[kind] = (*attrs.get(kind, ()), value)
    return attrs


@st.composite
def routes(draw: Any) -> model.Route:
    prefix = draw(st.sampled_from(PREFIXES))
    return model.Route(
        prefix,
        draw(attributes(":" in prefix)),
        draw(st.sampled_from(NEIGHBORS)),
        rpki=draw(st.sampled_from(STATES["rpki"])),
        irr=draw(st.sampled_from(STATES["irr"])),
    )


RPKI = {"not-checked": 0, "valid": 1, "unknown": 2, "invalid": 3}
IRR = {"not-checked": 0, "valid": 0x1C, "invalid": 0x10}
"""Bits of the import filter, see filter.pxd."""


class Bench:
    """An attribute table with all that policies need, and the compiler of a few policies."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.attrs = AttrTable()
        members = MemberSets(64)
        self.rib = Rib(self.attrs, members, Control(self.attrs, members, LOCAL_ASN, 1, 1))
        self.rewriter = Rewriter(self.rib)
        self.sets = Sets()
        for name, entries in WORLD.prefix_sets.items():
            self.sets.prefixes[name] = PrefixSet()
            for one in entries:
                self.sets.prefixes[name].add(*one)
        for name, ranges in WORLD.as_sets.items():
            self.sets.asns[name] = AsnSet(ranges=ranges)
        self.edits = Edits(self.rib.memo, LOCAL_ASN)
        self.compiler = Compiler(
            {name: parse_policy(policy) for name, policy in found.items()},
            self.sets,
            self.edits,
            None,
        )
