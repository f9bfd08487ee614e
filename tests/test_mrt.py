"""MRT files: every record type, every compression, every kind of damage, and real files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct

import pytest

from rs.errors import MrtError
from rs.iana import Family
from rs.mrt import load_table, open_mrt
from tests.mrtfiles import (
    address,
    attr,
    attrs,
    bgp4mp,
    entries,
    message,
    mp_full,
    mp_short,
    mp_unreach,
    nlri,
    path,
    peer_index_table,
    record,
    rib,
    rib_entry,
    summary,
    update,
)

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
PEERS = peer_index_table(("10.0.0.1", 65001), ("2001:db8::2", 400_000), view="all")


# ---------------------------------------------------------------------------- TABLE_DUMP_V2


def test_rib_entries_of_both_families(write):
    v6 = attrs(65001, hop=None, more=mp_short("2001:db8::9"))
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, attrs(65001, 3)), (1, attrs(400_000, hop="10.7.7.7"))),
        rib("2001:db8:8000::/33", (1, v6)),
    )
    found, warnings = entries(file)
    assert [(e.prefix, e.peer, e.originated, e.path_id) for e in found] == [
        ("10.1.0.0/16", 0, 999, None),
        ("10.1.0.0/16", 1, 999, None),
        ("2001:db8:8000::/33", 1, 999, None),
    ]
    assert found[0].attrs == {
        "origin": 0,
        "as_path": ((2, (65001, 3)),),
        "next_hop": "192.0.2.1",
    }
    assert found[2].attrs == {
        "origin": 0,
        "as_path": ((2, (65001,)),),
        "next_hop": "2001:db8::9",
    }
    assert warnings == []
    s = summary(file)
    assert s.kinds == {
        "TABLE_DUMP_V2/PEER_INDEX_TABLE": 1,
        "TABLE_DUMP_V2/RIB_IPV4_UNICAST": 1,
        "TABLE_DUMP_V2/RIB_IPV6_UNICAST": 1,
    }
    assert s.prefixes == {V4: 1, V6: 1}
    assert s.routes == {V4: 2, V6: 1}
    assert (s.view, s.collector, s.truncated, s.damaged) == ("all", "10.9.9.9", False, 0)
    assert [(p.address, p.asn, p.router_id, p.entries) for p in s.peers] == [
        ("10.0.0.1", 65001, "10.0.0.1", {V4: 1}),
        ("2001:db8::2", 400_000, "10.0.0.2", {V4: 1, V6: 1}),
    ]


def test_mp_reach_in_full_or_shortened_is_the_same_set(write):
    """RFC 6396 4.3.4 and the writers that do not follow it."""
    full = attrs(65001, hop=None, more=mp_full("2001:db8::9", "2001:db8:1::/48"))
    short = attrs(65001, hop=None, more=mp_short("2001:db8::9"))
    both = attrs(65001, hop="192.0.2.1", more=mp_short("2001:db8::9"))  # NEXT_HOP is not for IPv6
    file = write(PEERS, rib("2001:db8:1::/48", (0, full), (0, short), (0, both)))
    found, _ = entries(file)
    assert found[0].attrs == found[1].attrs == found[2].attrs
    assert found[0].attrs["next_hop"] == "2001:db8::9"
    assert load_table(file).count(0, V6) == (3, 1)


def test_ipv4_next_hop_in_mp_reach(write):
    """Some writers have MP_REACH_NLRI for IPv4 too; RFC 8950 next hops can come no other way."""
    file = write(
        PEERS,
        rib(
            "10.1.0.0/16",
            (0, attrs(65001, hop=None, more=mp_short("192.0.2.7"))),
            (0, attrs(65001, hop=None, more=mp_short("2001:db8::7"))),
            (0, attrs(65001, hop="192.0.2.8", more=mp_short("192.0.2.7"))),
        ),
    )
    found, _ = entries(file)
    assert [e.attrs["next_hop"] for e in found] == ["192.0.2.7", "2001:db8::7", "192.0.2.8"]


def test_add_path_subtypes(write):
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, attrs(65001), 5), (0, attrs(65001), 6)),
        rib("2001:db8::/32", (1, attrs(65001, hop=None, more=mp_short("2001:db8::9")), 7)),
    )
    found, _ = entries(file)
    assert [(e.prefix, e.path_id) for e in found] == [
        ("10.1.0.0/16", 5),
        ("10.1.0.0/16", 6),
        ("2001:db8::/32", 7),
    ]
    s = summary(file)
    assert (s.peers[0].add_path, s.peers[1].add_path) == ((V4,), (V6,))
    table = load_table(file)
    assert table.has_path_ids(0, V4)
    assert not table.has_path_ids(0, V6)


def generic(prefix: str, *rows: tuple, subtype: int = 6, safi: int = 1, in_nlri=None) -> bytes:
    afi = 2 if ":" in prefix else 1
    body = struct.pack("!IHB", 1, afi, safi) + nlri(prefix, in_nlri)
    body += struct.pack("!H", len(rows)) + b"".join(map(rib_entry, rows))
    return record(13, subtype, body)


def test_rib_generic(write):
    """RFC 8050 has the path identifier in the NLRI, the known writers have it in the entries."""
    file = write(
        PEERS,
        generic("10.1.0.0/16", (0, attrs(65001))),
        generic("2001:db8::/32", (1, attrs(1, hop=None, more=mp_short("2001:db8::9")))),
        generic("10.2.0.0/16", (0, attrs(65001), 8), (0, attrs(65001), 9), subtype=12),
        generic("10.3.0.0/16", (0, attrs(65001)), (1, attrs(65001)), subtype=12, in_nlri=77),
        generic("10.4.0.0/16", (0, attrs(65001)), safi=2),
    )
    found, _ = entries(file)
    assert [(e.prefix, e.path_id) for e in found] == [
        ("10.1.0.0/16", None),
        ("2001:db8::/32", None),
        ("10.2.0.0/16", 8),
        ("10.2.0.0/16", 9),
        ("10.3.0.0/16", 77),
        ("10.3.0.0/16", 77),
    ]
    s = summary(file)
    assert s.routes == {V4: 5, V6: 1}
    assert s.skipped == 1
    assert load_table(file).n_routes == 6


def test_multicast_and_unknown_types_are_skipped_and_counted(write):
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, attrs(65001)), subtype=3),
        record(13, 7, b"geo"),
        record(48, 0, b"ospf"),
        record(16, 2, b"deprecated"),
        rib("10.1.0.0/16", (0, attrs(65001))),
    )
    s = summary(file)
    assert s.skipped == 4
    assert s.damaged == 0
    assert s.routes == {V4: 1}
    assert s.kinds["TABLE_DUMP_V2/RIB_IPV4_MULTICAST"] == 1
    assert s.kinds["TABLE_DUMP_V2/GEO_PEER_TABLE"] == 1
    assert s.kinds["OSPFv3/subtype 0"] == 1
    assert s.kinds["BGP4MP/subtype 2"] == 1
    assert len(entries(file)[0]) == 1


def test_a_second_peer_index_table_starts_new_indices(write):
    second = peer_index_table(("10.5.5.5", 5), ("10.0.0.1", 65001))
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, attrs(65001))),
        second,
        rib("10.1.0.0/16", (0, attrs(5)), (1, attrs(65001))),
    )
    s = summary(file)
    assert [p.address for p in s.peers] == ["10.0.0.1", "2001:db8::2", "10.5.5.5"]
    assert [p.entries for p in s.peers] == [{V4: 2}, {}, {V4: 1}]
    assert [e.peer for e in entries(file)[0]] == [0, 2, 0]


def test_peers_that_look_the_same_keep_their_index(write):
    file = write(
        peer_index_table(("10.0.0.1", 1), ("10.0.0.1", 1)),
        rib("10.1.0.0/16", (1, attrs(1))),
    )
    assert [p.entries for p in summary(file).peers] == [{}, {V4: 1}]


def test_two_octet_as_numbers_in_the_peer_index_table(write):
    file = write(peer_index_table(("10.0.0.1", 65001), as2=True))
    assert summary(file).peers[0].asn == 65001


def test_stray_bits_past_the_mask_are_cleared(write):
    body = struct.pack("!I", 1) + b"\x0d\x0b\x0d" + struct.pack("!H", 1)
    file = write(PEERS, record(13, 2, body + rib_entry((0, attrs(1)))))
    assert entries(file)[0][0].prefix == "10.8.0.0/13".replace("10.", "11.")


def test_prefixes_of_every_length(write):
    nets = [f"0.0.0.0/{n}" for n in range(33)] + [f"::/{n}" for n in range(129)]
    v6 = attrs(1, hop=None, more=mp_short("2001:db8::9"))
    file = write(PEERS, *(rib(n, (0, v6 if ":" in n else attrs(1))) for n in nets))
    assert [e.prefix for e in entries(file)[0]] == nets


# ------------------------------------------------------------------------------- TABLE_DUMP


def table_dump(prefix: str, peer: str, asn: int, block: bytes) -> bytes:
    net, length = prefix.split("/")
    afi = 2 if ":" in net else 1
    body = struct.pack("!HH", 0, 1) + address(net) + bytes([int(length), 1])
    body += struct.pack("!I", 555) + address(peer) + struct.pack("!HH", asn, len(block)) + block
    return record(12, afi, body)


def test_table_dump(write):
    """2-octet AS numbers, widened with AS4_PATH (RFC 6793 4.2.3); the peer is in the record."""
    old = attr(1, b"\0") + attr(2, path(65001, 23456, width=2)) + attr(3, address("192.0.2.1"))
    old += attr(17, path(65001, 400_000), 0xC0)
    v6 = attrs(65002, hop=None, width=2, more=mp_full("2001:db8::9", "2001:db8::/32"))
    file = write(
        table_dump("10.1.0.0/16", "10.0.0.1", 65001, old),
        table_dump("10.2.0.0/16", "10.0.0.2", 65002, attrs(65002, width=2)),
        table_dump("10.3.0.0/16", "10.0.0.1", 65001, old),
        table_dump("2001:db8::/32", "2001:db8::5", 65002, v6),
    )
    found, warnings = entries(file)
    assert warnings == []
    assert [(e.prefix, e.peer, e.originated) for e in found] == [
        ("10.1.0.0/16", 0, 555),
        ("10.2.0.0/16", 1, 555),
        ("10.3.0.0/16", 0, 555),
        ("2001:db8::/32", 2, 555),
    ]
    assert found[0].attrs["as_path"] == ((2, (65001, 400_000)),)
    assert found[3].attrs["next_hop"] == "2001:db8::9"
    s = summary(file)
    assert [(p.address, p.asn) for p in s.peers] == [
        ("10.0.0.1", 65001),
        ("10.0.0.2", 65002),
        ("2001:db8::5", 65002),
    ]
    assert load_table(file).count(0, V4) == (2, 1)


# ----------------------------------------------------------------------------------- BGP4MP


def test_every_bgp4mp_subtype(write):
    narrow = update(block=attrs(65001, width=2), announced=nlri("10.1.0.0/16"))
    wide = update(block=attrs(400_000), announced=nlri("10.2.0.0/16") + nlri("10.3.0.0/16"))
    ids = update(
        withdrawn=nlri("10.9.0.0/16", 4),
        block=attrs(65001),
        announced=nlri("10.4.0.0/16", 1) + nlri("10.4.0.0/16", 2),
    )
    file = write(
        bgp4mp(struct.pack("!HH", 5, 6), 0),
        bgp4mp(narrow, 1),
        bgp4mp(wide, 4),
        bgp4mp(struct.pack("!HH", 6, 1), 5),
        bgp4mp(narrow, 6),
        bgp4mp(wide, 7),
        bgp4mp(ids, 8),
        bgp4mp(ids, 9),
        bgp4mp(ids, 10),
        bgp4mp(ids, 11),
        bgp4mp(wide, 4, usec=250_000, time=2_000_000, peer="2001:db8::1", local="2001:db8::9"),
    )
    s = summary(file)
    assert (s.damaged, s.malformed, s.skipped) == (0, 0, 0)
    assert s.announced == {V4: 1 + 2 + 2 + 2 + 2}
    assert s.withdrawn == {V4: 2}
    assert (s.first_time, s.last_time) == (1_000_000, 2_000_000.25)
    first, second = s.peers
    assert (first.messages, first.updates, first.sent, first.state_changes) == (4, 4, 4, 2)
    assert (first.local_address, first.local_asn) == ("10.0.0.9", 65009)
    assert first.add_path == (V4,)
    assert (second.address, second.announced) == ("2001:db8::1", {V4: 2})
    with open_mrt(file) as m:
        events = list(m.events())
        messages = list(m.messages())
    assert [(e.as4, e.add_path, e.sent, e.old_state, e.new_state) for e in events] == [
        (False, False, False, 5, 6),
        (False, False, False, 0, 0),
        (True, False, False, 0, 0),
        (True, False, False, 6, 1),
        (False, False, True, 0, 0),
        (True, False, True, 0, 0),
        (False, True, False, 0, 0),
        (True, True, False, 0, 0),
        (False, True, True, 0, 0),
        (True, True, True, 0, 0),
        (True, False, False, 0, 0),
    ]
    assert [m.raw for m in messages] == [narrow, wide, ids, ids, wide]
    assert messages[-1][:-1] == (2_000_000.25, 65001, 65009, "2001:db8::1", "2001:db8::9", True)


def test_counts_multiprotocol_nlri(write):
    reach = mp_full("2001:db8::9", "2001:db8:1::/48", "2001:db8:2::/48")
    other = attr(14, b"\0\1\x80\0\0", 0x80)  # a VPN family
    file = write(
        bgp4mp(update(block=attrs(1, hop=None, more=reach))),
        bgp4mp(update(block=mp_unreach("2001:db8:3::/48"))),
        bgp4mp(update(block=attrs(1, hop=None, more=other))),
    )
    s = summary(file)
    assert s.announced == {V6: 2}
    assert s.withdrawn == {V6: 1}
    assert s.other_nlri == 1
    assert s.peers[0].families == (V6,)


def test_router_id_comes_from_a_recorded_open(write):
    opening = message(1, bytes([4]) + struct.pack("!HH", 65001, 90) + address("10.3.2.1") + b"\0")
    assert summary(write(bgp4mp(opening))).peers[0].router_id == "10.3.2.1"


def test_a_malformed_update_is_no_damage_to_the_file(write):
    """It was recorded as it came; whoever replays it wants it so."""
    bad = update(block=attrs(1), announced=nlri("10.1.0.0/16") + b"\x0b")
    file = write(bgp4mp(bad))
    s = summary(file, tolerant=False)
    assert (s.malformed, s.damaged, s.announced) == (1, 0, {V4: 1})
    with open_mrt(file, tolerant=False) as m:
        assert next(m.messages()).raw == bad


def test_many_peers(write):
    file = write(
        *(bgp4mp(update(), asn=i % 7 + 1, peer=f"10.0.{i >> 8}.{i & 255}") for i in range(3000))
    )
    s = summary(file)
    assert len(s.peers) == 3000
    assert [p.address for p in s.peers[:2]] == ["10.0.0.0", "10.0.0.1"]
    assert all(p.updates == 1 for p in s.peers)


# ------------------------------------------------------------------------------ compression

GOOD = [PEERS] + [rib(f"10.{i}.0.0/16", (0, attrs(65001, i + 1))) for i in range(200)]
WHOLE = b"".join(GOOD)


@pytest.mark.parametrize("tail", [b"", bytes(512)], ids=["exact", "padded"])
@pytest.mark.parametrize(
    ("compress", "name"),
    [
        (lambda d: d, "none"),
        (gzip.compress, "gzip"),
        (lambda d: gzip.compress(d[:999]) + gzip.compress(d[999:]), "gzip"),
        (bz2.compress, "bzip2"),
        (lambda d: bz2.compress(d[:999]) + bz2.compress(d[999:]), "bzip2"),
        (lzma.compress, "xz"),
        (lambda d: lzma.compress(d[:999]) + lzma.compress(d[999:]), "xz"),
    ],
    ids=["plain", "gzip", "gzip-members", "bzip2", "bzip2-streams", "xz", "xz-streams"],
)
def test_compression_by_content(write, compress, name, tail):
    data = compress(WHOLE) + (b"" if name == "none" else tail)  # zeros are records where plain
    s = summary(write(data, name="wrong.name"), tolerant=False)
    assert s.compression == name
    assert (s.routes, s.records) == ({V4: 200}, 201)


def test_every_record_comes_through_whatever_the_pieces(write):
    """Records of a megabyte among small ones: more than one piece, and the buffer grows."""
    blob = random.Random(5).randbytes(1_500_000)
    records = [record(48, i, blob[: 700_000 * (i % 3)]) for i in range(6)]
    for data in (b"".join(records), gzip.compress(b"".join(records), 1)):
        with open_mrt(write(data), tolerant=False) as m:
            got = list(m.records())
        assert [len(r.body) for r in got] == [0, 700_000, 1_400_000] * 2
        assert [r.number for r in got] == [1, 2, 3, 4, 5, 6]
        assert got[3].offset == sum(map(len, records[:3]))


def test_memory_is_bounded_by_the_record_not_by_the_file(write):
    """100 MB of zero-filled records in 100 kB of gzip."""
    import tracemalloc

    file = write(gzip.compress(record(48, 0, bytes(999_988)) * 100))
    tracemalloc.start()
    s = summary(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert s.records == 100
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "compress",
    [lambda d: d, gzip.compress, bz2.compress, lzma.compress],
    ids=["plain", "gz", "bz2", "xz"],
)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_cut_off(write, compress, keep):
    data = b"".join(
        [PEERS]
        + [rib(f"10.{i}.0.0/16", (0, attrs(65001, *range(1, 99), i + 1))) for i in range(256)] * 12
    )
    packed = compress(data)
    file = write(packed[: int(len(packed) * keep)])
    s = summary(file)
    assert s.truncated
    assert len(s.warnings) == 1
    whole = len(entries(file)[0])
    assert s.routes.get(V4, 0) == whole
    if compress is not bz2.compress and compress is not lzma.compress:  # which have large blocks
        assert 0 < whole < 12 * 256
        assert whole > 12 * 256 * keep * 0.9
        assert s.lost_bytes > 0
        assert f"{s.lost_bytes:,} octets" in s.warnings[0]
        assert f"record {s.records + 1} at offset" in s.warnings[0]
    with pytest.raises(MrtError, match=rf"^{file}: .*record {s.records + 1} at offset"):
        summary(file, tolerant=False)
    with pytest.raises(MrtError, match=str(file)):
        entries(file, tolerant=False)


def test_cut_off_bzip2_gives_all_its_whole_blocks(write):
    blob = random.Random(6).randbytes(60_000)
    data = record(48, 0, blob) * 60
    packed = bz2.compress(data, 1)  # blocks of 100 kB
    s = summary(write(packed[: len(packed) // 2]))
    assert 26 <= s.records <= 30
    assert s.truncated
    assert "bzip2 data are cut off" in s.warnings[0]


def test_damage_within_gzip_data_keeps_what_stands_before_it(write):
    data = record(48, 0, random.Random(7).randbytes(5_000)) * 50
    packed = bytearray(gzip.compress(data))
    packed[-8] ^= 1  # the checksum: every octet of data is fine
    s = summary(write(bytes(packed)))
    assert s.records == 50
    assert "damaged" in s.warnings[0]
    assert s.truncated


def test_something_else_after_the_compressed_data(write):
    s = summary(write(gzip.compress(WHOLE) + b"junk"))
    assert s.records == 201
    assert "something else follows" in s.warnings[0]


def test_zstd_says_what_is_needed(write):
    import rs.decompress

    file = write(b"\x28\xb5\x2f\xfd" + bytes(50))
    if rs.decompress.zstd is None:
        with pytest.raises(
            MrtError, match=rf"{file}: compressed with zstd, which needs Python 3\.14"
        ):
            summary(file)
    else:
        assert summary(file).truncated


# ----------------------------------------------------------------------------------- damage


def damaged(*parts: bytes) -> bytes:
    return record(13, 2, b"".join(parts))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (damaged(b"\0\0"), "a field reaches past the end"),
        (damaged(bytes(4), b"\x21", bytes(9)), "prefix length out of range"),
        (damaged(bytes(4), b"\x10\x0a\x01\0\2", rib_entry((0, attrs(1)))), "a field reaches past"),
        (damaged(bytes(4), b"\x10\x0a\x01\0\1", rib_entry((9, attrs(1)))), "peer index beyond"),
        (record(13, 1, b"\1"), "a field reaches past the end"),
        (record(16, 4, bytes(5)), "a field reaches past the end"),
        (bgp4mp(b"\xff" * 16 + b"\1\0\2", 4), "no whole BGP message"),
        (bgp4mp(b"\xff" * 5, 4), "no whole BGP message"),
        (bgp4mp(b"\0\1", 5), "a field reaches past the end"),
        (record(16, 4, bytes(8) + b"\0\0\0\7" + bytes(40)), "neither IPv4 nor IPv6"),
        (record(17, 4, b"\0"), "a field reaches past the end"),
        (record(12, 1, bytes(8)), "a field reaches past the end"),
        (record(12, 1, bytes(8) + b"\x21" + bytes(30)), "prefix length out of range"),
    ],
)
def test_a_damaged_record_is_named_and_the_rest_read(write, bad, text):
    file = write(PEERS, rib("10.1.0.0/16", (0, attrs(1))), bad, rib("10.2.0.0/16", (0, attrs(1))))
    offset = len(PEERS) + len(rib("10.1.0.0/16", (0, attrs(1))))
    s = summary(file)
    assert s.damaged == 1
    assert s.warnings == (f"record 3 at offset {offset}: {s.warnings[0].split(': ')[1]}",)
    assert text in s.warnings[0]
    assert not s.truncated
    with pytest.raises(MrtError, match=rf"^{file}: record 3 at offset {offset}: .*{text}"):
        summary(file, tolerant=False)
    if bad[5] != 16 and bad[5] != 17:
        found, warnings = entries(file)
        assert found[-1].prefix == ("10.2.0.0/16")
        assert warnings == list(s.warnings)
    else:
        with open_mrt(file) as m:
            assert list(m.messages()) == []
            assert m.warnings == list(s.warnings)


def test_rib_records_before_the_peer_index_table(write):
    file = write(rib("10.1.0.0/16", (0, attrs(1))), PEERS, rib("10.1.0.0/16", (0, attrs(1))))
    s = summary(file)
    assert s.routes == {V4: 1}
    assert "before any PEER_INDEX_TABLE" in s.warnings[0]


def test_faults_beyond_the_first_are_counted(write):
    s = summary(write(PEERS, *[damaged(b"\0")] * 50))
    assert s.damaged == 50
    assert len(s.warnings) == 9
    assert s.warnings[-1] == "50 damaged records in all"


def test_a_record_that_claims_too_much_ends_the_reading(write):
    huge = struct.pack("!IHHI", 1, 13, 2, 0xFFFFFFFF) + bytes(100)
    file = write(PEERS, rib("10.1.0.0/16", (0, attrs(1))), huge)
    s = summary(file)
    assert s.routes == {V4: 1}
    assert "claims more than 64 MiB" in s.warnings[0]
    with pytest.raises(MrtError, match=r"record 3 at offset .*claims more"):
        summary(file, tolerant=False)
    with open_mrt(file) as m:
        assert len(list(m.records())) == 2


@pytest.mark.parametrize("data", [b"# not a table\n" * 9, bytes(4) + b"\0\x0d\0\1\xff" + bytes(99)])
def test_what_is_no_mrt_file(write, data):
    file = write(data)
    with pytest.raises(MrtError, match=f"^{file}: not an MRT file"):
        summary(file)


def test_an_empty_file(write):
    s = summary(write(b""))
    assert (s.records, s.peers, s.first_time, s.truncated) == (0, (), None, False)
    with pytest.raises(MrtError, match="holds no RIB entry"):
        load_table(write(b""))


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(MrtError, match=r"missing\.mrt: No such file"):
        open_mrt(tmp_path / "missing.mrt")
    with pytest.raises(MrtError, match=r"directory"):
        open_mrt(tmp_path)


def test_mutated_files_never_do_more_than_complain(write):
    """Every reading of a file with flipped octets ends, with data or with MrtError."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    v6 = attrs(1, hop=None, more=mp_full("2001:db8::9", "2001:db8::/32"))
    whole = b"".join(
        [
            PEERS,
            rib("10.1.0.0/16", (0, attrs(65001, 3)), (1, attrs(5))),
            rib("2001:db8::/32", (1, v6, 3)),
            generic("10.2.0.0/16", (0, attrs(65001), 8), subtype=12),
            table_dump("10.2.0.0/16", "10.0.0.2", 65002, attrs(65002, width=2)),
            bgp4mp(update(nlri("10.1.0.0/16"), v6, nlri("10.3.0.0/16"))),
            bgp4mp(update(nlri("10.1.0.0/16", 1), v6, nlri("10.3.0.0/16", 2)), 9, usec=4),
        ]
    )
    complaints = []
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
        file = write(bytes(data))
        try:
            with open_mrt(file) as m:
                s = m.summary()
                n = len(list(m.rib_entries()))
                list(m.messages())
                if s.is_rib:
                    table = m.load_table()
                    assert n == sum(s.routes.values())
                    assert table.n_routes + table.n_unusable == n
        except MrtError as error:
            complaints.append(str(error))
    assert all(str(file) in text for text in complaints)


