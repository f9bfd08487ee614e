"""Bytes of a session into the RIB: cut anywhere, faults kept apart, events in their place."""

from __future__ import annotations

import random

import pytest

from rs._fastpath.ingest import Ingest
from rs._fastpath.walks import purge_step
from rs.iana import Family, RefreshSubtype
from rs.messages import KEEPALIVE, encode_notification
from rs.peer import end_of_rib, refresh_marker
from tests import strategies
from tests.engines import Engine
from tests.farends import SEQ, V4, V6, handle, plain, prefixes_of
from tests.reference import codec
from tests.reference.update import Context, Outcome, decode_update
from tests.strategies import Source, make_mutated

SLOT = 1
MARKER = b"\xff" * 16


def world(**options):
    engine = Engine()
    engine.peer(SLOT)
    return engine, Ingest(engine.rib, SLOT, **options)


def update(*prefixes, withdrawn=(), **changes):
    v4 = not prefixes or codec.family_of(prefixes[0]) is V4
    attrs = {
        "origin": 0,
        "as_path": ((SEQ, (65001,)),),
        "next_hop": "192.0.2.1" if v4 else "2001:db8:1::1",
        **changes,
    }
    body = codec.encode_update(prefixes, attrs if prefixes else None, withdrawn)
    return codec.update_message(body)


def contents(engine):
    """Everything in the RIB: (prefix, slot, path id) -> attributes."""
    found = {}
    for table in engine.rib.tables:
        for prefix in prefixes_of(table):
            for slot, path_id, attrs_h, *_ in table.paths_of(handle(table, prefix)):
                found[prefix, slot, path_id] = plain(engine.attrs.describe(attrs_h))
    return found


STREAM = b"".join(
    [
        KEEPALIVE,
        update("10.1.0.0/16", "10.2.0.0/16"),
        update("2001:db8::/32", med=7),
        KEEPALIVE,
        update(withdrawn=["10.2.0.0/16"]),
        update("10.3.0.0/16", unknown=((0xE0, 200, bytes(3000)),)),
        end_of_rib(V4),
        end_of_rib(V6),
    ]
)


def assert_stream(engine, ingest):
    assert set(contents(engine)) == {
        ("10.1.0.0/16", SLOT, 0),
        ("10.3.0.0/16", SLOT, 0),
        ("2001:db8::/32", SLOT, 0),
    }
    assert (ingest.messages, ingest.updates, ingest.keepalives) == (8, 6, 2)
    assert (ingest.announced, ingest.withdrawn) == (4, 1)
    assert ingest.eor == [True, True]
    assert ingest.take_events() == [("eor", 0), ("eor", 1)]


def test_a_stream_in_one_piece():
    engine, ingest = world()
    assert ingest.feed(STREAM) == 8
    assert_stream(engine, ingest)


@pytest.mark.parametrize("size", [1, 2, 17, 18, 19, 20, 23, 50, 1000])
def test_a_stream_in_pieces(size):
    engine, ingest = world()
    done = [ingest.feed(STREAM[i : i + size]) for i in range(0, len(STREAM), size)]
    assert sum(done) == 8
    assert_stream(engine, ingest)


@pytest.mark.parametrize("at", range(0, len(STREAM), 13))
def test_a_stream_cut_in_two(at):
    engine, ingest = world()
    buffer = bytearray(STREAM)
    assert ingest.feed(memoryview(buffer)[:at]) + ingest.feed(memoryview(buffer)[at:]) == 8
    buffer.clear()  # nothing holds on to it
    assert_stream(engine, ingest)


def test_nothing_is_nothing():
    _, ingest = world()
    assert ingest.feed(b"") == 0
    with pytest.raises(TypeError):
        ingest.feed("text")


