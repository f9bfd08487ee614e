"""VRPs and ASPAs against the plain-Python reference, and the bookkeeping of sources."""

from __future__ import annotations

import ipaddress
import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import (
    STAGE_CORRUPT,
    STAGE_DUPLICATE,
    STAGE_LIMIT,
    STAGE_OK,
    STAGE_UNKNOWN,
    RoaTable,
)
from rs._fastpath.vrplist import VrpList

from .reference import rpki

ASNS = st.sampled_from([0, 1, 2, 3, 64496, 4294967295])
V4, V6 = 0, 1


@st.composite
def prefixes(draw, version=None):
    """Few bits vary, so that prefixes nest."""
    version = version or draw(st.sampled_from([4, 6]))
    width = 32 if version == 4 else 128
    base = draw(st.sampled_from([10, 10, 192])) if version == 4 else 0x20
    bits = draw(st.integers(0, 15))
    at = draw(st.sampled_from([0, 4, 8, 12, 16, 20]))
    addr = base << (width - 8) | bits << (width - 12 - at)
    plen = draw(st.integers(0, width) if draw(st.integers(0, 9)) == 0 else st.integers(6, 28))
    net = ipaddress.ip_network((addr, plen), strict=False)
    return str(net)


@st.composite
def vrp_tuples(draw):
    prefix = draw(prefixes())
    net = ipaddress.ip_network(prefix)
    extra = draw(st.sampled_from([0, 0, 1, 4, 200]))
    return prefix, min(net.prefixlen + extra, net.max_prefixlen), draw(ASNS)


def table(*names: str) -> RoaTable:
    t = RoaTable()
    for name in names or ("test",):
        t.add_source(name)
    return t


def key(prefix: str) -> tuple[int, bytes, int]:
    net = ipaddress.ip_network(prefix)
    return int(net.version == 6), net.network_address.packed, net.prefixlen


def text(change: tuple[int, bytes, int]) -> str:
    return str(ipaddress.ip_network((change[1], change[2])))


def contents(vrps) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for prefix, max_length, asn in vrps:
        found.setdefault(prefix, set()).add((max_length, asn))
    return found


def minimal(before, after) -> list[tuple[int, bytes, int]]:
    """The prefixes whose VRPs differ, without those below another one."""
    a, b = contents(before), contents(after)
    changed = {p for p in a.keys() | b.keys() if a.get(p) != b.get(p)}
    return sorted(key(p) for p in changed if not any(q != p and rpki.covers(q, p) for q in changed))


# --- validation ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(vrp_tuples(), max_size=30), st.lists(st.tuples(prefixes(), ASNS), max_size=30))
def test_states_equal_the_reference(vrps, routes):
    t = table()
    t.replace(vrps)
    for prefix, origin in routes + [(p, a) for p, _, a in vrps]:
        assert t.validate(prefix, origin) == rpki.validate(vrps, prefix, origin or None)
        found = {(p, m, a) for p, m, a, _ in t.covering(prefix)}
        assert found == {v for v in vrps if rpki.covers(v[0], prefix)}
        lengths = [int(v[0].partition("/")[2]) for v in t.covering(prefix)]
        assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("prefix", "origin", "state"),
    [
        # RFC 6811 2, with one VRP 192.0.2.0/24-26 of AS 64496 and one AS 0 VRP 198.51.100.0/24.
        ("192.0.2.0/24", 64496, "valid"),
        ("192.0.2.64/26", 64496, "valid"),
        ("192.0.2.64/27", 64496, "invalid"),
        ("192.0.2.0/24", 64497, "invalid"),
        ("192.0.2.0/24", 0, "invalid"),
        ("192.0.0.0/16", 64496, "not-found"),
        ("192.0.3.0/24", 64496, "not-found"),
        ("198.51.100.0/24", 0, "invalid"),
        ("198.51.100.0/24", 64496, "invalid"),
        ("0.0.0.0/0", 64496, "not-found"),
        ("2001:db8::/32", 64496, "not-found"),
    ],
)
def test_rfc_6811(prefix, origin, state):
    t = table()
    t.replace([("192.0.2.0/24", 26, 64496), ("198.51.100.0/24", 24, 0)])
    assert t.validate(prefix, origin) == state


def test_a_default_route_vrp_covers_everything():
    t = table()
    t.replace([("0.0.0.0/0", 0, 0), ("::/0", 128, 64496)])
    assert t.validate("203.0.113.0/24", 1) == "invalid"
    assert t.validate("2001:db8::1/128", 64496) == "valid"
    assert t.validate("::/0", 64496) == "valid"


