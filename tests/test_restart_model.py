"""Restarts in any order, against the oracle: what is stale, how it is ranked, who is sent it."""

from __future__ import annotations

import random

import pytest

from rs.config import GracefulRestart as Mode
from rs.iana import Family, WellKnownCommunity
from rs.peer import end_of_rib
from rs.restart import Phase
from rs.restart_caps import GracefulRestart, LongLived
from tests.farends import SEQ, Speaker, make_config, make_neighbor, make_router
from tests.routers import Lab

V4 = Family.IPV4_UNICAST
PREFIXES = [f"198.51.{i}.0/24" for i in range(12)]
STALE, KEEP_NOT = int(WellKnownCommunity.LLGR_STALE), int(WellKnownCommunity.NO_LLGR)
RESTART_TIME, STALE_TIME, LONG = 60, 180, 3600
N = 5


def said(*, long_lived: bool, restarted: bool = True) -> GracefulRestart:
    return GracefulRestart(
        restarted=restarted,
        time=RESTART_TIME,
        families={(1, 1): True},
        long_lived={(1, 1): LongLived(True, LONG)} if long_lived else None,
    )


class Play:
    """Members of a route server that announce, vanish and come back."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        router = make_router(prefer_oldest=bool(seed & 1))
        self.speakers = [
            Speaker(
                address=f"10.0.0.{10 + i}",
                asn=64601 + i,
                router_id=f"192.0.2.{10 + i}",
                families=(V4,),
                graceful=said(long_lived=i < 3) if i < N - 1 else None,
            )
            for i in range(N)
        ]
        neighbors = [
            make_neighbor(
                router,
                s.asn,
                address=s.address,
                families=(V4,),
                graceful_restart=Mode.ON,
                stale_time=STALE_TIME,
                long_lived_stale_time=LONG,
            )
            for s in self.speakers
        ]
        # Internal ones only listen: with the capability, without it, and in spite of that.
        listeners = [
            Speaker(
                address=f"10.0.0.{30 + i}",
                asn=router.asn,
                router_id=f"192.0.2.{30 + i}",
                families=(V4,),
                graceful=said(long_lived=True) if i == 0 else None,
            )
            for i in range(3)
        ]
        neighbors += [
            make_neighbor(
                router, s.asn, address=s.address, families=(V4,), long_lived_partial=i == 2
            )
            for i, s in enumerate(listeners)
        ]
        self.lab = Lab(make_config(router, neighbors), seed=seed)
        self.stale = self.demoted = 0
        for speaker in self.speakers + listeners:
            self.lab.up(speaker)
            self.eor(speaker)

    def eor(self, speaker: Speaker) -> None:
        conn = speaker.conn
        if conn.reading and not conn.waiting:
            self.lab.feed(speaker, end_of_rib(V4))
            self.lab.oracle.end_of_rib(speaker.slot)
            # A path that is heard again before the walk comes by is the old one, with its age.
            self.lab.settle()

    def announce(self, speaker: Speaker) -> None:
        rng = self.rng
        communities = [c for c in (STALE, KEEP_NOT) if rng.random() < 0.1]
        more = {"communities": tuple(communities)} if communities else {}
        path = ((SEQ, (speaker.asn, *rng.sample(range(100, 104), rng.randint(0, 2)))),)
        self.lab.announce(speaker, rng.choice(PREFIXES), as_path=path, **more)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the oracle is told whose timers have ended."""
        lab = self.lab
        lab.settle()
        lab.now += seconds
        for speaker in self.speakers:
            peer = speaker.peer
            if speaker.up:
                peer.session.receive(speaker.conn, b"\xff" * 16 + b"\x00\x13\x04", lab.now)
            kept = peer.kept.get(V4)
            if kept is None or kept.until > lab.now:
                continue
            if kept.phase is Phase.SYNCHRONIZING:
                lab.oracle.end_of_rib(speaker.slot)
            elif kept.phase is Phase.RESTARTING and kept.long_lived_time:
                lab.oracle.long_gone(speaker.slot)
                self.demoted += 1
            else:
                lab.oracle.peer_down(speaker.slot)
        lab.router.housekeeping(lab.now)
        lab.tick(0)

    def step(self) -> None:
        rng, lab = self.rng, self.lab
        speaker = rng.choice(self.speakers)
        kind = rng.random()
        if not speaker.up:
            if kind < 0.3:
                lab.up(speaker)
            return
        if kind < 0.6:
            self.announce(speaker)
        elif kind < 0.75:
            lab.withdraw(speaker, rng.choice(PREFIXES))
        elif kind < 0.85:
            self.eor(speaker)
        else:
            lab.down(speaker)

    def check(self, what: str) -> None:
        lab = self.lab
        lab.settle()
        lab.check(what)
        for speaker in self.speakers:
            table = lab.oracle.adj_rib_in.get(speaker.slot, {})
            stale = sum(held.stale for held in table.values())
            assert lab.router.rib.stale(speaker.slot, V4) == stale, f"{what} {speaker.address}"
            self.stale += stale


@pytest.mark.parametrize("seed", range(6))
def test_any_order(seed: int) -> None:
    play = Play(seed)
    for i in range(80):
        for _ in range(play.rng.randint(1, 12)):
            play.step()
        if play.rng.random() < 0.3:
            play.pass_time(play.rng.choice((1, 30, RESTART_TIME + 1, STALE_TIME + 1)))
        play.check(f"seed {seed} round {i}:")
    assert play.stale
    assert play.demoted
