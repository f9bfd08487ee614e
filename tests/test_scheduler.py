"""The scheduler: work ends, nothing is left lying, and nobody waits for who reads nothing."""

from __future__ import annotations

import pytest

from rs.scheduler import HOLD, MAX_HOLD, LoopStats, Scheduler
from tests.engines import Engine, Reader
from tests.routers import CallClock


def world(n_members=4):
    engine = Engine()
    engine.peers(*range(1, n_members + 2))
    readers = [Reader(engine.join(slot)) for slot in range(2, n_members + 2)]
    scheduler = Scheduler(engine.exporter)
    return engine, scheduler, readers


NOW = [0.0]


def run(scheduler):
    """Run until it is idle, a tenth of a second later than the last time."""
    NOW[0] += 0.1
    return scheduler.run(NOW[0] + 1e9, lambda: NOW[0])


def drain(scheduler, readers):
    for _ in range(1000):
        more = run(scheduler) or scheduler.waiting
        if not sum([r.read() for r in readers]) and not more:
            return
    raise AssertionError("no end")


def prefixes(n, start=0):
    return [f"10.{i >> 8}.{i & 255}.0/24" for i in range(start, start + n)]


def test_idle_at_once_without_work():
    _, scheduler, _ = world(0)
    assert not run(scheduler)


def test_a_job_that_waits_for_one_it_has_just_added():
    _, scheduler, _ = world(0)
    done = []

    def later():
        done.append("later")
        yield True

    def first():
        scheduler.add(later())
        while not done:
            yield False
        done.append("first")

    scheduler.add(first())
    assert not run(scheduler)
    assert done == ["later", "first"]
    assert scheduler.jobs == 0


def test_jobs_take_turns_and_end():
    _, scheduler, _ = world(0)
    seen = []

    def job(name, n):
        for i in range(n):
            seen.append((name, i))
            yield True

    scheduler.add(job("a", 3))
    scheduler.add(job("b", 2))
    assert scheduler.jobs == 2
    assert not run(scheduler)
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]
    assert scheduler.jobs == 0


def test_job_that_waits_does_not_keep_the_loop_busy():
    _, scheduler, _ = world(0)
    open_ = []

    def waits():
        while not open_:
            yield False

    scheduler.add(waits())
    clock = CallClock()
    assert not scheduler.run(1e9, clock)
    assert clock.looks < 10
    open_.append(1)
    assert not run(scheduler)
    assert scheduler.jobs == 0


def test_one_job_lets_another_go_on():
    """What a job waits for may be what another one does in the same run."""
    _, scheduler, _ = world(0)
    done = []

    def second():
        while not done:
            yield False
        done.append(2)

    def first():
        yield True
        done.append(1)

    scheduler.add(second())
    scheduler.add(first())
    assert not run(scheduler)
    assert done == [1, 2]


def test_a_deadline_stops_in_the_middle_and_nothing_is_lost():
    engine, scheduler, readers = world()
    engine.announce(1, *prefixes(5000))
    runs = 0
    while scheduler.run(1.0, CallClock()):
        runs += 1
        assert runs < 100
    assert runs > 4
    drain(scheduler, readers)
    for reader in readers:
        assert len(reader.table) == 5000


def test_loop_stats():
    stats = LoopStats()
    for seconds in (0.0001, 0.003, 0.7):
        stats.note(seconds)
    assert stats.longest_slice == 0.7
    assert stats.total == pytest.approx(0.7031)
    counts = dict(stats.histogram)
    assert counts[0.0005] == counts[0.005] == counts[float("inf")] == 1
    assert sum(counts.values()) == 3


# --- who reads nothing ----------------------------------------------------------------------------


def big(slot, n):
    """Announcements that are too large for several to share a message."""
    return {"unknown": ((0xE0, 200, bytes([slot]) * n),)}


@pytest.mark.parametrize("stuck", [1, 2, 3])
def test_members_who_read_nothing_hold_nobody_up(stuck):
    """Most of the members read nothing for minutes; the others must not notice."""
    engine, scheduler, readers = world(4)
    drain(scheduler, readers)
    # More than what counts as keeping up, for those who do not read.
    for i in range(600):
        engine.announce(1, f"10.0.{i >> 8}.{i & 255}/32", **big(i & 7, 3000 + i))
    run(scheduler)
    for reader in readers[stuck:]:
        while reader.read():
            pass
    for i in range(600, 900):
        engine.announce(1, f"10.0.{i >> 8}.{i & 255}/32", **big(i & 7, 3000 + i))
    engine.announce(1, "10.9.0.0/16")
    for _ in range(20):
        more = run(scheduler)
        more = sum([r.read() for r in readers[stuck:]]) or more
    for reader in readers[stuck:]:
        assert "10.9.0.0/16" in reader.table
        assert len(reader.table) == 901
    drain(scheduler, readers)
    for reader in readers:
        assert len(reader.table) == 901


