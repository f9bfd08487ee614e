"""The import filter: each rule, and which of two reasons a route gets."""

from __future__ import annotations

import pytest

from rs._fastpath.asnset import AsnSet
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.filter import Filter
from rs._fastpath.pfxset import PrefixSet
from rs._fastpath.rib import Rib
from rs._fastpath.roa import RoaTable
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import recheck_step
from rs.iana import Family, RejectReason

PEER = 64501


class Bed:
    """One peer in a RIB, and a filter to try."""

    def __init__(self) -> None:
        self.attrs = AttrTable()
        sets = MemberSets(64)
        control = Control(self.attrs, sets, 64500, 1, 1)
        self.rib = Rib(self.attrs, sets, control)
        self.rib.add_peer(1, PEER, "192.0.2.1", 0)
        control.set_peers({PEER: [1]})
        self.filter = Filter()

    def verdict(self, prefix: str, path: tuple[int, ...] = (PEER,), **more: object) -> int:
        """Enter a route; return why it is rejected, 0 if it is not."""
        import ipaddress

        self.filter.finish()
        self.rib.set_filter(1, self.filter)
        net = ipaddress.ip_network(prefix)
        family = Family.IPV4_UNICAST if net.version == 4 else Family.IPV6_UNICAST
        attrs: dict[str, object] = {
            "origin": 0,
            "as_path": ((2, path),),
            "next_hop": "192.0.2.1" if net.version == 4 else "2001:db8::1",
        } | more
        h = self.attrs.intern_attrs(attrs, family)
        table = self.rib.tables[family]
        key = (net.network_address.packed, net.prefixlen)
        table.set_path(*key, 1, h)
        self.attrs.drop(h)
        (path_row,) = table.paths_of(table.handle(*key))
        self.flags = path_row[3]
        return path_row[4] if path_row[3] & 1 else 0


@pytest.fixture
def bed() -> Bed:
    return Bed()


def prefixes(*texts: str) -> PrefixSet:
    found = PrefixSet()
    for text in texts:
        prefix, *lengths = text.split()
        found.add(prefix, *map(int, lengths))
    return found


def test_a_filter_without_rules_lets_everything_through(bed):
    assert bed.verdict("10.0.0.0/8", (PEER, 174, 23456)) == 0


def test_next_hop_must_be_one_of_those_allowed(bed):
    bed.filter.set_next_hops(["192.0.2.1"])
    assert bed.verdict("198.51.100.0/24") == 0
    assert bed.verdict("198.51.100.0/24", next_hop="192.0.2.9") == RejectReason.FILTER_NEXT_HOP
    bed.filter.set_next_hops([])
    assert bed.verdict("198.51.100.0/24") == RejectReason.FILTER_NEXT_HOP


def test_as_path_length_counts_numbers(bed):
    bed.filter.max_path_len = 3
    assert bed.verdict("198.51.100.0/24", (PEER, 1, 2)) == 0
    assert bed.verdict("198.51.100.0/24", (PEER, 1, 2, 3)) == RejectReason.FILTER_AS_PATH_LENGTH


def test_bogon_as_numbers(bed):
    bed.filter.bogon_asns = AsnSet([23456, 0], [(64512, 65534), (4200000000, 4294967295)])
    assert bed.verdict("198.51.100.0/24", (PEER, 65000)) == RejectReason.FILTER_BOGON_ASN
    assert bed.verdict("198.51.100.0/24", (PEER, 23456)) == RejectReason.FILTER_BOGON_ASN
    assert bed.verdict("198.51.100.0/24", (PEER, 4294967295)) == RejectReason.FILTER_BOGON_ASN
    assert bed.verdict("198.51.100.0/24", (PEER, 64511)) == 0


def test_transit_free_networks_behind_a_member_but_not_the_member_itself(bed):
    bed.filter.transit_free = AsnSet([174, PEER])
    assert bed.verdict("198.51.100.0/24", (PEER, 174, 5)) == RejectReason.FILTER_TRANSIT_FREE
    assert bed.verdict("198.51.100.0/24", (PEER, PEER, 5)) == 0


