"""Member sets: equal bits are one handle, references are exact, growing changes no meaning."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from tests.engines import Engine

ALL, NONE = 0, 1


def test_two_sets_are_always_there():
    sets = MemberSets(64)
    assert sets.stats()["sets"] == 2
    assert sets.members(ALL, 10) == list(range(1, 10))
    assert sets.members(NONE, 64) == []
    assert sets.make(range(1, 64), others=True) == ALL
    assert sets.make([]) == NONE


def test_equal_bits_are_one_handle():
    sets = MemberSets(200)
    one = sets.make([1, 64, 199])
    two = sets.make([199, 1, 64])
    other = sets.make([1, 64, 199], others=True)
    assert one == two != other
    assert sets.members(one, 256) == [1, 64, 199]
    sets.drop(one)
    assert sets.members(two, 256) == [1, 64, 199]
    sets.drop(two)
    sets.drop(other)
    assert sets.stats()["sets"] == 2


def test_a_slot_is_taken_out_once():
    sets = MemberSets(64)
    h = sets.without(ALL, 7)
    assert 7 not in sets.members(h, 64)
    assert sets.without(h, 7) == h
    assert sets.without(ALL, 7) == h
    alone = sets.make([7])
    assert sets.without(alone, 7) == NONE
    for _ in range(3):
        sets.drop(h)
    sets.drop(alone)
    sets.drop_cache()
    assert sets.stats()["sets"] == 2


def test_no_slot_beyond_the_words():
    sets = MemberSets(64)
    with pytest.raises(IndexError):
        sets.make([64])
    with pytest.raises(IndexError):
        sets.make([0])


def test_growing_keeps_handles_and_meaning():
    """A slot that was not there before is in "all but", and not in "only"."""
    engine = Engine(slots=64)
    sets = engine.sets
    but = sets.make([s for s in range(1, 64) if s != 5], others=True)
    only = sets.make([5, 63])
    engine.peer(130)
    assert sets.words > 2
    assert 130 in sets.members(ALL, 192)
    assert 130 not in sets.members(NONE, 192)
    assert [s for s in range(1, 192) if s not in sets.members(but, 192)] == [5]
    assert sets.members(only, 192) == [5, 63]
    assert sets.make([5, 63]) == only
    assert sets.make([s for s in range(1, 64 * sets.words) if s != 5], others=True) == but
    with pytest.raises(ValueError, match="65,535"):
        engine.peer(65536)


def test_growing_to_the_last_slot():
    engine = Engine(slots=64)
    for slot in (64, 1000, 65535):
        engine.peer(slot)
        assert slot in engine.sets.members(ALL, 65536)
    assert isinstance(engine.rib, Rib)
    assert engine.sets.words == 1024


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 64, 65, 130]))
def test_against_python_sets(seed, n_slots):
    """Thousands of sets made, dropped and made again, through every growth of the tables."""
    rng = random.Random(seed)
    sets = MemberSets(n_slots)
    slots = range(1, 64 * sets.words)
    held: list[tuple[int, frozenset[int], bool]] = []
    for _ in range(600):
        kind = rng.random()
        if kind < 0.6 or not held:
            members = frozenset(rng.sample(slots, rng.randint(0, 3)))
            others = rng.random() < 0.5
            held.append((sets.make(members, others), members, others))
        elif kind < 0.8:
            h, members, others = rng.choice(held)
            slot = rng.choice(slots)
            held.append((sets.without(h, slot), members - {slot}, others))
        else:
            sets.drop(held.pop(rng.randrange(len(held)))[0])
    by_content = {}
    for h, members, others in held:
        assert sets.members(h, 64 * sets.words) == sorted(members)
        assert by_content.setdefault((members, others), h) == h
    assert len(set(by_content.values())) == len(by_content)
    for h, _, _ in held:
        sets.drop(h)
    sets.drop_cache()
    assert sets.stats()["sets"] == 2
