"""Every rule of import and every pair of them with real sessions, on a daemon of its own.

One member announces a route for each rule, for each two rules, and for each rule with all that come
after it. What is checked: the reason that the API gives, which is that of the first rule in order,
and that the other members receive exactly the routes without a fault, as they were announced.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from rs.client import Client
from rs.iana import RejectReason as R
from rs.show import reject_label
from tests.interop.daemons.collector import Collector
from tests.interop.daemons.lan import wait_until

ROOT = Path(__file__).resolve().parent.parent
RS, A, B, C = 64500, 1001, 1002, 1003
GOOD_ORIGIN, BAD_ORIGIN, FOREIGN, TRANSIT, NEVER = 7, 8, 9, 174, 5555
HOPS = (("10.9.0.1", "2001:db8::9:1"), ("10.9.0.2", "2001:db8::9:2"))
"""Next hops, IPv4 and IPv6: those that are allowed, and others."""
SEQUENCE, SET = 2, 1


class Rule(NamedTuple):
    """A rule, what breaks it, and what its breach is called."""

    name: str
    reason: R
    code: int | None
    """ARouteServer's."""
    bit: int = 0
    """For rules about prefixes: lists name the prefixes that have this bit in their second part."""


RULES = (
    Rule("AS loop", R.AS_LOOP, None),
    Rule("next hop of nobody", R.NEXT_HOP_INVALID, 5),
    Rule("AS_SET", R.AS_SET, None),
    Rule("leak", R.OTC_LEAK, None),
    Rule("next hop", R.FILTER_NEXT_HOP, 5),
    Rule("path length", R.FILTER_AS_PATH_LENGTH, 1),
    Rule("first AS", R.FIRST_AS, 6),
    Rule("bogon AS", R.FILTER_BOGON_ASN, 7),
    Rule("transit free", R.FILTER_TRANSIT_FREE, 8),
    Rule("never via", R.FILTER_NEVER_VIA_ROUTE_SERVER, 15),
    Rule("communities", R.FILTER_COMMUNITIES, None),
    Rule("not global unicast", R.FILTER_NOT_GLOBAL_UNICAST, 10),
    Rule("black list", R.FILTER_BLACK_LIST, 3, 1),
    Rule("neighbor black list", R.FILTER_NEIGHBOR_BLACK_LIST, 11, 2),
    Rule("bogon", R.FILTER_BOGON_PREFIX, 2, 4),
    Rule("IRR origin", R.FILTER_IRR_ORIGIN, 9),
    Rule("IRR prefix", R.FILTER_IRR_PREFIX, 12, 8),
    Rule("RPKI", R.FILTER_RPKI_INVALID, 14, 16),
    Rule("prefix length", R.FILTER_PREFIX_LENGTH, 13),
)
"""In the order in which they are asked."""
ONLY_IPV6 = "not global unicast"
BITS = {rule.name: rule.bit for rule in RULES if rule.bit}


def blocks(name: str, *, without: bool = False) -> list[str]:
    """Return what covers the prefixes that break a rule about prefixes, or all others."""
    chosen = [mask for mask in range(32) if bool(mask & BITS[name]) != without]
    return [
        text for m in chosen for text in (f"20.{m}.0.0/16", f"2a00:{m:x}::/32", f"fd00:{m:x}::/32")
    ]


def listed(name: str, *, without: bool = False) -> str:
    """Return the same as a list of the configuration, with everything below."""
    return json.dumps(
        [f"{one} le {128 if ':' in one else 32}" for one in blocks(name, without=without)]
    )


def config(port: int, api: str) -> str:
    members = "".join(
        f'[[neighbors]]\naddress = "127.0.1.{asn % 10}"\nasn = {asn}\npassive = true\n'
        for asn in (A, B, C)
    )
    return f"""
[router]
asn = {RS}
router_id = "10.0.0.1"
listen = ["127.0.0.1:{port}"]
[api]
socket = "{api}"
[defaults]
local_role = "rs"
[rpki]
files = ["vrps.json"]
[filters]
next_hop = "authorized"
next_hop_addresses = {json.dumps(HOPS[0])}
max_as_path_length = 6
bogon_asns = true
transit_free_asns = true
never_via_route_server_asns = [{NEVER}]
max_communities = 4
ipv6_global_unicast_only = true
black_list = {listed("black list")}
bogon_prefixes = {listed("bogon")}
irr_origins = "members"
irr_prefixes = "members"
irr_enforce_origin = true
irr_enforce_prefix = true
rpki = "reject"
prefix_length_ipv4 = [8, 24]
prefix_length_ipv6 = [12, 48]
[as_sets.members]
asns = [{A}, {GOOD_ORIGIN}]
[prefix_sets.members]
prefixes = {listed("IRR prefix", without=True)}
{members}
""".replace(
        f"asn = {A}\npassive = true\n",
        f"asn = {A}\npassive = true\n[neighbors.filters]\n"
        f"neighbor_black_list = {listed('neighbor black list')}\n",
    )