@pytest.mark.parametrize(
    "bad",
    [
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::/129",
        "x/8",
        "/8",
        "10.0.0.0/",
        "10/8",
        "1.2.3.4/-1",
        "2001:db8::/32/1",
        "\u0661.0.0.0/8",
        "",
    ],
)
def test_what_is_no_prefix_is_refused(bad):
    with pytest.raises(ValueError, match=r"prefix|length|longer"):
        table().validate(bad, 1)
    with pytest.raises(ValueError, match=r"prefix|length|longer"):
        VrpList().add(bad, None, 1)


@pytest.mark.parametrize(
    "args",
    [
        ("10.0.0.0/8", 7, 1),
        ("10.0.0.0/8", 33, 1),
        ("10.0.0.0/8", 8, -1),
        ("10.0.0.0/8", 8, 1 << 32),
        ("10.0.0.0/8", -1, 1),
    ],
)
def test_numbers_out_of_range_are_refused(args):
    batch = VrpList()
    with pytest.raises(ValueError, match=r"max length|AS number"):
        batch.add(*args)
    assert len(batch) == 0


def test_a_batch_reads_as_it_was_written():
    rows = [("10.0.0.0/8", 24, 64496), ("2001:db8::/32", 32, 0), ("0.0.0.0/0", 0, 4294967295)]
    batch = VrpList()
    for row in rows:
        batch.add(*row)
    batch.add("10.0.0.0/8", None, 5)
    assert list(batch) == [*rows, ("10.0.0.0/8", 8, 5)]
    assert batch[-1] == ("10.0.0.0/8", 8, 5)
    with pytest.raises(IndexError):
        batch[4]


# --- changes ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.lists(vrp_tuples(), max_size=12), min_size=1, max_size=6))
def test_replace_reports_the_minimal_change(sets):
    t = table()
    before: list = []
    for vrps in sets:
        assert t.replace(vrps) == minimal(before, vrps)
        assert sorted(t.snapshot()) == sorted(set(vrps))
        before = vrps
    t.replace([])
    assert t.stats()["prefixes"] == 0


@settings(deadline=None)
@given(st.data())
def test_sources_make_a_union(data):
    """Random deltas, resets and aborts of three sources against three sets."""
    t = table("a", "b", "c")
    model: list[set] = [set(), set(), set()]
    pool = data.draw(st.lists(vrp_tuples(), min_size=1, max_size=15, unique=True))
    for _ in range(data.draw(st.integers(1, 12))):
        source = data.draw(st.integers(0, 2))
        some = data.draw(st.lists(st.sampled_from(pool), max_size=8))
        gone = data.draw(st.lists(st.sampled_from(pool), max_size=8))
        before = set().union(*model)
        kind = data.draw(st.sampled_from(["apply", "replace", "abort"]))
        if kind == "apply":
            changed = t.apply(some, gone, source)
            model[source] = (model[source] - set(gone)) | set(some)
        elif kind == "replace":
            changed = t.replace(some, source)
            model[source] = set(some)
        else:
            t.begin(source, data.draw(st.booleans()))
            batch = VrpList()
            for vrp in some:
                batch.add(*vrp)
            t.stage(source, batch)
            # Staged records are invisible.
            assert sorted(t.snapshot()) == sorted(before)
            for prefix, _, asn in some:
                assert t.validate(prefix, asn) == rpki.validate(before, prefix, asn or None)
            t.abort(source)
            changed = t.changes()
        after = set().union(*model)
        assert changed == minimal(before, after)
        assert sorted(t.snapshot()) == sorted(after)
        assert t.stats()["sources"] == {"a": len(model[0]), "b": len(model[1]), "c": len(model[2])}
        assert t.stats()["prefixes"] == len({p for p, _, _ in after})
        assert t.pending_changes == 0


def test_a_second_source_changes_nothing_and_keeps_what_the_first_withdraws():
    t = table("a", "b")
    vrp = ("192.0.2.0/24", 24, 64496)
    assert t.apply([vrp], [], 0) == [key("192.0.2.0/24")]
    assert t.apply([vrp], [], 1) == []
    assert t.covering("192.0.2.0/24") == [(*vrp, ("a", "b"))]
    assert t.apply([], [vrp], 0) == []
    assert t.validate("192.0.2.0/24", 64496) == "valid"
    assert t.covering("192.0.2.0/24") == [(*vrp, ("b",))]
    assert t.apply([], [vrp], 1) == [key("192.0.2.0/24")]
    assert t.validate("192.0.2.0/24", 64496) == "not-found"


