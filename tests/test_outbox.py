"""The sending side of a connection: control messages at message boundaries only, nothing lost."""

from __future__ import annotations

import os
import random
import socket

import pytest

from rs._fastpath.outbox import Outbox, pump
from rs.iana import Family, RefreshSubtype
from rs.messages import KEEPALIVE
from rs.peer import end_of_rib, refresh_marker
from tests.engines import Engine
from tests.farends import V4, V6, Speaker
from tests.reference.codec import decode_stream

BORR = refresh_marker(V4, RefreshSubtype.BORR)
EORR = refresh_marker(V4, RefreshSubtype.EORR)


class Wire:
    """A member of both families behind one outbox, and the far end."""

    def __init__(self, engine: Engine, slot: int, families=(V4, V6), **options) -> None:
        self.outbox = Outbox()
        self.members = {f: engine.join(slot, f, **options) for f in families}
        for family, member in self.members.items():
            self.outbox.attach(member, end_of_rib(family))
        self.far = Speaker("10.1.0.9", 1, "10.1.0.9")

    def take(self, room: int) -> int:
        """Take as a socket would that the pump writes to: only while something is pending."""
        if not self.outbox.pending():
            return 0
        data = self.outbox.take(room)
        self.far.take(data)
        return len(data)

    def drain(self, room: int = 1 << 40) -> None:
        while self.take(room):
            pass

    def marks(self, family: Family) -> list[str]:
        return [e[0] for e in self.far.events if e[0] in {"eor", "borr", "eorr"} and e[1] is family]


def world(n=20, **options):
    engine = Engine()
    engine.peers(1, 2, 3)
    wire = Wire(engine, 2, **options)
    if n:
        announce(engine, n)
    return engine, wire


def announce(engine, n, start=0, size=0):
    more = {"unknown": ((0xE0, 200, bytes(size)),)} if size else {}
    for i in range(start, start + n):
        engine.announce(1, f"10.{i >> 8}.{i & 255}.0/24", f"2001:db8:{i:x}::/48", **more)


def test_end_of_rib_comes_after_the_whole_table():
    engine, wire = world()
    engine.flush()
    wire.drain()
    kinds = [(e[0], e[1]) for e in wire.far.events]
    for family in (V4, V6):
        at = kinds.index(("eor", family))
        before = [
            p for kind, p in kinds[:at] if kind == "announce" and (":" in p) is (family is V6)
        ]
        assert len(set(before)) == 20
        assert wire.marks(family) == ["eor"]


def test_end_of_rib_of_an_empty_table():
    engine, wire = world(0)
    engine.flush()
    wire.drain()
    assert wire.marks(V4) == wire.marks(V6) == ["eor"]
    assert not wire.outbox.pending()


