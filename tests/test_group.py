"""Groups: walks, the log, members that fall behind, and what each of them has in the end."""

from __future__ import annotations

from tests.routers import Engine, Reader


def sixteens(n, start=0):
    return [f"10.{i >> 8}.{i & 255}.0/24" for i in range(start, start + n)]


def test_control_message_does_not_cut_a_message_of_a_member_that_falls_off():
    """The end of a message begun goes before everything else, also out of the private log."""
    engine = Engine()
    engine.peers(1, 2)
    member = engine.join(2)
    reader = Reader(member)
    engine.flush()
    reader.read()
    engine.announce(1, *sixteens(5))
    engine.flush()
    from rs._fastpath.outbox import Outbox

    outbox = Outbox()
    outbox.attach(member)
    reader.speaker.take(outbox.take(25))
    assert member.refresh()
    outbox.push(b"\xff" * 16 + b"\x00\x13\x04")
    reader.speaker.take(outbox.take(3))
    reader.speaker.take(outbox.take())
    assert not reader.speaker.partial
    assert len(reader.table) == 5


def test_walk_does_not_swallow_a_change_that_others_wait_for():
    """A prefix that is dirty when a walk meets it is not yet told to those who read the log."""
    engine = Engine()
    engine.peers(1, 2, 3)
    old = Reader(engine.join(2))
    engine.flush()
    old.read()
    new = Reader(engine.join(3))
    engine.announce(1, "10.1.0.0/16")
    engine.exporter.walk(1000)
    engine.flush()
    while old.read() or new.read():
        pass
    assert set(old.table) == set(new.table) == {"10.1.0.0/16"}
