"""RFC 7606 rule by rule, with the attributes that later documents add, on handmade bytes."""

import ipaddress
import struct

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from tests.updatekit import (
    BASE,
    CONFED_SEQUENCE,
    CONFED_SET,
    DISCARD,
    EXTENDED,
    GOOD,
    N4,
    N6,
    NEXT_HOP,
    OK,
    OPTIONAL,
    ORIGIN,
    PARTIAL,
    PATH,
    RESET,
    SEQUENCE,
    SET,
    TRANSITIVE,
    WELL_KNOWN,
    WITHDRAW,
    attr,
    fault,
    reach,
    segments,
    unreach,
    update,
    with_attr,
)


@pytest.fixture
def table():
    table = AttrTable()
    yield table
    stats = table.stats()
    assert (stats["sets"], stats["wire_bytes"], stats["next_hop_refs"]) == (0, 0, 0)


@pytest.fixture
def external(table):
    return Decoder(table)


@pytest.fixture
def internal(table):
    return Decoder(table, ibgp=True)


# --- RFC 7606 3: the frame and the attribute list ----------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\x01\0\0",  # Withdrawn Routes Length beyond the message
        b"\0\0\0\x01",  # Total Attribute Length beyond the message
        b"\xff\xff\0\0",
        b"\0\0\xff\xff" + BASE,
        b"\0\x02\x08\x0a\0",
    ],
)
def test_3b_lengths_beyond_the_message_reset(external, body):
    assert fault(external.decode(body)) == (RESET, 1, 0)


# Attribute discard also for wrong flags: RFC 7606 3.f, RFC 7311 3.2.
GENTLE = (6, 7, 26)


@pytest.mark.parametrize("kind", sorted(GOOD))
@pytest.mark.parametrize("wrong", [OPTIONAL, WELL_KNOWN, TRANSITIVE])
def test_3c_wrong_flags_withdraw(internal, kind, wrong):
    flags, value = GOOD[kind]
    bad = attr(flags ^ wrong, kind, value)
    r = internal.decode(with_attr(kind, flags ^ wrong, value))
    assert fault(r) == (DISCARD if kind in GENTLE else WITHDRAW, 4, kind)
    assert r["err_data"] == bad
    assert r["announced"] == [("10.1.0.0/16", 0)]
    assert (r["attrs"] is None) == (kind not in GENTLE)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_3c_partial_and_unused_bits_are_no_fault(internal, kind):
    flags, value = GOOD[kind]
    assert internal.decode(with_attr(kind, flags | PARTIAL | 0x0F, value))["outcome"] == OK


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_3d_missing_mandatory_attributes_withdraw(external, missing):
    parts = {1: ORIGIN, 2: PATH, 3: NEXT_HOP}
    del parts[missing]
    r = external.decode(update(b"".join(parts.values()), N4))
    assert fault(r) == (WITHDRAW, 3, missing)
    assert r["err_data"] == bytes((missing,))


def test_3d_nlri_without_any_attribute_withdraws(external):
    r = external.decode(update(b"", N4))
    assert fault(r) == (WITHDRAW, 3, 1)
    assert r["announced"] == [("10.1.0.0/16", 0)]


@pytest.mark.parametrize("missing", [1, 2])
def test_3d_mandatory_attributes_beside_mp_reach(external, missing):
    r = external.decode(update(reach(N6) + {1: PATH, 2: ORIGIN}[missing]))
    assert fault(r) == (WITHDRAW, 3, missing)
    assert r["reach"] == [(1, "2001:db8:1::/48", 0)]


def test_3g_the_first_of_repeated_attributes_counts(external):
    again = attr(WELL_KNOWN, 1, b"\x02") + attr(WELL_KNOWN, 1, b"\x09") + attr(0, 1, b"")
    r = external.decode(update(BASE + again, N4))
    assert fault(r) == (DISCARD, 1, 1)
    assert (r["discarded"], r["attrs"]["origin"]) == (3, 0)


