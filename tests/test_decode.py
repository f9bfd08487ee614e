"""The UPDATE decoder: where routes are found, canonical form, real and broken messages."""

import gzip
import os
import random
import struct
from collections import Counter
from pathlib import Path

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs.iana import Family
from tests import strategies
from tests.reference import update as reference
from tests.updatekit import (
    AIGP,
    BASE,
    CLUSTER,
    DISCARD,
    EXTENDED,
    GOOD,
    LOCAL_PREF,
    N4,
    N6,
    NEXT_HOP,
    OK,
    OPTIONAL,
    ORIGIN,
    ORIGINATOR,
    PARTIAL,
    PATH,
    RESET,
    SEQUENCE,
    SET,
    TRANS,
    TRANSITIVE,
    WELL_KNOWN,
    WITHDRAW,
    C,
    S,
    aggregator,
    aggregator4,
    attr,
    fault,
    prefix,
    reach,
    same_set,
    segments,
    unreach,
    update,
    with_attr,
)

DATA = Path(os.environ.get("RS_DATA", Path(__file__).parents[2] / "shared" / "data"))


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


# --- the plain cases ---------------------------------------------------------------------------


def test_a_classic_announcement(external):
    r = external.decode(update(BASE, N4 + prefix("0.0.0.0/0") + prefix("192.0.2.1/32")))
    assert r == {
        "outcome": OK,
        "err_subcode": 0,
        "err_attr": 0,
        "err_data": b"",
        "discarded": 0,
        "eor": None,
        "withdrawn": [],
        "announced": [("10.1.0.0/16", 0), ("0.0.0.0/0", 0), ("192.0.2.1/32", 0)],
        "reach": [],
        "unreach": [],
        "attrs": {
            "origin": 0,
            "as_path": ((SEQUENCE, (64500, 65551)),),
            "next_hop": "192.0.2.1",
        },
        "mp_attrs": None,
    }


def test_every_attribute_of_an_internal_session(internal):
    body = update(
        BASE
        + attr(OPTIONAL, 4, b"\0\0\0\x07")
        + LOCAL_PREF
        + attr(WELL_KNOWN, 6, b"")
        + attr(TRANSITIVE, 7, b"\0\0\xfb\xf4\xc0\0\x02\x01")
        + attr(TRANSITIVE, 8, b"\0\0\0\x01\xff\xff\xff\x01")
        + ORIGINATOR
        + CLUSTER
        + attr(TRANSITIVE, 16, b"abcdefgh")
        + AIGP
        + attr(TRANSITIVE, 32, struct.pack(">6I", 1, 2, 3, 4, 5, 6))
        + attr(TRANSITIVE, 35, b"\0\0\0\x09")
        + attr(TRANSITIVE | PARTIAL, 99, b"x"),
        N4,
    )
    r = internal.decode(body)
    assert r["outcome"] == OK
    assert r["attrs"] == {
        "origin": 0,
        "as_path": ((SEQUENCE, (64500, 65551)),),
        "next_hop": "192.0.2.1",
        "med": 7,
        "local_pref": 100,
        "atomic_aggregate": True,
        "aggregator": (64500, "192.0.2.1"),
        "communities": (1, 0xFFFFFF01),
        "originator_id": "10.0.0.9",
        "cluster_list": ("10.0.0.1", "10.0.0.2"),
        "ext_communities": (b"abcdefgh",),
        "aigp": b"\x01\x00\x0b" + bytes(7) + b"\x05",
        "large_communities": ((1, 2, 3), (4, 5, 6)),
        "otc": 9,
        "unknown": ((0xE0, 99, b"x"),),
    }


def test_an_ipv6_announcement_needs_no_next_hop_attribute(external):
    r = external.decode(update(reach(N6 + prefix("::/0")) + ORIGIN + PATH))
    assert r["outcome"] == OK
    assert r["reach"] == [(1, "2001:db8:1::/48", 0), (1, "::/0", 0)]
    assert r["mp_attrs"]["next_hop"] == "2001:db8::1"
    assert r["attrs"] is None


def test_a_link_local_next_hop_is_kept(external):
    r = external.decode(update(reach(N6, link_local="fe80::1") + ORIGIN + PATH))
    assert r["mp_attrs"]["next_hop"] == "2001:db8::1"
    assert r["mp_attrs"]["link_local"] == "fe80::1"
    r = external.decode(update(reach(N6, "fe80::2") + ORIGIN + PATH))
    assert (r["outcome"], r["mp_attrs"]["next_hop"]) == (OK, "fe80::2")


