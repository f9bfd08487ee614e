"""`rs` as a route reflector between BIRD, FRR and GoBGP: clusters, clients, and several paths.

All three are internal. Collectors outside the AS announce the same prefix, each its own path. RFC
4456, RFC 7911.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor, Seen
from .daemons.collector import Collector
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .daemons.lan import Lan

AS = 65000
A, B = "10.7.0.1", "10.7.0.2"
HOSTS = {"bird": 11, "frr": 12, "gobgp": 13}
CLUSTERS = {"bird": A, "frr": A, "gobgp": B}
COLLECTORS = {21: (65101,), 22: (65102,), 23: (65101,), 24: (65103, 65103)}
"""AS_PATH by host; the MED that tells paths apart is the last digit of the host."""
PREFIX = "203.0.113.0/24"
ALL, BEST_TWO, PER_AS = {1, 2, 3, 4}, {1, 2}, {1, 2, 4}


class Backbone:
    """A reflector, its three clients, and four external neighbors."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.host = lan.host(1)
        self.rs = Rs(self.host, directory / "rs", AS)
        self.rs.role = "route-reflector"
        self.rs.router = {"prefer_oldest": False}
        self.daemons: dict[str, Daemon] = {}
        for name, number in HOSTS.items():
            host = lan.host(number)
            neighbor = Neighbor(self.host.address, AS, FAMILIES[:1], receives_paths=True)
            self.daemons[name] = DAEMONS[name](host, directory / name, AS, [neighbor])
        self.collectors = {
            number: Collector(lan.host(number), path[0], self.host.address)
            for number, path in COLLECTORS.items()
        }
        self.configure()

    def configure(self, **options: dict[str, object]) -> None:
        """Set further keys of clients, by name."""
        self.rs.members = [
            Member(
                daemon.host.address,
                AS,
                FAMILIES[:1],
                options={
                    "route_reflector_client": True,
                    "cluster_id": CLUSTERS[name],
                    "add_path": "send",
                    **options.get(name, {}),
                },
            )
            for name, daemon in self.daemons.items()
        ] + [
            Member(c.host.address, c.asn, options={"require_policy": False})
            for c in self.collectors.values()
        ]

    def start(self) -> None:
        """Start everybody and wait until all sessions are up."""
        self.rs.start()
        for daemon in self.daemons.values():
            daemon.start()
        for collector in self.collectors.values():
            collector.connect()
            collector.wait_established()
        for daemon in self.daemons.values():
            daemon.wait_established()

    def stop(self) -> None:
        """Stop everybody, `rs` first."""
        for collector in self.collectors.values():
            collector.stop()
        self.rs.stop()
        for daemon in self.daemons.values():
            daemon.kill()

    def announce(self, number: int) -> None:
        """Let a collector announce its path."""
        path = ((2, COLLECTORS[number]),)
        self.collectors[number].announce([PREFIX], as_path=path, med=number % 10)

    def wait_meds(self, **due: set[int]) -> None:
        """Wait until the daemons have exactly these paths, by MED."""
        for name, meds in due.items():
            daemon = self.daemons[name]

            def found(daemon: Daemon = daemon) -> list[int | None]:
                return sorted(path.med or 0 for path in daemon.paths(PREFIX))

            try:
                daemon.wait(lambda f=found, m=meds: f() == sorted(m), f"have the paths {meds}")  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{error}\nit has {daemon.paths(PREFIX)}") from None