def test_never_via_route_servers(bed):
    bed.filter.never_via = AsnSet([5])
    assert bed.verdict("198.51.100.0/24", (PEER, 5)) == (RejectReason.FILTER_NEVER_VIA_ROUTE_SERVER)


def test_number_of_communities_of_all_kinds(bed):
    bed.filter.max_communities = 3
    two = (0xFDE80001, 0xFDE80002)
    assert bed.verdict("198.51.100.0/24", communities=two) == 0
    assert (
        bed.verdict(
            "198.51.100.0/24",
            communities=two,
            large_communities=((1, 2, 3),),
            ext_communities=(b"\x00\x02" + bytes(6),),
        )
        == RejectReason.FILTER_COMMUNITIES
    )


def test_ipv6_outside_global_unicast(bed):
    bed.filter.global_unicast_only = True
    assert bed.verdict("2a00::/32") == 0
    assert bed.verdict("fc00::/7") == RejectReason.FILTER_NOT_GLOBAL_UNICAST
    assert bed.verdict("::/0") == RejectReason.FILTER_NOT_GLOBAL_UNICAST
    assert bed.verdict("10.0.0.0/8") == 0


def test_black_lists_and_bogons(bed):
    bed.filter.black_list = prefixes("203.0.113.0/24 24 32")
    bed.filter.neighbor_black_list = prefixes("198.18.0.0/15")
    bed.filter.bogons = prefixes("10.0.0.0/8 8 32", "0.0.0.0/0")
    assert bed.verdict("203.0.113.128/25") == RejectReason.FILTER_BLACK_LIST
    assert bed.verdict("198.18.0.0/15") == RejectReason.FILTER_NEIGHBOR_BLACK_LIST
    assert bed.verdict("198.18.0.0/16") == 0
    assert bed.verdict("10.2.3.0/24") == RejectReason.FILTER_BOGON_PREFIX
    assert bed.verdict("0.0.0.0/0") == RejectReason.FILTER_BOGON_PREFIX
    assert bed.verdict("11.0.0.0/8") == 0


def test_irr_origin_and_prefix_with_their_white_lists(bed):
    f = bed.filter
    f.irr_origins = AsnSet([PEER, 7])
    f.irr_prefixes = prefixes("198.51.100.0/24", "203.0.112.0/22 22 24")
    f.enforce_origin = f.enforce_prefix = True
    assert bed.verdict("198.51.100.0/24", (PEER, 7)) == 0
    assert bed.verdict("198.51.100.0/24", (PEER, 8)) == RejectReason.FILTER_IRR_ORIGIN
    assert bed.verdict("198.51.100.0/25") == RejectReason.FILTER_IRR_PREFIX
    assert bed.verdict("203.0.113.0/24") == 0
    f.allow_longer = True
    assert bed.verdict("198.51.100.0/25") == 0
    f.white_origins = AsnSet([8])
    assert bed.verdict("198.51.100.0/24", (PEER, 8)) == 0
    f.white_prefixes = prefixes("192.0.2.0/24")
    assert bed.verdict("192.0.2.0/24") == 0
    f.enforce_prefix = False
    assert bed.verdict("192.0.3.0/24") == 0


def test_rpki_state_decides_and_a_valid_roa_may_stand_for_a_route_object(bed):
    roas = RoaTable()
    vrps = [("198.51.100.0/24", 24, PEER), ("203.0.113.0/24", 24, 7)]
    roas.replace(vrps, roas.add_source("test"))
    f = bed.filter
    f.roas = roas
    f.reject_invalid = True
    assert bed.verdict("198.51.100.0/24") == 0
    assert bed.flags >> 3 & 3 == 1
    assert bed.verdict("203.0.113.0/24") == RejectReason.FILTER_RPKI_INVALID
    assert bed.flags >> 3 & 3 == 3
    assert bed.verdict("192.0.2.0/24") == 0
    assert bed.flags >> 3 & 3 == 2
    f.reject_invalid = False
    assert bed.verdict("203.0.113.0/24") == 0
    f.irr_prefixes = prefixes()
    f.enforce_prefix = True
    assert bed.verdict("192.0.2.0/24") == RejectReason.FILTER_IRR_PREFIX
    f.roas_as_route_objects = True
    assert bed.verdict("198.51.100.0/24") == 0


