"""Adj-RIB-In: paths by peer and identifier, counts, references, the queue, prefixes kept alive."""

from __future__ import annotations

import random
import time

import pytest

from rs._fastpath.rib import Rib
from rs._fastpath.walks import purge_step, recheck_step
from rs.iana import RejectReason
from rs.peer import PeerKind
from tests.engines import Engine, Reader
from tests.farends import RS_ASN, SEQ, V4, V6, handle, prefixes_of


def world(*slots, **options):
    engine = Engine(**options)
    engine.peers(*slots or (1, 2, 3), first_as=True)
    return engine, engine.rib.tables[V4]


def paths(table, prefix):
    return [(slot, path_id) for slot, path_id, *_ in table.paths_of(handle(table, prefix))]


def path_of(slot):
    return {"as_path": ((SEQ, (65000 + slot,)),)}


def announce(engine, slot, *prefixes, **changes):
    engine.announce(slot, *prefixes, **{**path_of(slot), **changes})


def test_one_path_a_peer_and_identifier():
    engine, table = world()
    announce(engine, 1, "10.1.0.0/16")
    announce(engine, 1, "10.1.0.0/16", med=5)
    announce(engine, 1, "10.1.0.0/16", path_id=9)
    announce(engine, 2, "10.1.0.0/16")
    assert sorted(paths(table, "10.1.0.0/16")) == [(1, 0), (1, 9), (2, 0)]
    assert engine.rib.peer_counts(1, V4) == (2, 2, 0)
    assert table.stats()["paths"] == 3
    engine.withdraw(1, "10.1.0.0/16")
    assert sorted(paths(table, "10.1.0.0/16")) == [(1, 9), (2, 0)]
    engine.withdraw(1, "10.1.0.0/16")  # no longer there: nothing happens
    engine.withdraw(3, "10.9.0.0/16")
    assert table.stats()["paths"] == 2


def test_a_path_that_says_nothing_new_changes_nothing():
    """Its age and the queue included (RFC 5004)."""
    engine, table = world()
    announce(engine, 1, "10.1.0.0/16", ticks=5)
    engine.flush()
    announce(engine, 1, "10.1.0.0/16", ticks=9)
    assert table.stats()["dirty"] == 0
    assert table.paths_of(handle(table, "10.1.0.0/16"))[0][5] == 5


def test_rejected_paths_stay_behind_the_others():
    engine, table = world()
    loop = {"as_path": ((SEQ, (65001, RS_ASN)),)}
    announce(engine, 1, "10.1.0.0/16", **loop)
    assert table.stats()["dirty"] == 0  # nobody's business
    announce(engine, 2, "10.1.0.0/16")
    announce(engine, 3, "10.1.0.0/16", as_path=((SEQ, (64999,)),))
    found = table.paths_of(handle(table, "10.1.0.0/16"))
    assert [(f[0], f[3] & 1, f[4] if f[3] & 1 else 0) for f in found] == [
        (2, 0, 0),
        (1, 1, RejectReason.AS_LOOP),
        (3, 1, RejectReason.FIRST_AS),
    ]
    assert engine.rib.peer_counts(1, V4) == (1, 0, 1)
    assert engine.rib.reject_counts(3) == {RejectReason.FIRST_AS: 1}
    # Rejected, then good, then rejected for another reason, then gone.
    announce(engine, 1, "10.1.0.0/16")
    assert engine.rib.reject_counts(1) == {}
    announce(engine, 1, "10.1.0.0/16", next_hop="10.0.0.1")
    assert engine.rib.reject_counts(1) == {RejectReason.NEXT_HOP_INVALID: 1}
    engine.withdraw(1, "10.1.0.0/16")
    assert engine.rib.reject_counts(1) == {}
    assert engine.rib.peer_counts(1, V4) == (0, 0, 0)


REASONS = {
    RejectReason.AS_LOOP: {"as_path": ((SEQ, (65001, RS_ASN)),)},
    RejectReason.FIRST_AS: {"as_path": ((SEQ, (65002,)),)},
    RejectReason.AS_SET: {"as_path": ((SEQ, (65001,)), (1, (1, 2)))},
    RejectReason.NEXT_HOP_INVALID: {"next_hop": "10.0.0.1"},
    RejectReason.CONFED_SEGMENT: {"as_path": ((SEQ, (65001,)), (3, (1,)))},
    RejectReason.NONE: {},
}


