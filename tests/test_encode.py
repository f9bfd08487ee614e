"""Messages as they are packed: sizes to the octet, 2-octet forms, next hops, long lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs.iana import MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN
from rs.peer import PeerKind
from tests import strategies
from tests.engines import Engine, Reader
from tests.farends import SEQ, V4, V6, plain
from tests.oracle import message_len
from tests.reference import codec
from tests.strategies import Source

CONFED = 3


def world(**options):
    """One peer that announces, one member that receives."""
    engine = Engine(as_loop=False, communities=False)
    engine.peers(1, 2, reject_as_set=False)
    engine.peer(3, kind=PeerKind.IBGP)
    reading = {k: options[k] for k in ("as4", "ext_next_hop", "max_len") if k in options}
    reader = Reader(engine.join(2, **options), **reading)
    engine.flush()
    reader.read()
    return engine, reader


def send(engine, reader, prefixes, *, source=1, **attrs):
    """Announce in one flush; return the lengths of the messages that came of it."""
    before = reader.speaker.messages
    engine.announce(source, *prefixes, **attrs)
    engine.flush(50_000)
    lengths = []
    while data := reader.member.take(1 << 40):
        at = 0
        while at < len(data):
            lengths.append(int.from_bytes(data[at + 16 : at + 18], "big"))
            at += lengths[-1]
        reader.speaker.take(data)
    assert len(lengths) == reader.speaker.messages - before
    return lengths


def v4s(n, plen=24):
    return [f"10.{i >> 8}.{i & 255}.0/{plen}" for i in range(n)]


def v6s(n):
    return [f"2001:db8:{i:x}::/48" for i in range(n)]


@pytest.mark.parametrize("max_len", [MAX_MESSAGE_LEN, MAX_EXTENDED_MESSAGE_LEN])
@pytest.mark.parametrize("family", [V4, V6])
def test_messages_are_filled(family, max_len):
    """A message is full when not even one more prefix has room."""
    engine, reader = world(family=family, max_len=max_len)
    prefixes = v4s(40_000) if family is V4 else v6s(20_000)
    lengths = send(engine, reader, prefixes)
    size = 4 if family is V4 else 7
    assert len(reader.table) == len(prefixes)
    # A batch of changes holds 8,192; only its last message may have room left.
    batches = -(-len(prefixes) // 8192)
    short = [n for n in lengths if n <= max_len - size]
    assert len(short) <= batches
    assert max(lengths) <= max_len
    if max_len == MAX_MESSAGE_LEN:
        assert len(lengths) > 5 * batches


@pytest.mark.parametrize("max_len", [MAX_MESSAGE_LEN, MAX_EXTENDED_MESSAGE_LEN])
@pytest.mark.parametrize("family", [V4, V6])
def test_long_withdrawals(family, max_len):
    engine, reader = world(family=family, max_len=max_len)
    prefixes = v4s(3000) if family is V4 else v6s(3000)
    send(engine, reader, prefixes)
    engine.withdraw(1, *prefixes)
    engine.flush()
    reader.read()
    assert reader.table == {}
    assert engine.rib.tables[family].stats()["prefixes"] == 0


def filler(n):
    """Attributes of `n` octets more, at most 65,000."""
    head = 3 if n <= 255 + 3 else 4
    return ((0xE0, 200, bytes(n - head)),)


@pytest.mark.parametrize(
    ("as4", "max_len"),
    [(True, MAX_MESSAGE_LEN), (False, MAX_MESSAGE_LEN), (True, MAX_EXTENDED_MESSAGE_LEN)],
)
@pytest.mark.parametrize(
    "prefix",
    ["10.1.2.3/32", "10.1.2.0/24", "0.0.0.0/0", "2001:db8::1/128", "2001:db8::/32", "::/0"],
)
def test_to_the_octet(prefix, as4, max_len):
    """One prefix that fits exactly is announced; one octet more, and it is withdrawn."""
    family = codec.family_of(prefix)
    engine, reader = world(family=family, as4=as4, max_len=max_len)
    path = ((SEQ, (64496, 400000)),)
    base = {
        "origin": 0,
        "as_path": path,
        "next_hop": "192.0.2.1" if family is V4 else "2001:db8::9",
    }
    room = max_len - message_len(prefix, base, as4=as4)
    attrs = {"as_path": path, "next_hop": base["next_hop"], "unknown": filler(room)}
    assert send(engine, reader, [prefix], **attrs) == [max_len]
    assert set(reader.table) == {prefix}
    attrs["unknown"] = filler(room + 1)
    send(engine, reader, [prefix], **attrs)
    assert reader.table == {}
    assert reader.member.group.adj.advertised(reader.member.slot) == 0


def test_what_fits_is_sent_and_what_does_not_is_withdrawn():
    """Of one attribute set's prefixes the short ones may have room where the long ones have not."""
    engine, reader = world()
    prefixes = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32"]
    base = {"origin": 0, "as_path": ((SEQ, (64496,)),), "next_hop": "192.0.2.1"}
    room = MAX_MESSAGE_LEN - message_len("10.1.0.0/16", base, as4=True)
    send(engine, reader, prefixes)
    assert len(reader.table) == 4
    send(engine, reader, prefixes, unknown=filler(room))
    assert set(reader.table) == {"10.0.0.0/8", "10.1.0.0/16"}
    send(engine, reader, prefixes)
    assert len(reader.table) == 4