@pytest.mark.parametrize("seed", range(12))
def test_any_room_and_control_messages_in_between(seed):
    """Whatever a socket takes at a time, the stream is whole messages in a sensible order."""
    rng = random.Random(seed)
    engine, wire = world(30)
    (group4, group6) = engine.all_groups()
    keepalives = 0
    for i in range(400):
        match rng.randrange(8):
            case 0:
                wire.outbox.push(KEEPALIVE)
                keepalives += 1
            case 1:
                announce(engine, rng.randint(1, 4), rng.randrange(60), rng.choice((0, 0, 3000)))
            case 2:
                engine.withdraw(1, f"10.0.{rng.randrange(60)}.0/24")
            case 3:
                engine.flush(rng.randint(1, 50))
            case 4 if i > 50:
                family = rng.choice((V4, V6))
                wire.outbox.refresh(
                    wire.members[family],
                    refresh_marker(family, RefreshSubtype.BORR),
                    refresh_marker(family, RefreshSubtype.EORR),
                )
            case 5:
                group4.log_bound = group6.log_bound = rng.choice((1, 1 << 20))
                engine.exporter.enforce()
            case _:
                wire.take(rng.choice((1, 2, 18, 19, 23, 100, 4096, 1 << 40)))
    for _ in range(500):
        engine.flush()
        if not wire.outbox.pending() and not engine.exporter.walking():
            break
        wire.drain(rng.choice((1, 7, 1000, 1 << 40)))
    else:
        raise AssertionError("no end")
    assert not wire.far.partial
    for family in (V4, V6):
        marks = wire.marks(family)
        assert marks.count("eor") == 1
        marks.remove("eor")
        assert marks == ["borr", "eorr"] * (len(marks) // 2)
        table = {p for p in wire.far.table() if (":" in p) is (family is V6)}
        paths = engine.rib.tables[family]
        assert len(table) == paths.stats()["usable"]


def test_end_of_rib_of_a_member_that_fell_off_while_it_joined():
    """The socket takes exactly what there is: the End-of-RIB must not wait for the next change."""
    engine, wire = world(0, families=(V4,))
    (group,) = engine.all_groups()
    group.log_bound = 1
    engine.flush()
    for i in range(60):
        engine.announce(1, f"10.0.{i}.0/24", unknown=((0xE0, 200, bytes(2000 + i)),))
        engine.flush()
    engine.exporter.enforce()
    assert group.stats()["resync"] == 1
    # Up to date by its bitmap, but one change is in the log by then.
    while group.stats()["resync"]:
        assert wire.take(1000)
        if group.stats()["resync"]:
            last = wire.far.octets
    assert last
    engine.announce(1, "10.9.0.0/16")
    engine.flush()
    for room in range(1, 200):
        if wire.marks(V4):
            break
        wire.take(room if room < 100 else 1 << 40)
    wire.drain()
    assert wire.marks(V4) == ["eor"]
    assert len(wire.far.table()) == 61


@pytest.mark.parametrize("room", [1, 19, 50, 51, 1000])
def test_end_of_rib_when_a_read_ends_where_the_table_does(room):
    """Every way to cut the stream: nothing stays behind when nothing more is pending."""
    for n in (0, 1, 3):
        engine, wire = world(n, families=(V4,))
        engine.flush()
        wire.drain(room)
        assert wire.marks(V4) == ["eor"], (n, room)
        assert len(wire.far.table()) == n


def test_refreshes_go_one_family_at_a_time():
    engine, wire = world()
    for family in (V4, V6):
        wire.outbox.refresh(
            wire.members[family],
            refresh_marker(family, RefreshSubtype.BORR),
            refresh_marker(family, RefreshSubtype.EORR),
        )
    for _ in range(5):
        engine.flush()
        wire.drain(30)
    marks = [(e[0], e[1]) for e in wire.far.events if e[0] in {"eor", "borr", "eorr"}]
    both = {("eor", V4), ("eor", V6)}
    assert set(marks[:2]) == both
    first, second = marks[2][1], marks[4][1]
    assert {first, second} == {V4, V6}
    assert marks[2:] == [("borr", first), ("eorr", first), ("borr", second), ("eorr", second)]


def test_everything_is_sent_again_between_the_markers():
    engine, wire = world()
    engine.flush()
    wire.drain()
    before = len(wire.far.events)
    wire.outbox.refresh(wire.members[V4], BORR, EORR)
    engine.flush()
    wire.drain()
    events = wire.far.events[before:]
    assert events[0] == ("borr", V4)
    assert events[-1] == ("eorr", V4)
    assert len({e[1] for e in events if e[0] == "announce"}) == 20


def test_closing_leaves_the_groups():
    engine, wire = world()
    group = engine.all_groups()[0]
    wire.outbox.push(KEEPALIVE)
    wire.outbox.close()
    assert group.members == []
    assert not wire.outbox.pending()
    assert wire.outbox.take() == b""


# --- with a socket --------------------------------------------------------------------------------


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_pump_until_the_socket_is_full(pair):
    ours, theirs = pair
    engine, wire = world(0)
    sent = Outbox(ours.fileno())
    for member in wire.members.values():
        sent.attach(member)
    announce(engine, 100, size=3000)
    engine.flush()
    far = Speaker("10.1.0.9", 1, "10.1.0.9")
    rounds = 0
    while True:
        _, busy, blocked, broken = pump([sent], 10_000, 1 << 20)
        assert not broken
        if sent.blocked:
            assert sent in blocked
            assert pump([sent], 10_000, 1 << 20) == (1, [], [], [])
            far.take(theirs.recv(1 << 20))
            sent.blocked = False
            rounds += 1
        elif not busy:
            break
    while len(far.table()) < 200:
        far.take(theirs.recv(1 << 20))
    assert rounds
    assert len(far.table()) == 200
    assert sent.bytes_sent == far.octets
    assert not sent.pending()


def test_broken_connection_is_told(pair):
    ours, theirs = pair
    theirs.close()
    box = Outbox(ours.fileno())
    box.push(KEEPALIVE)
    seen, busy, blocked, broken = pump([box], 1000, 1 << 20)
    assert (seen, busy, blocked) == (1, [], [])
    ((which, code),) = broken
    assert which is box
    assert os.strerror(code) == "Broken pipe"


def test_pump_stops_when_it_has_sent_enough(pair):
    """With signed segments an octet takes forty times as long: the clock is looked at in between."""
    ours, _ = pair
    full, more, last = boxes = [Outbox(ours.fileno()) for _ in range(3)]
    for box in boxes:
        box.push(KEEPALIVE * 10)
    assert pump(boxes, 1000, 191) == (2, [], [], [])
    assert [box.pending() for box in boxes] == [False, False, True]
    assert pump(boxes, 1000, 1) == (3, [], [], [])
    assert [box.bytes_sent for box in (full, more, last)] == [190, 190, 190]


def test_many_control_messages(pair):
    """More than one call can take, and larger than the room given."""
    ours, theirs = pair
    box = Outbox(ours.fileno())
    for _ in range(500):
        box.push(KEEPALIVE)
    stream = b""
    while box.pending():
        pump([box], 10, 1 << 20)
        stream += theirs.recv(1 << 16)
        box.blocked = False
    assert [kind for kind, _ in decode_stream(stream)] == [4] * 500