def test_3g_an_unknown_repeated_attribute(external):
    r = external.decode(update(BASE + attr(TRANSITIVE, 99, b"a") + attr(TRANSITIVE, 99, b"b"), N4))
    assert fault(r) == (DISCARD, 1, 99)
    assert r["attrs"]["unknown"] == ((0xE0, 99, b"a"),)


def test_3g_a_discarded_first_is_not_replaced_by_the_second(external):
    good = attr(TRANSITIVE, 7, GOOD[7][1])
    r = external.decode(update(BASE + attr(TRANSITIVE, 7, b"x") + good, N4))
    assert (r["outcome"], r["discarded"]) == (DISCARD, 2)
    assert "aggregator" not in r["attrs"]


@pytest.mark.parametrize("twice", [reach(N6), unreach(N6)])
def test_3g_mp_attributes_twice_reset(external, twice):
    assert fault(external.decode(update(twice + ORIGIN + PATH + twice)))[:2] == (RESET, 1)


def test_3h_the_strongest_approach_counts(external):
    aggregator = attr(TRANSITIVE, 7, b"x")
    med = attr(OPTIONAL, 4, b"x")
    assert fault(external.decode(update(BASE + med + aggregator, N4))) == (WITHDRAW, 5, 4)
    r = external.decode(update(BASE + med + aggregator + attr(0, 99, b""), N4))
    assert fault(r) == (RESET, 2, 99)


@pytest.mark.parametrize("bad", [b"\x21\x0a\0\0\0\0", b"\x18\x0a\0", b"\x18", b"\x08\x0a\x20"])
def test_3i_5_3_bad_prefixes_reset(external, bad):
    for body in (update(BASE, N4 + bad), update(withdrawn=N4 + bad)):
        r = external.decode(body)
        assert fault(r) == (RESET, 10, 0)
        assert (r["announced"], r["withdrawn"]) == ([], [])


@pytest.mark.parametrize(
    "bad", [b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\x01\x21" + bytes(5), b"\x08\x0a"]
)
def test_5_3_bad_prefixes_with_path_identifiers_reset(table, bad):
    assert fault(Decoder(table, addpath=1).decode(update(BASE, bad))) == (RESET, 10, 0)


# --- RFC 7606 4: attribute lengths -------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b"\x40",
        b"\x80\x04",
        b"\x90\x04\x00",
        b"\x80\x04\x04\0\0\0",
        b"\xc0\x08\xff",
        b"\xd0\x08\xff\xff\0",
    ],
)
def test_4_an_attribute_beyond_the_block_withdraws_what_the_message_holds(external, tail):
    r = external.decode(update(BASE + tail, N4))
    whole = len(tail) >= (4 if tail[0] & EXTENDED else 3)
    assert fault(r) == (WITHDRAW, 1, tail[1] if whole else 0)
    assert r["announced"] == [("10.1.0.0/16", 0)]
    r = external.decode(update(reach(N6) + ORIGIN + PATH + tail))
    assert (r["outcome"], r["reach"]) == (WITHDRAW, [(1, "2001:db8:1::/48", 0)])


@pytest.mark.parametrize("kind", [14, 15])
def test_3j_a_cut_mp_attribute_resets(external, kind):
    body = update(BASE + bytes((OPTIONAL, kind, 40)) + b"\0\x02\x01", N4)
    assert fault(external.decode(body)) == (RESET, 9, kind)


@pytest.mark.parametrize("kind", sorted(set(GOOD) - {2, 6}))
def test_4_length_zero_is_malformed(internal, kind):
    r = internal.decode(with_attr(kind, GOOD[kind][0], b""))
    assert r["outcome"] == (DISCARD if kind in (7, 26) else WITHDRAW)
    assert r["err_attr"] == kind


def test_4_length_zero_of_as_path_and_atomic_aggregate_is_fine(external):
    body = update(ORIGIN + attr(WELL_KNOWN, 2, b"") + NEXT_HOP + attr(WELL_KNOWN, 6, b""), N4)
    r = external.decode(body)
    assert (r["outcome"], r["attrs"]["as_path"]) == (OK, ())


# --- RFC 7606 5: routes that cannot be located -------------------------------------------------


