"""deploy/examples/hierarchy: two levels of reflectors, six processes of `rs`, clients of three kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import Bird, Frr, Gobgp
from .site import BirdSpeaker, FrrSpeaker, GobgpSpeaker, RsSpeaker, Site, Speaker, need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFLECTORS = {
    "top1": "10.2.0.1",
    "top2": "10.2.0.2",
    "north1": "10.2.1.17",
    "north2": "10.2.1.18",
    "south1": "10.2.1.33",
    "south2": "10.2.1.34",
}
TOP, NORTH, SOUTH = "0.0.0.1", "0.0.0.16", "0.0.0.32"
CLIENTS: dict[str, tuple[type[Speaker], str, str, str]] = {
    "north-bird": (BirdSpeaker, "north-bird.conf", "10.2.16.10", "198.51.100.0/26"),
    "north-gobgp": (GobgpSpeaker, "north-gobgp.toml", "10.2.16.11", "198.51.100.64/26"),
    "south-bird": (BirdSpeaker, "south-bird.conf", "10.2.32.10", "198.51.100.128/26"),
    "south-frr": (FrrSpeaker, "south-frr/frr.conf", "10.2.32.11", "198.51.100.192/26"),
}
PREFIXES = {name: prefix for name, (_, _, _, prefix) in CLIENTS.items()}


class Network:
    def __init__(self, site: Site) -> None:
        self.rs = {
            name: RsSpeaker(site.machine(name, f"{address}/16"), f"{name}.toml")
            for name, address in REFLECTORS.items()
        }
        self.clients = {
            name: kind(site.machine(name, f"{address}/16"), config)
            for name, (kind, config, address, _) in CLIENTS.items()
        }

    def complete(self, name: str) -> bool:
        """Tell whether a client has every other one's route from both of its reflectors."""
        table = self.clients[name].table()
        return all(len(table.get(PREFIXES[other], ())) == 2 for other in PREFIXES.keys() - {name})

    def wait_complete(self) -> None:
        for name, client in self.clients.items():
            client.wait(lambda name=name: self.complete(name), "have everything twice")


@pytest.fixture
def network(_namespaces: None, tmp_path: Path) -> Iterator[Network]:
    need(Bird, Frr, Gobgp)
    site = Site("hierarchy", tmp_path)
    try:
        network = Network(site)
        site.start_all(*network.rs.values(), *network.clients.values())
        gobgp = network.clients["north-gobgp"]
        gobgp.machine.run(
            "gobgp", "global", "rib", "add", PREFIXES["north-gobgp"], "nexthop", "10.2.16.11"
        )
        yield network
    finally:
        site.close()


def test_hierarchy(network: Network) -> None:
    rs, clients = network.rs, network.clients
    network.wait_complete()
    for name, client in clients.items():
        for other, (_, _, address, prefix) in CLIENTS.items():
            for seen in client.table()[prefix] if other != name else ():
                assert seen.route.next_hop == address
                assert seen.route.local_pref in {100, None}  # GoBGP does not show it
                assert seen.originator == address
                mine, theirs = (NORTH if n.startswith("north") else SOUTH for n in (name, other))
                way = (mine,) if mine == theirs else (mine, TOP, theirs)
                assert seen.clusters == way, (name, other)
    # What comes back to its cluster is refused there: no loops.
    for name in ("north1", "south2"):
        reasons = set(rs[name].rejected().values())
        assert reasons == {"cluster-loop"}, (name, reasons)

    # One top reflector dies: nobody loses a route, not even for a moment.
    withdrawn = {name: clients[name].withdrawals() for name in ("north-bird", "south-bird")}
    rs["top1"].kill()
    for name in ("top2", "north1", "north2", "south1", "south2"):
        rs[name].wait(lambda name=name: REFLECTORS["top1"] not in rs[name].up(), "lose top1")
    assert all(network.complete(name) for name in clients)

    # Now one reflector of each cluster too: everything still gets through, by one path.
    rs["north2"].kill()
    rs["south1"].kill()
    for name, client in clients.items():
        for other in PREFIXES.keys() - {name}:
            client.wait_count(PREFIXES[other], 1)
    for name, before in withdrawn.items():
        assert clients[name].withdrawals() == before, name

    rs["top1"].launch()
    rs["top1"].wait_ready()
    rs["top1"].wait_up(*(REFLECTORS[name] for name in ("top2", "north1", "south2")))