def test_a_vrp_moved_to_another_max_length_is_one_change():
    t = table()
    t.replace([("10.0.0.0/8", 8, 1), ("10.1.0.0/16", 16, 1)])
    changed = t.apply([("10.0.0.0/8", 24, 1), ("10.1.0.0/16", 24, 1)], [("10.0.0.0/8", 8, 1)])
    assert changed == [key("10.0.0.0/8")]


def test_changes_come_in_slices_and_memory_goes_with_them():
    t = table()
    rows = [(f"10.{i >> 8}.{i & 255}.0/24", 24, 1 + j) for i in range(1000) for j in range(3)]
    t.begin(0, True)
    batch = VrpList()
    for row in rows:
        batch.add(*row)
    at = 0
    while at < len(batch):
        at = t.stage(0, batch, at, 700)
    assert t.commit(0) == (3000, 0)
    assert t.validate("10.0.0.0/24", 3) == "valid"
    got = []
    while t.pending_changes:
        part = t.changes(64)
        assert len(part) <= 64
        got += part
    assert sorted(got) == sorted({key(p) for p, _, _ in rows})
    full = t.stats()["bytes"]
    t.begin(0, True)
    assert t.commit(0) == (0, 3000)
    assert t.validate("10.0.0.0/24", 3) == "not-found"
    assert t.stats()["prefixes"] == 1000
    t.drop_changes()
    assert t.stats()["prefixes"] == 0
    t.replace(rows)
    assert t.stats()["bytes"] <= full + 64


def test_a_commit_without_report_still_frees():
    t = table()
    t.replace([("10.0.0.0/8", 8, 1)])
    t.begin(0, True)
    assert t.commit(0, report=False) == (0, 1)
    assert t.changes() == []
    assert t.stats()["prefixes"] == 0


def test_a_prefix_reused_between_commit_and_report():
    t = table("a", "b")
    t.apply([("10.0.0.0/8", 8, 1)], [], 0)
    t.begin(0, False)
    gone = VrpList()
    gone.add("10.0.0.0/8", 8, 1)
    t.stage(0, gone, announce=False)
    t.commit(0)
    # Source b announces it before anybody has taken the change.
    t.begin(1, False)
    t.stage(1, gone)
    t.commit(1)
    assert t.changes() == [key("10.0.0.0/8")]
    assert t.snapshot() == [("10.0.0.0/8", 8, 1)]


def test_transactions_of_several_sources_run_side_by_side():
    t = table("a", "b")
    one, two, both = ("10.0.0.0/8", 8, 1), ("10.0.0.0/8", 8, 2), ("10.0.0.0/8", 9, 3)
    lists = []
    for rows in ((one, both), (two, both)):
        batch = VrpList()
        for row in rows:
            batch.add(*row)
        lists.append(batch)
    t.begin(0, True)
    t.begin(1, False)
    t.stage(0, lists[0])
    t.stage(1, lists[1])
    assert t.snapshot() == []
    t.abort(0)
    assert t.changes() == []
    assert t.commit(1) == (2, 0)
    assert t.snapshot() == [two, both]


def test_the_rules_of_transactions():
    t = table("a")
    with pytest.raises(ValueError, match="no RPKI source 1"):
        t.begin(1, True)
    with pytest.raises(ValueError, match="a has no open transaction"):
        t.commit(0)
    t.begin(0, True)
    with pytest.raises(ValueError, match="a has a transaction open"):
        t.begin(0, False)
    with pytest.raises(ValueError, match="still holds"):
        t.remove_source(0)
    t.abort(0)
    t.remove_source(0)
    with pytest.raises(ValueError, match="no RPKI source 0"):
        t.held(0)
    for i in range(16):
        assert t.add_source(str(i)) == i
    with pytest.raises(ValueError, match="no room for RPKI source x: 16"):
        t.add_source("x")


def test_the_limit_of_a_source():
    t = table()
    batch = VrpList()
    for i in range(5):
        batch.add(f"10.{i}.0.0/16", 16, 1)
    t.begin(0, True, 4)
    with pytest.raises(ValueError, match="more than 4"):
        t.stage(0, batch)
    t.abort(0)
    assert t.changes() == []
    assert t.stats()["prefixes"] == 0


# --- RTR Prefix PDUs ----------------------------------------------------------------------------


