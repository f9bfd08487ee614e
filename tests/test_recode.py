"""Recorded routes and UPDATEs turned into those of a session, and what comes back."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs._fastpath.play import Packer, Sink
from rs._fastpath.recode import Rewriter
from rs.iana import HEADER_LEN, Family
from rs.messages import split_messages
from rs.mrt import load_table, open_mrt
from tests.mrtfiles import (
    address,
    attr,
    attrs,
    data_file,
    message,
    mp_full,
    mp_short,
    mp_unreach,
    nlri,
    path,
    peer_index_table,
    rib,
    update,
)

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
LOCAL_PREF = attr(5, struct.pack("!I", 150))
REFLECTED = attr(9, address("1.2.3.4"), 0x80) + attr(10, address("5.6.7.8"), 0x80)
PEERS = peer_index_table(("10.0.0.1", 65001), ("10.0.0.2", 65002))


def messages(data: bytes) -> list[bytes]:
    """Cut octets into messages; every one of them must be whole."""
    found = []
    while data:
        length = int.from_bytes(data[16:18])
        assert data[:16] == b"\xff" * 16
        assert HEADER_LEN <= length <= len(data)
        found.append(data[:length])
        data = data[length:]
    return found


def decode(data: bytes, **how) -> list[dict]:
    """Decode every UPDATE; none may have a fault."""
    decoder = Decoder(AttrTable(), **{"ibgp": True, "ext_next_hop": True, **how})
    found = [decoder.decode(m[HEADER_LEN:]) for m in messages(data)]
    assert [u["outcome"] for u in found] == [0] * len(found)
    return found


def one(data: bytes, **how) -> dict:
    (found,) = decode(data, **how)
    return found


# ---------------------------------------------------------------------------- recorded UPDATEs


def test_what_needs_no_change_stays_as_it_is():
    odd = attr(77, b"whatever", 0xE0)
    recorded = [
        update(block=attrs(1, 2, more=odd), announced=nlri("10.0.0.0/8")),
        update(nlri("10.0.0.0/8")),
        update(),
        update(block=mp_unreach()),
        update(block=attrs(1, hop=None, more=mp_full("2001:db8::1", "2001:db8::/32"))),
        update(nlri("10.1.0.0/16"), mp_unreach("2001:db8::/32") + attrs(1), nlri("10.2.0.0/16")),
    ]
    rewriter = Rewriter()
    for raw in recorded:
        assert rewriter.convert(raw, True, False) == raw
    assert (rewriter.n_announced, rewriter.n_withdrawn) == (3, 3)
    internal = update(block=attrs(1, more=LOCAL_PREF + REFLECTED), announced=nlri("10.0.0.0/8"))
    assert Rewriter(ibgp=True).convert(internal, True, False) == internal


def test_attributes_of_internal_sessions_stay_inside():
    raw = update(block=attrs(1, more=LOCAL_PREF + REFLECTED), announced=nlri("10.0.0.0/8"))
    external = one(Rewriter().convert(raw, True, False))
    assert external["attrs"].keys() == {"origin", "as_path", "next_hop"}
    internal = one(Rewriter(ibgp=True).convert(raw, True, False))
    assert internal["attrs"]["local_pref"] == 150
    assert internal["attrs"]["cluster_list"] == ("5.6.7.8",)


def test_local_pref_is_added_where_it_has_to_be():
    communities = attr(8, b"\0\1\0\2", 0xC0)
    for more in (b"", communities):
        raw = update(block=attrs(1, more=more), announced=nlri("10.0.0.0/8"))
        out = Rewriter(ibgp=True).convert(raw, True, False)
        assert one(out)["attrs"]["local_pref"] == 100
        assert out.endswith(attr(5, struct.pack("!I", 100)) + more + nlri("10.0.0.0/8"))


def test_narrow_as_numbers_for_an_old_speaker():
    """AS_TRANS and AS4_PATH, AS4_AGGREGATOR (RFC 6793 4.2.2)."""
    aggregator = attr(7, struct.pack("!I", 400_001) + address("10.0.0.1"), 0xC0)
    block = (
        attr(1, b"\0") + attr(2, path(65001, 400_000)) + attr(3, address("10.0.0.1")) + aggregator
    )
    raw = update(block=block, announced=nlri("10.0.0.0/8"))
    out = Rewriter(as4=False).convert(raw, True, False)
    assert attr(2, path(65001, 23456, width=2)) in out
    assert attr(7, b"\x5b\xa0" + address("10.0.0.1"), 0xC0) in out
    assert out.count(path(65001, 400_000)) == 1
    found = one(out, as4=False)["attrs"]  # merges both again
    assert found["as_path"] == ((2, (65001, 400_000)),)
    assert found["aggregator"] == (400_001, "10.0.0.1")


def test_narrow_as_numbers_that_fit_need_no_as4_path():
    raw = update(block=attrs(1, 65535), announced=nlri("10.0.0.0/8"))
    out = Rewriter(as4=False).convert(raw, True, False)
    assert out == update(block=attrs(1, 65535, width=2), announced=nlri("10.0.0.0/8"))


def test_confederation_segments_stay_out_of_as4_path():
    confederation = b"\x03\x01" + struct.pack("!I", 64512)
    block = attr(1, b"\0") + attr(2, confederation + path(400_000)) + attr(3, address("10.0.0.1"))
    out = Rewriter(as4=False).convert(
        update(block=block, announced=nlri("10.0.0.0/8")), True, False
    )
    value = path(400_000)
    assert out.endswith(b"\xd0\x11" + struct.pack("!H", len(value)) + value + nlri("10.0.0.0/8"))


def test_recorded_narrow_as_numbers_are_widened():
    """With what AS4_PATH knows, which then goes."""
    block = attr(1, b"\0") + attr(2, path(65001, 23456, width=2)) + attr(3, address("10.0.0.1"))
    block += attr(17, path(65001, 400_000), 0xC0)
    raw = update(block=block, announced=nlri("10.0.0.0/8"))
    out = Rewriter().convert(raw, False, False)
    assert one(out)["attrs"]["as_path"] == ((2, (65001, 400_000)),)
    assert out == update(block=attrs(65001, 400_000, hop="10.0.0.1"), announced=nlri("10.0.0.0/8"))
    assert Rewriter(as4=False).convert(raw, False, False) == raw
    both = Rewriter(as4=False, prepend=500_000).convert(raw, False, False)
    assert one(both, as4=False)["attrs"]["as_path"] == ((2, (500_000, 65001, 400_000)),)


def test_as4_path_is_not_passed_to_a_speaker_of_wide_numbers():
    raw = update(block=attrs(1, more=attr(17, path(5), 0xC0)), announced=nlri("10.0.0.0/8"))
    out = Rewriter(prepend=9).convert(raw, True, False)
    assert out == update(block=attrs(9, 1), announced=nlri("10.0.0.0/8"))


@pytest.mark.parametrize("as4", [True, False])
@pytest.mark.parametrize(
    ("recorded", "sent"),
    [
        (path(1, 2), ((2, (700_000, 1, 2)),)),
        (b"", ((2, (700_000,)),)),
        (b"\1\1\0\0\0\5", ((2, (700_000,)), (1, (5,)))),
        (path(*range(1, 256)), ((2, (700_000,)), (2, tuple(range(1, 256))))),
        (path(*range(1, 255)), ((2, (700_000, *range(1, 255))),)),
        (path(*range(1, 63)), ((2, (700_000, *range(1, 63))),)),
    ],
)
def test_prepending(recorded, sent, as4):
    block = attr(1, b"\0") + attr(2, recorded) + attr(3, address("10.0.0.1"))
    raw = update(block=block, announced=nlri("10.0.0.0/8"))
    out = Rewriter(prepend=700_000, as4=as4).convert(raw, True, False)
    assert one(out, as4=as4)["attrs"]["as_path"] == sent


def test_next_hops():
    v6 = mp_full("2001:db8::1", "2001:db8::/32")
    raw = update(block=attrs(1, more=v6), announced=nlri("10.0.0.0/8"))
    hops = {"next_hop4": address("10.9.9.9"), "next_hop6": address("2001:db8::9")}
    found = one(Rewriter(**hops).convert(raw, True, False))
    assert found["attrs"]["next_hop"] == "10.9.9.9"
    assert found["mp_attrs"]["next_hop"] == "2001:db8::9"
    assert found["reach"] == [(V6, "2001:db8::/32", 0)]
    for bad in ({"next_hop4": b"123"}, {"next_hop6": b"1234"}, {"max_len": 100}):
        with pytest.raises(ValueError):
            Rewriter(**bad)


def test_families_of_the_session_only():
    v6 = mp_full("2001:db8::1", "2001:db8::/32") + mp_unreach("2001:db8:1::/48")
    both = update(nlri("10.1.0.0/16"), attrs(1, more=v6), nlri("10.0.0.0/8"))
    only4, only6 = Rewriter(families=1), Rewriter(families=2)
    found = one(only4.convert(both, True, False))
    assert (len(found["announced"]), len(found["withdrawn"])) == (1, 1)
    assert (found["reach"], found["unreach"]) == ([], [])
    found = one(only6.convert(both, True, False))
    assert (found["announced"], found["withdrawn"]) == ([], [])
    assert (len(found["reach"]), len(found["unreach"])) == (1, 1)
    vpn = update(block=attrs(1, hop=None, more=attr(14, b"\0\1\x80\0\0", 0x80)))
    assert only4.convert(vpn, True, False) == b""
    assert only4.convert(update(block=mp_unreach()), True, False) == b""
    assert only6.convert(update(), True, False) == b""
    assert only4.convert(update(), True, False) == update()
    assert only6.convert(update(block=mp_unreach()), True, False) == update(block=mp_unreach())
    assert (only4.n_filtered, only6.n_filtered) == (2, 1)
    assert (only4.n_announced, only6.n_announced) == (1, 1)


def test_ipv4_routes_with_ipv6_next_hops_need_a_session_that_takes_them():
    """RFC 8950."""
    raw = update(block=attrs(1, hop=None, more=mp_full("2001:db8::1", "10.0.0.0/8")))
    assert Rewriter(ext_next_hop=True).convert(raw, True, False) == raw
    rewriter = Rewriter()
    assert rewriter.convert(raw, True, False) == b""
    assert rewriter.n_filtered == 1


def test_path_identifiers_come_and_go():
    ids = nlri("10.0.0.0/8", 5) + nlri("10.1.0.0/16", 6)
    plain = nlri("10.0.0.0/8") + nlri("10.1.0.0/16")
    zeros = nlri("10.0.0.0/8", 0) + nlri("10.1.0.0/16", 0)
    with_ids, with_plain = (update(ids, attrs(1), ids), update(plain, attrs(1), plain))
    assert Rewriter(addpath=1).convert(with_ids, True, True) == with_ids
    assert Rewriter().convert(with_ids, True, True) == with_plain
    assert Rewriter(addpath=1).convert(with_plain, True, False) == update(zeros, attrs(1), zeros)
    # identifiers for IPv6 only
    assert Rewriter(addpath=2).convert(with_ids, True, True) == with_plain


@pytest.mark.parametrize("more", [b"", mp_full("2001:db8::1", "2001:db8::/32")])
def test_what_grows_too_long_is_split(more):
    """A full message of 4,096 octets, and our AS in front."""
    room = 4096 - HEADER_LEN - 4 - len(attrs(1, more=more))
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(room // 4)]
    raw = update(block=attrs(1, more=more), announced=b"".join(map(nlri, prefixes)))
    assert 4090 < len(raw) <= 4096
    out = Rewriter(prepend=9).convert(raw, True, False)
    found = decode(out)
    assert len(found) == 2  # with IPv6 routes, they go first and leave room for the others
    assert all(len(m) <= 4096 for m in messages(out))
    assert [p for u in found for p, _ in u["announced"]] == prefixes
    assert all((u["attrs"] or u["mp_attrs"])["as_path"] == ((2, (9, 1)),) for u in found)


def test_every_part_of_a_long_update_is_split():
    prefixes = [f"2001:db8:{i:x}::/48" for i in range(1, 1501)]
    gone = [f"2001:db9:{i:x}::/48" for i in range(1, 1501)]
    v4 = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(3000)]
    v4_gone = [f"11.{i >> 8}.{i & 255}.0/24" for i in range(3000)]
    block = attrs(1, more=mp_full("2001:db8::1", *prefixes) + mp_unreach(*gone))
    raw = update(b"".join(map(nlri, v4_gone)), block, b"".join(map(nlri, v4)))
    rewriter = Rewriter()
    found = decode(rewriter.convert(raw, True, False))
    assert [p for u in found for _, p, _ in u["reach"]] == prefixes
    assert [p for u in found for _, p, _ in u["unreach"]] == gone
    assert [p for u in found for p, _ in u["announced"]] == v4
    assert [p for u in found for p, _ in u["withdrawn"]] == v4_gone
    assert (rewriter.n_announced, rewriter.n_withdrawn, rewriter.n_too_long) == (4500, 4500, 0)


def test_attributes_too_long_for_any_message():
    raw = update(block=attrs(1, more=attr(99, bytes(4080), 0xC0)), announced=nlri("10.0.0.0/8"))
    rewriter = Rewriter()
    assert rewriter.convert(raw, True, False) == b""
    assert rewriter.n_too_long == 1
    assert Rewriter(max_len=65535).convert(raw, True, False) == raw


def test_malformed_updates_pass_as_they_are():
    raw = update(block=attrs(1), announced=nlri("10.0.0.0/8") + b"\x0b")
    rewriter = Rewriter()
    assert rewriter.convert(raw, True, False) == raw
    assert rewriter.n_malformed == 1
    for bad in (b"", b"\xff" * 18, message(4), message(1, bytes(10))):
        with pytest.raises(ValueError, match="not an UPDATE"):
            rewriter.convert(bad, True, False)


def test_mutated_updates_give_whole_messages_or_nothing():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    more = mp_full("2001:db8::1", "2001:db8::/32", "::/0") + mp_unreach("2001:db8:1::/48")
    more += LOCAL_PREF + REFLECTED + attr(7, bytes(8), 0xC0) + attr(17, path(7), 0xC0)
    whole = update(nlri("10.0.0.0/8"), attrs(1, 400_000, more=more), nlri("10.1.2.0/23"))
    rewriters = [
        Rewriter(),
        Rewriter(as4=False, prepend=70_000),
        Rewriter(ibgp=True, families=1, addpath=1),
        Rewriter(prepend=1, next_hop4=bytes(4), next_hop6=bytes(32), addpath=3, families=2),
    ]
    for _ in range(5000):
        raw = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            raw[rng.randrange(HEADER_LEN, len(raw))] = rng.choice((0, 1, 255, rng.randrange(256)))
        for rewriter in rewriters:
            for as4 in (True, False):
                messages(rewriter.convert(bytes(raw), as4, rng.random() < 0.5))


# ----------------------------------------------------------------------------------- RIB routes


@pytest.fixture
def table(tmp_path):
    def table(*records: bytes):
        file = tmp_path / "file.mrt"
        file.write_bytes(PEERS + b"".join(records))
        return load_table(file)

    return table


def packed(table, peer=0, family=V4, room=1 << 18, valid_only=False, **how):
    packer = Packer(table, peer, family, Rewriter(**how), valid_only=valid_only)
    data = b""
    while piece := packer.next(room):
        assert len(piece) <= room
        data += piece
    assert packer.next(room) == b""
    assert packer.n_messages == len(messages(data))
    assert all(len(m) <= how.get("max_len", 4096) for m in messages(data))
    return data, packer


@pytest.mark.parametrize("room", [4096, 10_000, 1 << 18])
def test_routes_with_the_same_attributes_share_messages(table, room):
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(5000)]
    loaded = table(
        *(rib(p, (0, attrs(65001, i % 3 + 1)), (1, attrs(2))) for i, p in enumerate(prefixes))
    )
    data, packer = packed(loaded, room=room)
    found = decode(data)
    assert packer.n_routes == 5000
    assert len(found) == 6  # 1,667 routes of 4 octets: two messages for each set
    for i in range(3):
        mine = [u for u in found if u["attrs"]["as_path"] == ((2, (65001, i + 1)),)]
        assert [p for u in mine for p, _ in u["announced"]] == prefixes[i::3]
    data, _ = packed(loaded, room=max(room, 65535), max_len=65535)
    assert len(decode(data)) == 3
    data, packer = packed(loaded, peer=1)
    assert [p for u in decode(data) for p, _ in u["announced"]] == prefixes
    assert packed(loaded, family=V6)[0] == b""
    assert packed(loaded, peer=77)[0] == b""


def test_messages_are_filled(table):
    loaded = table(*(rib(f"10.{i >> 8}.{i & 255}.0/24", (0, attrs(1))) for i in range(3000)))
    first, *_ = messages(packed(loaded)[0])
    assert 4093 <= len(first) <= 4096


def test_ipv6_routes(table):
    block = attrs(1, more=mp_short("2001:db8::1"))
    prefixes = [f"2001:db8:{i:x}::/48" for i in range(1, 2001)]
    loaded = table(*(rib(p, (0, block)) for p in prefixes))
    data, _ = packed(loaded, family=V6)
    found = decode(data)
    assert [(f, p) for u in found for f, p, _ in u["reach"]] == [(V6, p) for p in prefixes]
    assert {u["mp_attrs"]["next_hop"] for u in found} == {"2001:db8::1"}
    assert all(m[23:25] == b"\x90\x0e" for m in messages(data))  # RFC 7606 5.1: stands first
    data, _ = packed(loaded, family=V6, next_hop6=address("2001:db8::7") + address("fe80::7"))
    found = decode(data)
    assert {u["mp_attrs"]["next_hop"] for u in found} == {"2001:db8::7"}
    assert {u["mp_attrs"]["link_local"] for u in found} == {"fe80::7"}


def test_path_identifiers_of_a_table(table):
    loaded = table(
        rib("10.0.0.0/8", (0, attrs(1), 5), (0, attrs(1), 6)),
        rib("10.1.0.0/16", (0, attrs(1))),
    )
    data, packer = packed(loaded, addpath=1)
    found = [p for u in decode(data, addpath=1) for p in u["announced"]]
    assert found == [("10.1.0.0/16", 0), ("10.0.0.0/8", 5), ("10.0.0.0/8", 6)]
    assert packer.n_routes == 3
    found = [p for u in decode(packed(loaded)[0]) for p in u["announced"]]
    assert found == [("10.1.0.0/16", 0), ("10.0.0.0/8", 0), ("10.0.0.0/8", 0)]


def test_next_hops_of_a_table(table):
    loaded = table(
        rib("10.0.0.0/16", (0, attrs(1, hop="10.0.0.1"))),
        rib("10.1.0.0/16", (0, attrs(1, hop=None, more=mp_short("10.0.0.2")))),
        rib("10.2.0.0/16", (0, attrs(1, hop=None, more=mp_short("2001:db8::3")))),
        rib("10.3.0.0/16", (0, attrs(1, hop=None))),
    )

    def hops(**how):
        data, packer = packed(loaded, **how)
        found = {}
        for u in decode(data):
            found |= {p: u["attrs"]["next_hop"] for p, _ in u["announced"]}
            found |= {p: u["mp_attrs"]["next_hop"] for _, p, _ in u["reach"]}
        return found, packer.n_skipped

    plain = {"10.0.0.0/16": "10.0.0.1", "10.1.0.0/16": "10.0.0.2"}
    assert hops() == (plain, 2)
    assert hops(ext_next_hop=True) == ({**plain, "10.2.0.0/16": "2001:db8::3"}, 1)
    own = {f"10.{i}.0.0/16": "10.9.9.9" for i in range(4)}
    assert hops(next_hop4=address("10.9.9.9")) == (own, 0)


def test_routes_that_cannot_be_sent(table):
    loaded = table(
        rib("10.0.0.0/16", (0, attrs(1, more=attr(99, bytes(4080), 0xC0)))),
        rib("10.1.0.0/16", (0, attrs(1, 0))),
        rib("10.2.0.0/16", (0, attrs(1))),
        rib("2001:db8::/32", (0, attrs(1))),
    )
    data, packer = packed(loaded)
    assert (packer.n_routes, packer.n_skipped, len(messages(data))) == (2, 1, 2)
    data, packer = packed(loaded, valid_only=True)
    assert [p for u in decode(data) for p, _ in u["announced"]] == ["10.2.0.0/16"]
    assert packer.n_skipped == 2
    assert packed(loaded, max_len=65535)[1].n_routes == 3
    assert packed(loaded, family=V6)[1].n_skipped == 1
    data, packer = packed(loaded, family=V6, next_hop6=address("2001:db8::1"))
    assert one(data)["reach"] == [(V6, "2001:db8::/32", 0)]


def test_packing_for_odd_sessions(table):
    loaded = table(rib("10.0.0.0/16", (0, attrs(1, 400_000, more=LOCAL_PREF))))
    data, _ = packed(loaded, as4=False, prepend=500_000)
    assert one(data, as4=False)["attrs"]["as_path"] == ((2, (500_000, 1, 400_000)),)
    assert "local_pref" not in one(data, as4=False)["attrs"]
    assert one(packed(loaded, ibgp=True)[0])["attrs"]["local_pref"] == 150


def test_packer_refuses_what_cannot_be(table):
    loaded = table(rib("10.0.0.0/16", (0, attrs(1))))
    with pytest.raises(ValueError, match="no such family"):
        Packer(loaded, 0, 2, Rewriter())
    with pytest.raises(ValueError, match="4096"):
        Packer(loaded, 0, 0, Rewriter()).next(4095)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["rib.20140523.0600_firstMB.bz2", "rib6.20151101.0600_firstMB.bz2"]
)
def test_real_tables_come_out_as_they_went_in(name):
    """Every route of every peer, by content."""
    file = data_file(name)
    loaded = load_table(file)
    expected: dict = {}
    with open_mrt(file) as m:
        for e in m.rib_entries():
            expected.setdefault(e.peer, {})[e.prefix] = e.attrs
    for peer, routes in expected.items():
        family = V6 if ":" in next(iter(routes)) else V4
        data, packer = packed(loaded, peer, family, ibgp=True)
        assert packer.n_routes == len(routes)
        sent = {}
        for u in decode(data):
            sent |= {p: u["attrs"] for p, _ in u["announced"]}
            sent |= {p: u["mp_attrs"] for _, p, _ in u["reach"]}
        for prefix, found in sent.items():
            assert found == {"local_pref": 100, **routes[prefix]}


@pytest.mark.data
def test_a_real_session_is_replayed_octet_by_octet():
    rewriter = Rewriter(ibgp=True)
    with open_mrt(data_file("session.full-table.2015.mrt.gz")) as m:
        updates = [m for m in m.messages() if m.raw[18] == 2]
    assert all(rewriter.convert(m.raw, m.as4, False) == m.raw for m in updates)
    assert (rewriter.n_announced, rewriter.n_withdrawn) == (577_737, 3)


# ----------------------------------------------------------------------------- what comes back

REFRESH = message(5, b"\0\2\1\1")
STREAM = [message(4), update(nlri("10.0.0.0/8")), update(), REFRESH, message(3, b"\6\2why")]


def test_sink_counts_updates_and_passes_the_rest_on():
    sink = Sink()
    assert sink.feed(b"".join(STREAM)) == 5
    assert (sink.updates, sink.keepalives) == (2, 1)
    assert sink.octets == sum(map(len, STREAM))
    assert sink.pending_events
    assert sink.take_events() == [
        ("refresh", 2, 1, 1),
        ("notification", 6, 2, b"why"),
    ]
    assert not sink.pending_events
    assert sink.take_events() == []


def test_sink_takes_reads_of_any_size():
    rng = random.Random(3)
    data = b"".join(rng.choice(STREAM) for _ in range(500))
    expected = len(split_messages(data))
    whole = Sink()
    assert whole.feed(data) == expected
    events = whole.take_events()
    for size in (1, 2, 18, 19, 20, 1000):
        sink = Sink()
        cuts = [*range(0, len(data), size), len(data)]
        view = memoryview(bytearray(data))
        assert sum(sink.feed(view[a:b]) for a, b in pairwise(cuts)) == expected
        assert (sink.updates, sink.octets) == (whole.updates, len(data))
        assert sink.keepalives == whole.keepalives > 50
        assert sink.take_events() == events


@pytest.mark.parametrize(
    ("bad", "event"),
    [
        (b"\xff" * 16 + b"\0\x12\2", ("error", 1, 2, b"\0\x12", "bad message header")),
        (b"\xff" * 16 + b"\x20\0\2", ("error", 1, 2, b"\x20\0", "bad message header")),
        (b"\xff" * 16 + b"\0\x13\x09", ("error", 1, 3, b"\x09", "bad message header")),
        (b"\xff" * 16 + b"\0\x14\4\0", ("error", 1, 2, b"\0\x14", "bad message header")),
        (message(1, bytes(10)), ("error", 5, 3, b"\1", "OPEN in Established")),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_sink_ends_a_session_that_makes_no_sense(bad, event, size):
    sink = Sink()
    done = 0
    for at in range(0, len(bad), size):
        done = sink.feed(bad[at : at + size])
        if done < 0:
            break
    assert done == -1
    assert sink.take_events() == [event]
