"""The kernel's routing table: netlink messages in, the way to an address out, against an oracle."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs.kernelroutes import Hop, KernelRoutes, LinkChange, Note, Route, RouteChange
from rs.netlink import decode, links_request, routes_request
from tests.reference.nexthops import KernelRoute, KernelTable

NEW, DELETE, REPLACE = 24, 25, 0x100
UNICAST, BLACKHOLE, THROW = 1, 6, 9
DST, OIF, GATEWAY, PRIORITY, MULTIPATH, TABLE, VIA = 1, 4, 5, 6, 9, 15, 18


def attr(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    return attr(kind, struct.pack("=I", value))


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


def route(
    prefix: str,
    *attrs: bytes,
    kind: int = NEW,
    flags: int = 0,
    route_type: int = UNICAST,
    proto: int = 4,
    tos: int = 0,
    route_flags: int = 0,
) -> bytes:
    net = ipaddress.ip_network(prefix)
    family = 2 if net.version == 4 else 10
    body = struct.pack(
        "=BBBBBBBBI", family, net.prefixlen, 0, tos, 254, proto, 0, route_type, route_flags
    )
    if net.prefixlen:
        body += attr(DST, net.network_address.packed)
    return message(kind, body + b"".join(attrs), flags)


def link(index: int, flags: int, name: str = "eth0", *, kind: int = 16) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return message(kind, body + number(13, 1500) + attr(3, name.encode() + b"\0"))


# --- messages -------------------------------------------------------------------------------------


def test_routes_of_every_form():
    four, six = bytes([10, 0, 0, 9]), ipaddress.ip_address("fe80::9").packed
    hop = struct.pack("=HBBi", 16, 0, 0, 3) + attr(GATEWAY, four)
    via = struct.pack("=HBBi", 8 + 24, 0, 0, 4) + attr(VIA, struct.pack("=H", 10) + six)
    data = b"".join(
        [
            route("10.1.0.0/16", number(OIF, 2), attr(GATEWAY, four), number(PRIORITY, 20)),
            route("10.2.0.0/16", number(OIF, 2), proto=2, flags=REPLACE),
            route("10.3.0.0/16", attr(MULTIPATH, hop + via)),
            route("2001:db8::/32", number(OIF, 5), attr(GATEWAY, six), number(TABLE, 1001)),
            route("0.0.0.0/0", number(OIF, 2), attr(VIA, struct.pack("=H", 10) + six)),
            route("::/0", route_type=BLACKHOLE, kind=DELETE),
            route("10.4.0.0/16", number(PRIORITY, 0xFFFFFFFF)),
            route("10.5.0.0/16", number(OIF, 2), tos=16),
            route("10.6.0.0/16", number(OIF, 2), route_flags=0x200),
            route("10.7.0.0/16", number(OIF, 2), route_type=THROW),
        ]
    )
    assert list(decode(data)) == [
        RouteChange(254, "10.1.0.0/16", Route(20, 20, (Hop(2, "10.0.0.9"),), False), True, False),
        RouteChange(254, "10.2.0.0/16", Route(0, 0, (Hop(2, ""),), False), True, True),
        RouteChange(
            254,
            "10.3.0.0/16",
            Route(0, 0, (Hop(3, "10.0.0.9"), Hop(4, "fe80::9")), False),
            True,
            False,
        ),
        RouteChange(1001, "2001:db8::/32", Route(0, 0, (Hop(5, "fe80::9"),), False), True, False),
        RouteChange(254, "0.0.0.0/0", Route(0, 0, (Hop(2, "fe80::9"),), False), True, False),
        RouteChange(254, "::/0", Route(0, 0, (Hop(0, ""),), True), False, False),
        RouteChange(
            254, "10.4.0.0/16", Route(0xFFFFFFFE, 0xFFFFFFFF, (Hop(0, ""),), False), True, False
        ),
    ]


def test_links_and_ends():
    up, running = 1, 0x40
    error = struct.pack("=i", -105)
    data = b"".join(
        [
            link(2, up | running),
            link(3, up, "eth1"),
            link(4, running, "eth2"),
            link(2, up | running, kind=17),
            message(3, struct.pack("=i", 0)),
            message(3, struct.pack("=i", -2)),
            message(2, error + bytes(16)),
            message(2, struct.pack("=i", -2) + bytes(16)),
            message(21, bytes(8)),
            message(105, bytes(8)),
            message(99, bytes(8)),
            message(3, struct.pack("=i", 0), flags=0x10),
        ]
    )
    assert list(decode(data)) == [
        LinkChange(2, "eth0", True, False),
        LinkChange(3, "eth1", False, False),
        LinkChange(4, "eth2", False, False),
        LinkChange(2, "eth0", False, True),
        Note("done"),
        Note("done"),  # there is no such table
        Note("error", 105),
        Note("done"),
        Note("flushed"),
        Note("flushed"),
        Note("again"),
        Note("done"),
    ]


def test_a_connected_network_is_at_0_whatever_its_priority():
    kernel = number(OIF, 2) + number(PRIORITY, 256)
    (own,) = decode(route("2001:db8::/64", kernel, proto=2))
    (added,) = decode(route("2001:db8::/64", kernel, proto=3))
    assert (own.route.metric, own.route.priority) == (0, 256)
    assert (added.route.metric, added.route.priority) == (256, 256)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 200), st.integers(0, 255))
def test_nothing_else_than_valueerror_for_broken_messages(noise, at, octet):
    whole = route("10.1.0.0/16", number(OIF, 2), attr(MULTIPATH, bytes(8))) + link(2, 1)
    broken = bytearray(whole)
    broken[at % len(broken)] = octet
    for data in (noise, bytes(broken), whole[: at % len(whole)]):
        try:
            found = list(decode(data))
        except ValueError:
            continue
        assert all(isinstance(item, (RouteChange, LinkChange, Note)) for item in found)


def test_requests_are_as_the_kernel_wants_them():
    assert len(links_request(7)) == struct.unpack_from("=I", links_request(7))[0] == 32
    request = routes_request(9, 10, 1001)
    assert struct.unpack_from("=IHHII", request) == (len(request), 26, 0x301, 9, 0)
    assert (
        request[16:].hex()
        == "0a00000000000000000000000800" + "0f00" + struct.pack("=I", 1001).hex()
    )


# --- the table ------------------------------------------------------------------------------------


def change(prefix: str, metric: int = 10, *links: int, new: bool = True, replaces: bool = False):
    hops = tuple(Hop(i, f"10.0.0.{i}") for i in links or (1,))
    return RouteChange(254, prefix, Route(metric, metric, hops, False), new, replaces)


def made(*items, default_route: bool = False) -> KernelRoutes:
    table = KernelRoutes(254, default_route=default_route)
    table.begin_dump()
    table.dumped(items)
    table.end_dump()
    return table


def test_nothing_of_a_dump_is_used_before_its_end():
    table = KernelRoutes(254)
    assert not table.ready
    table.begin_dump()
    table.dumped([change("10.0.0.0/8")])
    assert table.find("10.0.0.1") is None
    assert not table.ready
    table.end_dump()
    assert (table.find("10.0.0.1"), table.find("11.0.0.1")) == (10, None)
    assert (table.ready, table.in_step, len(table)) == (True, True, 1)


def test_default_routes_only_where_asked_for():
    routes = [change("0.0.0.0/0", 5), change("::/0", 6)]
    assert made(*routes).find("10.0.0.1") is None
    assert made(*routes).find("2001:db8::1") is None
    assert made(*routes, default_route=True).find("10.0.0.1") == 5
    assert made(*routes, default_route=True).find("2001:db8::1") == 6


def test_other_tables_do_not_matter():
    table = made(change("10.0.0.0/8")._replace(table=100))
    assert table.find("10.0.0.1") is None
    assert table.changed([change("10.0.0.0/8")._replace(table=100)]) == (False, False)


def test_links():
    table = made(
        LinkChange(1, "eth0", True, False),
        LinkChange(2, "eth1", True, False),
        change("10.0.0.0/8", 50, 2),
        change("10.1.0.0/16", 10, 1),
        change("10.1.0.0/16", 20, 2),
    )
    way = table.way("10.1.0.1")
    assert (way.prefix, way.route.metric, table.name_of(way.hop.link)) == (
        "10.1.0.0/16",
        10,
        "eth0",
    )
    # Down: the kernel drops IPv4 routes without saying which, so it is to be asked again.
    assert table.changed([LinkChange(1, "eth0", False, False)]) == (True, True)
    assert table.find("10.1.0.1") == 20
    assert table.changed([LinkChange(1, "eth0", False, False)]) == (False, False)
    assert table.changed([LinkChange(2, "eth1", False, True)]) == (True, True)
    assert table.find("10.1.0.1") is None
    assert table.changed([LinkChange(1, "eth0", True, False)]) == (True, False)
    assert table.find("10.1.0.1") == 10
    assert table.changed([Note("flushed")]) == (False, True)


def test_one_hop_less_as_ipv6_has_it():
    table = made(change("2001:db8::/32", 10, 1))
    # With another hop: the whole route is told again.
    table.changed([change("2001:db8::/32", 10, 1, 2)])
    table.changed([LinkChange(1, "eth0", False, False)])
    assert table.way("2001:db8::1").hop.link == 2
    assert table.changed([change("2001:db8::/32", 10, 2, new=False)]) == (True, False)
    assert table.find("2001:db8::1") is None
    assert len(table) == 1
    table.changed([change("2001:db8::/32", 10, 1, new=False)])
    assert len(table) == 0


def test_what_does_not_fit_asks_for_another_dump():
    table = made(change("10.0.0.0/8", 10, 1))
    assert table.changed([change("10.0.0.0/8", 20, 1, new=False)]) == (True, True)
    assert table.changed([change("10.0.0.0/8", 20, 1, replaces=True)]) == (True, True)
    assert table.changed([change("99.0.0.0/8", 20, 1, new=False)]) == (True, False)


def test_changes_during_a_dump_are_in_both_tables():
    table = made(change("10.0.0.0/8"), change("11.0.0.0/8"))
    table.begin_dump()
    table.dumped([change("11.0.0.0/8")])  # as it was a moment ago, so far
    table.changed([change("11.0.0.0/8", new=False), change("12.0.0.0/8", 7)])
    assert (table.find("10.0.0.1"), table.find("11.0.0.1"), table.find("12.0.0.1")) == (10, None, 7)
    table.dumped([change("12.0.0.0/8", 7)])
    table.end_dump()
    assert (table.find("10.0.0.1"), table.find("11.0.0.1"), table.find("12.0.0.1")) == (
        *(None, None, 7),
    )
    assert len(table) == 1
    table.begin_dump()
    table.drop_dump()
    assert table.find("12.0.0.1") == 7


NETS = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "10.1.2.0/23"]
NETS6 = ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1/128"]
ADDRESSES = ["10.1.1.1", "10.1.1.2", "10.1.3.1", "10.2.0.1", "192.0.2.1"]
ADDRESSES6 = ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1", "2001::1"]

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.sampled_from(NETS + NETS6),
            st.sampled_from([0, 5, 10]),
            st.sets(st.sampled_from([1, 2, 3]), min_size=1, max_size=2),
            st.booleans(),
        ),
        st.tuples(st.just("del"), st.integers(0, 20)),
        st.tuples(st.just("link"), st.sampled_from([1, 2, 3]), st.booleans()),
        st.tuples(st.just("dump")),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.booleans())
def test_against_the_oracle(steps, default_route):
    truth = KernelTable(default_route=default_route)
    table = made(default_route=default_route)

    def told(what: KernelRoute, *, new: bool, replaces: bool = False) -> RouteChange:
        hops = tuple(Hop(i, "10.0.0.1") for i in what.links)
        made = Route(what.metric, what.priority, hops, what.refuses)
        return RouteChange(254, what.prefix, made, new, replaces)

    for step in steps:
        if step[0] == "add":
            _, prefix, priority, links, refuses = step
            new = KernelRoute(prefix, priority, tuple(sorted(links)), refuses=refuses)
            same = {r for r in truth.routes if (r.prefix, r.priority) == (prefix, priority)}
            truth.routes = (truth.routes - same) | {new}
            table.changed([told(new, new=True, replaces=bool(same))])
        elif step[0] == "del" and truth.routes:
            gone = sorted(truth.routes, key=repr)[step[1] % len(truth.routes)]
            truth.routes.remove(gone)
            table.changed([told(gone, new=False)])
        elif step[0] == "link":
            (truth.down.discard if step[2] else truth.down.add)(step[1])
            table.changed([LinkChange(step[1], f"eth{step[1]}", step[2], False)])
        elif step[0] == "dump":
            table.begin_dump()
            table.dumped(told(r, new=True) for r in sorted(truth.routes, key=repr))
            table.end_dump()
        for address in ADDRESSES + ADDRESSES6:
            assert table.find(address) == truth.get(address), address
        assert len(table) == len({r.prefix for r in truth.routes})


def test_the_oracle_itself():
    table = KernelTable(
        routes={KernelRoute("10.0.0.0/8", 5, (1,)), KernelRoute("0.0.0.0/0", 1, (1,))}
    )
    assert (table.get("10.0.0.1"), table.get("11.0.0.1")) == (5, None)
    table.routes.add(KernelRoute("10.0.0.0/16", 9, (2,), refuses=True))
    assert table.get("10.0.0.1") is None
    table.down = {1}
    assert table.get("10.1.0.1") is None
    table.default_route, table.down = True, set()
    assert table.get("11.0.0.1") == 1
    table.routes.add(KernelRoute("11.0.0.0/8", 256, (1,), connected=True))
    assert table.get("11.0.0.1") == 0


@pytest.mark.parametrize("address", ["10.1.1.1", "2001:db8::1"])
def test_an_empty_table(address):
    assert made().find(address) is None