def pdu(prefix: str, max_length: int, asn: int, flags: int = 1, version: int = 1) -> bytes:
    net = ipaddress.ip_network(prefix, strict=False)
    addr = ipaddress.ip_address(prefix.partition("/")[0]).packed
    kind = 4 if net.version == 4 else 6
    body = struct.pack("!BBBx", flags, net.prefixlen, max_length) + addr + struct.pack("!I", asn)
    return struct.pack("!BBHI", version, kind, 0, 8 + len(body)) + body


def test_prefix_pdus_are_taken_until_something_else():
    t = table()
    data = pdu("10.0.0.0/8", 24, 1) + pdu("2001:db8::/32", 48, 2)
    t.begin(0, True)
    assert t.stage_pdus(0, data + b"\1\7", 0, 1) == (len(data), STAGE_OK)
    more = pdu("192.0.2.0/24", 24, 3)
    assert t.stage_pdus(0, b"xx" + more, 2, 1) == (22, STAGE_OK)
    for cut in range(20):
        assert t.stage_pdus(0, more[:cut], 0, 1) == (0, STAGE_OK)
    # Another version or length is for the caller to judge.
    assert t.stage_pdus(0, more, 0, 2) == (0, STAGE_OK)
    assert t.stage_pdus(0, more[:7] + b"\x13" + more[8:], 0, 1) == (0, STAGE_OK)
    t.commit(0)
    assert t.snapshot() == [
        ("10.0.0.0/8", 24, 1),
        ("192.0.2.0/24", 24, 3),
        ("2001:db8::/32", 48, 2),
    ]


def test_faulty_prefix_pdus():
    t = table()
    good = pdu("10.0.0.0/8", 24, 1)
    t.begin(0, True)
    assert t.stage_pdus(0, good + good, 0, 1) == (20, STAGE_DUPLICATE)
    assert t.stage_pdus(0, pdu("10.0.0.0/8", 24, 1, flags=0), 0, 1) == (0, STAGE_CORRUPT)
    assert t.stage_pdus(0, pdu("11.0.0.0/8", 7, 1), 0, 1) == (0, STAGE_CORRUPT)
    assert t.stage_pdus(0, pdu("11.0.0.0/8", 33, 1), 0, 1) == (0, STAGE_CORRUPT)
    assert t.stage_pdus(0, pdu("2001:db8::/32", 129, 1), 0, 1) == (0, STAGE_CORRUPT)
    broken = bytearray(good)
    broken[9] = 255
    assert t.stage_pdus(0, bytes(broken), 0, 1) == (0, STAGE_CORRUPT)
    t.commit(0)
    assert t.changes() == [key("10.0.0.0/8")]
    t.begin(0, False)
    assert t.stage_pdus(0, good, 0, 1) == (0, STAGE_DUPLICATE)
    assert t.stage_pdus(0, pdu("10.0.0.0/8", 23, 1, flags=0), 0, 1) == (0, STAGE_UNKNOWN)
    assert t.stage_pdus(0, pdu("11.0.0.0/8", 8, 1, flags=0), 0, 1) == (0, STAGE_UNKNOWN)
    gone = pdu("10.0.0.0/8", 24, 1, flags=0)
    assert t.stage_pdus(0, gone + gone, 0, 1) == (20, STAGE_UNKNOWN)
    # One withdrawal, then one announcement, cancel out (RFC 8210 5.3).
    assert t.stage_pdus(0, good, 0, 1) == (20, STAGE_OK)
    assert t.commit(0) == (0, 0)
    assert t.changes() == []
    t.begin(0, False, 2)
    data = pdu("12.0.0.0/8", 8, 1) + pdu("13.0.0.0/8", 8, 1)
    assert t.stage_pdus(0, data, 0, 1) == (20, STAGE_LIMIT)
    t.abort(0)
    assert t.changes() == []
    assert t.snapshot() == [("10.0.0.0/8", 24, 1)]