@pytest.mark.parametrize("reason", REASONS)
def test_checks_of_external_paths(reason):
    engine, _ = world(1)
    h = engine.intern(**{**path_of(1), **REASONS[reason]})
    assert engine.rib.check_attrs(1, h) == reason
    engine.attrs.drop(h)


def test_checks_of_internal_paths():
    engine = Engine()
    engine.peer(1, RS_ASN, PeerKind.IBGP)
    for reason, attrs in {
        RejectReason.ORIGINATOR_LOOP: {"originator_id": "10.0.0.1"},
        RejectReason.CLUSTER_LOOP: {"cluster_list": ("10.9.9.9", "10.0.0.1")},
        RejectReason.NONE: {"originator_id": "10.0.0.2", "cluster_list": ("10.0.0.2",)},
    }.items():
        h = engine.intern(as_path=(), **attrs)
        assert engine.rib.check_attrs(1, h) == reason
        engine.attrs.drop(h)


def test_checks_may_be_relaxed_and_paths_judged_again():
    engine, table = world(1)
    prefixes = [f"10.{i}.0.0/16" for i in range(20)]
    announce(engine, 1, *prefixes[:10], as_path=((SEQ, (65001, RS_ASN)),))
    announce(engine, 1, *prefixes[10:], as_path=((SEQ, (64999,)),))
    engine.flush()
    assert engine.rib.peer_counts(1, V4) == (20, 0, 20)
    engine.rib.set_checks(1, first_as=False, reject_as_set=True, allow_own_as=1)
    at = 1
    while at:
        at = recheck_step(table, [1], at, 3)
    assert engine.rib.peer_counts(1, V4) == (20, 20, 0)
    assert table.stats()["dirty"] == 20
    engine.rib.set_checks(1, first_as=True, reject_as_set=True, allow_own_as=0)
    recheck_step(table, [1], 1, 1000)
    assert engine.rib.peer_counts(1, V4) == (20, 0, 20)
    assert sum(engine.rib.reject_counts(1).values()) == 20


def test_purge_takes_the_paths_of_several_peers_at_once():
    engine, table = world()
    prefixes = [f"10.{i}.0.0/16" for i in range(50)]
    for slot in (1, 2, 3):
        announce(engine, slot, *prefixes)
    engine.flush()
    at, steps = 1, 0
    while at:
        at = purge_step(table, [1, 3], at, 7)
        steps += 1
    assert steps == 8
    assert table.stats()["paths"] == 50
    assert engine.rib.peer_counts(2, V4)[0] == 50
    assert engine.rib.peer_counts(1, V4)[0] == engine.rib.peer_counts(3, V4)[0] == 0
    engine.rib.remove_peer(1)
    with pytest.raises(ValueError, match="still has paths"):
        engine.rib.remove_peer(2)
    purge_step(table, [2], 1, 1000)
    engine.flush()
    assert table.stats()["prefixes"] == 0
    assert purge_step(table, [2], 1, 1000) == 0


def test_prefixes_go_with_their_last_path():
    engine, table = world()
    announce(engine, 1, "10.1.0.0/16", "10.2.0.0/16")
    engine.flush()
    engine.withdraw(1, "10.1.0.0/16")
    assert table.stats()["prefixes"] == 2  # until its withdrawal has been told
    engine.flush()
    assert prefixes_of(table) == ["10.2.0.0/16"]
    assert table.stats()["usable"] == 1


def test_prefix_that_comes_back_before_anybody_looked():
    engine, table = world()
    announce(engine, 1, "10.1.0.0/16")
    engine.flush()
    engine.withdraw(1, "10.1.0.0/16")
    announce(engine, 2, "10.1.0.0/16")
    engine.flush()
    assert paths(table, "10.1.0.0/16") == [(2, 0)]
    engine.withdraw(2, "10.1.0.0/16")
    announce(engine, 1, "10.1.0.0/16", as_path=())  # rejected
    engine.flush()
    assert table.stats()["usable"] == 0
    assert table.stats()["prefixes"] == 1