@pytest.mark.parametrize(
    "attrs",
    [
        attr(WELL_KNOWN, 1, b"\x07"),
        ORIGIN + attr(WELL_KNOWN, 2, b"\x05\x00"),
        ORIGIN + b"\x40",
        unreach(N6) + attr(WELL_KNOWN, 1, b"\x07"),
        reach(b"") + attr(WELL_KNOWN, 1, b"\x07") + PATH,
    ],
)
def test_5_2_an_error_in_attributes_without_routes_resets(external, attrs):
    assert external.decode(update(attrs))["outcome"] == RESET
    assert external.decode(update(attrs, withdrawn=N4))["outcome"] == RESET


def test_5_2_attribute_discard_without_routes_resets_nothing(external):
    r = external.decode(update(ORIGIN + attr(TRANSITIVE, 7, b"x"), withdrawn=N4))
    assert (r["outcome"], r["withdrawn"]) == (DISCARD, [("10.1.0.0/16", 0)])


@pytest.mark.parametrize("attrs", [ORIGIN, ORIGIN + PATH, BASE, reach(b"") + ORIGIN + PATH])
def test_attributes_without_routes_are_valid(table, external, attrs):
    """RFC 4271 6.3, last paragraph; nothing is mandatory then."""
    r = external.decode(update(attrs))
    assert (r["outcome"], r["eor"], r["attrs"], r["mp_attrs"]) == (OK, None, None, None)
    assert table.stats()["misses"] == 0


@pytest.mark.parametrize(
    "mp",
    [
        attr(OPTIONAL, 14, b"\0\x02\x01\0"),
        attr(OPTIONAL, 14, b"\0\x02"),
        attr(OPTIONAL, 15, b"\0\x02"),
        attr(OPTIONAL, 14, b""),
        attr(OPTIONAL, 15, b""),
        attr(WELL_KNOWN, 14, reach(N6)[3:]),
        attr(TRANSITIVE, 14, reach(N6)[3:]),
        attr(TRANSITIVE, 15, unreach(N6)[3:]),
        reach(b"\x81" + bytes(17)),
        reach(b"\x30" + bytes(5)),
        unreach(b"\x81" + bytes(17)),
        unreach(N6 + b"\x01"),
        reach(b"\x21" + bytes(5), "192.0.2.1", afi=1),
    ],
)
def test_5_3_malformed_mp_attributes_reset(external, mp):
    """RFC 4760 7: Optional Attribute Error, with the attribute as data."""
    r = external.decode(update(BASE + mp, N4))
    assert fault(r) == (RESET, 9, mp[1])
    assert r["err_data"] == mp
    assert r["announced"] == []


# --- RFC 7606 7: attribute by attribute --------------------------------------------------------


@pytest.mark.parametrize(("value", "subcode"), [(b"\x03", 6), (b"\xff", 6), (b"\0\0", 5)])
def test_7_1_origin(external, value, subcode):
    r = external.decode(with_attr(1, WELL_KNOWN, value))
    assert fault(r) == (WITHDRAW, subcode, 1)
    assert r["err_data"] == attr(WELL_KNOWN, 1, value)


@pytest.mark.parametrize(
    "value",
    [
        b"\x02",  # underrun
        b"\x02\x01\0\0\xfb",  # overrun
        b"\x02\x02\0\0\xfb\xf4",
        segments((SEQUENCE, (64500,))) + b"\x02",
        segments((SEQUENCE, (64500,))) + b"\x02\0",  # empty segment
        b"\x02\0",
        b"\0\x01\0\0\xfb\xf4",  # segment types
        b"\x05\x01\0\0\xfb\xf4",
        b"\xff\x01\0\0\xfb\xf4",
        segments((SEQUENCE, (0,))),  # RFC 7607
        segments((SEQUENCE, (64500, 0, 64501))),
        segments((SEQUENCE, (64500,)), (SET, (1, 0))),
    ],
)
def test_7_2_as_path(external, value):
    r = external.decode(with_attr(2, WELL_KNOWN, value))
    assert fault(r) == (WITHDRAW, 11, 2)
    assert r["announced"] == [("10.1.0.0/16", 0)]