def test_bits_past_the_length_are_an_error_from_version_2_on():
    t = table()
    t.begin(0, True)
    assert t.stage_pdus(0, pdu("10.0.0.1/8", 8, 1, version=2), 0, 2) == (0, STAGE_CORRUPT)
    assert t.stage_pdus(0, pdu("2001:db8::1/32", 48, 1, version=2), 0, 2) == (0, STAGE_CORRUPT)
    assert t.stage_pdus(0, pdu("10.0.0.1/8", 8, 1), 0, 1) == (20, STAGE_OK)
    t.commit(0)
    assert t.snapshot() == [("10.0.0.0/8", 8, 1)]


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2), st.booleans())
def test_no_octets_do_harm(data, version, reset):
    t = table()
    t.replace([("10.0.0.0/8", 8, 1)])
    t.begin(0, reset)
    pos = 0
    while pos < len(data):
        new, code = t.stage_pdus(0, data, pos, version)
        assert pos <= new <= len(data)
        pos = new + 1 if code == STAGE_OK else new + 20
    t.abort(0)
    assert t.changes() == []
    assert t.snapshot() == [("10.0.0.0/8", 8, 1)]


# --- ASPA ---------------------------------------------------------------------------------------

SMALL = st.integers(1, 6)
ASPAS = st.dictionaries(SMALL, st.sets(st.integers(0, 6), min_size=1, max_size=4), max_size=6)
SEQUENCES = st.lists(
    st.tuples(st.sampled_from([2, 2, 2, 2, 1]), st.lists(SMALL, min_size=1, max_size=6).map(tuple)),
    max_size=3,
).map(tuple)


def wire(segments) -> bytes:
    return b"".join(
        struct.pack(f"!BB{len(asns)}I", kind, len(asns), *asns) for kind, asns in segments
    )


@settings(deadline=None)
@given(ASPAS, SEQUENCES, st.booleans(), st.one_of(st.none(), SMALL))
def test_paths_equal_the_reference(aspas, segments, downstream, neighbor):
    t = AspaTable()
    t.replace(aspas)
    want = rpki.verify(aspas, segments, downstream=downstream, neighbor_as=neighbor)
    assert t.verify_wire(wire(segments), downstream, neighbor or 0) == want
    if all(kind == 2 for kind, _ in segments):
        flat = [asn for _, asns in segments for asn in asns]
        assert t.verify_path(flat, downstream, neighbor or 0) == want


@pytest.mark.parametrize(
    ("path", "downstream", "state"),
    [
        # 1 < 2 < 3 (providers rightwards), 5 < 4, 4 and 3 are peers; 9 says nothing; 8 has none.
        ([1], False, "valid"),
        ([3, 2, 1], False, "valid"),
        ([3, 3, 2, 2, 2, 1], False, "valid"),
        ([2, 3, 2, 1], False, "invalid"),
        ([9, 1], False, "invalid"),
        ([1, 9], False, "unknown"),
        ([3, 9, 1], False, "invalid"),
        ([1, 8], False, "invalid"),
        ([5, 4, 3, 2, 1], True, "valid"),
        ([5, 4, 3, 2, 1], False, "invalid"),
        ([2, 3, 4, 5], True, "valid"),
        ([1, 2, 9, 7, 6], True, "unknown"),
        ([1, 2, 3, 9, 5], True, "invalid"),
        ([3, 1, 2], True, "invalid"),
        ([4, 8, 3, 2, 1], True, "invalid"),
        ([3, 2, 1, 2, 3], True, "invalid"),
        ([], True, "invalid"),
        ([], False, "invalid"),
    ],
)
def test_worked_paths(path, downstream, state):
    aspas = {1: {2}, 2: {3}, 3: {0}, 4: {0}, 5: {4}, 8: {0}}
    t = AspaTable()
    t.replace(aspas)
    segments = ((2, tuple(path)),) if path else ()
    assert rpki.verify(aspas, segments, downstream=downstream) == state
    assert t.verify_path(path, downstream) == state


def test_the_first_as_must_be_the_neighbor():
    t = AspaTable()
    t.replace({1: {2}})
    assert t.verify_path([2, 1], False, 2) == "valid"
    assert t.verify_path([2, 1], False, 3) == "invalid"
    assert t.verify_path([2, 1], False) == "valid"


def test_confederation_segments_are_no_hops():
    t = AspaTable()
    t.replace({1: {2}})
    assert t.verify_wire(wire(((3, (65001, 65002)), (2, (2, 1)))), False, 2) == "valid"
    assert t.verify_wire(wire(((4, (65001,)),)), False) == "invalid"


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_a_path_cut_off_is_invalid(cut):
    t = AspaTable()
    assert t.verify_wire(wire(((2, (2, 1)),))[:-cut], False) in {"invalid", "unknown"}
    assert t.verify_wire(wire(((2, (2, 1)),))[:-4], False) == "invalid"