def route(faults: frozenset[str], number: int, *, ipv6: bool) -> tuple[str, dict]:
    """Return a prefix and attributes that break just these rules."""
    mask = sum(BITS.get(name, 0) for name in faults)
    longer = "prefix length" in faults
    if ipv6:
        first = "fd00" if ONLY_IPV6 in faults else "2a00"
        prefix = f"{first}:{mask:x}:{number:x}::/{49 if longer else 48}"
    else:
        prefix = f"20.{mask}.{number}.0/{25 if longer else 24}"
    hop = HOPS["next hop" in faults][ipv6]
    if "next hop of nobody" in faults:
        hop = "ff02::1" if ipv6 else "127.0.0.1"
    path = [FOREIGN if "first AS" in faults else A]
    path += [RS] * ("AS loop" in faults) + [64512] * ("bogon AS" in faults)
    path += [TRANSIT] * ("transit free" in faults) + [NEVER] * ("never via" in faults)
    path += [3] * (6 * ("path length" in faults))
    path.append(BAD_ORIGIN if "IRR origin" in faults else GOOD_ORIGIN)
    segments = [(SEQUENCE, tuple(path))]
    if "AS_SET" in faults:
        segments.append((SET, (GOOD_ORIGIN,)))
    attributes = {"as_path": tuple(segments), "next_hop": hop}
    if "communities" in faults:
        attributes["communities"] = tuple(range(0x00070001, 0x00070006))
    if "leak" in faults:
        attributes["otc"] = A
    return str(ipaddress.ip_network(prefix)), attributes


def cases(*, ipv6: bool) -> list[frozenset[str]]:
    """Return every set of faults that is tried."""
    names = [rule.name for rule in RULES if ipv6 or rule.name != ONLY_IPV6]
    chosen = [frozenset([name]) for name in names]
    chosen += [frozenset(pair) for pair in itertools.combinations(names, 2)]
    return chosen + [frozenset(names[i:]) for i in range(len(names))]


class Host:
    """An address of the loopback, as a Collector takes it."""

    def __init__(self, asn: int) -> None:
        self.address = f"127.0.1.{asn % 10}"
        self.address6 = HOPS[0][1]

    def connect(self, address: str, port: int, *, timeout: float) -> socket.socket:
        return socket.create_connection((address, port), timeout, (self.address, 0))


def up(member: Collector) -> bool:
    """Connect, again if need be: a daemon that has not read everything yet takes nobody."""
    if member.closed or not member.messages:
        member.stop()
        member.connect()
        wait_until(lambda: member.established or member.closed, timeout=20, what="an answer")
    return member.established


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """A daemon with three members up."""
    folder = tmp_path_factory.mktemp("filters")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    vrps = [
        {"prefix": prefix, "maxLength": 128 if ":" in prefix else 32, "asn": FOREIGN}
        for prefix in blocks("RPKI")
    ]
    (folder / "vrps.json").write_text(json.dumps({"roas": vrps}))
    (folder / "rs.toml").write_text(config(port, "api.sock"))
    with ExitStack() as stack:
        output = stack.enter_context((folder / "output").open("wb"))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "rs", "run", folder / "rs.toml"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        members = {asn: Collector(Host(asn), asn, "127.0.0.1", port=port) for asn in (A, B, C)}
        for member in members.values():
            stack.callback(member.stop)
            wait_until(lambda member=member: up(member), timeout=20, what="sessions to be up")
        client = Client(str(folder / "api.sock"))
        stack.callback(client.close)
        yield members, client


def test_every_rule_and_every_two_of_them(exchange):
    members, client = exchange
    expected, good = {}, {}
    for ipv6 in (False, True):
        tried = cases(ipv6=ipv6)
        for number, faults in enumerate(tried):
            prefix, attributes = route(faults, number, ipv6=ipv6)
            rule = next(rule for rule in RULES if rule.name in faults)
            expected[prefix] = (rule, sorted(faults))
            members[A].announce([prefix], **attributes)
        for number in range(20):
            prefix, attributes = route(frozenset(), len(tried) + number, ipv6=ipv6)
            good[prefix] = members[A].announce([prefix], **attributes)
    assert len(expected) == sum(len(cases(ipv6=ipv6)) for ipv6 in (False, True))
    for receiver in (members[B], members[C]):
        receiver.wait_routes(*good)
        assert receiver.faults == []
        # A route server marks what it passes on (RFC 9234 5); all else is as it was announced.
        assert receiver.attributes == {p: a | {"otc": RS} for p, a in good.items()}
    found = client.get("/v1/routes", {"neighbor": "127.0.1.1", "view": "rejected"})
    said = {item["prefix"]: (item["reject_reason"], item["why"]) for item in found}
    assert said.keys() == expected.keys()
    wrong = {
        prefix: (faults, said[prefix][0])
        for prefix, (rule, faults) in expected.items()
        if said[prefix][0] != reject_label(rule.reason)
        or (f"(reject code {rule.code}" in said[prefix][1]) != (rule.code is not None)
    }
    assert wrong == {}
    assert not members[A].attributes


def test_what_is_mended_goes_out_and_what_breaks_is_withdrawn(exchange):
    members, client = exchange
    for rule in RULES:
        ipv6 = rule.name == ONLY_IPV6
        if rule.bit or rule.name in {ONLY_IPV6, "prefix length"}:
            continue  # the prefix itself is at fault
        prefix, attributes = route(frozenset([rule.name]), 250, ipv6=ipv6)
        _, sound = route(frozenset(), 250, ipv6=ipv6)
        members[A].announce([prefix], **sound)
        members[B].wait_routes(prefix)
        members[A].announce([prefix], **attributes)
        members[B].wait_gone(prefix)
        (found,) = client.get(f"/v1/route/{prefix}", {"match": "exact"})["routes"]
        (path,) = found["paths"]
        assert path["reject_reason"] == reject_label(rule.reason)
    members[A].announce([prefix], **sound)
    members[C].wait_routes(prefix)
    members[A].withdraw(prefix)
    members[C].wait_gone(prefix)
