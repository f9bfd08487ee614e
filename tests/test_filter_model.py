"""The import filter against its model: random rules, random routes, the same first reason."""

from __future__ import annotations

import ipaddress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from rs._fastpath.asnset import AsnSet
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.pfxset import PrefixSet
from rs._fastpath.rib import Rib
from rs._fastpath.roa import RoaTable
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import recheck_step
from rs.config import Neighbor, Router
from rs.filterconfig import Filters, NextHopRule, RpkiRule, TransitFreeRule
from rs.iana import Family, RejectReason
from rs.irr import Sets
from rs.policy import Policy
from rs.reasons import irr_state, rpki_state
from tests.reference import filter as model

PEER = 5
HOPS = {4: ("10.1.0.1", "10.1.0.2"), 6: ("2001:db8::1", "2001:db8::2")}
ASNS = st.integers(1, 7)
ROUTER = Router(asn=64500, router_id="10.0.0.1")

# Few prefixes, so that rules and routes meet: all below 8.0.0.0/6, 2a00::/14 and fc00::/14.
POOLS = ((4, 0x08000000, 6), (6, 0x2A00 << 112, 14), (6, 0xFC00 << 112, 14))


@st.composite
def prefixes(draw):
    version, base, above = draw(st.sampled_from(POOLS))
    bits = 32 if version == 4 else 128
    plen = draw(st.integers(above, above + 5))
    value = base | draw(st.integers(0, 2 ** (plen - above) - 1)) << (bits - plen)
    return f"{ipaddress.ip_address(value.to_bytes(bits // 8, 'big'))}/{plen}"


@st.composite
def ranges(draw):
    prefix = draw(prefixes())
    plen, bits = int(prefix.partition("/")[2]), 128 if ":" in prefix else 32
    low = draw(st.integers(plen, plen + 3))
    return prefix, low, draw(st.integers(low, bits))


def lists(item, size=3):
    return st.one_of(st.just([]), st.lists(item, max_size=size, unique=True))


asn_ranges = st.tuples(ASNS, st.integers(0, 1)).map(lambda pair: (pair[0], sum(pair)))
vrps = st.tuples(ranges(), ASNS).map(lambda pair: (pair[0][0], pair[0][2], pair[1]))
white_routes = st.tuples(ranges(), st.one_of(st.none(), ASNS)).map(lambda p: (*p[0], p[1]))
rules = st.builds(
    model.Rules,
    next_hops=st.one_of(
        st.none(), st.none(), st.lists(st.sampled_from(HOPS[4] + HOPS[6]), min_size=2, unique=True)
    ),
    max_as_path_length=st.sampled_from([0, 0, 0, 4]),
    bogon_asns=lists(asn_ranges, 1),
    transit_free=lists(asn_ranges, 2),
    transit_warning=st.booleans(),
    never_via=lists(asn_ranges, 1),
    max_communities=st.sampled_from([0, 0, 0, 3]),
    global_unicast_only=st.sampled_from([False, False, True]),
    black_list=lists(ranges()),
    neighbor_black_list=lists(ranges()),
    bogon_prefixes=lists(ranges()),
    origins=st.one_of(st.none(), st.lists(asn_ranges, min_size=3, max_size=8)),
    prefixes=st.one_of(st.none(), st.lists(ranges(), max_size=12)),
    enforce_origin=st.booleans(),
    enforce_prefix=st.booleans(),
    allow_longer=st.booleans(),
    white_asns=lists(asn_ranges, 2),
    white_prefixes=lists(ranges()),
    white_routes=lists(white_routes),
    roas_as_route_objects=st.booleans(),
    vrps=st.one_of(st.none(), st.lists(vrps, min_size=4, max_size=16, unique=True)),
    reject_invalid=st.booleans(),
    lengths=st.sampled_from([{}, {4: (7, 10), 6: (15, 17)}, {6: (12, 16)}]),
)
routes = st.tuples(
    prefixes(),
    st.one_of(
        st.lists(ASNS, max_size=5).map(lambda rest: (PEER, *rest)),
        st.lists(ASNS, min_size=1, max_size=4).map(tuple),
    ),
    st.integers(0, 1),
    st.integers(0, 5),
)

RESCUED = model.Rules(
    prefixes=[],
    enforce_prefix=True,
    roas_as_route_objects=True,
    vrps=[("8.0.0.0/8", 8, PEER), ("9.0.0.0/8", 8, 6)],
)
"""A valid ROA in the place of a route object: too rare to be left to chance."""


