"""Groups: walks, the log, members that fall behind, and what each of them has in the end."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.engines import Engine, Reader
from tests.farends import V4


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


# --- joining --------------------------------------------------------------------------------------


def read_all(*readers):
    while sum([r.read() for r in readers]):
        pass


def test_joiners_together_share_one_walk():
    """Whatever their number: the table is encoded once for all of them."""
    counts = {}
    for n in (1, 50):
        engine = Engine()
        engine.peers(*range(1, n + 2))
        for i in range(30):
            engine.announce(1, *sixteens(40, 40 * i), med=i)
        engine.flush()
        readers = [Reader(engine.join(slot)) for slot in range(2, n + 2)]
        engine.flush()
        read_all(*readers)
        for reader in readers:
            assert len(reader.table) == 1200
        (group,) = engine.all_groups()
        counts[n] = group.walk.stats()["messages"], group.walk.stats()["end"]
        assert group.stats()["walking"] == 0
    assert counts[1] == counts[50]


def test_joiners_in_the_middle_of_a_walk_go_round():
    """Each gets the whole table, and no lap is walked that nobody needs."""
    engine = Engine()
    engine.peers(*range(1, 12))
    engine.announce(1, *sixteens(1000))
    engine.flush()
    readers = []
    (steps, seen) = (0, 0)
    for slot in range(2, 12):
        readers.append(Reader(engine.join(slot)))
        seen += engine.exporter.walk(97)
        steps += 1
    while engine.exporter.walking():
        seen += engine.exporter.walk(97)
        steps += 1
        assert steps < 100
    assert seen < 2200
    read_all(*readers)
    for reader in readers:
        assert len(reader.table) == 1000


@pytest.mark.parametrize("pos", range(12))
def test_joiner_at_every_place_of_a_walk(pos):
    """Also at its very end, and with the table shrinking and growing meanwhile."""
    engine = Engine()
    engine.peers(1, 2, 3)
    engine.announce(1, *sixteens(10))
    engine.flush()
    first = Reader(engine.join(2))
    engine.exporter.walk(pos)
    second = Reader(engine.join(3))
    engine.withdraw(1, *sixteens(3, 2))
    engine.announce(1, *sixteens(6, 100))
    for _ in range(40):
        engine.exporter.step(1)
        engine.exporter.walk(1)
    assert not engine.exporter.walking()
    read_all(first, second)
    assert (
        set(first.table) == set(second.table) == {*sixteens(2), *sixteens(5, 5), *sixteens(6, 100)}
    )


def test_a_walk_is_read_to_its_end_and_no_further():
    """What was encoded for those who came later is not for who has had a whole lap."""
    engine = Engine()
    engine.peers(*range(1, 8))
    engine.announce(1, *sixteens(500))
    engine.announce(2, *sixteens(40, 500))  # at the end of the lap, and not for the first one
    engine.flush()
    first = Reader(engine.join(2))
    engine.join(3)
    engine.flush()
    for slot in range(4, 8):  # each has a lap of its own, while the first one reads nothing
        engine.join(slot)
        engine.flush()
    first.read(100)
    read_all(first)
    assert len(first.table) == 500
    assert len(first.events) < 600


def test_joiner_to_an_empty_table():
    engine = Engine()
    engine.peers(1, 2)
    reader = Reader(engine.join(2))
    engine.flush()
    assert reader.read() == 0
    assert not engine.exporter.walking()
    engine.announce(1, "10.1.0.0/16")
    engine.flush()
    reader.read()
    assert len(reader.table) == 1


CHANGES = {
    "walk": lambda e: e.exporter.walk(2),
    "walk more": lambda e: e.exporter.walk(3),
    "announce": lambda e: e.announce(1, "10.0.1.0/24", "10.0.9.0/24", med=1),
    "replace": lambda e: e.announce(1, "10.0.2.0/24", med=2),
    "withdraw": lambda e: e.withdraw(1, "10.0.3.0/24", "10.0.0.0/24"),
    "step": lambda e: e.exporter.step(2),
    "step more": lambda e: e.exporter.step(100),
}


def test_changes_during_a_walk_in_every_order():
    """Every order of walking, changing, evaluating; old and new members end up the same."""
    for order in itertools.permutations(CHANGES):
        engine = Engine()
        engine.peers(1, 2, 3)
        old = Reader(engine.join(2))
        engine.announce(1, *sixteens(4))
        engine.flush()
        read_all(old)
        new = Reader(engine.join(3))
        for i, name in enumerate(order):
            CHANGES[name](engine)
            if i == 3:
                new.read(50)
        engine.flush()
        read_all(old, new)
        want = {"10.0.1.0/24": 1, "10.0.2.0/24": 2, "10.0.9.0/24": 1}
        assert {p: a.get("med") for p, a in old.table.items()} == want, order
        assert new.table == old.table, order


def test_two_encodings_of_one_view():
    """Members with 2-octet AS numbers read another log and another walk of the same Adj-RIB-Out."""
    engine = Engine()
    engine.peers(1, 2, 3)
    engine.announce(1, *sixteens(20))
    engine.flush()
    new = Reader(engine.join(2))
    old = Reader(engine.join(3, as4=False), as4=False)
    engine.exporter.walk(5)
    engine.announce(1, *sixteens(20, 15), med=1)
    engine.flush()
    read_all(new, old)
    assert new.table == old.table
    assert len(new.table) == 35
    assert len(engine.exporter.views[V4]) == 1
    assert len(engine.all_groups()) == 2


def test_the_last_member_takes_group_and_view_with_it():
    engine = Engine()
    engine.peers(1, 2, 3)
    engine.announce(1, "10.1.0.0/16", communities=(65003,))
    engine.flush()
    members = [engine.join(2), engine.join(3)]
    engine.flush()
    while members:
        engine.leave(members.pop())
    assert engine.all_groups() == []
    engine.withdraw(1, "10.1.0.0/16")
    engine.flush()
    assert engine.attrs.stats()["sets"] == 0
    assert engine.exporter.rewriter.stats()["forms"] == 0
    engine.sets.drop_cache()
    assert engine.sets.stats()["sets"] == 2
    # And again, with everything anew.
    reader = Reader(engine.join(2))
    engine.announce(1, "10.1.0.0/16")
    engine.flush()
    read_all(reader)
    assert len(reader.table) == 1


# --- falling behind -------------------------------------------------------------------------------


def fat(i):
    return {"unknown": ((0xE0, 200, bytes(3000 + i % 50)),)}


def behind(n=60, **options):
    """A member that has fallen off the log with `n` prefixes unread."""
    engine = Engine()
    engine.peers(1, 2, 3)
    reader = Reader(engine.join(2, **options))
    engine.announce(1, *sixteens(10))
    engine.flush()
    read_all(reader)
    (group,) = engine.all_groups()
    group.log_bound = 1
    for i, prefix in enumerate(sixteens(n)):
        engine.announce(1, prefix, **fat(i))
        engine.flush()
    engine.exporter.enforce()
    assert group.stats()["resync"] == 1
    return engine, group, reader


def test_member_that_fell_off_gets_the_present_state_only():
    """What was superseded meanwhile is skipped; what was withdrawn is withdrawn."""
    engine, group, reader = behind()
    before = reader.speaker.octets
    for _ in range(20):
        engine.announce(1, *sixteens(60), med=7, **fat(0))
        engine.flush()
    engine.withdraw(1, *sixteens(5))
    engine.announce(1, *sixteens(55, 5))
    engine.flush()
    read_all(reader)
    assert set(reader.table) == set(sixteens(55, 5))
    assert reader.speaker.octets - before < 20_000
    assert group.stats()["resync"] == 0
    assert reader.member.resyncs == 1


def test_member_falls_off_again_while_it_catches_up():
    engine, group, reader = behind()
    for round_ in range(6):
        reader.read(5000)
        for i, prefix in enumerate(sixteens(60)):
            engine.announce(1, prefix, med=round_, **fat(i))
            engine.flush()
            if i % 20 == 0:
                reader.read(500)
        engine.exporter.enforce()
    read_all(reader)
    assert {a["med"] for a in reader.table.values()} == {5}
    assert len(reader.table) == 60
    assert group.table.stats()["prefixes"] == 60


def test_log_held_for_slow_members_is_bounded():
    engine, group, reader = behind()
    other = Reader(engine.join(3))
    for i in range(400):
        engine.announce(1, sixteens(1, i)[0], **fat(i))
        engine.flush()
        engine.exporter.enforce()
        other.read()
        assert group.log.stats()["held"] <= 3 * 65536
    read_all(reader, other)
    assert reader.table == other.table


def test_joiner_that_reads_nothing_falls_off_its_walk():
    engine = Engine()
    engine.peers(1, 2, 3)
    for i, prefix in enumerate(sixteens(100)):
        engine.announce(1, prefix, **fat(i))
    engine.flush()
    slow, fast = Reader(engine.join(2)), Reader(engine.join(3))
    (group,) = engine.all_groups()
    group.log_bound = 1
    for _ in range(200):
        engine.exporter.walk(3)
        engine.exporter.enforce()
        fast.read()
    assert group.stats()["resync"] == 1
    assert len(fast.table) == 100
    assert slow.table == {}
    assert group.walk.stats()["held"] <= 2 * 65536
    read_all(slow)
    assert slow.table == fast.table


def test_first_member_of_a_view_that_falls_off_its_walk():
    """Nobody has walked the table to its end, so the Adj-RIB-Out is not filled yet."""
    engine = Engine()
    engine.peers(1, 2)
    engine.announce(1, *sixteens(50))
    engine.flush()
    reader = Reader(engine.join(2))
    engine.exporter.walk(10)
    (group,) = engine.all_groups()
    group.log_bound = 1
    for i in range(60):
        engine.announce(1, sixteens(1, 100 + i)[0], **fat(i))
        engine.exporter.step(10)
        engine.exporter.enforce()
    assert group.stats()["resync"] == 1
    engine.announce(1, *sixteens(3, 40), med=1)
    read_all(reader)
    engine.flush()
    read_all(reader)
    assert set(reader.table) == {*sixteens(50), *sixteens(60, 100)}
    assert reader.table["10.0.41.0/24"]["med"] == 1


def test_members_that_fall_off_together():
    """The log is read back for all of them at once; each is told what it is due, and no more."""
    engine = Engine()
    engine.peers(*range(1, 9))
    readers = [Reader(engine.join(slot)) for slot in range(2, 9)]
    engine.announce(1, *sixteens(30), med=9)
    engine.flush()
    read_all(*readers)
    (group,) = engine.all_groups()
    group.log_bound = 1
    late = Reader(engine.join(1))  # still walking, and falls with them
    engine.withdraw(1, *sixteens(5))  # these are only in the log by then
    for i in range(30):
        engine.announce(1, sixteens(1, 10 + i)[0], communities=(65000 + i % 9,), **fat(i))
        engine.flush()
    readers[0].read(20_000)  # it stands elsewhere in the log
    readers[1].read(31)  # and this one inside a message
    engine.exporter.enforce()
    assert group.stats()["resync"] >= 6
    read_all(late, *readers)
    for slot, reader in enumerate(readers, 2):
        assert set(reader.table) == {*sixteens(5, 5), *sixteens(30, 10)} - {
            p for i, p in enumerate(sixteens(30, 10)) if i % 9 == slot
        }
    assert late.table == {}
    assert group.table.stats()["prefixes"] == 35


def test_member_leaves_with_its_bitmap():
    engine, group, reader = behind()
    engine.withdraw(1, *sixteens(60))
    engine.flush()
    assert group.table.stats()["prefixes"] == 60
    engine.leave(reader.member)
    assert group.table.stats()["prefixes"] == 0


# --- refreshes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["live", "in a message", "walking", "fallen off", "walk ended"])
@pytest.mark.parametrize("twice", [False, True])
def test_refresh_in_every_state(state, twice):
    if state == "fallen off":
        engine, _, reader = behind(60)
        want = set(sixteens(60))
    else:
        engine = Engine()
        engine.peers(1, 2)
        engine.announce(1, *sixteens(60))
        engine.flush()
        reader = Reader(engine.join(2))
        want = set(sixteens(60))
        if state == "walking":
            engine.exporter.walk(20)
            reader.read(100)
        else:
            engine.flush()
            reader.read(100 if state == "walk ended" else 1 << 40)
        if state == "in a message":
            read_all(reader)
            engine.announce(1, *sixteens(30), med=1)
            engine.flush()
            reader.read(30)
    for _ in range(1 + twice):
        assert reader.member.refresh()
        reader.read(10)
    told = len(reader.events)
    engine.withdraw(1, sixteens(1)[0])
    engine.flush()
    for _ in range(5):
        read_all(reader)
        engine.flush()
    assert set(reader.table) == want - {sixteens(1)[0]}
    again = {e[1] for e in reader.events[told:] if e[0] == "announce"}
    assert again >= want - {sixteens(1)[0]}


def test_refresh_after_leaving():
    engine = Engine()
    engine.peers(1, 2)
    member = engine.join(2)
    engine.leave(member)
    assert not member.refresh()
    member.leave()
    assert member.take() == b""


# --- anything -------------------------------------------------------------------------------------


@pytest.mark.parametrize("addpath", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_anything_in_any_order(seed, addpath):
    """Joins, leaves, refreshes, changes, reads of any size, logs of any bound."""
    rng = random.Random(seed)
    engine = Engine()
    slots = range(1, 9)
    engine.peers(*slots)
    pool = sixteens(30)
    readers: dict[int, Reader] = {}
    held: dict[tuple[str, int], tuple[int, int]] = {}
    time = itertools.count()
    for _ in range(900):
        slot, prefix = rng.choice(slots), rng.choice(pool)
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                exclude = rng.choice((0, *slots))
                size = rng.choice((0, 0, 3000))
                engine.announce(
                    slot,
                    prefix,
                    ticks=next(time),
                    med=rng.randint(0, 3),
                    communities=(65000 + exclude,),
                    unknown=((0xE0, 200, bytes(size)),),
                )
                held[prefix, slot] = (exclude, 0)
            case 4:
                engine.withdraw(slot, prefix)
                held.pop((prefix, slot), None)
            case 5:
                if slot in readers:
                    engine.leave(readers.pop(slot).member)
                else:
                    many = addpath and slot % 2 == 0
                    member = engine.join(slot, addpath=many, as4=slot % 3 > 0)
                    readers[slot] = Reader(member, as4=slot % 3 > 0, addpath=many)
            case 6:
                if slot in readers:
                    readers[slot].member.refresh()
            case 7:
                for group in engine.all_groups():
                    group.log_bound = rng.choice((1, 1, 1 << 20))
                engine.exporter.enforce()
            case 8:
                engine.exporter.step(rng.randint(1, 5))
            case 9:
                engine.exporter.walk(rng.randint(1, 9))
            case _ if readers:
                reader = readers[rng.choice(list(readers))]
                reader.read(rng.choice((1, 25, 500, 1 << 40)))
    for _ in range(50):
        engine.flush()
        read_all(*readers.values())
    for slot, reader in readers.items():
        want: dict[str, int] = {}
        for (prefix, source), (exclude, _) in held.items():
            if slot not in {source, exclude}:
                want[prefix] = want.get(prefix, 0) + 1
        if not reader.speaker.hears_paths:
            want = dict.fromkeys(want, 1)
        assert {p: len(a) for p, a in reader.speaker.paths().items()} == want
    reader = member = group = None  # they keep the Adj-RIB-Out, as its last members
    for slot in list(readers):
        engine.leave(readers.pop(slot).member)
    engine.withdraw_all()
    assert engine.attrs.stats()["sets"] == 0
    engine.sets.drop_cache()
    assert engine.sets.stats()["sets"] == 2
