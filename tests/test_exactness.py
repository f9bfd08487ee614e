"""Exactness: after any churn every member holds what the oracle says, and so does the router."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests import strategies
from tests.reference import codec
from tests.routers import (
    BOTH,
    V4,
    V6,
    Lab,
    Speaker,
    make_config,
    make_neighbor,
    make_router,
)
from tests.strategies import Source

if TYPE_CHECKING:
    from rs.iana import Family

SEEDS = int(os.environ.get("RS_SEEDS", "4"))
FIRST_SEED = int(os.environ.get("RS_SEED", "1"))


def make_speakers(src: Source, n: int) -> list[Speaker]:
    """Members of every kind: 2-octet AS, without extended messages, of one family only."""
    return [
        Speaker(
            address=peer.address,
            asn=peer.asn,
            router_id=peer.router_id,
            families=(V4,) if src.chance(8) else (V6,) if src.chance(8) else BOTH,
            four_octet_as=peer.asn > 0xFFFF or not src.chance(25),
            extended_message=src.chance(60),
            enhanced_refresh=src.chance(60),
            extended_next_hop=False,
        )
        for peer in strategies.route_server_peers(n)
    ]


def hop(speaker: Speaker, family: Family) -> str:
    low = int(speaker.address.rpartition(".")[2])
    return speaker.address if family is V4 else f"2001:db8:1::{low:x}"


class Churn:
    """Random things that happen to a lab."""

    def __init__(self, seed: int, lab: Lab, speakers: list[Speaker], prefixes: list[str]) -> None:
        self.src = Source.seeded(seed)
        self.lab = lab
        self.speakers = speakers
        self.prefixes = prefixes
        self.reference_peers = {
            s: strategies.Peer(i, s.asn, s.address) for i, s in enumerate(speakers)
        }
        self.peers = list(self.reference_peers.values())
        self.kinds = 0

    def step(self) -> None:
        src, lab = self.src, self.lab
        speaker = src.pick(self.speakers)
        if src.chance(30):
            lab.tick(src.integers(0, 40))
        if not speaker.up:
            lab.up(speaker)
            return
        kind = src.integers(0, 99)
        if kind < 60:
            self.announce(speaker)
        elif kind < 82:
            prefixes = self.some(speaker, 6)
            if prefixes:
                lab.update(speaker, codec.encode_update((), None, prefixes))
        elif kind < 86:
            lab.down(speaker)
        elif kind < 90:
            lab.refresh(speaker, src.pick(speaker.families))
        elif kind < 93:
            speaker.slow = not speaker.slow
        elif kind < 96:
            lab.read(speaker, src.pick((1, 19, 30, 100, 5000)))
        else:
            lab.work(src.pick((0, 1, 2, 3, 5)))

    def some(self, speaker: Speaker, n: int) -> list[str]:
        """Prefixes of the families that a speaker has."""
        found = [self.src.pick(self.prefixes) for _ in range(self.src.integers(1, n))]
        return list(dict.fromkeys(p for p in found if codec.family_of(p) in speaker.families))

    def announce(self, speaker: Speaker) -> None:
        src = self.src
        prefixes = self.some(speaker, 5)
        if not prefixes:
            return
        family = codec.family_of(prefixes[0])
        prefixes = [p for p in prefixes if codec.family_of(p) is family]
        peer = self.reference_peers[speaker]
        attrs = strategies.member_attrs(src, peer, self.peers, prefixes[0])
        if not speaker.four_octet_as:
            attrs = without_bad_merge(attrs)
        body = codec.encode_update(prefixes, attrs, as4=speaker.four_octet_as)
        self.lab.update(speaker, body, pieces=src.pick((1, 1, 1, 2, 4)))

    def burst(self) -> None:
        """Let some work be done and some be read, in any order."""
        src, lab = self.src, self.lab
        for _ in range(src.integers(0, 3)):
            lab.work(src.pick((0, 1, 2, 4)))
            for speaker in self.speakers:
                if speaker.up and not speaker.slow and src.chance(50):
                    lab.read(speaker, src.pick((1 << 40, 100, 4096, 37)))


def without_bad_merge(attrs: dict[str, Any]) -> dict[str, Any]:
    return attrs


def make_lab(
    seed: int, n: int, *, log_bound: int | None, **router: Any
) -> tuple[Lab, list[Speaker]]:
    src = Source.seeded(seed)
    section = make_router(**router)
    speakers = make_speakers(src, n)
    neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
    return Lab(make_config(section, neighbors), seed=seed, log_bound=log_bound), speakers


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_route_server_churn(seed):
    print(f"RS_SEED={seed} RS_SEEDS=1")
    lab, speakers = make_lab(seed, 50, log_bound=1)
    src = Source.seeded(seed)
    churn = Churn(seed, lab, speakers, strategies.prefix_pool(src, 150))
    for speaker in speakers[: src.integers(20, 45)]:
        lab.up(speaker)
    n = 0
    for _ in range(5):
        for _ in range(300):
            churn.step()
            if src.chance(10):
                churn.burst()
        lab.settle()
        n += lab.check(f"seed {seed}")
    for speaker in speakers:
        if speaker.up:
            lab.down(speaker)
    lab.settle()
    lab.check_empty()
    assert n > 1000