def test_members_that_fall_behind_note_tight_messages_too():
    """A message whose MP_REACH_NLRI has the short header is read back like any other."""
    engine, reader = world(family=V6)
    prefix = "2001:db8::1/128"
    hop = "2001:db8::9"
    base = {"origin": 0, "as_path": ((SEQ, (64496,)),), "next_hop": hop}
    room = MAX_MESSAGE_LEN - message_len(prefix, base, as4=True)
    (group,) = engine.all_groups()
    group.log_bound = 1
    engine.announce(1, prefix, next_hop=hop, unknown=filler(room))
    engine.flush()
    for i in range(40):
        engine.announce(1, f"2001:db8:{i:x}::/48", unknown=filler(3900))
        engine.flush()
    engine.exporter.enforce()
    assert group.stats()["resync"] == 1
    while reader.read():
        pass
    assert len(reader.table) == 41


# --- 2-octet speakers -----------------------------------------------------------------------------


def sent_to_old(**attrs):
    engine, reader = world(as4=False)
    send(engine, reader, ["10.1.0.0/16"], **attrs)
    return reader.table["10.1.0.0/16"]


def test_large_as_numbers_come_back_by_as4_path():
    path = ((SEQ, (64496, 400000, 23456)), (1, (65550, 7)))
    assert sent_to_old(as_path=path)["as_path"] == path


def test_aggregator_of_a_large_as():
    given_attrs = {
        "aggregator": (400000, "192.0.2.9"),
        "communities": (1,),
        "unknown": ((0xE0, 13, b""),),
    }
    got = sent_to_old(**given_attrs)
    assert got["aggregator"] == (400000, "192.0.2.9")
    assert got["communities"] == (1,)


def test_no_empty_as4_path():
    """Large AS numbers in confederation segments only: nothing is left for AS4_PATH."""
    path = ((CONFED, (400000,)),)
    got = sent_to_old(as_path=path, source=3)
    assert got["as_path"] == ((CONFED, (23456,)),)


def test_paths_of_every_length_for_old_speakers():
    for n in (1, 60, 61, 126, 127, 128, 255):
        path = ((SEQ, tuple(range(400000, 400000 + n))),)
        assert sent_to_old(as_path=path)["as_path"] == path


# --- next hops ------------------------------------------------------------------------------------


def test_ipv6_next_hop_for_ipv4_prefixes_only_where_it_is_understood():
    for ext in (True, False):
        engine, reader = world(ext_next_hop=ext)
        send(engine, reader, ["10.1.0.0/16"])
        send(engine, reader, ["10.1.0.0/16"], next_hop="2001:db8::9")
        got = reader.table.get("10.1.0.0/16")
        assert (got["next_hop"] if got else None) == ("2001:db8::9" if ext else None)


def test_link_local_next_hops_are_passed_on():
    engine, reader = world(family=V6)
    send(engine, reader, ["2001:db8::/32"], next_hop="2001:db8::9", link_local="fe80::1")
    assert reader.table["2001:db8::/32"]["link_local"] == "fe80::1"


# --- anything -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    family=st.sampled_from([V4, V6]),
    as4=st.booleans(),
    max_len=st.sampled_from([MAX_MESSAGE_LEN, MAX_EXTENDED_MESSAGE_LEN]),
)
def test_what_is_encoded_is_what_is_decoded(seed, family, as4, max_len):
    """Random attribute sets and prefixes, announced, replaced and withdrawn."""
    src = Source.seeded(seed)
    engine, reader = world(family=family, as4=as4, max_len=max_len)
    pool = [p for p in strategies.prefix_pool(src, 30) if codec.family_of(p) is family]
    want = {}
    for _ in range(12):
        prefixes = list(dict.fromkeys(src.pick(pool) for _ in range(src.integers(1, 8))))
        if src.chance(25):
            engine.withdraw(1, *prefixes)
            for prefix in prefixes:
                want.pop(prefix, None)
            continue
        attrs = strategies.make_attrs(src, family)
        attrs["as_path"] = tuple(s for s in attrs["as_path"] if s[0] <= SEQ) or ((SEQ, (1,)),)
        if not as4:
            # What a 2-octet speaker cannot be told exactly (RFC 6793 4.2.3).
            attrs["as_path"] = (
                (SEQ, tuple(a for _, asns in attrs["as_path"] for a in asns)[:200]),
            )
        h = engine.intern(family, **attrs)
        if engine.rib.check_attrs(1, h) == 0:
            want.update(dict.fromkeys(prefixes, attrs))
        else:
            for prefix in prefixes:
                want.pop(prefix, None)
        engine.attrs.drop(h)
        engine.announce(1, *prefixes, **attrs)
        if src.chance(50):
            engine.flush()
            reader.read(src.pick((1 << 40, 100, 19)))
    engine.flush()
    while reader.read():
        pass
    assert {p: plain(a) for p, a in reader.table.items()} == {p: plain(a) for p, a in want.items()}