# ------------------------------------------------------------------------------------ Table


def test_routes_are_grouped_by_attribute_block(write):
    file = write(
        PEERS,
        *(rib(f"10.{i}.0.0/16", (0, attrs(1, i % 3 + 1)), (1, attrs(2))) for i in range(30)),
    )
    table = load_table(file)
    assert table.n_routes == 60
    assert table.count(0, V4) == (30, 3)
    assert table.count(1, V4) == (30, 1)
    assert table.count(0, V6) == table.count(99, V4) == (0, 0)
    assert table.summary.peers[1].asn == 400_000


def test_one_peer_of_a_table(write):
    file = write(PEERS, rib("10.1.0.0/16", (0, attrs(1)), (1, attrs(2))))
    table = load_table(file, 1)
    assert (table.count(0, V4), table.count(1, V4)) == ((0, 0), (1, 1))
    with pytest.raises(MrtError, match="has no peer 2; they are numbered 0 to 1"):
        load_table(file, 2)


def test_routes_that_no_receiver_may_use_are_kept_and_counted(write):
    """AS 0 in the path (RFC 7607), no next hop, a bad ORIGIN: recorded, so replayed."""
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, attrs(65001, 0)), (0, attrs(65001))),
        rib("10.2.0.0/16", (0, attrs(65001, hop=None))),
        rib("10.3.0.0/16", (0, attr(1, b"\7") + attrs(65001)[4:])),
    )
    table = load_table(file)
    assert (table.n_routes, table.n_invalid, table.n_unusable) == (4, 3, 0)
    assert [e.attrs is None for e in entries(file)[0]] == [True, False, True, True]


def test_entries_without_sendable_attributes_are_left_out(write):
    whole = attrs(65001)
    file = write(
        PEERS,
        rib("10.1.0.0/16", (0, b""), (0, whole[:-1]), (0, whole[4:]), (0, whole)),
        rib("2001:db8::/32", (0, attrs(1, hop=None, more=attr(14, b"\x10\1", 0x80)))),
    )
    table = load_table(file)
    assert (table.n_routes, table.n_unusable) == (1, 4)
    assert [e.attrs is None for e in entries(file)[0]] == [True, True, True, False, True]
