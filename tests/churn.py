"""Random scripts for a whole router in memory: what neighbors, timers and operators may do to it.

In: a seed, a `Lab` and its speakers. Out: a router that has been through it, compared with the
oracle after each round. The same seed gives the same script, so the order of draws is kept.
RS_SEEDS is the number of scripts a scenario, RS_SEED the first one's seed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rs.config import AddPath, AddPathSend, Neighbor, Role, Router
from rs.configvalues import ByFamily
from rs.iana import RefreshSubtype
from rs.peer import refresh_marker
from tests import strategies
from tests.farends import BOTH, V4, V6, Speaker, make_neighbor
from tests.reference import codec
from tests.reference.export import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reference.rib import Peer
    from tests.routers import Lab
    from tests.strategies import Source

SEEDS = int(os.environ.get("RS_SEEDS", "2"))
FIRST_SEED = int(os.environ.get("RS_SEED", "1"))
ALL = range(FIRST_SEED, FIRST_SEED + SEEDS)
ONE = range(FIRST_SEED, FIRST_SEED + max(1, SEEDS // 2))
SENDS = (*AddPathSend, ByFamily((AddPathSend.EQUAL, AddPathSend.BEST_PER_AS)))


# --- neighbors ------------------------------------------------------------------------------------


def members(src: Source, n: int) -> tuple[list[Speaker], list[Peer]]:
    """Members of every kind: 2-octet AS, without extended messages, of one family, with ADD-PATH."""
    peers = strategies.route_server_peers(n)
    speakers = [
        Speaker(
            address=peer.address,
            asn=peer.asn,
            router_id=peer.router_id,
            families=(V4,) if src.chance(8) else (V6,) if src.chance(8) else BOTH,
            four_octet_as=peer.asn > 0xFFFF or not src.chance(25),
            extended_message=src.chance(60),
            enhanced_refresh=src.chance(60),
            extended_next_hop=src.chance(25),
            add_path=(V4,) if src.chance(10) else (),
            hears_paths=src.pick(((), (), (), (), BOTH, (V6,))),
            paths_limit=src.pick((0, 0, 0, 1, 2, 5)),
        )
        for peer in peers
    ]
    return speakers, peers


def member_neighbor(section: Router, speaker: Speaker, **keys: Any) -> Neighbor:
    """A route server's member with ADD-PATH both ways, and the next hops of RFC 8950."""
    return make_neighbor(
        section,
        speaker.asn,
        address=speaker.address,
        extended_next_hop=True,
        add_path=AddPath.BOTH,
        **keys,
    )


def role_keys(src: Source, role: Role, peer: Peer) -> dict[str, Any]:
    """What makes a neighbor of the kind that a peer is, for a route server or a reflector."""
    keys: dict[str, Any] = {"address": peer.address, "honor_well_known": src.chance(50)}
    if peer.kind is Kind.EBGP:
        keys["route_server_client"] = role is Role.ROUTE_SERVER and src.chance(50)
    else:
        keys["route_reflector_client"] = peer.kind is Kind.RR_CLIENT
        keys["next_hop_self"] = src.chance(30)
    return keys


# --- what happens ---------------------------------------------------------------------------------