@pytest.mark.parametrize("stuck", [1, 2, 3])
def test_joiners_who_read_nothing_hold_no_joiner_up(stuck):
    engine, scheduler, _ = world(0)
    for i in range(2500):
        engine.announce(1, f"10.0.{i >> 8}.{i & 255}/32", **big(i & 7, 1200 + i))
    run(scheduler)
    for slot in range(2, 6):
        engine.peer(slot)
    readers = [Reader(engine.join(slot)) for slot in range(2, 6)]
    for _ in range(50):
        run(scheduler)
        for reader in readers[stuck:]:
            reader.read()
    for reader in readers[stuck:]:
        assert len(reader.table) == 2500
    drain(scheduler, readers)
    for reader in readers:
        assert len(reader.table) == 2500


def load(engine, slots, n, start=0):
    for slot in slots:
        for prefix in prefixes(n, start):
            engine.announce(slot, prefix)


def test_while_tables_overlap_a_prefix_waits_for_further_paths():
    engine, scheduler, readers = world()
    table = prefixes(100)
    load(engine, [1, 2], 100)
    assert not scheduler.run(100.0, lambda: 0.1, loading=True)
    assert engine.exporter.evaluated == 100  # what was there when the first period began
    assert scheduler.holding
    load(engine, [1, 2], 100, start=100)
    assert not scheduler.run(100.0, lambda: 0.1 + HOLD / 2, loading=True)
    assert engine.exporter.evaluated == 100
    load(engine, [3, 4], 100, start=100)
    assert not scheduler.run(100.0, lambda: 0.1 + HOLD, loading=True)
    assert engine.exporter.evaluated == 200
    for reader in readers:
        reader.read()
    assert set(readers[-1].table) >= set(table)


def test_nothing_waits_longer_than_twice_the_longest_period():
    engine, scheduler, _ = world()
    now = 1.0
    waiting: dict[int, float] = {}
    for batch in range(200):
        load(engine, [1, 2], 10, start=10 * batch)
        waiting[10 * (batch + 1)] = now
        load(engine, [3], 10, start=max(0, 10 * (batch - 30)))  # lags behind: periods grow
        scheduler.run(now + 100.0, lambda now=now: now, loading=True)
        evaluated = engine.exporter.rib.tables[0].drained
        waiting = {upto: since for upto, since in waiting.items() if upto > evaluated}
        assert all(now - since <= 2 * MAX_HOLD for since in waiting.values())
        now += 0.01
    assert scheduler.holding
    assert not scheduler.run(now + 100.0, lambda: now, loading=False)
    assert not scheduler.holding
    assert engine.exporter.dirty() == 0


def test_tables_that_have_nothing_in_common_do_not_wait():
    engine, scheduler, _ = world()
    now = 1.0
    for batch in range(50):
        load(engine, [1 + batch % 4], 10, start=10 * batch)
        scheduler.run(now + 100.0, lambda now=now: now, loading=True)
        assert engine.exporter.dirty() == 0
        now += 0.01
    assert not scheduler.holding


def test_goes_on_as_soon_as_members_have_taken_what_there_was():
    engine, scheduler, readers = world()
    for med, prefix in enumerate(prefixes(10_000)):  # more than members may be behind
        engine.announce(1, prefix, med=med)
    assert not scheduler.run(1e9, lambda: 0.0)
    assert engine.exporter.dirty()
    assert not scheduler.can_go_on(0.0)
    for reader in readers:
        reader.read()
    assert scheduler.can_go_on(0.0)
    drain(scheduler, readers)
    assert not scheduler.can_go_on(0.0)


def test_what_is_deferred_does_not_ask_for_turn_after_turn():
    engine, scheduler, _ = world()
    scheduler.deferred = True
    load(engine, [1], 10)
    assert not run(scheduler)
    assert engine.exporter.dirty()
    assert not scheduler.waiting
    assert not scheduler.can_go_on(NOW[0])
    scheduler.deferred = False
    assert scheduler.can_go_on(NOW[0])
