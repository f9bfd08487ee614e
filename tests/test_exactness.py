"""Exactness: after any churn every member holds what the oracle says, and so does the router.

A whole router with its sessions, in memory: UPDATE bytes in, in any pieces; work in slices of any
length; members that read all, little, or nothing for a while, so that they fall off the log; peers
that go and come back, ask for their table again, and begin a refresh of their own. Compared are the
tables that members decode from their bytes, the stored Adj-RIB-Out, the ranking with its deciding
steps, rejected paths with their reasons, and that nothing is left when all are gone.

RS_SEEDS is the number of scripts a scenario, RS_SEED the first one's seed (tests/churn.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rs.communityconfig import (
    EXTENDED,
    LARGE,
    STANDARD,
    THRESHOLDS,
    BlackHolePolicy,
    BlackHoles,
    Communities,
    Definition,
    Preset,
)
from rs.config import AddPath, LocalRole, MedRule, Role
from rs.iana import WellKnownCommunity
from tests import strategies
from tests.churn import ALL, ONE, SENDS, Churn, member_neighbor, members, play, role_keys
from tests.farends import (
    BOTH,
    HOLES,
    RS_ASN,
    SEQ,
    V4,
    V6,
    Speaker,
    make_config,
    make_neighbor,
    make_router,
)
from tests.reference import codec
from tests.reference.export import Kind
from tests.reference.rib import Peer
from tests.reference.tags import KEYS, Tags
from tests.routers import Lab
from tests.strategies import Source

FORM_KINDS = {"std": STANDARD, "ext": EXTENDED, "lrg": LARGE}
SOME_FORMS = {
    "do_not_announce_to_peer": {
        "std": "0:peer_as",
        "ext": "rt:0:peer_as",
        "lrg": "rs_as:0:peer_as",
    },
    "announce_to_peers_with_rtt_higher_than": {"lrg": "rs_as:21:dyn_val"},
    "do_not_announce_to_peers_with_rtt_lower_than": {"std": "65200:dyn_val"},
    "prepend_once_to_peers_with_rtt_lower_than": {
        "std": "65201:dyn_val",
        "lrg": "rs_as:31:dyn_val",
    },
    "prepend_thrice_to_peers_with_rtt_lower_than": {"lrg": "rs_as:33:dyn_val"},
    "prepend_twice_to_peers_with_rtt_higher_than": {"lrg": "rs_as:32:dyn_val"},
    "prepend_twice_to_peer": {"ext": "ro:rs_as:peer_as"},
    "add_noexport_to_any": {"lrg": "rs_as:41:0"},
    "add_noadvertise_to_any": {"std": "65202:1"},
    "add_noadvertise_to_peer": {"ext": "rt:65282:peer_as"},
    "blackholing": {"lrg": "rs_as:666:0"},
    "learnt_from": {"std": "65203:peer_as", "lrg": "rs_as:51:peer_as"},
    "origin": {"lrg": "rs_as:52:dyn_val"},
}
"""Definitions over a preset, so that each community and each form is there."""


# --- route server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fat", [0, 30])
@pytest.mark.parametrize("seed", ALL)
def test_route_server(seed, fat):
    """Fifty members; with fat attributes a member that does not read soon falls off the log."""
    what = f"RS_SEED={seed} RS_SEEDS=1 fat={fat}"
    print(what)
    src = Source.seeded(seed * 2 + (fat > 0))
    section = make_router()
    speakers, peers = members(src, 50)
    neighbors = [
        member_neighbor(
            section,
            s,
            add_path_send=src.pick(SENDS),
            add_path_limit=src.pick((0, 0, 1, 2, 3)),
            prepend_own_as=src.chance(15),
            add_path_receive_limit=src.pick((0, 0, 1, 2)),
        )
        for s in speakers
    ]
    lab = Lab(make_config(section, neighbors), seed=seed, log_bound=1)
    churn = Churn(src, lab, speakers, peers, fat=fat)
    for speaker in speakers[: src.integers(20, 45)]:
        lab.up(speaker)
    assert play(churn, rounds=4, steps=220, what=what) > 1000
    if fat:
        assert churn.fallen > 0


def tagged_attrs(definitions, targets):
    """Attributes with values of these definitions, of numbers that some mean and some do not."""

    def attrs_of(src: Source, peer: Peer, peers: list[Peer], prefix: str) -> dict[str, Any]:
        attrs = strategies.member_attrs(src, peer, peers, prefix)
        found = {key: list(attrs.get(key, ())) for key in KEYS.values()}
        tags = Tags(definitions, RS_ASN)
        for _ in range(src.integers(0, 4) if src.chance(60) else 0):
            name = src.pick(sorted(definitions))
            form = src.pick(sorted(definitions[name]))
            number = src.pick(THRESHOLDS if "_rtt_" in name and src.chance(90) else targets)
            value = tags.spelled(form, definitions[name][form], number)
            if value is not None:
                found[KEYS[form]].append(value)
        if src.chance(10):
            found["communities"].append(int(WellKnownCommunity.BLACKHOLE))
        if src.chance(10):
            found["communities"].append(int(WellKnownCommunity.NO_EXPORT))
        for key, values in found.items():
            attrs.pop(key, None)
            if values:
                attrs[key] = tuple(dict.fromkeys(values))
        return attrs

    return attrs_of


@pytest.mark.parametrize("preset", [Preset.EURO_IX, Preset.AROUTESERVER])
@pytest.mark.parametrize("seed", ALL)
def test_tags(seed, preset):
    """Every community there is, in every form, while members of all kinds come and go."""
    what = f"RS_SEED={seed} RS_SEEDS=1 {preset}"
    print(what)
    src = Source.seeded(seed)
    section = make_router()
    speakers, peers = members(src, 24)
    own = {
        name: Definition(**{form: FORM_KINDS[form].parse(text) for form, text in forms.items()})
        for name, forms in SOME_FORMS.items()
    }
    communities = Communities(preset=preset, own=own)
    neighbors = [
        member_neighbor(
            section,
            s,
            add_path_limit=src.pick((0, 0, 1, 2, 3)),
            mapped_asn=64600 + i if s.asn > 0xFFFF else None,
            rtt=src.pick((None, 3, 5, 6, 40, 150, 900)),
            blackhole_receive=src.pick((None, True, False)),
        )
        for i, s in enumerate(speakers)
    ]
    holes = BlackHoles(
        policy_ipv4=BlackHolePolicy.REWRITE,
        policy_ipv6=BlackHolePolicy.REWRITE,
        next_hop_ipv4=HOLES[V4],
        next_hop_ipv6=HOLES[V6],
        prefix_length_ipv4=(0, 32),
        prefix_length_ipv6=(0, 128),
        add_noexport=src.chance(50),
    )
    config = make_config(section, neighbors, communities=communities, blackhole=holes)
    lab = Lab(config, seed=seed, log_bound=1)
    assert lab.oracle is not None
    assert lab.oracle.tags is not None
    definitions = lab.oracle.tags.definitions
    mapped = [n.mapped_asn for n in neighbors if n.mapped_asn is not None]
    assert mapped
    targets = [0, 7, RS_ASN, *mapped, *(s.asn for s in speakers)]
    churn = Churn(src, lab, speakers, peers, tagged_attrs(definitions, targets))
    for speaker in speakers[: src.integers(10, 20)]:
        lab.up(speaker)
    assert play(churn, rounds=3, steps=150, what=what) > 300


# --- every role -----------------------------------------------------------------------------------

OPTIONS = {
    "as it comes": {},
    "MED always, not the oldest": {"med": MedRule.ALWAYS, "prefer_oldest": False},
    "MED by arrival": {"deterministic_med": False},
    "MED by arrival, not the oldest": {"deterministic_med": False, "prefer_oldest": False},
    "other cluster": {"cluster_id": "10.9.9.9"},
}
METRICS = {
    "192.0.2.0/29": 10,
    "192.0.2.8/30": 5,  # 192.0.2.12 cannot be reached
    "2001:db8::/126": 7,
    "2001:db8::4/126": 3,
    "2001:db8:1::/48": 3,
    "10.1.0.0/16": 1,
}


def marked_attrs(src: Source, peer: Peer, peers: list[Peer], prefix: str) -> dict[str, Any]:
    """Routes of every kind of peer; some say that they are for customers only."""
    attrs = strategies.reflector_attrs(src, peer, peers, prefix)
    if src.chance(20):
        attrs["otc"] = src.pick((peer.asn, peer.asn, RS_ASN, 64999))
    return attrs


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", ONE)
def test_every_role(seed, options, role):
    """Clients and non-clients of a reflector, plain external neighbors, route server clients; BGP
    roles of all kinds, said by both sides or by us alone (RFC 9234)."""
    what = f"RS_SEED={seed} RS_SEEDS=1 {options}, {role}"
    print(what)
    src = Source.seeded(seed)
    section = make_router(role=role, **OPTIONS[options])
    peers = strategies.reflector_peers(16)
    speakers = [
        Speaker(
            address=p.address,
            asn=p.asn,
            router_id=p.router_id,
            extended_message=src.chance(50),
            hears_paths=BOTH if src.chance(20) else (),
        )
        for p in peers
    ]
    neighbors = []
    for peer in peers:
        kinds = role_keys(src, role, peer)
        if peer.kind is Kind.EBGP:
            client = kinds["route_server_client"]
            fitting = [r for r in LocalRole if client is (r is LocalRole.RS)]
            bgp_role = src.pick((LocalRole.NONE, src.pick(fitting)))
            kinds["local_role"] = bgp_role
            if bgp_role.number is not None and src.chance(50):
                speakers[peer.index - 1].role = bgp_role.number.counterpart
        if peer.kind is Kind.RR_CLIENT:
            kinds["cluster_id"] = src.pick((None, *strategies.CLUSTERS))
            kinds["client_to_client"] = src.chance(60)
        if src.chance(30):
            kinds["first_as_check"] = False
        neighbors.append(
            make_neighbor(
                section,
                peer.asn,
                add_path=AddPath.SEND,
                add_path_send=src.pick(SENDS),
                add_path_limit=src.pick((0, 0, 2, 6)),
                **kinds,
            )
        )
    igp = METRICS if src.chance(70) else None
    lab = Lab(make_config(section, neighbors, igp), seed=seed, log_bound=1)
    churn = Churn(src, lab, speakers, peers, marked_attrs, prefixes=60, fat=10)
    assert play(churn, rounds=3, steps=160, what=what) > 20


def few_attrs(src: Source, peer: Peer, peers: list[Peer], prefix: str) -> dict[str, Any]:
    """One of a handful of attribute sets, the same from everybody."""
    v4 = codec.family_of(prefix) is V4
    attrs: dict[str, Any] = {
        "origin": 0,
        "as_path": ((SEQ, (64496,)),),
        "next_hop": "192.0.2.1" if v4 else "2001:db8:1::1",
    }
    if src.chance(30):
        attrs["med"] = 0
    if src.chance(30):
        attrs["communities"] = src.pick(((RS_ASN << 16 | 7,), (5,), (5 << 16,)))
    if peer.ibgp:
        attrs.update(src.pick(({}, {"local_pref": 100}, {"originator_id": "10.2.0.1"})))
    return attrs


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("seed", ALL)
def test_few_attribute_sets(seed, role):
    """Sets that are exported forms of each other, for every kind of neighbor; none may stay."""
    what = f"RS_SEED={seed} RS_SEEDS=1 few, {role}"
    print(what)
    src = Source.seeded(seed)
    section = make_router(role=role)
    peers = strategies.reflector_peers(10)
    speakers = [Speaker(p.address, p.asn, p.router_id) for p in peers]
    neighbors = []
    for peer in peers:
        kinds = {"route_reflector_client": peer.kind is Kind.RR_CLIENT}
        if peer.kind is Kind.EBGP:
            kinds = {"route_server_client": role is Role.ROUTE_SERVER and src.chance(50)}
        neighbors.append(
            make_neighbor(section, peer.asn, address=peer.address, first_as_check=False, **kinds)
        )
    lab = Lab(make_config(section, neighbors), seed=seed)
    churn = Churn(src, lab, speakers, peers, few_attrs, prefixes=8)
    assert play(churn, rounds=3, steps=150, what=what) > 20


# --- neighbors that come and go -------------------------------------------------------------------


@pytest.mark.parametrize("seed", ALL)
def test_neighbors_by_range(seed):
    """Members nobody knew of before they came, excluded by name or not; slots change hands.

    Nobody may be sent, even for a moment, what it was never due.
    """
    what = f"RS_SEED={seed} RS_SEEDS=1 range"
    print(what)
    src = Source.seeded(seed)
    section = make_router()
    peers = strategies.route_server_peers(90)
    asns = [peer.asn for peer in peers[:12]]
    statics = [Speaker(f"10.3.0.{i}", p.asn, f"10.4.0.{i}") for i, p in enumerate(peers[:6], 1)]
    neighbors = [make_neighbor(section, s.asn, address=s.address) for s in statics]
    neighbors.append(make_neighbor(section, None, range="10.1.0.0/16", max_peers=200))
    lab = Lab(make_config(section, neighbors), seed=seed, log_bound=1)
    lab.watch()
    dynamic = [Speaker(p.address, src.pick(asns), p.router_id) for p in peers]
    sources = [replace(p, asn=s.asn) for p, s in zip(peers, dynamic, strict=True)]
    own = [Peer(i, s.asn, s.address) for i, s in enumerate(statics, 100)]
    churn = Churn(src, lab, [*statics, *dynamic], [*own, *sources], prefixes=15)
    churn.peers = [*own, *sources[:12]]  # whom communities name
    for speaker in [*statics, *dynamic[: src.pick((5, 64, 80))]]:
        lab.up(speaker)
    n = 0
    for i in range(3):
        for _ in range(120):
            churn.step()
            speaker = src.pick(dynamic)
            if src.chance(30):
                (lab.down if speaker.up else lab.up)(speaker)
            if not speaker.up and src.chance(50):
                # Another router at the same address.
                speaker.asn = src.pick(asns)
                churn.peer_of[speaker] = replace(churn.peer_of[speaker], asn=speaker.asn)
            if src.chance(20):
                churn.burst()
        lab.settle()
        n += lab.check(f"{what} round {i}:")
    churn.finish()
    assert set(lab.router.peers) == {s.peer.slot for s in statics if s.peer is not None}
    assert n > 100


# --- the order of things --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", ALL)
def test_order_and_pieces_do_not_matter(seed):
    """The same routes in another order, in other pieces, worked on in other slices: same tables."""
    print(f"RS_SEED={seed} RS_SEEDS=1 order")
    tables = []
    for variant in range(3):
        src = Source.seeded(seed)
        section = make_router(prefer_oldest=False)
        speakers, peers = members(src, 20)
        neighbors = [
            make_neighbor(section, s.asn, address=s.address, add_path=AddPath.BOTH)
            for s in speakers
        ]
        lab = Lab(make_config(section, neighbors), seed=variant)
        pool = strategies.prefix_pool(src, 60)
        routes = []
        for speaker, peer in zip(speakers, peers, strict=True):
            for prefix in pool:
                if codec.family_of(prefix) in speaker.families and src.chance(25):
                    attrs = strategies.member_attrs(src, peer, peers, prefix)
                    routes.append((speaker, prefix, attrs))
        order = Source.seeded(1000 * seed + variant)
        for speaker in order.shuffled(speakers):
            lab.up(speaker)
        for speaker, prefix, attrs in order.shuffled(routes):
            many = speaker.add_path
            body = codec.encode_update([prefix], attrs, as4=speaker.four_octet_as, addpath=many)
            lab.update(speaker, body, pieces=order.integers(1, 3))
            if order.chance(20):
                lab.work(order.integers(0, 3))
                lab.read(order.pick(speakers), order.integers(1, 5000))
            if order.chance(2):
                late = order.pick(speakers)
                lab.refresh(late, late.families[0])
        lab.settle()
        lab.check(f"variant {variant}:")
        tables.append({s.address: s.paths() for s in speakers})
    for other in tables[1:]:
        for address, table in tables[0].items():
            for prefix, paths in table.items():
                assert sorted(map(repr, paths)) == sorted(map(repr, other[address][prefix]))
            assert set(table) == set(other[address])