HEADERS = {
    "marker": (b"\xff" * 15 + b"\xfe\x00\x13\x04", (1, 1, b"")),
    "too short": (MARKER + b"\x00\x12\x04", (1, 2, b"\x00\x12")),
    "too long": (MARKER + b"\x10\x01\x02", (1, 2, b"\x10\x01")),
    "type 0": (MARKER + b"\x00\x13\x00", (1, 3, b"\x00")),
    "type 6": (MARKER + b"\x00\x13\x06", (1, 3, b"\x06")),
    "long KEEPALIVE": (MARKER + b"\x00\x14\x04", (1, 2, b"\x00\x14")),
    "short UPDATE": (MARKER + b"\x00\x16\x02", (1, 2, b"\x00\x16")),
    "short NOTIFICATION": (MARKER + b"\x00\x14\x03", (1, 2, b"\x00\x14")),
    "short ROUTE-REFRESH": (MARKER + b"\x00\x16\x05", (1, 2, b"\x00\x16")),
    "OPEN": (MARKER + b"\x00\x1d\x01" + bytes(10), (5, 3, b"\x01")),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_bad_headers_end_the_session(name, pieces):
    data, want = HEADERS[name]
    engine, ingest = world()
    results = []
    stream = update("10.1.0.0/16") + data + update("10.2.0.0/16")
    for i in range(0, len(stream), pieces):
        results.append(ingest.feed(stream[i : i + pieces]))
        if results[-1] < 0:
            break
    assert results[-1] == -1
    ((kind, *fields, _),) = ingest.take_events()
    assert (kind, *fields) == ("error", *want)
    assert set(contents(engine)) == {("10.1.0.0/16", SLOT, 0)}


def test_extended_messages_only_where_we_offered_them():
    long = update("10.1.0.0/16", unknown=((0xE0, 200, bytes(60_000)),))
    engine, ingest = world(extended_message=True)
    assert ingest.feed(long[:30_000]) == 0
    assert ingest.feed(long[30_000:]) == 1
    assert len(contents(engine)) == 1
    _, ingest = world()
    assert ingest.feed(long) == -1


def test_notification():
    _, ingest = world()
    assert ingest.feed(KEEPALIVE + encode_notification(6, 2, b"\x03bye") + KEEPALIVE) == -1
    assert ingest.take_events() == [("notification", 6, 2, b"\x03bye")]
    assert ingest.keepalives == 1


def test_refresh_requests_come_as_events():
    _, ingest = world(enhanced_refresh=True)
    asked = refresh_marker(V6, RefreshSubtype.REQUEST)
    assert ingest.feed(asked + KEEPALIVE) == 2
    assert ingest.take_events() == [("refresh", 2, 1, 0)]
    assert ingest.take_events() == []


def test_route_refresh_of_a_wrong_length():
    """RFC 7313 5: the whole message comes back; only with subtype 1 or 2."""
    bad = MARKER + b"\x00\x18\x05\x00\x01\x01\x01\x00"
    _, ingest = world(enhanced_refresh=True)
    assert ingest.feed(bad) == -1
    ((kind, code, subcode, data, _),) = ingest.take_events()
    assert (kind, code, subcode, data) == ("error", 7, 1, bad)
    _, ingest = world()
    assert ingest.feed(bad) == 1


def test_markers_count_where_they_stand():
    engine, ingest = world(enhanced_refresh=True)
    table = engine.rib.tables[V4]
    ingest.feed(update("10.1.0.0/16", "10.2.0.0/16"))
    ingest.feed(
        refresh_marker(V4, RefreshSubtype.BORR)
        + update("10.1.0.0/16")
        + refresh_marker(V4, RefreshSubtype.EORR)
        + update("10.3.0.0/16")
    )
    purge_step(table, [SLOT], 1, 1000, True)
    assert {p for p, _, _ in contents(engine)} == {"10.1.0.0/16", "10.3.0.0/16"}


# --- broken UPDATEs -------------------------------------------------------------------------------

BAD_ORIGIN = codec.update_message(
    codec.assemble(
        attributes=b"\x40\x01\x01\x09\x40\x02\x06\x02\x01\x00\x00\xfd\xe9\x40\x03\x04\xc0\x00\x02\x01",
        nlri=b"\x10\x0a\x01",
    )
)
DISCARDED = codec.update_message(
    codec.assemble(
        attributes=b"\x40\x01\x01\x00\x40\x02\x06\x02\x01\x00\x00\xfd\xe9\x40\x03\x04\xc0\x00\x02\x01"
        b"\x40\x06\x01\x00",
        nlri=b"\x10\x0a\x02",
    )
)
RESET = codec.update_message(b"\xff\xff\x00\x00")


def test_treat_as_withdraw():
    engine, ingest = world()
    ingest.feed(update("10.1.0.0/16") + BAD_ORIGIN)
    assert contents(engine) == {}
    assert ingest.treat_as_withdraw == 1
    ((outcome, attr, subcode, octets),) = ingest.faults
    assert (outcome, attr, subcode) == (Outcome.WITHDRAW, 1, 6)
    assert octets == BAD_ORIGIN[19:]


def test_attribute_discard():
    engine, ingest = world()
    ingest.feed(DISCARDED)
    assert len(contents(engine)) == 1
    assert ingest.discards == 1
    assert ingest.faults[0][:2] == (Outcome.DISCARD, 6)


def test_reset():
    engine, ingest = world()
    assert ingest.feed(update("10.1.0.0/16") + RESET + update("10.2.0.0/16")) == -1
    ((kind, code, subcode, *_),) = ingest.take_events()
    assert (kind, code, subcode) == ("error", 3, 1)
    assert len(contents(engine)) == 1


def test_only_the_last_faults_are_kept():
    _, ingest = world()
    for _ in range(100):
        ingest.feed(BAD_ORIGIN)
    assert ingest.treat_as_withdraw == 100
    assert len(ingest.faults) == 16


@pytest.mark.parametrize("seed", range(8))
def test_anything_a_peer_may_send(seed):
    """Broken and good UPDATEs in any pieces: the RIB holds what the oracle's decoder says."""
    src = Source.seeded(seed)
    rng = random.Random(seed)
    for _ in range(12):
        engine = Engine()
        engine.peer(SLOT, reject_as_set=False)
        ctx = strategies.make_context(src)
        bits = [sum(1 << f for f in families) for families in (ctx.families, ctx.addpath)]
        ingest = Ingest(
            engine.rib,
            SLOT,
            as4=ctx.as4,
            ibgp=ctx.ibgp,
            families=bits[0],
            addpath=bits[1],
            ext_next_hop=ctx.ext_next_hop,
            extended_message=True,
        )
        want: dict[tuple[str, int, int], dict] = {}
        for _ in range(25):
            body = make_mutated(src, ctx) if src.chance(50) else strategies.make_update(src, ctx)
            data = codec.update_message(body)
            if len(body) < 4:
                continue
            cut = rng.randint(0, len(data))
            done = ingest.feed(data[:cut])
            done = done if done < 0 else ingest.feed(data[cut:])
            result = decode_update(body, ctx)
            if result.outcome is Outcome.RESET:
                assert done == -1
                break
            for _, prefix, path_id in result.withdrawn:
                want.pop((prefix, SLOT, path_id), None)
            for (_, prefix, path_id), attrs in result.routes():
                want[prefix, SLOT, path_id] = plain(attrs)
            assert contents(engine) == want
        for table in engine.rib.tables:
            purge_step(table, [SLOT], 1, 1 << 30)
        engine.flush()
        assert engine.attrs.stats()["sets"] == 0
        assert isinstance(ctx, Context)
        assert set(Family) == {V4, V6}
