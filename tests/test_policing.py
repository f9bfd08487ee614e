"""General policies in a whole router: every member has exactly what it may have.

Random policies on import and export, global and per neighbor, under churn, and exchanged for others
while it runs; compared with the oracle as in test_exactness.py. RS_SEEDS and RS_SEED as there.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest

from rs import reload, show, showroutes
from rs.config import Role
from rs.iana import RejectReason
from rs.policyconfig import parse_policy
from tests import strategies
from tests.churn import ALL, ONE, Churn, member_neighbor, members, play, role_keys
from tests.farends import Speaker, make_config, make_neighbor, make_router
from tests.reference import codec
from tests.routers import Lab
from tests.strategies import Source

TAGS = ["64500:1", "64500:70", "65000:1", "64500:9:1", "rt:64500:7", "no-export"]
PATTERNS = [*TAGS, "64500:*", "*:*", "0:*", "64500:0:*", "*:*:*", "rt:*:*"]


def random_match(src: Source, asns: list[int], prefixes: list[str], *, export: bool) -> Any:
    some = [src.pick(asns) for _ in range(3)]
    keys: dict[str, Any] = {
        "family": src.pick(("ipv4-unicast", "ipv6-unicast")),
        "prefixes": [f"{src.pick(prefixes)} le {src.pick((32, 30))}" for _ in range(0)]
        or [src.pick(prefixes) for _ in range(8)]
        + ["0.0.0.0/0 le 20", "::/0 ge 40"][: src.integers(0, 2)],
        "as_path_length": [src.integers(0, 2), src.integers(2, 5)],
        "as_path_contains": ["65000-65010", *some],
        "as_path_origin": ["65005-65020", *some],
        "communities": [src.pick(PATTERNS), src.pick(PATTERNS)],
        "med": [0, src.integers(0, 100)],
        "local_pref": [src.pick((50, 100)), 200],
        "origin": src.pick(("igp", "incomplete")),
        "from": [*some, src.pick(("rs-client", "rr-client", "ebgp"))][: src.integers(1, 4)],
    }
    if export:
        keys["to"] = [src.pick(asns) for _ in range(6)]
    chosen = [src.pick(list(keys)) for _ in range(src.pick((0, 1, 1, 2)))]
    return {
        key: list(dict.fromkeys(keys[key])) if isinstance(keys[key], list) else keys[key]
        for key in chosen
    }


def random_term(src: Source, asns: list[int], prefixes: list[str], *, export: bool) -> Any:
    term: dict[str, Any] = {"match": random_match(src, asns, prefixes, export=export)}
    for key in ("as_path_length", "med", "local_pref"):
        if key in term["match"]:
            term["match"][key] = [min(term["match"][key]), max(term["match"][key])]
    if src.chance(20):
        term["unless"] = {"communities": src.pick(TAGS)}
    if src.chance(15):
        return term | {"action": "reject"}
    term["action"] = src.pick(("accept", "next", "next", "next-policy"))
    changes = {
        "set": {"local_pref": src.pick((50, 100, 200)), "med": src.pick((0, 7))},
        "add": {"communities": [src.pick(TAGS)]},
        "remove": {"communities": [src.pick(PATTERNS)]},
        "prepend": src.pick((1, 2, {"asn": 64900, "times": 2})),
    }
    for _ in range(src.integers(1, 2)):
        key = src.pick(list(changes))
        term[key] = changes[key]
    if src.chance(10):
        term["set"] = {"next_hop": ["192.0.2.66", "2001:db8:1::66"]}
    return term


def random_policies(src: Source, asns: list[int], prefixes: list[str]) -> dict[str, Any]:
    """Three policies for import and three for export."""
    found = {}
    for i in range(3):
        for name, export in ((f"in{i}", False), (f"out{i}", True)):
            terms = [
                random_term(src, asns, prefixes, export=export) for _ in range(src.integers(1, 4))
            ]
            found[name] = {"terms": terms, "default": src.pick(("next-policy", "accept"))}
    return found


def some_of(src: Source, kind: str) -> tuple[str, ...]:
    names = [f"{kind}{i}" for i in range(3) if src.chance(40)]
    return tuple(src.shuffled(names))


class Policed(Churn):
    """Churn under policies that now and then are others."""

    def policies(self) -> None:
        src, lab = self.src, self.lab
        asns = [p.asn for p in self.peers]
        found = random_policies(src, asns, self.prefixes)
        section = attrs.evolve(
            lab.config.router,
            import_policy=some_of(src, "in")[:1],
            export_policy=some_of(src, "out")[:1],
        )
        neighbors = [
            attrs.evolve(
                n,
                router=section,
                import_policy=some_of(src, "in"),
                export_policy=some_of(src, "out"),
            )
            for n in lab.config.neighbors
        ]
        parsed = {name: parse_policy(policy) for name, policy in found.items()}
        config = attrs.evolve(make_config(section, neighbors), policies=parsed)
        reload.apply(lab.router, config)
        for peer in list(lab.router.peers.values()):
            lab.after(peer)
        lab.config = config
        assert lab.oracle is not None
        lab.oracle.policies = found
        lab.oracle.import_policy = section.import_policy
        lab.oracle.export_policy = section.export_policy
        by_address = {n.address: n for n in neighbors}
        for speaker in lab.speakers:
            if speaker.peer is not None:
                lab.oracle.neighbors[speaker.slot] = by_address[speaker.address]
        lab.oracle.judge_again()

    def step(self) -> None:
        if self.src.chance(2):
            self.policies()
        super().step()


@pytest.mark.parametrize("seed", ALL)
def test_route_server(seed):
    """Path hiding by policy, by communities and by AS paths at one time."""
    what = f"RS_SEED={seed} RS_SEEDS=1 policies"
    print(what)
    src = Source.seeded(seed)
    section = make_router()
    speakers, peers = members(src, 30)
    neighbors = [member_neighbor(section, s, add_path_limit=src.pick((0, 0, 2))) for s in speakers]
    lab = Lab(make_config(section, neighbors), seed=seed, log_bound=1)
    churn = Policed(src, lab, speakers, peers, prefixes=60)
    churn.policies()
    for speaker in speakers[:25]:
        lab.up(speaker)
    assert play(churn, rounds=2, steps=130, what=what) > 200


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("seed", ONE)
def test_every_role(seed, role):
    """A reflector sends the best path or nothing; what a policy sets stays what it is."""
    what = f"RS_SEED={seed} RS_SEEDS=1 policies, {role}"
    print(what)
    src = Source.seeded(seed)
    section = make_router(role=role)
    peers = strategies.reflector_peers(14)
    speakers = [Speaker(p.address, p.asn, p.router_id) for p in peers]
    neighbors = [make_neighbor(section, p.asn, **role_keys(src, role, p)) for p in peers]
    lab = Lab(make_config(section, neighbors), seed=seed, log_bound=1)
    churn = Policed(src, lab, speakers, peers, strategies.reflector_attrs, prefixes=40)
    churn.policies()
    assert play(churn, rounds=2, steps=110, what=what) > 0


# --- one thing at a time --------------------------------------------------------------------------


class Small(Lab):
    """Three members of a route server, and policies by name."""

    def __init__(self, policies: dict[str, Any], *, role: Role = Role.ROUTE_SERVER, **keys: Any):
        section = make_router(role=role)
        internal = role is Role.ROUTE_REFLECTOR
        self.all = [
            Speaker(f"10.1.0.{i}", 64500 if internal else 65000 + i, f"10.2.0.{i}")
            for i in range(1, 4)
        ]
        neighbors = [
            make_neighbor(
                section,
                s.asn,
                address=s.address,
                route_reflector_client=internal,
                import_policy=tuple(keys.get("imports", {}).get(i, ())),
                export_policy=tuple(keys.get("exports", {}).get(i, ())),
            )
            for i, s in enumerate(self.all)
        ]
        parsed = {name: parse_policy(policy) for name, policy in policies.items()}
        super().__init__(attrs.evolve(make_config(section, neighbors), policies=parsed))
        assert self.oracle is not None
        self.oracle.policies = policies
        for speaker in self.all:
            self.up(speaker)
        self.settle()

    def announce(self, speaker: Speaker, prefix: str, **changes: Any) -> None:
        path = () if speaker.ibgp else ((2, (speaker.asn,)),)
        body = codec.encode_update(
            [prefix],
            {"origin": 0, "as_path": path, "next_hop": f"192.0.2.{speaker.slot}", **changes},
        )
        self.update(speaker, body)

    def shown(self, prefix: str) -> list[Any]:
        (found,) = showroutes.route(
            self.router, show.parse_target(prefix), "exact", self.now, names=False
        )
        return found["paths"]


REFUSING = {
    "no-long": {
        "terms": [
            {
                "name": "long",
                "match": {"prefixes": "0.0.0.0/0 ge 25"},
                "action": "reject",
                "reason": "more specific than /24",
            }
        ]
    }
}


def test_a_refused_path_is_told_with_policy_and_term():
    lab = Small(REFUSING, imports={0: ["no-long"]})
    one, two, _ = lab.all
    lab.announce(one, "198.51.100.0/25")
    lab.announce(one, "198.51.100.0/24")
    lab.settle()
    lab.check()
    assert list(two.table()) == ["198.51.100.0/24"]
    (path,) = lab.shown("198.51.100.0/25")
    assert path["reject_reason"] == "policy-reject"
    assert path["why"] == 'refused by policy "no-long", term "long": more specific than /24'
    assert lab.router.rib.reject_counts(one.slot) == {RejectReason.POLICY_REJECT: 1}


def test_what_a_neighbor_sent_stands_beside_what_import_made_of_it():
    found = {
        "tag": {"terms": [{"set": {"local_pref": 200}, "add": {"communities": ["64500:7:7"]}}]}
    }
    lab = Small(found, imports={0: ["tag"]})
    one, two, _ = lab.all
    lab.announce(one, "198.51.100.0/24", communities=(5,))
    lab.settle()
    lab.check()
    (path,) = lab.shown("198.51.100.0/24")
    changed, received = (orjson.loads(orjson.dumps(path[k])) for k in ("attributes", "received"))
    assert changed["local_pref"] == 200
    assert changed["large_communities"] == ["64500:7:7"]
    assert "local_pref" not in received
    assert "large_communities" not in received
    assert path["advertised_to"] == 2
    assert "local_pref" not in two.table()["198.51.100.0/24"]


def test_a_client_gets_the_next_best_where_a_policy_hides_the_best():
    found = {"not-one": {"terms": [{"match": {"from": 65001, "to": 65003}, "action": "reject"}]}}
    lab = Small(found, exports={1: ["not-one"], 2: ["not-one"]})
    one, two, three = lab.all
    lab.announce(one, "198.51.100.0/24")
    lab.announce(two, "198.51.100.0/24", as_path=((2, (65002, 65009)),))
    lab.settle()
    lab.check()
    assert two.table()["198.51.100.0/24"]["as_path"] == ((2, (65001,)),)
    assert three.table()["198.51.100.0/24"]["as_path"] == ((2, (65002, 65009)),)
    paths = lab.shown("198.51.100.0/24")
    assert [path["advertised_to"] for path in paths] == [1, 2]
    # Only for whom another program came out there is another view.
    assert len(lab.router.groups) == 4


def test_a_reflector_sends_the_best_or_nothing():
    found = {"mine": {"terms": [{"match": {"from": "10.1.0.1"}, "action": "reject"}]}}
    lab = Small(found, role=Role.ROUTE_REFLECTOR, exports={2: ["mine"]})
    one, two, three = lab.all
    lab.announce(one, "198.51.100.0/24", local_pref=200)
    lab.announce(two, "198.51.100.0/24", local_pref=100)
    lab.settle()
    lab.check()
    assert not three.table()
    assert two.table()


def test_the_same_route_again_is_no_change():
    """What a policy takes out must not cause UPDATEs when it alone has changed."""
    found = {"tidy": {"terms": [{"remove": {"communities": ["65000:*"]}}]}}
    lab = Small(found, imports={0: ["tidy"]})
    one, two, _ = lab.all
    lab.announce(one, "198.51.100.0/24", communities=(65000 << 16 | 1,))
    lab.settle()
    before = two.messages
    lab.announce(one, "198.51.100.0/24", communities=(65000 << 16 | 2,))
    lab.settle()
    lab.check()
    assert two.messages == before


def test_a_changed_roa_is_asked_again_in_place():
    found = {
        "rpki": {"terms": [{"match": {"rpki": "invalid"}, "set": {"med": 9}, "action": "accept"}]},
        "out": {"terms": [{"match": {"rpki": "valid"}, "action": "reject"}]},
    }
    lab = Small(found, imports={0: ["rpki"]}, exports={1: ["out"]})
    one, two, three = lab.all
    prefix = "198.51.100.0/24"
    router = lab.router

    def say(*vrps: tuple[str, int, int]) -> None:
        router.roas.replace(vrps, source)
        router.rpki_changed(None, set(), True)
        lab.settle()

    source = router.roas.add_source("test")
    lab.announce(one, prefix)
    lab.settle()
    assert "med" not in three.table()[prefix]
    say((prefix, 24, 65009))
    assert three.table()[prefix]["med"] == 9
    say((prefix, 24, 65001))
    assert "med" not in three.table()[prefix]
    assert prefix not in two.table()
    say()
    assert prefix in two.table()


def test_a_changed_set_concerns_those_who_ask_for_it():
    lab = Small(REFUSING, imports={0: ["no-long"]})
    one, two, _ = lab.all
    lab.announce(one, "198.51.100.0/25")
    lab.announce(two, "198.51.100.0/26")
    lab.settle()
    programs = [lab.router.rib.policy(s.slot) for s in lab.all]
    reload.apply(lab.router, lab.config)
    assert [lab.router.rib.policy(s.slot) for s in lab.all] == programs
    assert not lab.router.scheduler.jobs or lab.settle() is None
    other = {"no-long": parse_policy({"terms": [{"match": {"from": 65002}, "action": "reject"}]})}
    reload.apply(lab.router, attrs.evolve(lab.config, policies=other))
    lab.settle()
    assert lab.router.rib.policy(two.slot) is None
    assert "198.51.100.0/25" in two.table()
