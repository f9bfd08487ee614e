"""The log: to each member exactly the bytes that are for it, whatever it takes at a time."""

from __future__ import annotations

import random

import pytest

from tests.engines import Engine

ALL = 0


def message(n, mark):
    """A whole message of `n` octets, at least 19."""
    return b"\xff" * 16 + n.to_bytes(2, "big") + b"\x02" + bytes([mark & 255]) * (n - 19)


def world(n_members=3):
    """Members that read the log of one group, without a walk before it."""
    engine = Engine()
    engine.peers(*range(1, n_members + 1))
    members = [engine.join(slot) for slot in range(1, n_members + 1)]
    engine.flush()
    (group,) = engine.all_groups()
    for member in members:
        assert member.take() == b""
    return engine, group, members


def test_a_message_is_for_its_members():
    engine, group, (one, two, three) = world()
    only = engine.sets.make([2])
    but = engine.sets.without(ALL, 1)
    group.log.append(message(30, 1), ALL)
    group.log.append(message(40, 2), only)
    group.log.append(message(50, 3), but)
    assert one.take() == message(30, 1)
    assert two.take() == message(30, 1) + message(40, 2) + message(50, 3)
    assert three.take() == message(30, 1) + message(50, 3)
    assert group.log.stats()["messages"] == 3
    assert group.log.stats()["end"] == 120


def test_who_comes_later_sees_what_is_logged_later():
    engine, group, (one, *_) = world()
    group.log.append(message(30, 1), ALL)
    engine.peer(9)
    late = engine.join(9)
    group.log.append(message(31, 2), ALL)
    engine.flush()
    while not (data := late.take()):
        pass
    assert data == message(31, 2)
    assert one.take() == message(30, 1) + message(31, 2)


def test_the_log_keeps_what_somebody_still_needs():
    _, group, (one, two, three) = world()
    for i in range(200):
        group.log.append(message(4000, i), ALL)
    assert group.log.stats()["held"] >= 800_000
    one.take()
    two.take()
    assert group.log.stats()["held"] >= 800_000
    three.take(400_000)
    assert group.log.stats()["held"] < 500_000
    three.leave()
    assert group.log.stats()["held"] <= 2 * 65536


def test_sets_are_given_back_with_their_messages():
    engine, group, members = world()
    for i in range(300):
        h = engine.sets.make([1 + i % 3], others=bool(i & 4))
        group.log.append(message(3000, i), h)
        engine.sets.drop(h)
    assert engine.sets.stats()["sets"] > 2
    for member in members:
        member.take()
    group.log.append(message(60_000, 0), ALL)
    group.log.append(message(60_000, 0), ALL)
    for member in members:
        member.take()
    engine.sets.drop_cache()
    assert engine.sets.stats()["sets"] == 2


def test_the_longest_messages():
    _, group, (one, two, three) = world()
    for i in range(5):
        group.log.append(message(65535, i), ALL)
        group.log.append(message(19, i), ALL)
    want = b"".join(message(65535, i) + message(19, i) for i in range(5))
    assert one.take() == two.take() == want
    got = b""
    while data := three.take(1000):
        got += data
    assert got == want


@pytest.mark.parametrize("seed", range(15))
def test_any_sets_any_sizes_any_reads(seed):
    """Against a plain list of messages for each member."""
    rng = random.Random(seed)
    engine, group, members = world(5)
    slots = range(1, 6)
    want = dict.fromkeys(members, b"")
    got = dict.fromkeys(members, b"")
    for i in range(rng.choice((100, 1500))):
        chosen = set(rng.sample(slots, rng.randint(0, 5)))
        h = engine.sets.make(chosen, others=rng.random() < 0.5)
        for _ in range(rng.choice((1, 1, 3))):
            data = message(rng.choice((19, 30, 100, 4096, 20_000)), i)
            group.log.append(data, h)
            for member in members:
                if member.slot in chosen:
                    want[member] += data
        engine.sets.drop(h)
        if rng.random() < 0.3:
            member = rng.choice(members[:4])
            got[member] += member.take(rng.choice((1, 18, 100, 5000, 1 << 40)))
    for member in members:
        while data := member.take(rng.choice((7, 3000, 1 << 40))):
            got[member] += data
        assert got[member] == want[member]
        assert member.lag() == 0
    assert group.log.stats()["held"] <= 2 * 65536