@pytest.fixture(scope="module")
def backbone(module_lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    for name in HOSTS:
        if (reason := DAEMONS[name].missing()) is not None:
            pytest.skip(reason)
    backbone = Backbone(module_lan, tmp_path_factory.mktemp("backbone"))
    try:
        backbone.start()
        yield backbone
    finally:
        backbone.stop()


@pytest.mark.parametrize("source", HOSTS)
def test_reflection_between_clusters(backbone: Backbone, source: str) -> None:
    """ORIGINATOR_ID is the source's, CLUSTER_LIST the clusters on the way; all else is untouched."""
    daemon = backbone.daemons[source]
    prefix = f"192.0.2.{HOSTS[source]}/32"
    daemon.announce(prefix, med=7)
    for name, other in backbone.daemons.items():
        if name == source:
            continue
        mine, its = CLUSTERS[name], CLUSTERS[source]
        want = Seen(
            med=7,
            local_pref=100,
            next_hop=daemon.host.address,
            originator=daemon.router_id,
            clusters=(its,) if mine == its else (mine, its),
        )
        try:
            other.wait(lambda o=other, w=want: o.paths(prefix) == [w], f"have {prefix}")  # type: ignore[misc]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{want}, not {other.paths(prefix)}") from None
    shown = backbone.rs.neighbors()[daemon.host.address]
    assert shown["families"][FAMILIES[0]]["advertised"] == 0, "its own route came back"
    assert shown["cluster_id"] == CLUSTERS[source]
    daemon.withdraw(prefix)
    for name, other in backbone.daemons.items():
        if name != source:
            other.wait_gone(prefix)


def test_clients_that_are_fully_meshed(backbone: Backbone) -> None:
    """Without client_to_client nothing goes on within a cluster; changed while sessions are up."""
    bird, frr, gobgp = backbone.daemons.values()
    prefix = "192.0.2.99/32"
    bird.announce(prefix)
    frr.wait_routes(prefix)
    gobgp.wait_routes(prefix)
    backbone.configure(frr={"client_to_client": False}, gobgp={"client_to_client": False})
    backbone.rs.reload()
    frr.wait_gone(prefix)
    assert prefix in gobgp.routes(), "another cluster must not lose it"
    backbone.configure()
    backbone.rs.reload()
    frr.wait_routes(prefix)
    bird.withdraw(prefix)
    frr.wait_gone(prefix)
    gobgp.wait_gone(prefix)


def test_a_loop_through_another_cluster_of_ours(backbone: Backbone) -> None:
    """What passed any of our clusters is refused, whoever sends it."""
    gobgp = backbone.daemons["gobgp"]
    host = backbone.collectors[21].host
    client = Collector(host, AS, backbone.host.address)
    backbone.collectors[21].stop()
    backbone.rs.members[-len(COLLECTORS)] = Member(
        host.address, AS, options={"route_reflector_client": True}
    )
    backbone.rs.reload()
    with client:
        loops = {"203.0.113.1/32": (A,), "203.0.113.2/32": ("10.9.9.9", B), PREFIX: ("10.9.9.9",)}
        for prefix, clusters in loops.items():
            client.announce(
                [prefix], as_path=(), local_pref=50, originator_id="10.8.8.8", cluster_list=clusters
            )
        gobgp.wait(lambda: gobgp.paths(PREFIX), f"have {PREFIX}")
        (path,) = gobgp.paths(PREFIX)
        assert path.clusters == (B, backbone.host.address, "10.9.9.9")
        assert (path.originator, path.local_pref) == ("10.8.8.8", 50)
        assert not gobgp.routes().keys() & {"203.0.113.1/32", "203.0.113.2/32"}
        shown = backbone.rs.neighbors()[host.address]
        assert shown["rejects"] == {"cluster-loop": 2}
    backbone.configure()
    backbone.rs.reload()
    gobgp.wait_gone(PREFIX)
    backbone.collectors[21].connect()
    backbone.collectors[21].wait_established()


LIMIT = {"add_path_limit": 2}
FIRST = {"add_path_send": "best-per-as"}


@pytest.mark.parametrize("turn", range(3))
def test_several_paths(backbone: Backbone, turn: int) -> None:
    """All, the best two and the first of each neighboring AS, each to each daemon in turn."""
    names = list(HOSTS)
    everything, two, firsts = names[turn:] + names[:turn]
    backbone.configure(**{two: LIMIT, firsts: FIRST})
    backbone.rs.reload()
    for number in COLLECTORS:
        backbone.announce(number)
    backbone.wait_meds(**{everything: ALL, two: BEST_TWO, firsts: PER_AS})
    backbone.collectors[21].withdraw(PREFIX)
    backbone.wait_meds(**{everything: {2, 3, 4}, two: {2, 3}, firsts: {2, 3, 4}})
    backbone.announce(21)
    backbone.wait_meds(**{everything: ALL, two: BEST_TWO, firsts: PER_AS})
    for collector in backbone.collectors.values():
        collector.withdraw(PREFIX)
    backbone.wait_meds(bird=set(), frr=set(), gobgp=set())


@pytest.mark.parametrize("name", ["bird", "gobgp"])
def test_several_paths_from_a_client(lan: Lan, tmp_path: Path, name: str) -> None:
    """What a daemon sends with identifiers is all taken in, or as much of it as it may send."""
    if (reason := DAEMONS[name].missing()) is not None:
        pytest.skip(reason)
    host, other = lan.host(1), lan.host(2)
    tags = ["65000:1", "65000:2", "65000:3"]
    neighbor = Neighbor(host.address, AS, FAMILIES[:1], passive=True, sends_paths=True)
    daemon = DAEMONS[name](other, tmp_path / name, AS, [neighbor])
    daemon.more = {PREFIX: tags}
    rs = Rs(host, tmp_path / "rs", AS)
    rs.role = "route-reflector"
    client = {"route_reflector_client": True, "add_path": "receive"}
    rs.members = [Member(other.address, AS, FAMILIES[:1], passive=False, options=client)]

    def held() -> list[dict[str, Any]]:
        found = rs.show("route", PREFIX)
        return list(found["routes"][0]["paths"]) if found["routes"] else []

    with rs, daemon:
        rs.wait(lambda: len(held()) == 3, f"have three paths of {PREFIX}")
        assert len({path["path_id"] for path in held()}) == 3
        assert sorted(path["attributes"]["communities"] for path in held()) == [[t] for t in tags]
        client["add_path_receive_limit"] = 2
        rs.reload()

        def refused() -> int:
            shown = rs.neighbors()[other.address]["families"][FAMILIES[0]]
            return shown["refused"] if shown["received"] == 2 else 0

        rs.wait(lambda: refused() == 1, "take in two paths and count the third")
        assert len(held()) == 2
