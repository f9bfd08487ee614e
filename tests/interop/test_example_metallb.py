"""deploy/examples/metallb: FRR as MetalLB's speakers run it, and a router that shares the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import Frr
from .site import FrrSpeaker, RsSpeaker, Site, need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

V4, V6 = "203.0.113.10/32", "2001:db8:f::10/128"
"""A service that node1 and node2 announce."""
ONLY_NODE1 = "203.0.113.11/32"
NODE3_V4, NODE3_V6 = "203.0.113.20/32", "2001:db8:f::20/128"
ADDRESSES = {
    "node1": ("10.1.0.17", "2001:db8:1::11"),
    "node2": ("10.1.0.18", "2001:db8:1::12"),
    "node3": ("10.1.0.33", "2001:db8:1::21"),
    "router": ("10.1.0.254", "2001:db8:1::fe"),
}


class Network:
    def __init__(self, site: Site) -> None:
        self.site = site
        rs = site.machine("rs", "10.1.0.1/24", "2001:db8:1::1/64")
        self.rs = RsSpeaker(rs, "rs.toml")
        self.frr = {
            name: FrrSpeaker(site.machine(name, f"{four}/24", f"{six}/64"), f"{name}/frr.conf")
            for name, (four, six) in ADDRESSES.items()
        }
        for name in ("node1", "node2"):
            site.machine(name).add("lo", V4, V6)
        site.machine("router").add("lo", "10.1.255.1/32", "2001:db8:ffff::1/128")
        for name in ("node1", "node2"):
            # The way back to the client; in a cluster it is the nodes' default route.
            self.frr[name].machine.run("ip", "route", "add", "10.1.255.1", "via", "10.1.0.254")

    @property
    def router(self) -> FrrSpeaker:
        return self.frr["router"]

    def shares(self, prefix: str, count: int) -> bool:
        """Tell whether the router's kernel has so many next hops for a prefix."""
        return len(self.router.machine.kernel_routes(prefix)) == count


@pytest.fixture
def network(_namespaces: None, tmp_path: Path) -> Iterator[Network]:
    need(Frr)
    site = Site("metallb", tmp_path)
    try:
        network = Network(site)
        site.start_all(network.rs, *network.frr.values())
        network.rs.wait_up(
            *(a for name in ADDRESSES for a in ADDRESSES[name][: 2 - (name == "router")])
        )
        yield network
    finally:
        site.close()


def test_metallb(network: Network) -> None:
    router, rs = network.router, network.rs
    for prefix, addresses in ((V4, 0), (V6, 1)):
        seen = router.wait_count(prefix, 2)
        hops = {ADDRESSES[name][addresses] for name in ("node1", "node2")}
        assert {path.route.next_hop for path in seen} == hops
        assert {path.route.as_path for path in seen} == {(64512,)}
        assert {path.route.communities for path in seen} == {frozenset({"64500:100"})}
        router.wait(lambda prefix=prefix: network.shares(prefix, 2), f"share {prefix}")
    assert router.machine.kernel_routes(V4) == ["10.1.0.17", "10.1.0.18"]
    [only] = router.wait_count(ONLY_NODE1, 1)
    assert only.route.communities == frozenset()
    for prefix in (NODE3_V4, NODE3_V6):
        [seen] = router.wait_count(prefix, 1)
        assert seen.route.as_path == ()
        assert seen.route.local_pref == 200
        assert seen.originator == "10.1.0.33"
        assert seen.clusters == ("10.1.0.1",)
    for neighbor in rs.neighbors().values():
        assert neighbor["dynamic"] == (neighbor["address"] != "10.1.0.254")
    for name, (four, _) in ADDRESSES.items():
        sent = rs.neighbors()[four]["families"]["ipv4-unicast"]["advertised"]
        assert (sent > 0) == (name == "router"), "speakers are sent nothing"
    there = network.frr["node1"].machine, network.frr["node2"].machine
    client = router.machine
    router.wait(
        lambda: any(client.reaches("10.1.255.1", node, V4.removesuffix("/32")) for node in there),
        "reach the service",
    )

    # A node dies: the service stays by the other one, what only that node had goes.
    network.frr["node1"].kill()
    for prefix, hop in ((V4, "10.1.0.18"), (V6, None)):
        router.wait_count(prefix, 1)
        router.wait(lambda prefix=prefix: network.shares(prefix, 1), f"use one way to {prefix}")
        assert hop is None or router.machine.kernel_routes(prefix) == [hop]
    router.wait_count(ONLY_NODE1, 0)
    router.wait(lambda: client.reaches("10.1.255.1", there[1], V4.removesuffix("/32")), "get there")

    network.frr["node1"].launch()
    router.wait_count(V4, 2)
    router.wait(lambda: network.shares(V4, 2), "share the load again")
