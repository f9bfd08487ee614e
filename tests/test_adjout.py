"""Adj-RIB-Out: who is due which path of a prefix, stored exactly, with every reference counted."""

from __future__ import annotations

import random
import time

import pytest

from rs.peer import PeerKind
from tests.engines import Engine, Reader
from tests.farends import RS_ASN, SEQ, V4

PREFIX = "10.1.0.0/16"


def world(n=6, **join):
    """A view with members in slots 1 to `n`."""
    engine = Engine()
    engine.peers(*range(1, n + 1))
    for slot in range(1, n + 1):
        engine.join(slot, **join)
    engine.flush()
    ((view,), _) = engine.exporter.views
    return engine, view.adj


def offer(engine, slot, *, rank=None, tags=(), **attrs):
    """Announce; a lower rank is better."""
    path = ((SEQ, (64496,) * (1 + (slot if rank is None else rank))),)
    engine.announce(slot, PREFIX, as_path=path, communities=tuple(tags) or None, **attrs)


def sources(engine, adj, n=6):
    """For each member the source of the path it has, by the length of its AS_PATH."""
    engine.flush()
    h = engine.handle(PREFIX)
    found = {}
    for slot in range(1, n + 1):
        attrs_h = adj.sent_to(h, slot)
        if attrs_h:
            found[slot] = len(engine.attrs.describe(attrs_h)["as_path"][0][1]) - 1
    return found


def not_to(*slots):
    return [65000 + s for s in slots]


def test_the_best_for_all_and_the_next_best_for_its_source():
    engine, adj = world()
    offer(engine, 1)
    assert sources(engine, adj) == dict.fromkeys(range(2, 7), 1)
    offer(engine, 2)
    assert sources(engine, adj) == {1: 2, **dict.fromkeys(range(2, 7), 1)}
    offer(engine, 3)
    assert sources(engine, adj) == {1: 2, **dict.fromkeys(range(2, 7), 1)}
    assert len(adj.sent(engine.handle(PREFIX))) == 2


def test_path_hiding():
    """RFC 7947 2.3.1: who may not have the best gets the first that it may have."""
    engine, adj = world()
    offer(engine, 1, tags=not_to(3, 4, 5))
    offer(engine, 2, tags=not_to(4, 5))
    offer(engine, 3, tags=not_to(5))
    assert sources(engine, adj) == {1: 2, 2: 1, 3: 2, 4: 3, 6: 1}
    engine.withdraw(2, PREFIX)
    assert sources(engine, adj) == {1: 3, 2: 1, 4: 3, 6: 1}
    engine.withdraw(1, PREFIX)
    assert sources(engine, adj) == {1: 3, 2: 3, 4: 3, 6: 3}
    engine.withdraw(3, PREFIX)
    assert sources(engine, adj) == {}
    assert adj.stats()["prefixes"] == 0


def test_only_to_some():
    engine, adj = world()
    offer(engine, 1, tags=[RS_ASN, RS_ASN << 16 | 65004])
    assert sources(engine, adj) == {4: 1}
    offer(engine, 2)
    assert sources(engine, adj) == {1: 2, 3: 2, 4: 1, 5: 2, 6: 2}


def test_plain_bgp_sends_the_best_or_nothing():
    engine, adj = world(kind=PeerKind.EBGP)
    offer(engine, 1, tags=not_to(3))
    offer(engine, 2)
    assert sources(engine, adj) == dict.fromkeys(range(2, 7), 1 + 1)  # our own AS is in front


def test_advertised_is_counted_by_member():
    engine, adj = world()
    for i in range(50):
        engine.announce(1 + i % 3, f"10.{i}.0.0/16", communities=tuple(not_to(4 + i % 2)))
    engine.flush()
    assert [adj.advertised(s) for s in range(1, 7)] == [33, 33, 34, 25, 25, 50]
    for i in range(50):
        engine.withdraw(1 + i % 3, f"10.{i}.0.0/16")
    engine.flush()
    assert [adj.advertised(s) for s in range(1, 7)] == [0] * 6