def test_withdrawals_intern_nothing(table, external):
    r = external.decode(update(unreach(N6), withdrawn=N4))
    assert r["withdrawn"] == [("10.1.0.0/16", 0)]
    assert r["unreach"] == [(1, "2001:db8:1::/48", 0)]
    assert (r["outcome"], r["eor"], r["attrs"], r["mp_attrs"]) == (OK, None, None, None)
    assert table.stats()["misses"] == 0


def test_everything_in_one_update(external):
    """RFC 7606 5.1: senders must not, receivers must cope."""
    r = external.decode(
        update(
            BASE + unreach(prefix("2001:db8:9::/48")) + reach(N6),
            N4,
            withdrawn=prefix("10.9.0.0/16"),
        )
    )
    assert r["outcome"] == OK
    assert r["withdrawn"] == [("10.9.0.0/16", 0)]
    assert r["announced"] == [("10.1.0.0/16", 0)]
    assert r["unreach"] == [(1, "2001:db8:9::/48", 0)]
    assert r["reach"] == [(1, "2001:db8:1::/48", 0)]
    assert r["attrs"]["next_hop"] == "192.0.2.1"
    assert r["mp_attrs"]["next_hop"] == "2001:db8::1"


@pytest.mark.parametrize("place", range(4))
def test_mp_reach_may_stand_anywhere(table, external, place):
    parts = [ORIGIN, PATH, attr(TRANSITIVE, 8, bytes(4))]
    first = update(reach(N6) + b"".join(parts))
    parts.insert(place, reach(N6))
    assert same_set(table, external, first, update(b"".join(parts)))


def test_path_identifiers(table):
    decoder = Decoder(table, addpath=3)
    r = decoder.decode(
        update(
            unreach(prefix("2001:db8::/32", 5)) + BASE,
            prefix("10.0.0.0/8", 1) + prefix("10.0.0.0/8", 2**32 - 1),
            withdrawn=prefix("0.0.0.0/0", 7),
        )
    )
    assert r["announced"] == [("10.0.0.0/8", 1), ("10.0.0.0/8", 2**32 - 1)]
    assert r["withdrawn"] == [("0.0.0.0/0", 7)]
    assert r["unreach"] == [(1, "2001:db8::/32", 5)]
    r = decoder.decode(update(reach(prefix("2001:db8::/32", 9)) + ORIGIN + PATH))
    assert r["reach"] == [(1, "2001:db8::/32", 9)]


def test_path_identifiers_are_negotiated_per_family(table):
    only4 = Decoder(table, addpath=1)
    r = only4.decode(update(reach(N6) + BASE, prefix("10.0.0.0/8", 3)))
    assert (r["announced"], r["reach"]) == ([("10.0.0.0/8", 3)], [(1, "2001:db8:1::/48", 0)])


def test_bits_past_the_mask_do_not_count(external):
    r = external.decode(update(BASE, b"\x0c\x0a\xff\x00"))
    assert r["announced"] == [("10.240.0.0/12", 0), ("0.0.0.0/0", 0)]


# --- End-of-RIB (RFC 4724 2) -------------------------------------------------------------------


def test_end_of_rib(external):
    assert external.decode(update())["eor"] == 0
    assert external.decode(update(unreach(b"")))["eor"] == 1
    assert external.decode(update(unreach(b"", afi=1)))["eor"] == 0
    assert external.decode(update(attr(OPTIONAL, 15, b"\0\x02\x01", extended=True)))["eor"] == 1


@pytest.mark.parametrize(
    "body",
    [
        update(unreach(N6)),
        update(unreach(b""), withdrawn=N4),
        update(unreach(b"") + BASE, N4),
        update(unreach(b"") + reach(N6) + ORIGIN + PATH),
        update(unreach(b"", safi=128)),
        update(unreach(b"") + ORIGIN),
        update(withdrawn=N4),
    ],
)
def test_no_end_of_rib(external, body):
    r = external.decode(body)
    assert (r["outcome"], r["eor"]) == (OK, None)


def test_end_of_rib_of_a_family_not_negotiated_is_nothing(table):
    assert Decoder(table, families=2).decode(update())["eor"] is None
    assert Decoder(table, families=1).decode(update(unreach(b"")))["eor"] is None
    assert Decoder(table, families=2).decode(update(unreach(b""), withdrawn=N4))["eor"] is None


