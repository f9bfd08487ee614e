"""An exchange: `rs` between all five daemons and a collector, at the same time.

Every daemon is an external member with one session for each family over its own transport, and
connects to `rs`. What each announces, all others must have unchanged (RFC 7947 2.2). The
daemons come up once; each test cleans up after itself. Last, tshark reads what `rs` has sent.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from rs.iana import AS_TRANS, AttrType, Family, RefreshSubtype
from tests.reference import codec

from .daemons import DAEMONS, Exabgp
from .daemons.base import Neighbor, Route
from .daemons.collector import Collector
from .daemons.lan import Capture
from .scene import (
    ASNS,
    NAMES,
    NARROW_ASN,
    OLD_ASN,
    RS_ASN,
    WIDE_ASN,
    WRONG_HOSTS,
    Exchange,
    prefixes,
    run_exchange,
    sessions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .daemons.lan import Host, Lan

EGP, SEQUENCE = 1, 2
UNKNOWN = 222
"""An attribute type that is not assigned, nor taken for another by tshark."""


@pytest.fixture(scope="module")
def capture(module_lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    for program in ("dumpcap", "tshark"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} not found (Debian package tshark)")
    capture = Capture(module_lan.host(1), tmp_path_factory.mktemp("capture") / "rs.pcapng")
    yield capture
    capture.stop()


@pytest.fixture(scope="module")
def exchange(
    module_lan: Lan, capture: Capture, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchange]:
    yield from run_exchange(Exchange(module_lan, tmp_path_factory.mktemp("exchange")))


@pytest.mark.parametrize("name", NAMES)
def test_sessions_are_up_on_both_sides(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    seen = exchange.rs.neighbors()
    for address in (daemon.host.address, daemon.host.address6):
        assert seen[address]["state"].lower() == "established"
        assert seen[address]["asn"] == ASNS[name]
        assert seen[address]["uptime_s"] >= 0
    assert daemon.established()


@pytest.mark.parametrize("name", NAMES)
def test_routes_of_a_member_reach_everybody_unchanged(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    announced = [
        daemon.announce(
            prefix,
            as_path=(65010, 100010) if daemon.sends_as_path else (),
            origin="egp",
            med=77,
            communities=("65010:5", "65010:65535"),
            large_communities=("100010:2:3",),
            ext_communities=[f"{kind}:65010:9" for kind in daemon.sends_ext],
        )
        for prefix in prefixes(name)
    ]
    for other in exchange.others(name):
        for route in announced:
            other.wait_route(route)
    assert not daemon.routes().keys() & set(prefixes(name)), "its own routes came back"

    ipv4, ipv6 = prefixes(name)
    daemon.withdraw(ipv4)
    for other in exchange.others(name):
        other.wait_gone(ipv4)
        assert ipv6 in other.routes()
    daemon.withdraw(ipv6)
    for other in exchange.others(name):
        other.wait_gone(ipv6)


def test_routes_of_a_collector_reach_everybody_unchanged(exchange: Exchange) -> None:
    attributes = {
        "origin": EGP,
        "as_path": ((SEQUENCE, (WIDE_ASN, 65010, 100010)),),
        "med": 4_000_000_000,
        "atomic_aggregate": True,
        "aggregator": (100010, "192.0.2.1"),
        "communities": (65010 << 16 | 5, 65535 << 16 | 65281),
        "ext_communities": (bytes.fromhex("0002fdf200000009"),),
        "large_communities": ((100010, 2, 3), (4_294_967_295, 4_294_967_295, 0)),
        "unknown": ((0xC0, UNKNOWN, b"\x01\x02\x03\x04"),),
    }
    for prefix in ("203.0.113.0/24", "2001:db8:ffff::/48"):
        sent = exchange.wide.announce([prefix], **attributes)
        six = ":" in prefix
        route = Route(
            prefix,
            next_hop=exchange.wide.host.address6 if six else exchange.wide.host.address,
            as_path=(WIDE_ASN, 65010, 100010),
            origin="egp",
            med=4_000_000_000,
            communities=frozenset({"65010:5", "65535:65281"}),
            ext_communities=frozenset({"rt:65010:9"}),
            large_communities=frozenset({"100010:2:3", "4294967295:4294967295:0"}),
        )
        for other in exchange.others("wide"):
            other.wait_route(route)
        # Bit for bit, and Partial on what rs does not know (RFC 4271 5).
        expected = {**sent, "unknown": ((0xE0, UNKNOWN, b"\x01\x02\x03\x04"),)}
        assert exchange.narrow.attributes[prefix] == expected
        exchange.wide.withdraw(prefix)
        for other in exchange.others("wide"):
            other.wait_gone(prefix)


def test_an_unknown_attribute_is_carried_with_partial_set(exchange: Exchange) -> None:
    exabgp = exchange.daemons["exabgp"]
    for prefix in prefixes("exabgp", 1):
        exabgp.announce(prefix, raw_attributes=[(UNKNOWN, 0xC0, b"\xde\xad")])
        exchange.wide.wait_routes(prefix)
        assert exchange.wide.attributes[prefix]["unknown"] == ((0xE0, UNKNOWN, b"\xde\xad"),)
        exabgp.withdraw(prefix)


@pytest.mark.parametrize("name", [name for name in NAMES if DAEMONS[name].asks_refresh])
def test_route_refresh_brings_the_routes_again(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    wanted = ("203.0.113.128/25", "2001:db8:fffe::/48")
    for prefix in wanted:
        exchange.wide.announce([prefix])
    held = {prefix: daemon.wait_routes(*wanted)[prefix] for prefix in wanted}
    for address in daemon.neighbors:
        before = daemon.updates_received()
        daemon.route_refresh(address)
        daemon.wait(lambda: daemon.updates_received() > before, f"be refreshed by {address}")  # noqa: B023
    after = daemon.routes()
    assert {prefix: after[prefix] for prefix in wanted} == held
    exchange.wide.withdraw(*wanted)
    daemon.wait_gone(*wanted)


@pytest.mark.parametrize("name", NAMES)
def test_exclusion_communities_take_effect(exchange: Exchange, name: str) -> None:
    daemon, wide, narrow = exchange.daemons[name], exchange.wide, exchange.narrow
    ipv4, ipv6 = prefixes(name, 2)
    # Not to the narrow one by a standard community, not to the wide one by a large one.
    tagged = daemon.announce(ipv4, communities=(f"0:{NARROW_ASN}", "65010:5"))
    daemon.announce(ipv6, large_communities=(f"{RS_ASN}:0:{WIDE_ASN}",))
    wide.wait_routes(ipv4)
    narrow.wait_routes(ipv6)
    assert wide.routes()[ipv4].communities == {"65010:5"}, "control communities are scrubbed"
    assert narrow.routes()[ipv6].large_communities == frozenset()
    for other in exchange.others(name, "narrow", "wide"):
        other.wait_routes(ipv4, ipv6)
    assert ipv4 not in narrow.attributes
    assert ipv6 not in wide.attributes
    # To nobody but the narrow one.
    daemon.announce(ipv4, communities=(f"0:{RS_ASN}", f"{RS_ASN}:{NARROW_ASN}"))
    narrow.wait_routes(ipv4)
    for other in exchange.others(name, "narrow"):
        other.wait_gone(ipv4)
    assert narrow.routes()[ipv4].next_hop == tagged.next_hop
    daemon.withdraw(ipv4)
    daemon.withdraw(ipv6)
    for other in exchange.others(name):
        other.wait_gone(ipv4, ipv6)


def test_two_octet_speakers_get_and_give_as4_path(
    exchange: Exchange, module_lan: Lan, tmp_path: Path
) -> None:
    host = module_lan.host(23)
    old = Collector(host, OLD_ASN, exchange.host.address, as4=False)
    with old:
        for prefix in ("203.0.113.64/26", "2001:db8:fffd::/48"):
            path = ((SEQUENCE, (WIDE_ASN, 65010, 100010)),)
            exchange.wide.announce([prefix], as_path=path, aggregator=(100010, "192.0.2.1"))
            old.wait_routes(prefix)
            assert old.attributes[prefix]["as_path"] == path
            assert old.attributes[prefix]["aggregator"] == (100010, "192.0.2.1")
            # The last one with an aggregator; other routes may have come or gone since.
            raw = next(
                found
                for update in reversed(old.updates())
                if AttrType.AGGREGATOR in (found := old.raw_attributes(update))
            )
            as2_path = b"".join(asn.to_bytes(2, "big") for asn in (AS_TRANS, 65010, AS_TRANS))
            assert raw[AttrType.AS_PATH] == b"\x02\x03" + as2_path
            assert AttrType.AS4_PATH in raw
            assert AttrType.AS4_AGGREGATOR in raw

            own = prefix.replace("/26", "/27").replace("fffd", "fffc")
            path = ((SEQUENCE, (OLD_ASN, 65010, 100010)),)
            old.announce([own], as_path=path)
            exchange.wide.wait_routes(own)
            assert exchange.wide.attributes[own]["as_path"] == path
    exchange.wide.wait_gone("203.0.113.64/27", "2001:db8:fffc::/48")

    exabgp = Exabgp(host, tmp_path / "old", OLD_ASN, [Neighbor(exchange.host.address, RS_ASN)])
    exabgp.asn4 = False
    with exabgp:
        exabgp.wait_established()
        route = exabgp.announce("203.0.113.96/27", as_path=(65010, 100010))
        exchange.wide.wait_route(route)
        seen = exabgp.wait_routes("203.0.113.64/26")["203.0.113.64/26"]
        assert seen.as_path in {(WIDE_ASN, 65010, 100010), (AS_TRANS, 65010, AS_TRANS)}
    exchange.wide.withdraw("203.0.113.64/26", "2001:db8:fffd::/48")


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_member_is_forgotten_and_comes_back(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    routes = [daemon.announce(prefix) for prefix in prefixes(name, 3)]
    gone = [route.prefix for route in routes]
    for collector in (exchange.wide, exchange.narrow):
        for route in routes:
            collector.wait_route(route)
    addresses = (daemon.host.address, daemon.host.address6)
    before = exchange.rs.established()
    daemon.kill()
    for collector in (exchange.wide, exchange.narrow):
        collector.wait_gone(*gone)
    assert exchange.rs.established() == before - set(addresses), "others went down too"
    daemon.start()
    exchange.rs.wait_established(*addresses)
    for collector in (exchange.wide, exchange.narrow):
        for route in routes:
            collector.wait_route(route)
    for prefix in gone:
        daemon.withdraw(prefix)
    exchange.wide.wait_gone(*gone)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_as_is_refused_and_nobody_else_notices(
    exchange: Exchange, name: str, module_lan: Lan, tmp_path: Path
) -> None:
    before = exchange.rs.established()
    uptimes = {a: n["uptime_s"] for a, n in exchange.rs.neighbors().items() if a in before}
    host = module_lan.host(WRONG_HOSTS[name])
    wire = Capture(host, tmp_path / "wrong.pcapng")
    wrong = DAEMONS[name](host, tmp_path / name, 65099, sessions(exchange.host, passive=True))
    with wrong:
        wrong.wait(
            lambda: {(True, "2/2"), (False, "2/2")} <= notifications(wire, exchange.host),
            "be told Bad Peer AS on both sessions",
        )
        assert not set(wrong.states().values()) & {"established"}
    wire.stop()
    after = exchange.rs.neighbors()
    assert exchange.rs.established() == before
    assert all(after[address]["uptime_s"] >= uptimes[address] for address in uptimes)


def test_a_wrong_as_gets_the_notification_of_rfc_4271(exchange: Exchange, module_lan: Lan) -> None:
    stranger = Collector(module_lan.host(23), 65099, exchange.host.address)
    stranger.connect()
    stranger.wait_closed()
    assert stranger.notification is not None
    assert stranger.notification[:2] == (2, 2)
    stranger.stop()


def test_enhanced_refresh_is_framed_by_markers(exchange: Exchange) -> None:
    wide, narrow = exchange.wide, exchange.narrow
    wide.announce(["203.0.113.0/25"])
    narrow.wait_routes("203.0.113.0/25")
    start = len(narrow.messages)
    narrow.route_refresh(Family.IPV4_UNICAST)
    narrow.wait(
        lambda: [body[2] for kind, body in narrow.messages[start:] if kind == 5] == [1, 2],
        "see BoRR and EoRR (RFC 7313)",
    )
    between = [kind for kind, _ in narrow.messages[start:] if kind in {2, 5}]
    assert between[0] == between[-1] == 5
    assert 2 in between
    wide.withdraw("203.0.113.0/25")
    narrow.wait_gone("203.0.113.0/25")


def test_a_refresh_of_ones_own_accord_replaces_what_a_member_had(exchange: Exchange) -> None:
    """RFC 7313 4.2, as BIRD does it after each change: all in one segment, family by family."""
    wide, narrow = exchange.wide, exchange.narrow
    kept, gone = ("203.0.113.1/32", "2001:db8:fffb::/48"), ("203.0.113.2/32", "2001:db8:fffa::/48")
    for prefix in (*kept, *gone):
        wide.announce([prefix])
    narrow.wait_routes(*kept, *gone)
    messages = []
    for family, prefix in zip(Family, kept, strict=True):
        messages += [
            wide.refresh_message(family, RefreshSubtype.BORR),
            codec.update_message(wide.announcement([prefix])),
            wide.refresh_message(family, RefreshSubtype.EORR),
        ]
    wide.send_bytes(b"".join(messages))
    narrow.wait_gone(*gone)
    wide.announce(["203.0.113.3/32"])
    narrow.wait_routes(*kept, "203.0.113.3/32")
    wide.withdraw(*kept, "203.0.113.3/32")
    narrow.wait_gone(*kept, "203.0.113.3/32")


def test_end_of_rib_was_sent_for_every_family(exchange: Exchange) -> None:
    for collector in (exchange.wide, exchange.narrow):
        assert collector.end_of_rib == set(Family)


def test_the_reference_decoder_found_no_fault(exchange: Exchange) -> None:
    assert exchange.wide.faults == []
    assert exchange.narrow.faults == []


def test_tshark_finds_nothing_malformed_in_what_rs_sent(
    exchange: Exchange, capture: Capture
) -> None:
    path = capture.stop()
    ours = f"(ip.src=={exchange.host.address} || ipv6.src=={exchange.host.address6})"
    bad = f"{ours} && bgp && (_ws.malformed || _ws.expert.severity==error)"
    assert tshark(path, bad) == ""
    for kind in (1, 2, 3, 4, 5):
        assert tshark(path, f"{ours} && bgp.type=={kind}"), f"no BGP message of type {kind} seen"


def notifications(capture: Capture, sender: Host) -> set[tuple[bool, str]]:
    """Return the NOTIFICATIONs a host has sent: over IPv6 or not, and "code/subcode"."""
    condition = f"(ip.src=={sender.address} || ipv6.src=={sender.address6}) && bgp.type==3"
    fields = ("ipv6.src", "bgp.notify.major_error", "bgp.notify.minor_error_open")
    lines = tshark(capture.path, condition, *fields).splitlines()
    words = [line.split("\t") for line in lines]
    return {(bool(source), f"{code}/{subcode}") for source, code, subcode in words}


def tshark(path: Path, display_filter: str, *fields: str) -> str:
    """Return a line for each packet that passes the filter: a summary, or these fields."""
    argv = ["tshark", "-r", str(path), "-Y", display_filter]
    if fields:
        argv += ["-T", "fields", *(word for field in fields for word in ("-e", field))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    # A capture that is still being written may end in the middle of a packet: status 2.
    assert done.returncode in {0, 2}, done.stderr
    return done.stdout