def test_7_2_all_segment_types_are_syntax(external):
    """What a confederation segment means outside of one is for the import policy."""
    path = ((CONFED_SEQUENCE, (1,)), (CONFED_SET, (2, 3)), (SEQUENCE, (4,)), (SET, (5, 6)))
    r = external.decode(with_attr(2, WELL_KNOWN, segments(*path)))
    assert (r["outcome"], r["attrs"]["as_path"]) == (OK, path)


@pytest.mark.parametrize("value", [b"\xc0\0\x02", b"\xc0\0\x02\x01\0", bytes(16)])
def test_7_3_next_hop_length(external, value):
    assert fault(external.decode(with_attr(3, WELL_KNOWN, value))) == (WITHDRAW, 5, 3)


@pytest.mark.parametrize("hop", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_7_3_any_four_octets_are_well_formed(external, hop):
    """Whether they are a usable host address is asked at import, which keeps the route."""
    r = external.decode(with_attr(3, WELL_KNOWN, ipaddress.ip_address(hop).packed))
    assert (r["outcome"], r["attrs"]["next_hop"]) == (OK, hop)
    r = external.decode(update(reach(N4, hop, afi=1) + ORIGIN + PATH))
    assert (r["outcome"], r["mp_attrs"]["next_hop"]) == (OK, hop)


def test_7_3_next_hop_beside_mp_reach_is_ignored(external):
    """RFC 4760 3; even one that would be malformed."""
    r = external.decode(update(reach(N6) + ORIGIN + PATH + attr(0, 3, b"xx")))
    assert (r["outcome"], r["mp_attrs"]["next_hop"]) == (OK, "2001:db8::1")


@pytest.mark.parametrize("kind", [4, 35])
@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_7_4_and_rfc_9234_four_octets(external, kind, length):
    r = external.decode(with_attr(kind, GOOD[kind][0], bytes(length)))
    assert fault(r) == (WITHDRAW, 5, kind)


@pytest.mark.parametrize(
    ("kind", "length"), [(5, 3), (5, 5), (9, 3), (9, 8), (10, 3), (10, 5), (10, 6)]
)
def test_7_5_7_9_7_10_from_an_internal_neighbor(internal, kind, length):
    assert fault(internal.decode(with_attr(kind, GOOD[kind][0], bytes(length)))) == (
        WITHDRAW,
        5,
        kind,
    )


@pytest.mark.parametrize("kind", [5, 9, 10])
@pytest.mark.parametrize("form", ["good", "length", "flags"])
def test_7_5_7_9_7_10_from_an_external_neighbor(external, kind, form):
    """Discarded, however they look."""
    flags, value = GOOD[kind]
    flags, value = (flags, b"x") if form == "length" else (flags, value)
    flags ^= 0xC0 if form == "flags" else 0
    r = external.decode(with_attr(kind, flags, value))
    assert (r["outcome"], r["err_attr"], r["discarded"]) == (DISCARD, kind, 1)
    assert set(r["attrs"]) == {"origin", "as_path", "next_hop"}


def test_7_6_atomic_aggregate(external):
    r = external.decode(with_attr(6, WELL_KNOWN, b"x"))
    assert fault(r) == (DISCARD, 5, 6)
    assert "atomic_aggregate" not in r["attrs"]


@pytest.mark.parametrize("length", [1, 6, 7, 9])
def test_7_7_aggregator(external, length):
    r = external.decode(with_attr(7, TRANSITIVE, b"\x01" * length))
    assert (*fault(r), r["discarded"]) == (DISCARD, 5, 7, 1)
    assert "aggregator" not in r["attrs"]


def test_7_7_aggregator_of_as_0_is_discarded(table, external):
    """RFC 7607 2."""
    assert fault(external.decode(with_attr(7, TRANSITIVE, bytes(8)))) == (DISCARD, 9, 7)
    old = Decoder(table, as4=False)
    path = attr(WELL_KNOWN, 2, segments((SEQUENCE, (64500,)), width=2))
    r = old.decode(update(ORIGIN + path + NEXT_HOP + attr(TRANSITIVE, 7, bytes(6)), N4))
    assert fault(r) == (DISCARD, 9, 7)


@pytest.mark.parametrize(("kind", "unit"), [(8, 4), (16, 8), (32, 12)])
def test_7_8_7_14_and_rfc_8092_communities(external, kind, unit):
    for length in (1, unit - 1, unit + 1, 3 * unit - 2):
        r = external.decode(with_attr(kind, TRANSITIVE, bytes(length)))
        assert fault(r) == (WITHDRAW, 5, kind)
    assert external.decode(with_attr(kind, TRANSITIVE, bytes(3 * unit)))["outcome"] == OK


@pytest.mark.parametrize("length", [0, 8, 15, 17, 24, 48])
@pytest.mark.parametrize("afi", [1, 2])
def test_7_11_next_hop_length_of_mp_reach(table, afi, length):
    decoder = Decoder(table, ext_next_hop=True)
    mp = attr(OPTIONAL, 14, struct.pack(">HBB", afi, 1, length) + bytes(length + 1))
    assert fault(decoder.decode(update(mp + ORIGIN + PATH))) == (RESET, 9, 14)


def test_7_11_next_hop_beyond_the_attribute(external):
    mp = attr(OPTIONAL, 14, struct.pack(">HBB", 2, 1, 16) + bytes(16))
    assert fault(external.decode(update(mp + ORIGIN + PATH))) == (RESET, 9, 14)


@pytest.mark.parametrize(
    "tlvs",
    [
        b"\x01\x00",
        b"\x01\x00\x02",
        b"\x01\x00\x0b" + bytes(7),
        b"\x01\x00\x0a" + bytes(7),
        b"\x01\x00\x0b" + b"\xff" * 8,
        b"\x02\x00\x00",
        b"\x02\x00\x04\x00\x01",
    ],
)
def test_rfc_7311_malformed_aigp_is_discarded(internal, tlvs):
    r = internal.decode(with_attr(26, OPTIONAL, tlvs))
    assert fault(r) == (DISCARD, 9, 26)
    assert "aigp" not in r["attrs"]


def test_rfc_7311_aigp_with_more_tlvs_is_kept(internal, external):
    tlvs = b"\x02\x00\x03" + b"\x01\x00\x0b" + bytes(8) + b"\x01\x00\x0b" + b"\xff" * 8
    body = with_attr(26, OPTIONAL, tlvs)
    assert internal.decode(body)["attrs"]["aigp"] == tlvs
    # 3.1: not enabled towards external neighbors, hence as if it were unknown.
    r = external.decode(body)
    assert (r["outcome"], "aigp" in r["attrs"]) == (OK, False)


@pytest.mark.parametrize("count", [3, 16, 17, 40, 300])
def test_rfc_8092_repeated_values_are_removed(external, count):
    items = [(i % max(2, count // 2), 2, i % 3) for i in range(count)]
    value = b"".join(struct.pack(">3I", *item) for item in items)
    r = external.decode(with_attr(32, TRANSITIVE, value))
    assert (r["outcome"], r["discarded"]) == (OK, 0)
    assert r["attrs"]["large_communities"] == tuple(dict.fromkeys(items))


def test_unrecognized_attributes(external):
    """RFC 4271 5, 6.3."""
    well_known = attr(WELL_KNOWN, 99, b"x")
    r = external.decode(update(BASE + well_known, N4))
    assert (*fault(r), r["err_data"]) == (RESET, 2, 99, well_known)
    r = external.decode(update(BASE + attr(OPTIONAL, 99, b"x"), N4))
    assert (r["outcome"], r["discarded"], "unknown" in r["attrs"]) == (OK, 0, False)
    for flags in (TRANSITIVE, TRANSITIVE | PARTIAL):
        r = external.decode(update(BASE + attr(flags, 200, b"") + attr(flags, 99, bytes(300)), N4))
        assert r["outcome"] == OK
        assert r["attrs"]["unknown"] == ((0xE0, 99, bytes(300)), (0xE0, 200, b""))
