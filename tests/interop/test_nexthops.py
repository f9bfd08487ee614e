"""A reflector that follows its kernel's routing table, and one that chooses for groups of clients.

`rs` has a namespace of its own, and in it a routing table that the test changes as an IGP would.
Two collectors announce the same prefixes with next hops of their own; BIRD, FRR and a third
collector are clients and must have the right one.
"""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.reference.update import Context

from .daemons import DAEMONS
from .daemons.base import Neighbor
from .daemons.collector import Collector
from .daemons.lan import Host, ip
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .daemons.base import Daemon
    from .daemons.lan import Lan

ASN = 64500
FOUR, SIX = "203.0.113.0/24", "2001:db8:f00::/48"
ONE, TWO = "10.50.1.1", "10.50.2.1"
ONE6, TWO6 = "2001:db8:50:1::1", "2001:db8:50:2::1"
"""Next hops; nobody lives there. Clients have them on a network of their own, the reflector not."""
SOON = 1.0
"""Seconds in which a client must have the other path."""
LATENCY = 1.0
"""Seconds that a loaded machine may take on top, for the processes in between."""


class Backbone:
    """A reflector, two sources of the same prefixes, and clients."""

    def __init__(
        self,
        lan: Lan,
        directory: Path,
        tables: str,
        *,
        clients: Iterable[str] = ("bird", "frr"),
        **groups: str,
    ) -> None:
        """Configure everybody; `groups` are names of clients' groups by client."""
        self.host = lan.host(1)
        self.directory = directory
        self.rs = Rs(self.host, directory / "rs", ASN)
        self.rs.role = "route-reflector"
        self.rs.tables = tables
        neighbors = [Neighbor(self.host.address, ASN)]
        self.clients: dict[str, Daemon] = {
            name: DAEMONS[name](lan.host(number), directory / name, ASN, neighbors)
            for number, name in enumerate(clients, 11)
        }
        self.one, self.two, self.watcher = (
            self.collector(lan.host(number)) for number in (21, 22, 23)
        )
        hosts = {name: client.host for name, client in self.clients.items()}
        hosts |= {"one": self.one.host, "two": self.two.host, "watcher": self.watcher.host}
        for name, host in hosts.items():
            options: dict[str, object] = {"route_reflector_client": True}
            if name in groups:
                options["orr"] = groups[name]
            self.rs.members.append(Member(host.address, ASN, options=options))

    def collector(self, host: Host) -> Collector:
        found = Collector(host, ASN, self.host.address)
        found.context = Context(ibgp=True, families=found.families)
        return found

    def start(self) -> None:
        self.rs.start()
        for client in self.clients.values():
            number = client.host.number
            ip(
                "-n",
                client.host.namespace,
                batch=f"address add 10.50.0.{number}/16 dev eth0\n"
                f"address add 2001:db8:50::{number}/48 dev eth0 nodad\n",
            )
            client.start()
        for collector in (self.one, self.two, self.watcher):
            collector.connect()
            collector.wait_established()
        for client in self.clients.values():
            client.wait_established()
        path = ((2, (65001,)),)
        for source, hop, hop6 in ((self.one, ONE, ONE6), (self.two, TWO, TWO6)):
            source.announce([FOUR], as_path=path, next_hop=hop, local_pref=100)
            source.announce([SIX], as_path=path, next_hop=hop6, local_pref=100)

    def stop(self) -> None:
        for collector in (self.one, self.two, self.watcher):
            collector.stop()
        self.rs.stop()
        for client in self.clients.values():
            client.kill()

    def ip(self, *commands: str) -> float:
        """Change the reflector's kernel; return when that was done."""
        ip("-n", self.host.namespace, batch="\n".join(commands) + "\n")
        return time.monotonic()

    def watch(self, hop: str | None, prefix: str = FOUR, *, since: float | None = None) -> None:
        """Wait until the watcher has a prefix with a next hop; in time if `since` is given."""

        def there() -> bool:
            found = self.watcher.attributes.get(prefix)
            return (found and found["next_hop"]) == hop

        self.watcher.wait(there, f"have {prefix} by {hop}")
        if since is not None:
            assert time.monotonic() - since < SOON + LATENCY

    def has(self, hop: str, prefix: str = FOUR) -> Callable[[Daemon], None]:
        """Return a check that a client gets a prefix with a next hop."""

        def check(client: Daemon) -> None:
            def there() -> bool:
                found = client.routes().get(prefix)
                return found is not None and found.next_hop == hop

            client.wait(there, f"have {prefix} by {hop}")

        return check