def test_the_queue_grows_and_wraps():
    engine, table = world()
    rng = random.Random(1)
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(6000)]
    for round_ in range(6):
        for prefix in rng.sample(prefixes, 3000):
            announce(engine, 1, prefix, med=round_)
        for _ in range(rng.randint(1, 3)):
            engine.exporter.step(rng.randint(1, 2000))
    waiting = table.stats()["dirty"]
    assert engine.exporter.dirty() == waiting
    assert table.queued() == table.drained + waiting
    engine.flush()
    assert table.drained == engine.exporter.evaluated


def test_families_take_turns():
    engine, table = world()
    announce(engine, 1, *[f"10.{i >> 8}.{i & 255}.0/24" for i in range(2000)])
    announce(engine, 1, "2001:db8::/32")
    engine.exporter.step(500)
    engine.exporter.step(500)
    assert engine.rib.tables[V6].stats()["dirty"] == 0
    assert table.stats()["dirty"] > 0


def test_prefixes_are_kept_while_a_slow_member_refers_to_them():
    """The handle must not come to mean another prefix; it may come to life again meanwhile."""
    engine, table = world(1, 2)
    reader = Reader(engine.join(2))
    engine.flush()
    reader.read()
    (group,) = engine.all_groups()
    fat = {"unknown": ((0xE0, 200, bytes(3000)),)}
    prefixes = [f"10.0.{i}.0/24" for i in range(60)]
    announce(engine, 1, *prefixes)
    engine.flush()
    for i, prefix in enumerate(prefixes):
        announce(engine, 1, prefix, **fat, med=i)
        engine.flush()
    group.log_bound = 1
    engine.exporter.enforce()
    assert group.stats()["resync"] == 1
    before = {p: handle(table, p) for p in prefixes}
    engine.withdraw(1, *prefixes)
    engine.flush()
    others = [f"10.1.{i}.0/24" for i in range(60)]
    announce(engine, 1, *others)
    engine.flush()
    assert not set(before.values()) & {handle(table, p) for p in others}
    announce(engine, 1, prefixes[7])
    engine.flush()
    assert handle(table, prefixes[7]) == before[prefixes[7]]
    while reader.read():
        pass
    assert set(reader.table) == {*others, prefixes[7]}
    assert table.stats()["prefixes"] == 61
    assert group.stats()["resync"] == 0


def test_handles_are_used_again_when_no_member_refers_to_them():
    engine, table = world(1, 2)
    prefixes = [f"10.0.{i}.0/24" for i in range(20)]
    announce(engine, 1, *prefixes)
    engine.flush()
    known = {handle(table, p) for p in prefixes}
    engine.withdraw(1, *prefixes)
    engine.flush()
    others = [f"10.1.{i}.0/24" for i in range(20)]
    announce(engine, 1, *others)
    engine.flush()
    assert {handle(table, p) for p in others} == known


def test_attribute_sets_are_counted_exactly():
    engine, table = world()
    announce(engine, 1, "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")
    ((_, _, attrs_h, *_),) = table.paths_of(handle(table, "10.1.0.0/16"))
    assert engine.attrs.refs(attrs_h) == 3
    announce(engine, 1, "10.2.0.0/16", med=1)
    assert engine.attrs.refs(attrs_h) == 2
    purge_step(table, [1], 1, 100)
    assert engine.attrs.stats()["sets"] == 0


def test_a_peer_with_countless_paths_for_a_prefix():
    """ADD-PATH has 2^32 identifiers; whoever uses them up must not keep others out, nor busy."""
    engine, table = world()
    h = engine.intern(**path_of(1))
    key = ((10 << 24 | 1 << 16).to_bytes(4, "big"), 16)
    start = time.perf_counter()
    for path_id in range(70_000):
        table.set_path(*key, 1, h, path_id)
    assert time.perf_counter() - start < 5
    engine.attrs.drop(h)
    assert engine.rib.peer_counts(1, V4)[0] == 1024
    assert table.refused == 70_000 - 1024
    announce(engine, 2, "10.1.0.0/16", as_path=((SEQ, (65002,)),), ticks=0)
    assert (2, 0) in paths(table, "10.1.0.0/16")
    # What is there can still be replaced and withdrawn.
    announce(engine, 1, "10.1.0.0/16", path_id=1023, med=1)
    engine.withdraw(1, "10.1.0.0/16", path_id=5)
    announce(engine, 1, "10.1.0.0/16", path_id=5000)
    assert {i for s, i in paths(table, "10.1.0.0/16") if s == 1} == {*range(1024), 5000} - {5}


