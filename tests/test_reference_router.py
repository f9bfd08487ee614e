"""The oracle's decision process, export and router: worked examples from the RFCs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from rs.iana import Decided, Family, RejectReason, WellKnownCommunity
from tests import strategies
from tests.reference.codec import encode_update
from tests.reference.decision import Options, Path, compare, rank
from tests.reference.export import (
    ExportOptions,
    Kind,
    Member,
    Role,
    control_allows,
    outputs,
    prepend,
    scrub,
)
from tests.reference.rib import Peer, ReferenceRouter, RouterOptions
from tests.reference.update import Outcome

V6 = Family.IPV6_UNICAST
SET, SEQ, CSEQ, CSET = 1, 2, 3, 4
OK, DISCARD, WITHDRAW, RESET = Outcome

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

ATTRS = {"origin": 0, "as_path": ((SEQ, (64496,)),), "next_hop": "192.0.2.1"}


# --- decision -----------------------------------------------------------------------------------


def make(peer: int = 1, **changes: object) -> Path:
    attrs = dict(ATTRS)
    given_attrs = changes.pop("attrs", {})
    attrs.update(given_attrs)
    fields = {
        "peer_asn": 64496,
        "ibgp": False,
        "router_id": 10 + peer,
        "address": f"10.0.0.{peer}",
        "received": 0,
    }
    return Path(peer, attrs=attrs, **{**fields, **changes})


def seq(*asns: int) -> tuple:
    return ((SEQ, asns),)


@pytest.mark.parametrize(
    ("better", "worse", "step"),
    [
        ({"attrs": {"local_pref": 101}}, {"attrs": {}}, Decided.LOCAL_PREF),
        ({"attrs": {}}, {"attrs": {"local_pref": 99}}, Decided.LOCAL_PREF),
        (
            {"attrs": {"as_path": ((SEQ, (1,)), (SET, (2, 3, 4)))}},
            {"attrs": {"as_path": seq(1, 2, 3)}},
            Decided.AS_PATH_LENGTH,
        ),
        (
            {"attrs": {"as_path": ((CSEQ, (1, 2, 3)), (SEQ, (4,)))}},
            {"attrs": {"as_path": seq(4, 5)}},
            Decided.AS_PATH_LENGTH,
        ),
        ({"attrs": {"origin": 0}}, {"attrs": {"origin": 1}}, Decided.ORIGIN),
        ({"attrs": {}}, {"attrs": {"med": 1}}, Decided.MED),
        ({"ibgp": False}, {"ibgp": True}, Decided.EBGP_OVER_IBGP),
        ({"igp_metric": 1}, {"igp_metric": 2}, Decided.IGP_METRIC),
        ({"received": 1}, {"received": 2}, Decided.OLDEST),
        ({"ibgp": True, "received": 2}, {"ibgp": True, "received": 1}, Decided.ROUTER_ID),
        ({"router_id": 5}, {"router_id": 6}, Decided.ROUTER_ID),
        (
            {"router_id": 99, "attrs": {"originator_id": "0.0.0.5"}},
            {"router_id": 6},
            Decided.ROUTER_ID,
        ),
        (
            {"router_id": 5, "attrs": {"cluster_list": ("1.1.1.1",)}},
            {"router_id": 5, "attrs": {"cluster_list": ("1.1.1.1", "1.1.1.2")}},
            Decided.CLUSTER_LIST_LENGTH,
        ),
        (
            {"router_id": 5, "address": "10.0.0.9"},
            {"router_id": 5, "address": "10.0.0.10"},
            Decided.PEER_ADDRESS,
        ),
        (
            {"router_id": 5, "address": "10.0.0.9", "path_id": 1},
            {"router_id": 5, "address": "10.0.0.9", "path_id": 2},
            Decided.PATH_ID,
        ),
    ],
)
def test_each_step(better, worse, step):
    one, two = make(1, **better), make(2, **worse)
    assert compare(one, two, Options()) == (one, step)
    assert compare(two, one, Options()) == (one, step)
    assert rank([two, one], Options()) == [(one, Decided.BEST), (two, step)]


def test_med_is_for_one_neighboring_as():
    one = make(1, attrs={"as_path": seq(1, 9), "med": 5})
    two = make(2, attrs={"as_path": seq(2, 9), "med": 1})
    assert compare(one, two, Options())[1] is Decided.ROUTER_ID
    assert compare(one, two, Options(med_always=True)) == (two, Decided.MED)
    # Empty paths, and those that begin with a set, are of our own AS.
    local = make(3, ibgp=True, attrs={"as_path": (), "med": 5})
    aggregate = make(4, ibgp=True, attrs={"as_path": (), "med": 1})
    assert compare(local, aggregate, Options()) == (aggregate, Decided.MED)


def med_triangle() -> tuple[Path, Path, Path]:
    """The classic: a beats b by MED, b beats c by router id, c beats a by router id."""
    a = make(1, attrs={"as_path": seq(1, 9), "med": 1}, router_id=30)
    b = make(2, attrs={"as_path": seq(1, 9), "med": 2}, router_id=10)
    c = make(3, attrs={"as_path": seq(2, 9)}, router_id=20)
    return a, b, c


def test_deterministic_med_does_not_depend_on_arrival():
    a, b, c = med_triangle()
    for order in itertools.permutations((a, b, c)):
        ranked = rank(order, Options(prefer_oldest=False))
        # Group 1 is won by a, which loses to c; then a, b are left.
        assert [p for p, _ in ranked] == [c, a, b]
        assert [r for _, r in ranked] == [Decided.BEST, Decided.ROUTER_ID, Decided.MED]


def test_without_deterministic_med_the_order_of_arrival_counts():
    options = Options(deterministic_med=False, prefer_oldest=False)
    a, b, c = med_triangle()
    expected = {
        # first, second, third: who is best
        (0, 1, 2): "c",  # a over b, c over a
        (1, 2, 0): "a",  # b over c, a over b
        (2, 0, 1): "b",  # c over a, b over c
    }
    for arrival, best in expected.items():
        named = {"a": a, "b": b, "c": c}
        arrived = {
            name: replace(path, received=arrival.index(i))
            for i, (name, path) in enumerate(named.items())
        }
        ranked = rank(arrived.values(), options)
        assert ranked[0][0] is arrived[best]


def test_oldest_can_be_switched_off():
    one, two = make(1, received=9), make(2, received=1)
    assert compare(one, two, Options(prefer_oldest=False)) == (one, Decided.ROUTER_ID)


def test_unreachable_next_hops_are_not_ranked():
    one, two = make(1, igp_metric=None), make(2, attrs={"local_pref": 1})
    assert rank([one, two], Options()) == [(two, Decided.BEST)]
    assert rank([one], Options()) == []


def test_addresses_are_compared_as_numbers_ipv4_first():
    fields = {"router_id": 5}
    v4 = make(1, address="200.0.0.1", **fields)
    v6 = make(2, address="2001:db8::1", **fields)
    assert compare(v6, v4, Options()) == (v4, Decided.PEER_ADDRESS)
    packed = make(3, address=bytes([9, 0, 0, 1]), **fields)
    assert compare(v4, packed, Options()) == (packed, Decided.PEER_ADDRESS)


# --- export -------------------------------------------------------------------------------------

RS = ExportOptions(rs_asn=64500, cluster_id="10.0.0.1")
CONTROL = {
    "no tag": ((), (), True),
    "large never": ((), ((64500, 0, 64501),), False),
    "standard never": (((0, 64501),), (), False),
    "never beats allow": (((64500, 64501),), ((64500, 0, 64501), (64500, 1, 64501)), False),
    "standard never beats large allow": (((0, 64501),), ((64500, 1, 64501),), False),
    "large to nobody": ((), ((64500, 0, 0),), False),
    "standard to nobody": (((0, 64500),), (), False),
    "standard allow beats to nobody": (((64500, 64501),), ((64500, 0, 0),), True),
    "large allow beats to nobody": (((0, 64500),), ((64500, 1, 64501),), True),
    "others": (((0, 64502), (64500, 64503)), ((64500, 0, 64502), (64500, 1, 64503)), True),
    "another operator": (((1, 64501),), ((64499, 0, 64501), (64499, 0, 0)), True),
}


def tags(standard=(), large=()) -> dict:
    return {"communities": tuple(a << 16 | b for a, b in standard), "large_communities": large}


@pytest.mark.parametrize("case", CONTROL)
def test_control_communities(case):
    standard, large, allowed = CONTROL[case]
    assert control_allows(tags(standard, large), 64501, 64500) is allowed


def test_standard_forms_only_where_16_bits_fit():
    # 100001 & 0xffff is 34465: no member of that AS may be meant.
    assert control_allows(tags([(0, 34465)]), 100001, 64500)
    assert not control_allows(tags([(0, 64501)]), 64501, 100000)
    assert control_allows(tags([(0, 34464)]), 64501, 100000)
    assert not control_allows(tags([(0, 64500), (64500, 34465)]), 100001, 64500)


def test_scrubbing():
    attrs = tags(
        [(0, 1), (64500, 7), (64501, 7), (65535, 0)], ((64500, 0, 1), (64500, 1, 0), (64500, 2, 1))
    )
    assert scrub(attrs, 64500) == tags([(64501, 7), (65535, 0)], ((64500, 2, 1),))
    assert scrub(tags([(0, 1)], ((64500, 0, 1),)), 64500) == {}
    # A 4-octet AS has no standard form of its own.
    assert scrub(tags([(34464, 1), (0, 1)]), 100000)["communities"] == (34464 << 16 | 1,)


def test_next_best_for_a_route_server_client():
    first = make(1, attrs=tags((), ((64500, 0, 64503),)))
    second = make(2, attrs={"as_path": seq(64497, 64504)})
    ranked = [first, second]
    members = [Member(1, 64496), Member(2, 64497), Member(3, 64503), Member(4, 64504)]
    due = outputs(Role.ROUTE_SERVER, members, ranked, RS)
    assert {m: p for m, (p, _) in due.items()} == {1: second, 2: first, 3: second, 4: first}
    no_loop_check = ExportOptions(exclude_as_loop=False)
    only = outputs(Role.ROUTE_SERVER, members[3:], [second], RS)
    assert only == {}
    assert 4 in outputs(Role.ROUTE_SERVER, members[3:], [second], no_loop_check)


def test_transparency_of_the_route_server():
    attrs = {
        **ATTRS,
        "med": 7,
        "local_pref": 100,
        "originator_id": "1.1.1.1",
        "cluster_list": ("1.1.1.1",),
        "aigp": b"\1",
        "link_local": "fe80::1",
        "communities": (WellKnownCommunity.NO_EXPORT, 64500 << 16 | 5),
        "unknown": ((0xE0, 200, b""), (0x80, 201, b"")),
    }
    path = make(1, attrs=attrs)
    _, out = outputs(Role.ROUTE_SERVER, [Member(2, 64497)], [path], RS)[2]
    assert out == {
        **ATTRS,
        "med": 7,
        "link_local": "fe80::1",
        "communities": (WellKnownCommunity.NO_EXPORT,),
        "unknown": ((0xE0, 200, b""),),
    }


@pytest.mark.parametrize(
    ("community", "internal", "external"),
    [
        (WellKnownCommunity.NO_EXPORT, True, False),
        (WellKnownCommunity.NO_EXPORT_SUBCONFED, True, False),
        (WellKnownCommunity.NO_ADVERTISE, False, False),
        (WellKnownCommunity.BLACKHOLE, True, True),
    ],
)
def test_well_known_communities_by_setting(community, internal, external):
    path = make(9, attrs={"communities": (int(community),)})
    members = [
        Member(1, 64500, Kind.IBGP),
        Member(2, 64497, Kind.EBGP),
        Member(3, 64498, Kind.RS_CLIENT),
    ]
    honored = outputs(Role.ROUTE_SERVER, members, [path], ExportOptions(honor_well_known=True))
    assert (1 in honored, 2 in honored, 3 in honored) == (internal, external, external)
    assert len(outputs(Role.ROUTE_SERVER, members, [path], RS)) == 3


def test_plain_external_member():
    attrs = {**ATTRS, "med": 7, "local_pref": 100, "aigp": b"\1", "link_local": "fe80::1"}
    attrs["as_path"] = ((CSEQ, (65001,)), (SEQ, (64496,)))
    member = Member(2, 64497, Kind.EBGP, local_address="192.0.2.250")
    _, out = outputs(Role.ROUTE_REFLECTOR, [member], [make(1, attrs=attrs)], RS)[2]
    assert out == {"origin": 0, "as_path": seq(64500, 64496), "next_hop": "192.0.2.250"}
    with_med = ExportOptions(set_med=3)
    assert outputs(Role.ROUTE_REFLECTOR, [member], [make(1)], with_med)[2][1]["med"] == 3


def test_prepending():
    assert prepend((), 1) == seq(1)
    assert prepend(((SET, (2, 3)),), 1) == ((SEQ, (1,)), (SET, (2, 3)))
    assert prepend(seq(*range(2, 256)), 1) == seq(*range(1, 256))
    assert prepend(seq(*range(2, 257)), 1) == (*seq(1), *seq(*range(2, 257)))


def test_reflection():
    client = Member(1, 64500, Kind.RR_CLIENT)
    client2 = Member(2, 64500, Kind.RR_CLIENT)
    other = Member(3, 64500, Kind.IBGP)
    other2 = Member(4, 64500, Kind.IBGP)
    external = Member(5, 64497, Kind.EBGP)
    members = [client, client2, other, other2, external]

    def due(path: Path) -> dict:
        return outputs(Role.ROUTE_REFLECTOR, members, [path], RS)

    from_client = due(make(1, ibgp=True, client=True, router_id=0x0A000009))
    assert set(from_client) == {2, 3, 4, 5}
    assert from_client[2][1] == {
        **ATTRS,
        "local_pref": 100,
        "originator_id": "10.0.0.9",
        "cluster_list": ("10.0.0.1",),
    }
    assert "cluster_list" not in from_client[5][1]
    from_other = due(make(3, ibgp=True, attrs={"local_pref": 50, "med": 4}))
    assert set(from_other) == {1, 2, 5}
    assert (from_other[1][1]["local_pref"], from_other[1][1]["med"]) == (50, 4)
    from_external = due(make(5))
    assert set(from_external) == {1, 2, 3, 4}
    assert from_external[1][1] == {**ATTRS, "local_pref": 100}
    again = make(
        1, ibgp=True, client=True, attrs={"originator_id": "1.1.1.1", "cluster_list": ("2.2.2.2",)}
    )
    assert due(again)[2][1]["originator_id"] == "1.1.1.1"
    assert due(again)[2][1]["cluster_list"] == ("10.0.0.1", "2.2.2.2")


def test_the_reflector_has_no_next_best():
    best, second = make(1, ibgp=True, client=True), make(2, ibgp=True, client=True)
    member = Member(1, 64500, Kind.RR_CLIENT)
    assert outputs(Role.ROUTE_REFLECTOR, [member], [best, second], RS) == {}


# --- rib ----------------------------------------------------------------------------------------


def three_members(**options: object) -> ReferenceRouter:
    router = ReferenceRouter(RouterOptions(**options))
    for i, asn in enumerate((64496, 64497, 64498), start=1):
        router.add_peer(Peer(i, asn, f"10.1.0.{i}", f"10.2.0.{i}"))
    return router


P = "10.0.0.0/8"


def path_of(*asns: int, **more: object) -> dict:
    return {"origin": 0, "as_path": seq(*asns), "next_hop": "192.0.2.1", **more}


def test_members_get_the_best_but_never_their_own():
    router = three_members()
    router.announce(1, P, path_of(64496, 9))
    router.announce(2, P, path_of(64497))
    assert [p.peer for p, _ in router.loc_rib()[P]] == [2, 1]
    assert router.tables() == {
        1: {P: path_of(64497)},
        2: {P: path_of(64496, 9)},
        3: {P: path_of(64497)},
    }
    router.peer_down(2)
    assert router.tables() == {1: {}, 3: {P: path_of(64496, 9)}}
    router.peer_up(2)
    assert router.table(2) == {P: path_of(64496, 9)}
    router.withdraw(1, P)
    assert router.tables() == {1: {}, 2: {}, 3: {}}
    assert router.loc_rib() == {}


@pytest.mark.parametrize(
    ("attrs", "options", "reason"),
    [
        (path_of(64496, 64500), {}, RejectReason.AS_LOOP),
        (path_of(64496, 64500), {"allow_own_as": 1}, RejectReason.NONE),
        (path_of(64496, 64500, 64500), {"allow_own_as": 1}, RejectReason.AS_LOOP),
        (path_of(64497, 64496), {}, RejectReason.FIRST_AS),
        (path_of(64496) | {"as_path": ()}, {}, RejectReason.FIRST_AS),
        (path_of(1) | {"as_path": ((SET, (64496,)),)}, {}, RejectReason.FIRST_AS),
        (path_of(1) | {"as_path": ((SEQ, (64496,)), (SET, (1,)))}, {}, RejectReason.AS_SET),
        (
            path_of(1) | {"as_path": ((SEQ, (64496,)), (SET, (1,)))},
            {"accept_as_sets": True},
            RejectReason.NONE,
        ),
        (path_of(64496) | {"next_hop": "0.0.0.0"}, {}, RejectReason.NEXT_HOP_INVALID),
        (path_of(64496) | {"next_hop": "224.1.1.1"}, {}, RejectReason.NEXT_HOP_INVALID),
        (path_of(64496) | {"next_hop": "240.1.1.1"}, {}, RejectReason.NEXT_HOP_INVALID),
        (path_of(64496) | {"next_hop": "::"}, {}, RejectReason.NEXT_HOP_INVALID),
        (path_of(64496) | {"next_hop": "127.0.0.1"}, {}, RejectReason.NONE),
        (path_of(64496) | {"next_hop": "ff02::1"}, {}, RejectReason.NEXT_HOP_INVALID),
        (
            path_of(64496),
            {"own_addresses": frozenset({"192.0.2.1"})},
            RejectReason.NEXT_HOP_INVALID,
        ),
        (path_of(64496), {"metrics": {"192.0.2.1": None}}, RejectReason.NEXT_HOP_UNREACHABLE),
        (
            path_of(1) | {"as_path": ((CSEQ, (65001,)), (SEQ, (64496,)))},
            {},
            RejectReason.CONFED_SEGMENT,
        ),
        (path_of(64496, originator_id="10.0.0.1"), {}, RejectReason.NONE),
    ],
)
def test_import_checks(attrs, options, reason):
    router = three_members(**options)
    assert router.announce(1, P, attrs) is reason
    assert router.adj_rib_in[1][P, 0].attrs == attrs
    kept = {} if reason is RejectReason.NONE else {(1, P, 0): reason}
    assert router.rejected() == kept
    assert bool(router.loc_rib()) is not bool(kept)


def test_reflector_loops():
    router = ReferenceRouter(RouterOptions(role=Role.ROUTE_REFLECTOR, cluster_id="10.0.0.7"))
    router.add_peer(Peer(1, 64500, "10.1.0.1", kind=Kind.RR_CLIENT))
    assert router.announce(1, P, path_of(1, originator_id="10.0.0.1")) is (
        RejectReason.ORIGINATOR_LOOP
    )
    looped = path_of(1, cluster_list=("1.1.1.1", "10.0.0.7"))
    assert router.announce(1, P, looped) is RejectReason.CLUSTER_LOOP
    assert router.announce(1, P, path_of(1)) is RejectReason.NONE


def test_age_survives_a_repeated_announcement_and_nothing_else():
    router = three_members()
    router.announce(2, P, path_of(64497))
    router.announce(1, P, path_of(64496))
    router.announce(2, P, path_of(64497))
    assert [p.peer for p, _ in router.loc_rib()[P]] == [2, 1]
    assert router.loc_rib()[P][1][1] is Decided.OLDEST
    router.announce(2, P, path_of(64497, med=5))
    assert [p.peer for p, _ in router.loc_rib()[P]] == [1, 2]


def test_updates_as_bytes():
    router = three_members()
    body = encode_update([P, "10.1.0.0/16"], path_of(64496))
    assert router.update(1, body).outcome is OK
    assert set(router.table(2)) == {P, "10.1.0.0/16"}
    router.update(1, encode_update([P], path_of(64496) | {"origin": 3}))
    assert set(router.table(2)) == {"10.1.0.0/16"}
    assert router.update(1, b"").outcome is RESET
    assert router.tables() == {2: {}, 3: {}}


def test_families_of_a_member():
    router = three_members()
    router.add_peer(Peer(4, 64499, "10.1.0.4", families=frozenset({V6})))
    router.announce(1, P, path_of(64496))
    router.announce(1, "2001:db8::/32", path_of(64496) | {"next_hop": "2001:db8::1"})
    assert set(router.table(4)) == {"2001:db8::/32"}
    assert set(router.table(2)) == {P, "2001:db8::/32"}


@quick
@given(strategies.churn_scripts())
def test_churn_by_bytes_and_by_dicts_agree(case):
    """What is left depends on what is announced last, not on the way there, except for age."""
    peers, script = case
    options = RouterOptions(prefer_oldest=False)
    by_dict, by_bytes, fresh = (ReferenceRouter(options) for _ in range(3))
    for router in (by_dict, by_bytes, fresh):
        for peer in peers:
            router.add_peer(peer)
    final: dict[tuple[int, str], dict] = {}
    for op in script:
        if op.kind in {"up", "down"}:
            for router in (by_dict, by_bytes):
                (router.peer_up if op.kind == "up" else router.peer_down)(op.peer)
            final = {k: v for k, v in final.items() if k[0] != op.peer}
            continue
        by_bytes.update(op.peer, op.body())
        if op.kind == "announce":
            by_dict.announce(op.peer, op.prefix, op.attrs)
            final[op.peer, op.prefix] = op.attrs
        else:
            by_dict.withdraw(op.peer, op.prefix)
            final.pop((op.peer, op.prefix), None)
    for index in set(fresh.up) - by_dict.up:
        fresh.peer_down(index)
    for (index, prefix), attrs in final.items():
        fresh.announce(index, prefix, attrs)
    assert by_dict.tables() == by_bytes.tables() == fresh.tables()
    for index, table in by_dict.tables().items():
        own = {p for p, paths in by_dict.loc_rib().items() if {x.peer for x, _ in paths} == {index}}
        assert not own & set(table)