def test_two_hundred_entries_for_one_prefix():
    """Every path only to one member: as many entries as members."""
    engine, adj = world(200)
    for slot in range(1, 201):
        target = 65000 + slot % 200 + 1
        offer(engine, slot, rank=slot, tags=[RS_ASN, RS_ASN << 16 | target])
    assert sources(engine, adj, 200) == {slot % 200 + 1: slot for slot in range(1, 201)}
    engine.withdraw_all()
    assert engine.attrs.stats()["sets"] == 0


@pytest.mark.parametrize("addpath", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_references(seed, limit, addpath):
    """After any churn: what is stored is what is due, and nothing is left when all paths go."""
    rng = random.Random(seed)
    engine, adj = world(6, addpath=addpath, max_paths=limit)
    held: dict[tuple[str, int], tuple[int, frozenset[int]]] = {}
    for _ in range(1500):
        slot, prefix = rng.randint(1, 6), f"10.{rng.randrange(5)}.0.0/16"
        if rng.random() < 0.7:
            excluded = frozenset(rng.sample(range(1, 7), rng.choice((0, 0, 1, 3))))
            length = rng.randint(1, 9)
            path = ((SEQ, (64496,) * length),)
            tags = tuple(not_to(*sorted(excluded))) or None
            engine.announce(slot, prefix, as_path=path, communities=tags)
            held[prefix, slot] = (length, excluded)
        else:
            engine.withdraw(slot, prefix)
            held.pop((prefix, slot), None)
        if rng.random() < 0.3:
            engine.flush()
    engine.flush()
    total = 0
    for prefix in {p for p, _ in held}:
        ranked = sorted((n, s, no) for (p, s), (n, no) in held.items() if p == prefix)
        for member in range(1, 7):
            due = [n for n, s, no in ranked if s != member and member not in no]
            due = due[:1] if not addpath else due[: limit or len(due)]
            got = adj.sent_paths(engine.handle(prefix), member)
            lengths = [len(engine.attrs.describe(h)["as_path"][0][1]) for _, h in got]
            assert lengths == due, (prefix, member)
            assert len({i for i, _ in got}) == len(got)
            total += len(due)
    assert sum(adj.advertised(s) for s in range(1, 7)) == total
    engine.withdraw_all()
    assert adj.stats()["prefixes"] == 0
    assert engine.attrs.stats()["sets"] == 0
    assert engine.exporter.rewriter.stats()["forms"] == 0


def test_one_of_thousands_of_paths_changes():
    """What has stayed is found without looking at all of it for each of all."""
    engine = Engine()
    engine.peers(1, 2, 3, 4, 5, 6)
    reader = Reader(engine.join(6, addpath=True), addpath=True)
    engine.flush()
    reader.read()
    for slot in range(1, 6):
        for path_id in range(1000):
            engine.announce(slot, PREFIX, path_id=path_id, med=slot * 1000 + path_id)
    engine.flush()
    reader.read()
    assert len(reader.speaker.tables[V4]) == 5000
    start = time.process_time()
    for i in range(50):
        engine.announce(3, PREFIX, path_id=i, med=i)
        engine.flush()
    assert time.process_time() - start < 1
    told = len(reader.events)
    reader.read()
    assert len(reader.events) == told + 50
    assert {a["med"] for a in reader.speaker.tables[V4].values()} >= set(range(50))
    engine.withdraw(3, PREFIX, path_id=0)
    engine.flush()
    reader.read()
    assert len(reader.speaker.tables[V4]) == 4999


def test_no_more_paths_than_can_be_chosen():
    engine = Engine()
    with pytest.raises(ValueError, match="paths can be chosen"):
        engine.join(1, V4, addpath=True, max_paths=70_000)
    with pytest.raises(ValueError, match="no such choice"):
        engine.join(1, V4, addpath=True, choice=9)