def test_stale_paths_do_not_count():
    """Whoever has begun anew may use other identifiers, before those of before are gone."""
    engine = Engine()
    engine.peer(1)
    engine.rib.set_path_limit(1, V4, 2)
    table = engine.rib.tables[V4]
    for path_id in (1, 2, 3):
        announce(engine, 1, "10.1.0.0/16", path_id=path_id)
    assert paths(table, "10.1.0.0/16") == [(1, 1), (1, 2)]
    engine.rib.start_refresh(1, V4)
    for path_id in (11, 12, 13):
        announce(engine, 1, "10.1.0.0/16", path_id=path_id)
    assert engine.rib.end_refresh(1, V4)
    purge_step(table, [1], 1, 1000, only_stale=True)
    assert sorted(paths(table, "10.1.0.0/16")) == [(1, 11), (1, 12)]
    assert engine.rib.refused_paths(1, V4) == 2
    assert engine.rib.refused_paths(1, V6) == 0
    # Beginning anew for ever makes no room for more than twice as many.
    for again in range(3):
        engine.rib.start_refresh(1, V4)
        for path_id in range(2):
            announce(engine, 1, "10.1.0.0/16", path_id=100 * again + path_id)
    assert len(paths(table, "10.1.0.0/16")) == 4


def test_slots():
    engine = Engine()
    with pytest.raises(ValueError, match="1 to 65,535"):
        engine.rib.add_peer(0, 1, "10.1.0.1", 0)
    engine.peer(1)
    with pytest.raises(ValueError, match="slot 1 is taken"):
        engine.peer(1)
    assert isinstance(engine.rib, Rib)
    engine.rib.remove_peer(1)
    engine.peer(1)


@pytest.mark.parametrize("seed", range(6))
def test_against_a_dict(seed):
    """Random changes; the table must hold what a dict of paths holds, in both families."""
    rng = random.Random(seed)
    engine = Engine()
    engine.peers(*range(1, 6))
    pool = [f"10.{i}.0.0/{rng.choice((16, 17, 24))}" for i in range(12)] + [
        f"2001:db8:{i:x}::/48" for i in range(1, 9)
    ]
    want: dict[tuple[str, int, int], int | None] = {}
    for _ in range(1500):
        prefix, slot, path_id = rng.choice(pool), rng.randint(1, 5), rng.choice((0, 0, 3))
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4 | 5:
                med = rng.choice((None, 1, 2))
                engine.announce(slot, prefix, path_id=path_id, med=med)
                want[prefix, slot, path_id] = med
            case 6 | 7:
                engine.withdraw(slot, prefix, path_id=path_id)
                want.pop((prefix, slot, path_id), None)
            case 8:
                engine.exporter.step(rng.randint(1, 30))
            case _ if rng.random() < 0.1:
                for table in engine.rib.tables:
                    at = 1
                    while at:
                        at = purge_step(table, [slot], at, rng.randint(1, 9))
                want = {k: v for k, v in want.items() if k[1] != slot}
    engine.flush()
    found = {}
    for table in engine.rib.tables:
        for prefix in prefixes_of(table):
            for slot, path_id, attrs_h, *_ in table.paths_of(handle(table, prefix)):
                found[prefix, slot, path_id] = engine.attrs.describe(attrs_h).get("med")
        assert table.stats()["usable"] == len(prefixes_of(table))
    assert found == want
    for slot in range(1, 6):
        received = sum(engine.rib.peer_counts(slot, f)[0] for f in (V4, V6))
        assert received == sum(1 for key in want if key[1] == slot)