def test_prefix_length(bed):
    bed.filter.set_lengths(0, 8, 24)
    bed.filter.set_lengths(1, 12, 48)
    assert bed.verdict("198.51.100.0/24") == 0
    assert bed.verdict("198.51.100.0/25") == RejectReason.FILTER_PREFIX_LENGTH
    assert bed.verdict("2a00::/49") == RejectReason.FILTER_PREFIX_LENGTH
    assert bed.verdict("4.0.0.0/7") == RejectReason.FILTER_PREFIX_LENGTH


ORDER = [
    (RejectReason.FILTER_NEXT_HOP, "next_hop", "192.0.2.9"),
    (RejectReason.FILTER_AS_PATH_LENGTH, "path", (9, 1, 2, 3, 4, 65000, 174, 5)),
    (RejectReason.FIRST_AS, "path", (9, 65000, 174, 5)),
    (RejectReason.FILTER_BOGON_ASN, "path", (PEER, 65000, 174, 5)),
    (RejectReason.FILTER_TRANSIT_FREE, "path", (PEER, 174, 5)),
    (RejectReason.FILTER_NEVER_VIA_ROUTE_SERVER, "path", (PEER, 5)),
    (RejectReason.FILTER_COMMUNITIES, "communities", tuple(range(0xFDE80000, 0xFDE80009))),
    (RejectReason.FILTER_BLACK_LIST, "prefix", "10.0.1.0/25"),
    (RejectReason.FILTER_NEIGHBOR_BLACK_LIST, "prefix", "10.0.2.0/25"),
    (RejectReason.FILTER_BOGON_PREFIX, "prefix", "10.0.3.0/25"),
]


def test_a_route_with_several_faults_gets_the_first_in_order(bed):
    f = bed.filter
    f.set_next_hops(["192.0.2.1"])
    f.max_path_len = 5
    f.bogon_asns = AsnSet([65000])
    f.transit_free = AsnSet([174])
    f.never_via = AsnSet([5])
    f.max_communities = 4
    f.black_list = prefixes("10.0.1.0/24 24 32")
    f.neighbor_black_list = prefixes("10.0.0.0/22 22 32")
    f.bogons = prefixes("10.0.0.0/8 8 32")
    f.irr_prefixes = prefixes()
    f.irr_origins = AsnSet()
    f.enforce_origin = f.enforce_prefix = True
    f.set_lengths(0, 8, 24)
    # The last faults first: each rule is tried with all that come after it violated as well.
    f.neighbor_black_list = prefixes("10.0.2.0/24 24 32")
    fault = {
        "path": (PEER, 5),
        "next_hop": "192.0.2.1",
        "communities": (),
        "prefix": "10.0.3.0/25",
    }
    assert bed.verdict("11.0.0.0/25") == RejectReason.FILTER_IRR_ORIGIN
    f.irr_origins = AsnSet([PEER])
    assert bed.verdict("11.0.0.0/25") == RejectReason.FILTER_IRR_PREFIX
    fault["path"] = (PEER,)
    for reason, what, value in reversed(ORDER):
        kept = fault[what]
        fault[what] = value
        more = {"next_hop": fault["next_hop"]}
        if fault["communities"]:
            more["communities"] = fault["communities"]
        assert bed.verdict(fault["prefix"], fault["path"], **more) == reason
        if what in {"prefix", "path"}:
            fault[what] = kept


def test_what_changes_in_a_filter_is_judged_again_in_place(bed):
    assert bed.verdict("10.2.3.0/24") == 0
    assert bed.rib.peer_counts(1, 0) == (1, 1, 0)
    other = Filter()
    other.bogons = prefixes("10.0.0.0/8 8 32")
    other.finish()
    bed.rib.set_filter(1, other)
    table = bed.rib.tables[0]
    assert recheck_step(table, [1], 1, 1000) == 0
    assert bed.rib.peer_counts(1, 0) == (1, 0, 1)
    assert bed.rib.reject_counts(1) == {RejectReason.FILTER_BOGON_PREFIX: 1}
    bed.rib.set_filter(1, None)
    recheck_step(table, [1], 1, 1000)
    assert bed.rib.peer_counts(1, 0) == (1, 1, 0)
    assert bed.rib.reject_counts(1) == {}
