"""The drivers themselves, daemon against daemon, so that a fault of theirs is not blamed on `rs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor, Route

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Host, Lan

ATTRIBUTES = {
    "med": 77,
    "origin": "egp",
    "communities": ("65001:5", "64500:65535"),
    "large_communities": ("100001:2:3",),
}


def driver(name: str) -> type[Daemon]:
    daemon = DAEMONS[name]
    if (reason := daemon.missing()) is not None:
        pytest.skip(reason)
    return daemon


def sessions(host: Host, asn: int, *, passive: bool = False) -> list[Neighbor]:
    """One session for each family, over its own transport."""
    return [
        Neighbor(host.address, asn, families=FAMILIES[:1], passive=passive),
        Neighbor(host.address6, asn, families=FAMILIES[1:], passive=passive),
    ]


def announce(daemon: Daemon, number: int) -> list[Route]:
    kinds = {"rt": f"rt:{number}:9", "ro": f"ro:{number}:8"}
    return [
        daemon.announce(
            prefix,
            as_path=(65010, 100010) if daemon.sends_as_path else (),
            ext_communities=[kinds[kind] for kind in daemon.sends_ext],
            **ATTRIBUTES,
        )
        for prefix in (f"192.0.2.{number * 16}/28", f"2001:db8:{number}::/48")
    ]


@pytest.mark.parametrize(
    ("active", "passive"), [("bird", "gobgp"), ("bird", "frr"), ("exabgp", "openbgpd")]
)
def test_routes_both_ways(active: str, passive: str, lan: Lan, tmp_path: Path) -> None:
    one, other = lan.host(1), lan.host(2)
    caller = driver(active)(one, tmp_path / "caller", 65001, sessions(other, 100002))
    called = driver(passive)(other, tmp_path / "called", 100002, sessions(one, 65001, passive=True))
    from_caller, from_called = announce(caller, 1), announce(called, 2)
    with called, caller:
        caller.wait_established()
        called.wait_established()
        for route in from_caller:
            called.wait_route(route)
        for route in from_called:
            caller.wait_route(route)
        if called.asks_refresh:
            before = called.updates_received()
            called.route_refresh(one.address)
            called.wait(lambda: called.updates_received() > before, "receive the refresh")
        for route in from_caller:
            caller.withdraw(route.prefix)
        called.wait_gone(*(route.prefix for route in from_caller))
        late = caller.announce("192.0.2.128/25", next_hop="10.99.0.77")
        called.wait_route(late)
        caller.kill()
        called.wait_down(one.address)
        called.wait_gone(late.prefix)