class Churn:
    """Random things that happen to a router, its neighbors, and the bytes between them."""

    def __init__(
        self,
        src: Source,
        lab: Lab,
        speakers: list[Speaker],
        peers: list[Peer],
        attrs_of: Callable[..., dict[str, Any]] = strategies.member_attrs,
        *,
        prefixes: int = 120,
        fat: int = 0,
    ) -> None:
        self.src = src
        self.lab = lab
        self.speakers = speakers
        self.peers = peers
        self.peer_of = dict(zip(speakers, peers, strict=True))
        self.attrs_of = attrs_of
        self.prefixes = strategies.prefix_pool(src, prefixes)
        self.fat = fat
        self.fallen = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
            if self.src.chance(10):
                self.burst()
            self.fallen = max(self.fallen, sum(g.n_resync for g in self.lab.groups()))

    def step(self) -> None:
        src, lab = self.src, self.lab
        speaker = src.pick(self.speakers)
        if src.chance(30):
            lab.tick(src.integers(0, 40))
        if not speaker.up:
            lab.up(speaker)
            return
        kind = src.integers(0, 99)
        if kind < 58:
            self.announce(speaker)
        elif kind < 80:
            prefixes = self.some(speaker, 6)
            self.update(speaker, (), None, prefixes)
        elif kind < 84:
            lab.down(speaker)
        elif kind < 88:
            lab.refresh(speaker, src.pick(speaker.families))
        elif kind < 90:
            self.own_refresh(speaker)
        elif kind < 93:
            speaker.slow = not speaker.slow
        elif kind < 96:
            lab.read(speaker, src.pick((1, 19, 30, 100, 5000)))
        else:
            lab.work(src.pick((0, 1, 2, 3, 5)))

    def some(self, speaker: Speaker, n: int) -> list[tuple[str, int]]:
        """Prefixes of one family that a speaker has, with path identifiers where it sends them."""
        src = self.src
        found = [src.pick(self.prefixes) for _ in range(src.integers(1, n))]
        found = [p for p in dict.fromkeys(found) if codec.family_of(p) in speaker.families]
        many = speaker.add_path
        return [
            (p, src.pick((0, 1, 7)) if codec.family_of(p) in many else 0)
            for p in found
            if codec.family_of(p) is codec.family_of(found[0])
        ]

    def update(self, speaker: Speaker, announced: Any, attrs: Any, withdrawn: Any, **how) -> None:
        if announced or withdrawn:
            body = codec.encode_update(
                announced,
                attrs,
                withdrawn,
                as4=speaker.four_octet_as,
                addpath=speaker.add_path,
                **how,
            )
            self.lab.update(speaker, body, pieces=self.src.pick((1, 1, 1, 2, 4)))

    def announce(self, speaker: Speaker) -> None:
        src = self.src
        routes = self.some(speaker, 5)
        if not routes:
            return
        attrs = self.attrs_of(src, self.peer_of[speaker], self.peers, routes[0][0])
        if src.chance(self.fat):
            attrs["unknown"] = ((0xE0, 200, bytes(src.pick((3000, 1000)))),)
        mp = speaker.extended_next_hop and codec.family_of(routes[0][0]) is V4 and src.chance(40)
        if mp:
            attrs["next_hop"] = f"2001:db8:1::{src.integers(1, 9):x}"
        self.update(speaker, routes, attrs, (), mp=mp)

    def own_refresh(self, speaker: Speaker) -> None:
        """A refresh of the speaker's own accord: what it does not send again is gone (RFC 7313)."""
        lab = self.lab
        assert speaker.peer is not None
        agreed = speaker.peer.session.negotiated
        conn = speaker.conn
        assert agreed is not None
        assert conn is not None
        if not agreed.enhanced_route_refresh or not conn.reading or conn.waiting:
            return
        family = self.src.pick(agreed.families)
        assert lab.oracle is not None
        table = lab.oracle.adj_rib_in[speaker.slot]
        mine = {key: held for key, held in table.items() if codec.family_of(key[0]) is family}
        lab.deliver(speaker, refresh_marker(family, RefreshSubtype.BORR))
        for (prefix, path_id), held in mine.items():
            if self.src.chance(70):
                v6_hop = family is V4 and ":" in held.attrs["next_hop"]
                self.update(speaker, [(prefix, path_id)], held.attrs, (), mp=v6_hop)
            else:
                lab.oracle.withdraw(speaker.slot, prefix, path_id)
        lab.deliver(speaker, refresh_marker(family, RefreshSubtype.EORR))

    def burst(self) -> None:
        """Let some work be done and some be read, in any order."""
        src, lab = self.src, self.lab
        for _ in range(src.integers(0, 3)):
            lab.work(src.pick((0, 1, 2, 4)))
            for speaker in self.speakers:
                if speaker.up and not speaker.slow and src.chance(50):
                    lab.read(speaker, src.pick((1 << 40, 100, 4096, 37)))

    def finish(self) -> None:
        """Everybody goes; nothing may be left."""
        for speaker in self.speakers:
            if speaker.up:
                self.lab.down(speaker)
        self.lab.settle()
        self.lab.check_empty()


def play(churn: Churn, *, rounds: int, steps: int, what: str) -> int:
    """Play rounds of churn, with a comparison after each; return the routes compared."""
    n = 0
    for i in range(rounds):
        churn.run(steps)
        churn.lab.settle()
        n += churn.lab.check(f"{what} round {i}:")
    churn.finish()
    return n