# --- families ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mp",
    [
        reach(b"\xff\xff", safi=128),
        reach(N4, "192.0.2.1", afi=1, safi=4),
        reach(b"junk", afi=16388, safi=71),
        unreach(b"\xff\xff", safi=2),
        unreach(b"\xff\xff", afi=25),
        attr(OPTIONAL, 14, b"\0\x19\x41\xff\xff"),
    ],
)
def test_routes_of_other_families_are_ignored(external, mp):
    r = external.decode(update(BASE + mp, N4))
    assert r["outcome"] == OK
    assert (r["announced"], r["reach"], r["unreach"]) == ([("10.1.0.0/16", 0)], [], [])
    r = external.decode(update(ORIGIN + PATH + mp))
    assert (r["outcome"], r["reach"], r["unreach"]) == (OK, [], [])


def test_an_error_beside_routes_of_another_family_resets_nothing(external):
    """There are routes, so RFC 7606 5.2 does not apply; withdrawing them is no work."""
    body = update(reach(b"x", safi=128) + attr(WELL_KNOWN, 1, b"\x07") + PATH)
    assert external.decode(body)["outcome"] == WITHDRAW


def test_only_negotiated_families_count(table):
    body = update(BASE + reach(N6), N4, withdrawn=prefix("10.9.0.0/16"))
    r = Decoder(table, families=2).decode(body)
    assert (r["withdrawn"], r["announced"], r["attrs"]) == ([], [], None)
    assert (r["outcome"], r["reach"]) == (OK, [(1, "2001:db8:1::/48", 0)])
    r = Decoder(table, families=1).decode(body)
    assert (r["outcome"], r["reach"], r["mp_attrs"]) == (OK, [], None)
    assert r["announced"] == [("10.1.0.0/16", 0)]
    assert Decoder(table, families=0).decode(body)["outcome"] == OK
    assert Decoder(table, families=2).decode(update(BASE, b"\x21"))["outcome"] == RESET


def test_rfc_8950_ipv6_next_hop_for_ipv4(table, external):
    for link_local in (None, "fe80::1"):
        body = update(reach(N4, afi=1, link_local=link_local) + ORIGIN + PATH)
        assert fault(external.decode(body)) == (RESET, 9, 14)
        r = Decoder(table, ext_next_hop=True).decode(body)
        assert (r["outcome"], r["reach"]) == (OK, [(0, "10.1.0.0/16", 0)])
        assert r["mp_attrs"]["next_hop"] == "2001:db8::1"


def test_ipv4_in_mp_reach_gives_the_set_of_classic_nlri(table, external):
    mp = update(reach(N4, "192.0.2.1", afi=1) + ORIGIN + PATH)
    assert external.decode(mp)["mp_attrs"]["next_hop"] == "192.0.2.1"
    assert same_set(table, external, update(BASE, N4), mp)


def test_an_ipv4_next_hop_for_ipv6_resets(external):
    body = update(reach(N6, "192.0.2.1") + ORIGIN + PATH)
    assert fault(external.decode(body)) == (RESET, 9, 14)


# --- canonical form and the fast path ----------------------------------------------------------


def test_a_block_seen_before_is_not_parsed(table, external):
    held = external.handles(update(BASE, N4))[1]
    six = external.handles(update(reach(N6) + ORIGIN + PATH))[2]
    before = table.stats()["misses"]
    bodies = [
        update(BASE, prefix("10.2.0.0/16")),
        update(BASE + unreach(N6), N4),
        update(unreach(N6) + BASE, N4),
        update(ORIGIN + attr(WELL_KNOWN, 2, PATH[3:], extended=True) + NEXT_HOP, N4),
        update(ORIGIN + reach(prefix("::/0")) + PATH),
        update(ORIGIN + PATH + unreach(N6) + reach(prefix("::/0"))),
    ]
    for body in bodies:
        assert external.decode(body)["outcome"] == OK
    stats = table.stats()
    assert (stats["misses"], stats["hits"]) == (before, len(bodies))
    table.drop(held)
    table.drop(six)


