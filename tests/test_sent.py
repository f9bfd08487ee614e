"""Messages sent, counted from runs of the logs: against those that the far ends have got."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import attrs
import pytest

from rs.iana import Family, MessageType
from rs.show import neighbor as show_neighbor
from tests.engines import Engine, Reader
from tests.farends import Speaker, make_config, make_neighbor, make_router
from tests.routers import Lab

V4 = Family.IPV4_UNICAST


@dataclass(eq=False)
class Counting(Speaker):
    """A speaker that counts whole messages by type."""

    kinds: Counter[int] = field(default_factory=Counter)

    def _message(self, kind, body, n):
        self.kinds[kind] += 1
        super()._message(kind, body, n)


def lab_of(n=3, **options):
    section = make_router()
    speakers = [Counting(f"10.1.0.{i}", 65000 + i, f"10.2.0.{i}") for i in range(1, n + 1)]
    neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
    return Lab(make_config(section, neighbors), **options), speakers


def sent(speaker, kind=MessageType.UPDATE):
    speaker.peer.count_sent()
    return speaker.peer.session.counters.sent[kind]


def networks(start, n):
    return [f"10.{i >> 8}.{i & 255}.0/24" for i in range(start, start + n)]


class TestMember:
    def setup_method(self):
        self.engine = Engine()
        self.engine.peers(1, 2, 3)

    def join(self, slot):
        reader = Reader(self.engine.join(slot))
        self.engine.flush()
        reader.read()
        return reader

    def test_counts_what_has_gone_out_whole(self):
        reader = self.join(2)
        for i in range(3):
            self.engine.announce(1, *networks(i, 1), med=i)
            self.engine.flush()
        log = reader.member.group.log
        one = log.end // 3
        assert log.messages == 3
        counts = []
        for room in (one - 1, 1, one, one):
            reader.read(room)
            counts.append(reader.member.messages_sent)
        assert counts == [0, 1, 2, 3]

    def test_not_what_is_for_others(self):
        two, three = self.join(2), self.join(3)
        self.engine.announce(1, "10.1.0.0/16")
        self.engine.announce(2, "10.2.0.0/16", as_path=((2, (65002,)),))
        self.engine.flush()
        while two.read() or three.read():
            pass
        assert two.member.messages_sent == two.speaker.messages == 1
        assert three.member.messages_sent == three.speaker.messages == 2

    def test_a_run_that_grows_is_counted_once(self):
        reader = self.join(2)
        for i in range(50):
            self.engine.announce(1, *networks(i, 1), med=i)
            self.engine.flush()
            reader.read()
            assert reader.member.messages_sent == i + 1

    def test_stays_when_the_member_leaves_inside_a_run(self):
        reader = self.join(2)
        for i in range(4):
            self.engine.announce(1, *networks(i, 1), med=i)
        self.engine.flush()
        reader.read(reader.member.group.log.end // 2 + 5)
        assert reader.member.messages_sent == 2
        self.engine.leave(reader.member)
        assert reader.member.messages_sent == 2


@pytest.mark.parametrize("seed", range(12))
def test_member_in_any_state(seed):
    """Walks, refreshes, falling off: after any number of octets the count is exact."""
    rng = random.Random(seed)
    engine = Engine()
    engine.peers(*range(1, 6))
    readers = [Reader(engine.join(slot)) for slot in range(2, 6)]
    for group in engine.all_groups():
        group.log_bound = 65536
    peak = Counter()
    for step in range(300):
        at = rng.randrange(4000)
        if rng.random() < 0.5:
            engine.announce(rng.randint(1, 5), *networks(at, rng.choice([1, 40, 900])), med=step)
        else:
            engine.withdraw(1, *networks(at, 30))
        if rng.random() < 0.7:
            engine.flush()
            engine.exporter.enforce()
        for reader in readers:
            if rng.random() < 0.05:
                reader.member.refresh()
            if rng.random() < 0.4:
                reader.read(rng.choice([1, 30, 500, 5000, 100_000]))
            peak[reader.member.state] += 1
            got = reader.speaker.messages
            assert reader.member.messages_sent == got, (seed, step)
    assert {0, 1, 2} <= set(peak)


def test_end_of_rib_and_refresh_markers():
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.settle()
    assert one.kinds[MessageType.UPDATE] == sent(one) == 2  # End-of-RIB of both families
    lab.up(two)
    lab.announce(two, *networks(0, 5))
    lab.settle()
    lab.refresh(one, V4)
    lab.settle()
    assert one.kinds[MessageType.ROUTE_REFRESH] == 2  # BoRR, EoRR
    assert sent(one, MessageType.ROUTE_REFRESH) == 2
    assert sent(one) == one.kinds[MessageType.UPDATE] > 2


def test_kept_over_sessions_and_shown():
    lab, (one, two, _) = lab_of()
    lab.up(two)
    lab.announce(two, *networks(0, 5))
    for _ in range(3):
        lab.up(one)
        lab.settle()
        lab.down(one)
    peer = lab.router.peer_for(one.address)
    found = show_neighbor(lab.router, peer, lab.now)
    assert found["messages"]["sent"]["update"] == one.kinds[MessageType.UPDATE] >= 9
    assert show_neighbor(lab.router, peer, lab.now) == found


@pytest.mark.parametrize("seed", range(6))
def test_session_of_any_history(seed):
    """Partial reads, refreshes, other groups, sessions that go: exact whenever all is read."""
    rng = random.Random(seed)
    lab, speakers = lab_of(4, seed=seed, log_bound=65536)
    for speaker in speakers:
        lab.up(speaker)
    base = Counter()
    moved = 0
    for step in range(250):
        speaker = rng.choice(speakers)
        chance = rng.random()
        if speaker.conn is None:
            lab.up(speaker)
            base[speaker] = sent(speaker) - speaker.kinds[MessageType.UPDATE]
        elif chance < 0.4:
            start, n = rng.randrange(600), rng.choice([1, 5, 100])
            lab.announce(speaker, *networks(start, n), med=step)
        elif chance < 0.5:
            lab.withdraw(speaker, *networks(rng.randrange(600), 20))
        elif chance < 0.6:
            lab.refresh(speaker, V4)
        elif chance < 0.63:
            # What was not read of this session has been counted as far as it left the outbox.
            lab.down(speaker)
        elif chance < 0.7:
            honor = not speaker.peer.neighbor.honor_well_known
            speaker.peer.use(attrs.evolve(speaker.peer.neighbor, honor_well_known=honor))
            lab.router.joining.rejoin(speaker.peer)
            moved += 1
        elif chance < 0.8:
            lab.work()
        else:
            lab.work(rng.randint(1, 30))
            lab.read(speaker, rng.choice([1, 20, 300, 4000]))
        if speaker.conn is not None:
            ahead = sent(speaker) - speaker.kinds[MessageType.UPDATE] - base[speaker]
            assert 0 <= ahead <= 4, (seed, step)  # End-of-RIBs that are queued
        if step % 25 == 24:
            lab.settle()
            for each in speakers:
                if each.conn is not None:
                    ahead = sent(each) - each.kinds[MessageType.UPDATE]
                    assert ahead == base[each], (seed, step, each.address)
    assert moved
