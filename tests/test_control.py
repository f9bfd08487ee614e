"""What an attribute set says about members, against the oracle's reading of the same communities."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines import Engine
from tests.farends import RS_ASN, SEQ, V4, V6
from tests.reference.export import ExportOptions, Kind, Member, Path, eligible

SLOTS = 8


def engine_of(asns, *, slots=64, **options):
    engine = Engine(slots=slots, **options)
    for slot, asn in enumerate(asns, 1):
        engine.peer(slot, asn)
    return engine


def members_of(engine, n_slots=64, family=V4, **attrs):
    h = engine.intern(family, **attrs)
    found = engine.control.members_of(h, n_slots)
    engine.attrs.drop(h)
    return found


def large(*last):
    return {"large_communities": last}


RS = RS_ASN << 16
CASES = {
    "nothing said": ({}, {1, 2, 3, 4}),
    "not to one": ({"communities": (65002,)}, {1, 3, 4}),
    "not to one, large": (large((RS_ASN, 0, 65002)), {1, 3, 4}),
    "not to one with a 4-octet AS": (large((RS_ASN, 0, 400000)), {1, 2, 3}),
    "to nobody": ({"communities": (RS_ASN,)}, set()),
    "to nobody, large": (large((RS_ASN, 0, 0)), set()),
    "only to one": ({"communities": (RS_ASN, RS | 65001)}, {1}),
    "only to one, forms mixed": (
        {"communities": (RS_ASN,), **large((RS_ASN, 1, 400000))},
        {4},
    ),
    "to all, one named": ({"communities": (RS | 65001,)}, {1, 2, 3, 4}),
    "never beats only": ({"communities": (RS_ASN, RS | 65001, 65001)}, set()),
    "never, large, beats only": (
        {"communities": (RS_ASN, RS | 65001), **large((RS_ASN, 0, 65001))},
        set(),
    ),
    "nobody with that AS": ({"communities": (64999, RS | 64999)}, {1, 2, 3, 4}),
    "another's communities": (
        {"communities": (65002 << 16 | RS_ASN,), **large((65002, 0, 65001), (RS_ASN, 2, 65001))},
        {1, 2, 3, 4},
    ),
    "AS loop": ({"as_path": ((SEQ, (65009, 65003)),)}, {1, 2, 4}),
    "AS loop in a set": ({"as_path": ((SEQ, (65009,)), (1, (65003, 400000)))}, {1, 2}),
    "AS loop beats a request": (
        {"as_path": ((SEQ, (65009, 65003)),), "communities": (RS | 65003,)},
        {1, 2, 4},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    attrs, want = CASES[case]
    engine = engine_of([65001, 65002, 65003, 400000])
    assert set(members_of(engine, 5, **attrs)) == want


def test_the_common_set_stays_common():
    """What names nobody who is here costs no set of its own."""
    engine = engine_of([65001, 65002])
    h = engine.intern(communities=(64999, RS | 64998), large_communities=((RS_ASN, 0, 7),))
    engine.control.members_of(h, 64)
    assert engine.sets.stats()["sets"] == 2
    engine.attrs.drop(h)


def test_two_members_of_one_as():
    engine = engine_of([65001, 65002, 65002])
    assert members_of(engine, 4, communities=(65002,)) == [1]
    assert members_of(engine, 4, communities=(RS_ASN, RS | 65002)) == [2, 3]


def test_sets_go_with_their_attribute_set():
    engine = engine_of([65001, 65002])
    h = engine.intern(communities=(65002,))
    engine.control.members_of(h, 64)
    assert engine.sets.stats()["sets"] == 3
    engine.attrs.drop(h)
    assert engine.sets.stats()["sets"] == 2


def test_communities_may_be_somebody_elses_business():
    engine = engine_of([65001, 65002], communities=False)
    assert members_of(engine, 3, communities=(65002, RS_ASN)) == [1, 2]


def test_as_loops_may_be_passed_on():
    engine = engine_of([65001, 65002], as_loop=False)
    assert members_of(engine, 3, as_path=((SEQ, (65001, 65002)),)) == [1, 2]


def test_bitmaps_that_have_grown_since_the_directory_was_made():
    """The words of a row are those of then."""
    engine = engine_of([65000 + s for s in range(1, 60)])
    engine.rib.add_peer(64, 64999, "10.9.0.1", 0)
    assert engine.sets.words == 2
    for slot in (1, 2, 30, 59):
        found = members_of(engine, 128, communities=(65000 + slot,))
        assert found == [s for s in range(1, 128) if s != slot]


def test_a_slot_without_room_is_refused():
    engine = engine_of([65001])
    with pytest.raises(ValueError, match="slot 64"):
        engine.control.set_peers({65009: [64]})


@pytest.mark.parametrize(
    ("family", "hop", "usable"),
    [
        (V4, "192.0.2.1", True),
        (V4, "10.0.0.1", False),  # our own
        (V4, "0.1.2.3", False),
        (V4, "224.0.0.1", False),
        (V4, "255.255.255.255", False),
        (V4, "223.255.255.255", True),
        (V6, "2001:db8::1", False),  # our own
        (V6, "2001:db8::2", True),
        (V6, "::", False),
        (V6, "::1", True),
        (V6, "ff02::1", False),
    ],
)
def test_next_hops(family, hop, usable):
    engine = engine_of([65001])
    h = engine.intern(family, next_hop=hop)
    assert engine.rib.check_attrs(1, h) == (0 if usable else 4)
    engine.attrs.drop(h)


ASNS = [1, 100, RS_ASN & 0xFFFF, 65001, 65535, 65536, 100001, 4200000000]
TARGETS = st.sampled_from([0, 1, 100, RS_ASN, 65001, 65535, 65536, 100001, 4200000000, 7])


@settings(max_examples=400, deadline=None)
@given(
    rs_asn=st.sampled_from([RS_ASN, 100001, 4200000000, 1]),
    standard=st.lists(st.tuples(TARGETS, TARGETS), max_size=4),
    large=st.lists(st.tuples(TARGETS, st.integers(0, 2), TARGETS), max_size=4, unique=True),
    path=st.lists(TARGETS.filter(bool), min_size=1, max_size=3),
    asns=st.lists(st.sampled_from(ASNS), min_size=1, max_size=SLOTS),
)
def test_against_the_oracle(rs_asn, standard, large, path, asns):
    """With our own AS number of either size, and members that share one."""
    asns = [a for a in asns if a != rs_asn] or [65009]
    engine = engine_of(asns, asn=rs_asn)
    attrs = {
        "as_path": ((SEQ, tuple(path)),),
        "communities": tuple((a & 0xFFFF) << 16 | b & 0xFFFF for a, b in standard) or None,
        "large_communities": tuple(large) or None,
    }
    got = set(members_of(engine, len(asns) + 1, **attrs))
    given_attrs = {k: v for k, v in attrs.items() if v is not None}
    source = Path(99, 0, False, 0, "10.0.0.99", given_attrs)
    want = {
        slot
        for slot, asn in enumerate(asns, 1)
        if eligible(source, Member(slot, asn, Kind.RS_CLIENT), ExportOptions(rs_asn))
    }
    assert got == want