def test_order_and_header_form_do_not_count(table, internal):
    rest = [
        ORIGIN,
        PATH,
        NEXT_HOP,
        attr(OPTIONAL, 4, bytes(4)),
        LOCAL_PREF,
        attr(TRANSITIVE, 8, bytes(8)),
        ORIGINATOR,
        CLUSTER,
        attr(TRANSITIVE, 32, bytes(12)),
        attr(TRANSITIVE | PARTIAL, 130, b"z"),
    ]
    bodies = [update(b"".join(rest), N4)]
    rng = random.Random(3)
    for _ in range(20):
        rng.shuffle(rest)
        bodies.append(
            update(
                b"".join(
                    attr(
                        item[0] | rng.randrange(16) & ~EXTENDED,
                        item[1],
                        item[3:],
                        extended=rng.random() < 0.5,
                    )
                    for item in rest
                ),
                N4,
            )
        )
    bodies.append(update(bodies[0][4 : -len(N4)] + attr(OPTIONAL, 77, b"dropped"), N4))
    assert same_set(table, internal, *bodies)


def test_partial_is_kept_where_it_means_something(table, external):
    plain = with_attr(8, TRANSITIVE, bytes(4))
    assert not same_set(table, external, plain, with_attr(8, TRANSITIVE | PARTIAL, bytes(4)))
    for kind in (1, 2, 3, 4):
        flags, value = GOOD[kind]
        assert same_set(
            table,
            external,
            with_attr(kind, flags, value),
            with_attr(kind, flags | PARTIAL, value),
        )


def test_the_next_hop_is_part_of_the_set(table, external):
    a = update(reach(N6) + ORIGIN + PATH)
    assert not same_set(table, external, a, update(reach(N6, "2001:db8::2") + ORIGIN + PATH))
    assert not same_set(table, external, a, update(reach(N6, link_local="fe80::1") + ORIGIN + PATH))
    assert not same_set(table, external, a, update(BASE, N4))


def test_a_set_of_an_internal_session_is_not_given_to_an_external_one(table, internal, external):
    """The raw bytes are known, and yet the attributes have to go."""
    body = update(BASE + LOCAL_PREF + ORIGINATOR + CLUSTER, N4)
    held = internal.handles(body)[1]
    r = external.decode(body)
    assert (r["outcome"], r["discarded"]) == (DISCARD, 3)
    assert set(r["attrs"]) == {"origin", "as_path", "next_hop"}
    assert table.refs(held) == 1
    aigp = internal.handles(update(BASE + AIGP, N4))[1]
    assert "aigp" not in external.decode(update(BASE + AIGP, N4))["attrs"]
    table.drop(held)
    table.drop(aigp)