@pytest.fixture
def backbone(lan: Lan, tmp_path: Path) -> Iterator[Callable[..., Backbone]]:
    for name in ("bird", "frr"):
        if (reason := DAEMONS[name].missing()) is not None:
            pytest.skip(reason)
    made: list[Backbone] = []

    def make(tables: str, **groups: str) -> Backbone:
        made.append(Backbone(lan, tmp_path, tables, **groups))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.stop()


EXIT = (
    "link add exit1 type veth peer name far1",
    "link set far1 up",
    "link set exit1 up",
    "address add 10.60.1.1/24 dev exit1",
    "address add 2001:db8:60::1/64 dev exit1 nodad",
)
"""An interface of the reflector's with nobody behind it."""


def test_clients_follow_the_kernel(backbone: Callable[..., Backbone]) -> None:
    """Routes added, deleted and replaced, carrier lost, a link down: the other path in a second."""
    net = backbone('[next_hops]\nsource = "kernel"\n')
    net.ip(
        *EXIT,
        "route add 10.50.1.0/24 via 10.60.1.2 metric 10",
        f"route add 10.50.2.0/24 via {net.two.host.address} metric 20",
        "route add 2001:db8:50:1::/64 via 2001:db8:60::2 metric 10",
        f"route add 2001:db8:50:2::/64 via {net.two.host.address6} metric 20",
        "route add default via 10.60.1.2",
    )
    net.start()
    net.watch(ONE)
    net.watch(ONE6, SIX)
    for client in net.clients.values():
        net.has(ONE)(client)
        net.has(ONE6, SIX)(client)
    found = {hop["address"]: hop for hop in net.rs.show("nexthops")}
    assert (found[ONE]["metric"], found[TWO]["metric"]) == (10, 20)
    assert found[ONE]["route"] == "10.50.1.0/24"
    assert (found[ONE]["gateway"], found[ONE]["interface"]) == ("10.60.1.2", "exit1")
    assert found[ONE6]["paths"] == 1
    updates = net.watcher.updates()

    # Another metric: iproute2 makes that two steps.
    since = net.ip(
        "route add 10.50.1.0/24 via 10.60.1.2 metric 30",
        "route del 10.50.1.0/24 via 10.60.1.2 metric 10",
    )
    net.watch(TWO, since=since)
    for client in net.clients.values():
        net.has(TWO)(client)
    assert len(net.watcher.updates()) == len(updates) + 1  # nothing else was sent
    since = net.ip("route del 10.50.2.0/24")
    net.watch(ONE, since=since)
    # Nothing usable is left: the default route does not count.
    since = net.ip("route replace blackhole 10.50.1.0/24 metric 30")
    net.watch(None, since=since)
    for client in net.clients.values():
        client.wait_gone(FOUR)
    since = net.ip("route replace 10.50.1.0/24 via 10.60.1.2 metric 30")
    net.watch(ONE, since=since)
    net.ip(f"route add 10.50.2.0/24 via {net.two.host.address} metric 40")

    # Carrier lost and found: the kernel tells of the interface alone.
    since = net.ip("link set far1 down")
    net.watch(TWO, since=since)
    net.watch(TWO6, SIX, since=since)
    for client in net.clients.values():
        net.has(TWO)(client)
        net.has(TWO6, SIX)(client)
    since = net.ip("link set far1 up")
    net.watch(ONE, since=since + 1.0)  # it tells of carriers that are up once a second
    net.watch(ONE6, SIX)

    # Down: the kernel drops IPv4 routes without a word, and they do not come back by themselves.
    since = net.ip("link set exit1 down")
    net.watch(TWO, since=since)
    net.watch(TWO6, SIX, since=since)
    net.ip("link set exit1 up")
    net.watcher.wait(
        lambda: net.rs.show("status")["next_hops"]["kernel"] == "in-step", "see rs in step"
    )
    net.watch(TWO)
    since = net.ip("route add 10.50.1.0/24 via 10.60.1.2 metric 10")
    net.watch(ONE, since=since + 1.0)
    assert net.watcher.faults == []
    assert {n["state"] for n in net.rs.neighbors().values()} == {"Established"}


