"""The attribute table: identity, reference counts, summaries and attribute dicts."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs._fastpath.attrs import AttrTable

SEQUENCE, SET, CONFED_SEQUENCE, CONFED_SET = 2, 1, 3, 4
BASE = {"origin": 0, "as_path": ((SEQUENCE, (64500, 65551)),), "next_hop": "192.0.2.1"}
FULL = BASE | {
    "med": 7,
    "local_pref": 200,
    "atomic_aggregate": True,
    "aggregator": (65551, "192.0.2.9"),
    "communities": (0xFFFF0000, 1),
    "originator_id": "192.0.2.7",
    "cluster_list": ("10.0.0.1", "10.0.0.2"),
    "ext_communities": (b"\x00\x02\xfb\xf4\x00\x00\x00\x01",),
    "aigp": b"\x01\x00\x0b" + bytes(7) + b"\x05",
    "large_communities": ((64500, 1, 2), (0, 0, 0)),
    "otc": 64500,
    "unknown": ((0xE0, 99, b"x"), (0xE0, 200, b"")),
}


@pytest.fixture
def table():
    table = AttrTable()
    yield table
    stats = table.stats()
    assert (stats["sets"], stats["wire_bytes"], stats["next_hops"], stats["next_hop_refs"]) == (
        0,
        0,
        0,
        0,
    )


def test_a_dict_comes_back_as_it_went_in(table):
    h = table.intern_attrs(FULL, 0)
    assert table.describe(h) == FULL
    table.drop(h)


def test_the_wire_bytes_are_canonical(table):
    h = table.intern_attrs(BASE | {"communities": tuple(range(64)), "med": 1}, 0)
    assert table.wire_bytes(h) == (
        bytes.fromhex("40010100 40020a0202 0000fbf4 0001000f 400304c0000201 80040400000001")
        + b"\xd0\x08\x01\x00"
        + b"".join(i.to_bytes(4, "big") for i in range(64))
    )
    table.drop(h)


@pytest.mark.parametrize(
    ("next_hop", "link_local", "family", "nh_len"),
    [
        ("2001:db8::1", None, 1, 16),
        ("2001:db8::1", "fe80::1", 1, 32),
        ("fe80::1", None, 1, 16),
        ("2001:db8::1", None, 0, 16),
    ],
)
def test_an_ipv6_next_hop_stands_beside_the_bytes(table, next_hop, link_local, family, nh_len):
    attrs = BASE | {"next_hop": next_hop}
    if link_local:
        attrs["link_local"] = link_local
    h = table.intern_attrs(attrs, family)
    assert table.describe(h) == attrs
    assert table.summary(h)["nh_len"] == nh_len
    assert b"\x40\x03\x04" not in table.wire_bytes(h)
    table.drop(h)


def test_equal_dicts_share_a_set_and_different_next_hops_do_not(table):
    a = table.intern_attrs(FULL, 0)
    b = table.intern_attrs(dict(reversed(FULL.items())), 0)
    c = table.intern_attrs(FULL | {"next_hop": "192.0.2.2"}, 0)
    six = [
        table.intern_attrs(FULL | {"next_hop": hop}, 1) for hop in ("2001:db8::1", "2001:db8::2")
    ]
    assert a == b
    assert len({a, c, *six}) == 4
    assert table.refs(a) == 2
    assert table.stats()["next_hops"] == 4
    for h in (a, b, c, *six):
        table.drop(h)


def test_a_handle_not_in_use_is_refused(table):
    h = table.intern_attrs(BASE, 0)
    table.drop(h)
    for handle in (0, h, h + 1, 2**32 - 1):
        for call in (table.describe, table.wire_bytes, table.refs, table.drop, table.summary):
            with pytest.raises(KeyError, match=str(handle)):
                call(handle)


def path_summary(table, *segments):
    h = table.intern_attrs(BASE | {"as_path": segments}, 0)
    s = table.summary(h)
    table.drop(h)
    return (
        s["path_len"],
        s["first_as"],
        s["origin_as"],
        bool(s["flags"] & 0x20),
        bool(s["flags"] & 0x40),
    )


def test_path_length_and_ends(table):
    assert path_summary(table) == (0, 0, 0, False, False)
    assert path_summary(table, (SEQUENCE, (1, 2, 3))) == (3, 1, 3, False, False)
    assert path_summary(table, (SEQUENCE, (1, 2)), (SET, (3, 4))) == (3, 1, 0, True, False)
    assert path_summary(table, (SET, (3, 4)), (SEQUENCE, (5,))) == (2, 0, 5, True, False)
    assert path_summary(table, (SEQUENCE, (1,) * 255), (SEQUENCE, (2,))) == (
        256,
        1,
        2,
        False,
        False,
    )
    # RFC 5065 5.3: confederation segments count nothing and are not the neighboring AS.
    assert path_summary(table, (CONFED_SEQUENCE, (9, 8)), (SEQUENCE, (1, 2))) == (
        2,
        1,
        2,
        False,
        True,
    )
    assert path_summary(table, (SEQUENCE, (1,)), (CONFED_SET, (9, 8))) == (1, 1, 0, True, True)


def test_summary_of_a_full_set(table):
    h = table.intern_attrs(FULL, 0)
    assert table.summary(h) == {
        "first_as": 64500,
        "origin_as": 65551,
        "path_len": 2,
        "med": 7,
        "local_pref": 200,
        "originator": 0xC0000207,
        "cluster_len": 2,
        "origin": 0,
        "nh_len": 4,
        "flags": 0x001 | 0x002 | 0x004 | 0x008 | 0x010 | 0x080 | 0x100 | 0x200 | 0x400,
        "metric": 0,
    }
    table.drop(h)


def test_defaults_of_an_almost_empty_set(table):
    h = table.intern_attrs(BASE | {"as_path": (), "origin": 2}, 0)
    s = table.summary(h)
    assert (s["med"], s["local_pref"], s["originator"], s["origin"]) == (0, 100, 0, 2)
    assert s["flags"] == 0x080
    table.drop(h)


@pytest.mark.parametrize("key", ["communities", "ext_communities", "large_communities"])
def test_any_kind_of_community_sets_the_flag(table, key):
    h = table.intern_attrs(BASE | {key: FULL[key]}, 0)
    assert table.summary(h)["flags"] == 0x090
    table.drop(h)


def test_repeated_large_communities_are_dropped(table):
    h = table.intern_attrs(BASE | {"large_communities": ((1, 2, 3), (4, 5, 6), (1, 2, 3))}, 0)
    assert table.describe(h)["large_communities"] == ((1, 2, 3), (4, 5, 6))
    table.drop(h)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"origin": None}, "origin"),
        ({"origin": 3}, "origin"),
        ({"as_path": None}, "as_path"),
        ({"as_path": ((2, ()),)}, "as_path"),
        ({"as_path": ((5, (1,)),)}, "as_path"),
        ({"as_path": ((2, (0,)),)}, "as_path"),
        ({"as_path": ((2, (2**32,)),)}, "as_path"),
        ({"as_path": ((2, (1,) * 256),)}, "as_path"),
        ({"as_path": 5}, "as_path"),
        ({"next_hop": None}, "next_hop"),
        ({"next_hop": "192.0.2"}, "next_hop"),
        ({"next_hop": "192.0.2.1/32"}, "next_hop"),
        ({"next_hop": "ä"}, "next_hop"),
        ({"next_hop": 5}, "next_hop"),
        ({"link_local": "fe80::1"}, "link_local"),
        ({"next_hop": "2001:db8::1", "link_local": "192.0.2.1"}, "link_local"),
        ({"next_hop": "2001:db8::1", "link_local": 5}, "link_local"),
        ({"med": -1}, "med"),
        ({"med": 2**32}, "med"),
        ({"local_pref": "x"}, "local_pref"),
        ({"atomic_aggregate": False}, "atomic_aggregate"),
        ({"aggregator": (0, "192.0.2.1")}, "aggregator"),
        ({"aggregator": (1, "2001:db8::1")}, "aggregator"),
        ({"aggregator": (1,)}, "aggregator"),
        ({"communities": ()}, "communities"),
        ({"communities": (2**32,)}, "communities"),
        ({"communities": 5}, "communities"),
        ({"ext_communities": (b"1234567",)}, "ext_communities"),
        ({"large_communities": ((1, 2),)}, "large_communities"),
        ({"originator_id": "x"}, "originator_id"),
        ({"cluster_list": ("::1",)}, "cluster_list"),
        ({"otc": "x"}, "otc"),
        ({"aigp": b""}, "aigp"),
        ({"unknown": ((0xC0, 8, b""),)}, "unknown"),
        ({"unknown": ((0xC0, 256, b""),)}, "unknown"),
        ({"unknown": ((0x80, 99, b""),)}, "unknown"),
        ({"unknown": ((0x40, 99, b""),)}, "unknown"),
        ({"unknown": ((0xC0, 99, "x"),)}, "unknown"),
        ({"unknown": ((0xC0, 99, b""), (0xC0, 99, b""))}, "unknown"),
        ({"unknown": (99,)}, "unknown"),
        ({"communitys": (1,)}, "communitys"),
    ],
)
def test_nonsense_names_its_key(table, change, key):
    attrs = {k: v for k, v in (BASE | change).items() if v is not None}
    with pytest.raises(ValueError, match=f"^{key}: "):
        table.intern_attrs(attrs, 0)


def test_family_and_next_hop_must_fit(table):
    with pytest.raises(ValueError, match=r"^next_hop: "):
        table.intern_attrs(BASE, 1)
    with pytest.raises(ValueError, match="family 7"):
        table.intern_attrs(BASE, 7)


def test_a_block_that_is_too_long_is_refused(table):
    with pytest.raises(ValueError, match="65535"):
        table.intern_attrs(
            BASE | {"unknown": ((0xC0, 99, bytes(65000)), (0xC0, 98, bytes(600)))}, 0
        )


def test_metrics_are_asked_for_once_per_next_hop():
    asked = []

    def metric_of(hop):
        asked.append(hop)
        return {"192.0.2.1": 10, "2001:db8::1": 20}.get(hop)

    table = AttrTable(metric_of)
    a = table.intern_attrs(BASE, 0)
    table.intern_attrs(BASE | {"med": 1}, 0)
    b = table.intern_attrs(BASE | {"next_hop": "2001:db8::1", "link_local": "fe80::1"}, 1)
    c = table.intern_attrs(BASE | {"next_hop": "192.0.2.3"}, 0)
    assert asked == ["192.0.2.1", "2001:db8::1", "192.0.2.3"]
    assert [table.summary(h)["metric"] for h in (a, b, c)] == [10, 20, 0xFFFFFFFF]
    assert table.nexthops() == [
        ("192.0.2.1", 10, 2),
        ("2001:db8::1", 20, 1),
        ("192.0.2.3", 0xFFFFFFFF, 1),
    ]


def test_changed_metrics_are_counted_and_stay_in_force():
    table = AttrTable()
    a = table.intern_attrs(BASE, 0)
    table.intern_attrs(BASE | {"next_hop": "192.0.2.2"}, 0)
    assert table.set_metrics(lambda hop: 0 if hop == "192.0.2.1" else 5) == 1
    assert table.summary(a)["metric"] == 0
    assert table.summary(table.intern_attrs(BASE | {"next_hop": "192.0.2.3"}, 0))["metric"] == 5
    assert table.set_metrics(None) == 2


def test_a_metric_that_cannot_be_leaves_nothing_behind(table):
    table.set_metrics(lambda _: -5)
    with pytest.raises(OverflowError):
        table.intern_attrs(BASE, 0)
    table.set_metrics(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        table.intern_attrs(BASE, 0)


def test_memory_is_used_again(table):
    def fill():
        held = [
            table.intern_attrs(BASE | {"med": i, "next_hop": f"10.0.{i % 200}.1"}, 0)
            for i in range(3000)
        ]
        for h in held:
            table.drop(h)
        return table.stats()["bytes"]

    once = fill()
    assert [fill() for _ in range(5)] == [once] * 5


def test_churn_against_a_dict(table):
    """Random interning and dropping; every set stays findable while it has an owner."""
    rng = random.Random(7)
    owned = {}
    for _ in range(20_000):
        key = (rng.randrange(400), rng.randrange(30))
        if key in owned and rng.random() < 0.5:
            handles = owned[key]
            table.drop(handles.pop())
            if not handles:
                del owned[key]
        else:
            attrs = BASE | {"med": key[0], "next_hop": f"10.0.0.{key[1]}"}
            h = table.intern_attrs(attrs, 0)
            assert owned.setdefault(key, []) == [h] * len(owned[key])
            owned[key].append(h)
    assert len({handles[0] for handles in owned.values()}) == len(owned)
    for (med, hop), handles in owned.items():
        assert table.describe(handles[0])["med"] == med
        assert table.describe(handles[0])["next_hop"] == f"10.0.0.{hop}"
        assert table.refs(handles[0]) == len(handles)
    assert table.stats()["sets"] == len(owned)
    assert table.stats()["next_hop_refs"] == len(owned)
    for handles in owned.values():
        for h in handles:
            table.drop(h)


def test_a_large_index_grows_a_little_with_each_set(table):
    """Sets come and go while it does; each is found all the time, and none twice."""
    rng = random.Random(5)
    held: dict[int, int] = {}
    for i in range(30_000):
        held[i] = table.intern_attrs(BASE | {"med": i}, 0)
        if rng.random() < 0.25:
            gone = rng.choice((i, rng.randrange(i + 1)))
            if gone in held:
                table.drop(held.pop(gone))
        if i % 500 == 0:
            for old in rng.sample(sorted(held), min(20, len(held))):
                assert table.intern_attrs(BASE | {"med": old}, 0) == held[old]
                table.drop(held[old])
    assert table.stats()["sets"] == len(held)
    for i, h in held.items():
        assert table.intern_attrs(BASE | {"med": i}, 0) == h
        assert table.refs(h) == 2
        table.drop(h)
        table.drop(h)


def test_the_seed_is_random_and_can_be_given():
    assert AttrTable(seed=5).intern_attrs(BASE, 0) == AttrTable(seed=5).intern_attrs(BASE, 0)
    with pytest.raises(OverflowError):
        AttrTable(seed=-1)


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0x10, 0x100, 0xABCD, 0xFFFF]), min_size=8, max_size=8))
def test_ipv6_in_text_is_rfc_5952(groups):
    packed = b"".join(g.to_bytes(2, "big") for g in groups)
    address = ipaddress.IPv6Address(packed)
    text = str(address)
    if address.ipv4_mapped:
        text = f"::ffff:{address.ipv4_mapped}"
    table = AttrTable()
    h = table.intern_attrs(BASE | {"next_hop": address.exploded}, 1)
    assert table.describe(h)["next_hop"] == text


u32 = st.integers(0, 2**32 - 1)
asns = st.integers(1, 2**32 - 1)
ipv4 = st.ip_addresses(v=4).map(str)
attribute_dicts = st.fixed_dictionaries(
    {
        "origin": st.integers(0, 2),
        "as_path": st.lists(
            st.tuples(st.integers(1, 4), st.lists(asns, min_size=1, max_size=255).map(tuple)),
            max_size=4,
        ).map(tuple),
        "next_hop": ipv4,
    },
    optional={
        "med": u32,
        "local_pref": u32,
        "atomic_aggregate": st.just(True),
        "aggregator": st.tuples(asns, ipv4),
        "communities": st.lists(u32, min_size=1, max_size=80).map(tuple),
        "originator_id": ipv4,
        "cluster_list": st.lists(ipv4, min_size=1, max_size=70).map(tuple),
        "ext_communities": st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=40).map(
            tuple
        ),
        "large_communities": st.lists(
            st.tuples(u32, u32, u32), min_size=1, max_size=40, unique=True
        ).map(tuple),
        "otc": u32,
        "unknown": st.tuples(
            st.tuples(st.just(0xE0), st.integers(64, 255), st.binary(max_size=300))
        ),
    },
)


@given(attribute_dicts)
def test_any_dict_comes_back(attrs):
    table = AttrTable()
    h = table.intern_attrs(attrs, 0)
    assert table.describe(h) == attrs
    assert table.intern_attrs(attrs, 0) == h


def test_what_import_made_of_a_set_is_another_one_and_keeps_it(table):
    raw = table.intern_attrs(FULL, 0)
    changed = table.intern_attrs(BASE, 0, raw)
    same = table.intern_attrs(FULL, 0, raw)
    plain = table.intern_attrs(BASE, 0)
    assert len({raw, changed, same, plain}) == 4
    assert table.intern_attrs(BASE, 0, raw) == changed
    assert [table.raw_of(h) for h in (raw, changed, same, plain)] == [raw, raw, raw, plain]
    assert table.describe(changed) == BASE
    assert table.refs(raw) == 3
    with pytest.raises(ValueError, match="not one as received"):
        table.intern_attrs(BASE, 0, changed)
    for h in (raw, same, changed, plain):
        table.drop(h)
    assert table.describe(table.raw_of(changed)) == FULL
    table.drop(changed)