def test_the_largest_blocks(table, external):
    """RFC 8654: attributes of an extended message, and one that no 4-octet form can hold."""
    room = 65535 - 23 - len(N4) - len(BASE)
    body = update(BASE + attr(TRANSITIVE, 99, bytes(room - 4)), N4)
    assert len(body) == 65535 - 19
    assert external.decode(body)["outcome"] == OK
    large = b"".join(struct.pack(">3I", i // 2, 0, 0) for i in range((room - 4) // 12))
    r = external.decode(update(BASE + attr(TRANSITIVE, 32, large), N4))
    assert len(r["attrs"]["large_communities"]) == (len(large) // 12 + 1) // 2
    path = attr(WELL_KNOWN, 2, segments(*[(SEQUENCE, (64500,) * 255)] * 100, width=2))
    r = Decoder(table, as4=False).decode(update(ORIGIN + path + NEXT_HOP, N4))
    assert fault(r) == (WITHDRAW, 5, 2)


# --- real and broken messages ------------------------------------------------------------------


def mrt_updates(name):
    """Yield (4-octet AS numbers?, body) of each UPDATE in a BGP4MP or BGP4MP_ET file."""
    data = gzip.decompress((DATA / name).read_bytes())
    at = 0
    while at + 12 <= len(data):
        _, kind, subtype, length = struct.unpack_from(">IHHI", data, at)
        record = data[at + 12 : at + 12 + length]
        at += 12 + length
        if kind == 17:
            record = record[4:]  # microseconds
        if kind not in (16, 17) or subtype not in (1, 4):
            continue
        as4 = subtype == 4
        start = 8 if as4 else 4
        (afi,) = struct.unpack_from(">H", record, start + 2)
        message = record[start + 4 + (8 if afi == 1 else 32) :]
        if message[18] == 2:
            yield as4, message[19 : struct.unpack_from(">H", message, 16)[0]]


def need(name):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there")


@pytest.mark.data
def test_a_real_full_table_session(table):
    need("session.full-table.2015.mrt.gz")
    decoder = Decoder(table, ibgp=True)
    outcomes = Counter()
    announced = withdrawn = 0
    ends = []
    for as4, body in mrt_updates("session.full-table.2015.mrt.gz"):
        assert as4
        r = decoder.decode(body)
        outcomes[fault(r)] += 1
        announced += len(r["announced"])
        withdrawn += len(r["withdrawn"])
        if r["eor"] is not None:
            ends.append(r["eor"])
        elif r["attrs"]:
            assert {"local_pref", "originator_id", "cluster_list"} <= set(r["attrs"])
    # Three routes with an AGGREGATOR of AS 0 and one with AS 0 in its path (RFC 7607 2).
    assert outcomes == {(OK, 0, 0): 89_675, (DISCARD, 9, 7): 3, (WITHDRAW, 11, 2): 1}
    assert (announced, ends) == (577_737, [0])


@pytest.mark.data
def test_a_real_route_collector(table):
    need("updates.20190101.mrt.gz")
    decoders = {as4: Decoder(table, as4=as4) for as4 in (True, False)}
    announced = withdrawn = 0
    for as4, body in mrt_updates("updates.20190101.mrt.gz"):
        r = decoders[as4].decode(body)
        assert r["outcome"] == OK
        announced += len(r["announced"]) + len(r["reach"])
        withdrawn += len(r["withdrawn"]) + len(r["unreach"])
    assert (announced, withdrawn) == (159_948, 2_626)


def context(rng):
    """What a session may have negotiated, for Decoder and for the reference."""
    return {
        "as4": rng.random() < 0.7,
        "ibgp": rng.random() < 0.5,
        "families": rng.choice((1, 2, 3, 3, 3)),
        "addpath": rng.choice((0, 0, 0, 1, 2, 3)),
        "ext_next_hop": rng.random() < 0.5,
    }


def reference_result(body, ctx):
    """What tests/reference makes of a body, in the form of `Decoder.decode`."""
    masks = {
        key: frozenset(f for f in Family if ctx[key] >> f & 1) for key in ("families", "addpath")
    }
    r = reference.decode_update(body, reference.Context(**ctx | masks))
    return {
        "fault": (r.outcome, r.err_subcode, r.err_attr),
        "err_data": r.err_data,
        "discarded": None if r.outcome == RESET else r.discarded,
        "eor": r.eor,
        "gone": sorted(r.withdrawn),
        "announced": [(prefix, path_id) for _, prefix, path_id in r.announced[: r.n_classic]],
        "reach": r.announced[r.n_classic :],
        "attrs": r.attrs,
        "mp_attrs": r.mp_attrs,
    }


def own_result(decoder, body):
    """The same of the fast path: what is to be withdrawn on treat-as-withdraw is in one list."""
    r = decoder.decode(body)
    gone = [(0, *item) for item in r["withdrawn"]] + r["unreach"]
    announced, reached = r["announced"], r["reach"]
    if r["outcome"] == WITHDRAW:
        gone += [(0, *item) for item in announced] + reached
        announced, reached = [], []
    return {
        "fault": fault(r),
        "err_data": r["err_data"] if r["outcome"] == RESET else b"",
        "discarded": None if r["outcome"] == RESET else r["discarded"],
        "eor": r["eor"],
        "gone": sorted(gone),
        "announced": announced,
        "reach": reached,
        "attrs": r["attrs"],
        "mp_attrs": r["mp_attrs"],
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_reference_agrees(table, seed):
    """Every broken message means to the fast path what it means to the plain-Python decoder."""
    rng = random.Random(seed)
    src = strategies.Source.seeded(seed)
    outcomes = Counter()
    bodies = seeds()
    for turn in range(2_000):
        ctx = context(rng)
        if turn % 2:
            body = strategies.make_mutated(src, strategies.make_context(src))
        else:
            body = mutate(rng, rng.choice(bodies))
        want = reference_result(body, ctx)
        decoder = Decoder(table, **ctx)
        assert own_result(decoder, body) == want, (ctx, body.hex())
        held = [h for h in decoder.handles(body)[1:] if h]
        assert own_result(decoder, body) == want, ("second time", ctx, body.hex())
        for h in held:
            table.drop(h)
        outcomes[want["fault"][0]] += 1
    assert set(outcomes) == {OK, DISCARD, WITHDRAW, RESET}


def seeds():
    """Messages to mutate: every attribute, every place for NLRI, both AS number sizes."""
    everything = b"".join(attr(*[GOOD[k][0], k, GOOD[k][1]]) for k in sorted(GOOD))
    old = attr(WELL_KNOWN, 2, segments((S, (1, TRANS, 3)), (SET, (4, TRANS)), width=2))
    as4 = attr(TRANSITIVE, 17, segments((C, (9,)), (S, (70000, 3)), (SET, (4, 70001))))
    return [
        update(everything + attr(TRANSITIVE, 99, b"xyz"), N4 + prefix("10.2.3.0/24")),
        update(reach(N6 + prefix("2001:db8::/32")) + everything + unreach(N6)),
        update(reach(N6, link_local="fe80::1") + BASE, N4, withdrawn=N4 + N4),
        update(ORIGIN + old + NEXT_HOP + aggregator(TRANS) + as4 + aggregator4(70000), N4),
        update(reach(N4, afi=1) + ORIGIN + PATH),
        update(reach(prefix("2001:db8::/32", 5)) + BASE, prefix("10.0.0.0/8", 7)),
        update(BASE + attr(TRANSITIVE, 32, bytes(range(240)) * 2), N4),
        update(unreach(b"")),
        update(withdrawn=N4),
    ]


def mutate(rng, body):
    body = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        action = rng.randrange(5)
        if not body:
            break
        at = rng.randrange(len(body))
        if action == 0:
            body[at] = rng.randrange(256)
        elif action == 1:
            body[at] ^= 1 << rng.randrange(8)
        elif action == 2:
            del body[at : at + rng.choice((1, 2, 4, 30))]
        elif action == 3:
            body[at:at] = rng.randbytes(rng.choice((1, 2, 4)))
        else:
            other = rng.randrange(len(body))
            body[at : at + 8] = body[other : other + 8]
    return bytes(body)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_messages(table, seed):
    """No crash and no leak, and whatever survives is whole; see also the sanitizer build."""
    rng = random.Random(seed)
    print("seed", seed)
    held = []
    outcomes = Counter()
    bodies = seeds()
    for _ in range(8_000):
        decoder = Decoder(table, **context(rng))
        body = mutate(rng, rng.choice(bodies))
        r = decoder.decode(body)
        outcomes[r["outcome"]] += 1
        stands = r["outcome"] < WITHDRAW
        assert bool(r["attrs"]) == (stands and bool(r["announced"]))
        assert bool(r["mp_attrs"]) == (stands and bool(r["reach"]))
        if r["outcome"] == RESET:
            assert not any(r[key] for key in ("announced", "withdrawn", "reach", "unreach"))
        for attrs, family in (
            (r["attrs"], 0),
            (r["mp_attrs"], 0 if not r["reach"] else r["reach"][0][0]),
        ):
            if attrs:
                h = table.intern_attrs(attrs, family)
                assert table.describe(h) == attrs
                held.append(h)
        again = decoder.decode(body)
        assert again == r
        while len(held) > 300:
            table.drop(held.pop(rng.randrange(len(held))))
    for h in held:
        table.drop(h)
    assert set(outcomes) == {OK, DISCARD, WITHDRAW, RESET}


@pytest.mark.parametrize("seed", range(2))
def test_the_canonical_block_decodes_to_itself(table, seed):
    """On an internal 4-octet session a canonical block is a valid one, and the same set."""
    rng = random.Random(100 + seed)
    fresh = AttrTable()
    decoder = Decoder(fresh, ibgp=True)
    count = 0
    for _ in range(6_000):
        first = Decoder(table, as4=rng.random() < 0.6, ibgp=rng.random() < 0.7)
        _, *handles = first.handles(mutate(rng, rng.choice(seeds())))
        for h in filter(None, handles):
            wire = table.wire_bytes(h)
            classic = table.summary(h)["nh_len"] == 4
            body = update(wire, N4) if classic else update(wire + reach(N6))
            outcome, classic_h, mp_h = decoder.handles(body)
            again = classic_h if classic else mp_h
            assert (outcome, fresh.wire_bytes(again)) == (OK, wire)
            fresh.drop(again)
            table.drop(h)
            count += 1
    assert count > 500
    assert fresh.stats()["hits"] == 0