def test_another_source_by_reload(lan: Lan, tmp_path: Path) -> None:
    """None, the kernel's table, another one, its default route: sessions stay up."""
    net = Backbone(lan, tmp_path, "", clients=())
    net.ip(
        f"route add 10.50.1.0/24 via {net.one.host.address} metric 7",
        f"route add 10.50.2.0/24 via {net.two.host.address} metric 8 table 100",
        f"route add default via {net.one.host.address}",
    )

    def reload(tables: str, hop: str | None, one: int | None, two: int | None) -> None:
        assert net.rs.process is not None
        net.rs.tables = tables
        (net.rs.workdir / "rs.toml").write_text(net.rs.config())
        net.rs.process.signal(signal.SIGHUP)
        net.watch(hop)
        found = {hop["address"]: hop["metric"] for hop in net.rs.show("nexthops")}
        assert (found[ONE], found[TWO]) == (one, two)

    try:
        net.start()
        net.watch(ONE)
        kernel = '[next_hops]\nsource = "kernel"\n'
        reload(f"{kernel}table = 100\n", TWO, None, 8)
        reload(kernel, ONE, 7, None)
        reload(f"{kernel}table = 77\n", None, None, None)
        reload(f"{kernel}default_route = true\n", TWO, 7, 0)
        reload("", ONE, 0, 0)
        assert {n["flaps"] for n in net.rs.neighbors().values()} == {0}
    finally:
        net.stop()


def test_groups_of_clients_have_their_own_exits(backbone: Callable[..., Backbone]) -> None:
    """BIRD is in the west, FRR in the east, and the watcher is where the reflector is (RFC 9107)."""
    tables = (
        "[[igp]]\nprefix = '10.50.2.0/24'\nmetric = 5\n"
        "[[igp]]\nprefix = '10.50.1.0/24'\nmetric = 7\n"
        "[[igp]]\nprefix = '::/0'\nmetric = 0\n"
        "[[orr]]\nname = 'west'\nmetrics = { '10.50.1.1' = 1, '10.50.2.1' = 9 }\n"
        "[[orr]]\nname = 'east'\nfile = 'east.json'\n"
    )
    net = backbone(tables, bird="west", frr="east")
    east = net.directory / "rs" / "east.json"
    east.write_text(json.dumps({"10.50.1.0/24": 9, "10.50.2.0/24": 1, "::/0": 1}))
    net.start()
    bird, frr = net.clients["bird"], net.clients["frr"]
    net.watch(TWO)
    net.has(ONE)(bird)
    net.has(TWO)(frr)
    net.watch(ONE6, SIX)
    net.has(ONE6, SIX)(frr)
    assert SIX not in bird.routes()  # unreachable for its group
    orr = {hop["address"]: hop["orr"] for hop in net.rs.show("nexthops")}
    assert orr[ONE] == {"west": 1, "east": 9}
    assert orr[ONE6] == {"west": None, "east": 1}
    new = east.with_suffix(".new")
    new.write_text(json.dumps({"10.50.1.0/24": 1, "10.50.2.0/24": 9}))
    new.rename(east)
    net.has(ONE)(frr)
    frr.wait_gone(SIX)
    net.watch(TWO)
    assert net.watcher.faults == []