def test_long_paths_and_large_provider_sets():
    t = AspaTable()
    chain = list(range(1000, 1700))
    t.replace({a: [*range(1, 40), b] for a, b in itertools.pairwise(chain)})
    assert t.verify_path(chain[::-1], False) == "valid"
    assert t.verify_path([5, *chain[::-1]], False) == "unknown"
    assert t.verify_path([*chain[:0:-1], 999, chain[0]], False) == "invalid"


@settings(deadline=None)
@given(st.data())
def test_aspas_of_sources_make_a_union(data):
    t = AspaTable()
    model: list[dict[int, set[int]]] = [{}, {}, {}]

    def union():
        found: dict[int, set[int]] = {}
        for held in model:
            for customer, providers in held.items():
                found.setdefault(customer, set()).update(providers - {0})
        return found

    for _ in range(data.draw(st.integers(1, 10))):
        source = data.draw(st.integers(0, 2))
        before = union()
        aspas = data.draw(ASPAS)
        if data.draw(st.booleans()):
            changed = t.replace(aspas, source)
            model[source] = dict(aspas)
        else:
            gone = (
                data.draw(st.sets(st.sampled_from(sorted(model[source]))))
                if model[source]
                else set()
            )
            changed = t.apply(aspas, gone, source)
            model[source] = {c: p for c, p in model[source].items() if c not in gone} | aspas
        after = union()
        assert changed == {c for c in before.keys() | after.keys() if before.get(c) != after.get(c)}
        for customer in range(1, 7):
            want = tuple(sorted(after[customer])) if customer in after else None
            assert t.providers(customer) == want
        assert t.count == len(after)


def test_many_customers_come_and_go():
    rng = random.Random(5)
    t = AspaTable()
    model: dict[int, tuple[int, ...]] = {}
    for _ in range(60):
        some = {
            rng.randrange(1, 3000): rng.sample(range(1, 500), rng.randrange(1, 9))
            for _ in range(200)
        }
        gone = rng.sample(sorted(model), min(len(model), 150))
        t.apply(some, gone)
        for customer in gone:
            model.pop(customer)
        model.update({c: tuple(sorted(p)) for c, p in some.items()})
        assert t.count == len(model)
    for customer in range(3000):
        assert t.providers(customer) == model.get(customer)
    assert t.stats()["bytes"] < 400_000


def test_aspa_transactions():
    t = AspaTable()
    t.begin(3, False, 2)
    assert t.stage(3, 1, None) == STAGE_UNKNOWN
    assert t.stage(3, 0, [1]) == STAGE_CORRUPT
    assert t.stage(3, 1, [5, 4, 5]) == STAGE_OK
    assert t.stage(3, 1, [7]) == STAGE_OK
    assert t.stage(3, 1, None) == STAGE_OK
    assert t.stage(3, 1, None) == STAGE_UNKNOWN
    assert t.stage(3, 1, [6, 5]) == STAGE_OK
    assert t.stage(3, 2, [1]) == STAGE_OK
    assert t.stage(3, 4, [1]) == STAGE_LIMIT
    with pytest.raises(ValueError, match="open"):
        t.begin(3, True)
    t.commit(3)
    assert t.providers(1) is None
    assert t.changes(1) == {1}
    assert t.pending_changes == 1
    assert t.changes() == {2}
    assert t.providers(1) == (5, 6)
    t.begin(3, True)
    assert t.stage(3, 1, None) == STAGE_CORRUPT
    t.abort(3)
    assert t.providers(2) == (1,)
    t.begin(3, True, 1)
    assert t.stage(3, 9, range(1, 12)) == STAGE_LIMIT
    t.abort(3)
    assert t.held(3) == 2


def test_address_families_of_older_caches_make_a_union():
    t = AspaTable()
    t.begin(0, True)
    t.stage(0, 1, [2], 1)
    t.stage(0, 1, [3], 2)
    t.commit(0)
    assert t.changes() == {1}
    assert t.providers(1) == (2, 3)
    t.begin(0, False)
    assert t.stage(0, 1, None, 0) == STAGE_UNKNOWN
    assert t.stage(0, 1, None, 2) == STAGE_OK
    t.commit(0)
    assert t.changes() == {1}
    assert t.providers(1) == (2,)


def test_hops_say_who_attests_what():
    t = AspaTable()
    t.replace({1: [2], 3: [0]})
    assert t.hops([3, 2, 2, 1]) == [
        (3, 2, "no-attestation", "not-provider"),
        (2, 1, "provider", "no-attestation"),
    ]
    assert t.providers(3) == ()
