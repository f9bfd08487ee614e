"""deploy/examples/calico: two reflectors, and BIRD on the nodes of two Kubernetes clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import Bird
from .site import BirdSpeaker, RsSpeaker, Site, need

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = {"east1": "10.0.1.11", "east2": "10.0.1.12", "west1": "10.0.2.11", "west2": "10.0.2.12"}
BLOCKS = {
    "east1": "10.244.0.0/26",
    "east2": "10.244.0.64/26",
    "west1": "10.244.128.0/26",
    "west2": "10.244.128.64/26",
}
PODS = {
    "east1": "10.244.0.5",
    "east2": "10.244.0.70",
    "west1": "10.244.128.5",
    "west2": "10.244.128.70",
}
MOVED = "10.244.0.7"
"""A pod with an address of east1's block that lives on east2."""
SERVICE = "10.96.0.10/32"
REFLECTORS = {"Global_10_0_0_2", "Global_10_0_0_3"}


class Cluster:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.rr = [
            RsSpeaker(site.machine(f"rr{n}", f"10.0.0.{n + 1}/16"), f"rr{n}.toml") for n in (1, 2)
        ]
        self.nodes = {
            name: BirdSpeaker(site.machine(name, f"{address}/16"), f"{name}.conf", "-R")
            for name, address in NODES.items()
        }
        for name, pod in PODS.items():
            site.machine(name).add("lo", f"{pod}/32")
        site.machine("east2").add("lo", f"{MOVED}/32")

    def reaches(self, one: str, other: str, target: str | None = None) -> bool:
        there = self.site.machine(other)
        return self.site.machine(one).reaches(PODS[one], there, target or PODS[other])


@pytest.fixture
def cluster(_namespaces: None, tmp_path) -> Iterator[Cluster]:
    need(Bird)
    site = Site("calico", tmp_path)
    try:
        cluster = Cluster(site)
        site.start_all(*cluster.rr, *cluster.nodes.values())
        for node in cluster.nodes.values():
            node.wait_up(*REFLECTORS)
        yield cluster
    finally:
        site.close()


def test_calico(cluster: Cluster) -> None:
    nodes = cluster.nodes
    for name, node in nodes.items():
        for other in BLOCKS.keys() - {name}:
            # One from each reflector; a route of west, which is no client's, each has from the
            # other reflector as well.
            node.wait_count(BLOCKS[other], 4 if other.startswith("west") else 2)
    check_attributes(cluster)
    # Packets go between all pods, also to the one that left its block.
    for one, other in (("east1", "east2"), ("east1", "west2"), ("west1", "west2")):
        nodes[one].wait(lambda one=one, other=other: cluster.reaches(one, other), f"reach {other}")
    nodes["west1"].wait(lambda: cluster.reaches("west1", "east2", MOVED), "reach the moved pod")

    # A reflector dies: no node loses a route, and everything still arrives.
    monitors = [node.machine.watch_routes() for node in nodes.values()]
    first, second = cluster.rr
    first.kill()
    second.wait(lambda: "10.0.0.2" not in second.up(), "lose the other reflector")
    for name, node in nodes.items():
        for other in BLOCKS.keys() - {name}:
            node.wait_paths(BLOCKS[other], lambda seen: len(seen) >= 1, "still")
    assert cluster.reaches("east1", "west2")
    assert cluster.reaches("west1", "east2", MOVED)
    first.launch()
    first.wait_ready()
    for node in nodes.values():
        node.wait_up(*REFLECTORS)

    # calico/node restarts on a node, and nobody hears of it (RFC 4724).
    nodes["east2"].kill()
    for reflector in cluster.rr:
        reflector.wait(lambda r=reflector: NODES["east2"] not in r.up(), "lose east2")
    others = nodes.keys() - {"east2"}
    for name in others:
        assert len(nodes[name].table()[BLOCKS["east2"]]) == 2, name
    assert cluster.reaches("west1", "east2", MOVED)
    nodes["east2"].launch()
    nodes["east2"].wait_ready()
    nodes["east2"].wait_up(*REFLECTORS)
    nodes["east2"].wait_count(BLOCKS["east1"], 2)
    for name in others:
        nodes[name].wait_count(BLOCKS["east2"], 2)
    deleted = [
        line for log in monitors for line in log.read_text().splitlines() if "Deleted" in line
    ]
    assert not [line for line in deleted if "10.244." in line], "routes of pods went meanwhile"

    # A node is drained: its routes go, and those of the others stay.
    nodes["east2"].stop()
    for name in ("east1", "west1", "west2"):
        nodes[name].wait_count(BLOCKS["east2"], 0)
        nodes[name].wait_count(f"{MOVED}/32", 0)
    assert cluster.reaches("east1", "west2")


def check_attributes(cluster: Cluster) -> None:
    for seen in cluster.nodes["east1"].table()[BLOCKS["east2"]]:
        assert seen.route.next_hop == NODES["east2"]
        assert seen.route.as_path == ()
        assert seen.route.local_pref == 100
        assert seen.originator == NODES["east2"]
        assert seen.clusters == ("244.0.0.1",)
    for seen in cluster.nodes["east1"].table()[BLOCKS["west1"]]:
        assert seen.route.next_hop == NODES["west1"]
        assert seen.route.as_path == (64513,)
        # By a reflector's own session with the node, or by the other reflector's.
        assert (seen.originator, seen.clusters) in {
            (None, ()),
            ("10.0.0.2", ("244.0.0.1",)),
            ("10.0.0.3", ("244.0.0.1",)),
        }
    for seen in cluster.nodes["west2"].table()[BLOCKS["west1"]]:
        assert seen.route.next_hop == NODES["west1"]
        assert seen.route.as_path == (64512, 64513)
    # Both nodes of the service by each reflector, and the kernel shares the load.
    west = cluster.nodes["west1"]
    seen = west.wait_count(SERVICE, 4)
    assert {path.route.next_hop for path in seen} == {NODES["east1"], NODES["east2"]}
    hops = [NODES["east1"], NODES["east2"]]
    west.wait(lambda: west.machine.kernel_routes(SERVICE) == hops, "share the load")
    west.wait_count(f"{MOVED}/32", 2)
    for reflector in cluster.rr:
        neighbors = reflector.neighbors()
        assert neighbors.keys() >= {*NODES.values()}
        assert all(neighbors[address]["dynamic"] for address in NODES.values())
