"""Tables of prefixes: longest match, and never across IP versions."""

import ipaddress
import random

from rs.config import Neighbor, Router
from rs.prefixset import NeighborIndex, NextHopMetrics, PrefixTable

ROUTER = Router(asn=64500, router_id="10.0.0.1")


def neighbor(name: str) -> Neighbor:
    if "/" in name:
        return Neighbor(range=name, router=ROUTER)
    return Neighbor(address=name, asns=(1,), router=ROUTER)


def test_exact_before_range_and_longer_before_shorter():
    names = ["10.1.0.1", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "2001:db8::5"]
    index = NeighborIndex(neighbor(name) for name in names)

    def name_of(address):
        found = index.find(address)
        return found and found.name

    assert name_of("10.1.0.1") == "10.1.0.1"
    assert name_of("10.1.0.2") == "10.1.0.0/16"
    assert name_of("10.2.0.1") == "10.0.0.0/8"
    assert name_of("11.0.0.1") is None
    assert name_of("2001:db8::5") == "2001:db8::5"
    assert name_of("2001:db8::6") == "2001:db8::/32"
    assert name_of("2001:db9::6") is None


def test_versions_are_kept_apart():
    index = NeighborIndex([neighbor("::/0")])
    assert index.find("10.0.0.1") is None
    assert index.find("2001:db8::1").name == "::/0"
    index = NeighborIndex([neighbor("0.0.0.0/0")])
    assert index.find("::1") is None
    assert index.find("10.0.0.1").name == "0.0.0.0/0"


def test_empty_index_knows_nobody():
    assert NeighborIndex([]).find("10.0.0.1") is None
    assert NeighborIndex([]).find("::1") is None


def test_without_igp_everything_is_near():
    assert NextHopMetrics(None).find("192.0.2.1") == 0


def test_with_igp_the_longest_prefix_counts_and_the_rest_is_unreachable():
    metrics = NextHopMetrics({"10.0.0.0/8": 10, "10.1.0.0/16": 0, "2001:db8::/32": 7})
    assert metrics.find("10.2.0.1") == 10
    assert metrics.find("10.1.0.1") == 0
    assert metrics.find("2001:db8::1") == 7
    assert metrics.find("192.0.2.1") is None
    assert NextHopMetrics({}).find("192.0.2.1") is None


def test_parent_and_length():
    table = PrefixTable()
    for prefix in ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "2001:db8::/32"]:
        table.add(prefix, prefix)
    assert len(table) == 4
    assert sorted(table) == ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "2001:db8::/32"]
    assert table.parent("10.1.1.0/24") == "10.1.0.0/16"
    assert table.parent("10.0.0.0/8") is None
    assert table.parent("2001:db8::/32") is None


def test_longest_match_equals_a_walk_over_all_prefixes():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for bits, network in ((32, ipaddress.IPv4Network), (128, ipaddress.IPv6Network)):
        table = PrefixTable()
        prefixes = []
        base = rng.getrandbits(bits) >> 24 << 24
        for _ in range(200):
            length = rng.randrange(bits - 24, bits + 1)
            host = base | rng.getrandbits(24)
            prefix = network((host >> (bits - length) << (bits - length), length))
            prefixes.append(prefix)
            table.add(str(prefix), str(prefix))
        for _ in range(500):
            address = type(prefixes[0].network_address)(base | rng.getrandbits(24))
            covering = [prefix for prefix in prefixes if address in prefix]
            longest = max(covering, key=lambda prefix: prefix.prefixlen, default=None)
            assert table.find(str(address)) == (longest and str(longest))