def policy(wanted: model.Rules) -> tuple[Policy, Neighbor]:
    """Return what the configuration would make of rules."""
    sets = Sets()
    if wanted.origins is not None:
        sets.asns["o"] = AsnSet(ranges=wanted.origins)
    if wanted.prefixes is not None:
        sets.prefixes["p"] = PrefixSet()
        for entry in wanted.prefixes:
            sets.prefixes["p"].add(*entry)
    roas = None
    if wanted.vrps is not None:
        roas = RoaTable()
        roas.replace(wanted.vrps, roas.add_source("model"))
    validates = wanted.vrps is not None
    filters = Filters(
        next_hop=NextHopRule.ANY if wanted.next_hops is None else NextHopRule.AUTHORIZED,
        next_hop_addresses=tuple(wanted.next_hops or ()),
        max_as_path_length=wanted.max_as_path_length,
        bogon_asns=tuple(wanted.bogon_asns),
        transit_free_asns=tuple(wanted.transit_free),
        transit_free_action=TransitFreeRule("warning" if wanted.transit_warning else "reject"),
        never_via_route_server_asns=tuple(wanted.never_via),
        max_communities=wanted.max_communities,
        ipv6_global_unicast_only=wanted.global_unicast_only,
        black_list=tuple(wanted.black_list),
        neighbor_black_list=tuple(wanted.neighbor_black_list),
        bogon_prefixes=tuple(wanted.bogon_prefixes),
        irr_origins="o" if wanted.origins is not None else None,
        irr_prefixes="p" if wanted.prefixes is not None else None,
        irr_enforce_origin=wanted.enforce_origin,
        irr_enforce_prefix=wanted.enforce_prefix,
        irr_allow_longer=wanted.allow_longer,
        irr_white_list_asns=tuple(wanted.white_asns),
        irr_white_list_prefixes=tuple(wanted.white_prefixes),
        irr_white_list_routes=tuple(wanted.white_routes),
        roas_as_route_objects=wanted.roas_as_route_objects,
        rpki=(RpkiRule.REJECT if wanted.reject_invalid else RpkiRule.ACCEPT)
        if validates
        else RpkiRule.OFF,
        prefix_length_ipv4=wanted.lengths.get(4, (0, 32)),
        prefix_length_ipv6=wanted.lengths.get(6, (0, 128)),
    )
    neighbor = Neighbor(address="10.1.0.1", asns=(PEER,), filters=filters, router=ROUTER)
    return Policy([neighbor], sets, roas), neighbor


@settings(deadline=None, max_examples=150)
@example(RESCUED, [("8.0.0.0/8", (PEER,), 0, 0)])
@example(RESCUED, [("9.0.0.0/8", (PEER,), 0, 0)])
@given(rules, st.lists(routes, min_size=8, max_size=30))
def test_the_first_reason_is_that_of_the_model(wanted, offered):
    attrs, sets = AttrTable(), MemberSets(64)
    control = Control(attrs, sets, 64500, 1, 1)
    rib = Rib(attrs, sets, control)
    rib.add_peer(1, PEER, "10.1.0.1", 0)
    control.set_peers({PEER: [1]})
    made, neighbor = policy(wanted)
    # Half of the routes come before the rules and are judged again.
    for i, (prefix, path, hop, n_communities) in enumerate(offered):
        if i == len(offered) // 2:
            rib.set_filter(1, made.filter_for(neighbor, "10.1.0.1"))
        net = ipaddress.ip_network(prefix)
        family = Family.IPV4_UNICAST if net.version == 4 else Family.IPV6_UNICAST
        known = {
            "origin": 0,
            "as_path": ((2, path),),
            "next_hop": HOPS[net.version][hop],
        }
        if n_communities:
            known["communities"] = tuple(range(0x10000, 0x10000 + n_communities))
        h = attrs.intern_attrs(known, family)
        rib.tables[family].set_path(net.network_address.packed, net.prefixlen, 1, h)
        attrs.drop(h)
    for table in rib.tables:
        recheck_step(table, [1], 1, 1000)
    last = {route[0]: route for route in offered}
    for prefix, path, hop, n_communities in last.values():
        net = ipaddress.ip_network(prefix)
        table = rib.tables[net.version == 6]
        (row,) = table.paths_of(table.handle(net.network_address.packed, net.prefixlen))
        next_hop = HOPS[net.version][hop]
        due = model.judge(
            prefix, wanted, path=path, next_hop=next_hop, n_communities=n_communities, peer=PEER
        )
        said = RejectReason(row[4] if row[3] & 1 else 0)
        assert (said, rpki_state(row[3]), irr_state(row[3])) == (due.reason, due.rpki, due.irr), (
            prefix, path, next_hop,
        )  # fmt: skip
