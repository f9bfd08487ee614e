"""`rs` connects, everybody else waits; both families on one session where the daemon can do it.

Here a peer that comes back must be found again, and `rs` itself is restarted at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .scene import NAMES, Exchange, prefixes, run_exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .daemons.lan import Lan


@pytest.fixture(scope="module")
def exchange(module_lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    directory = tmp_path_factory.mktemp("initiator")
    yield from run_exchange(Exchange(module_lan, directory, rs_connects=True, mixed=True))


@pytest.mark.parametrize("name", NAMES)
def test_routes_go_both_ways(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    routes = [
        daemon.announce(prefix, med=5, communities=("65010:6",), large_communities=("1:2:3",))
        for prefix in prefixes(name)
    ]
    for other in exchange.others(name):
        for route in routes:
            other.wait_route(route)
    for prefix in prefixes(name):
        daemon.withdraw(prefix)
    for other in exchange.others(name):
        other.wait_gone(*prefixes(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_member_is_connected_to_again(exchange: Exchange, name: str) -> None:
    daemon = exchange.daemons[name]
    routes = [daemon.announce(prefix) for prefix in prefixes(name, 1)]
    for route in routes:
        exchange.wide.wait_route(route)
    daemon.kill()
    exchange.wide.wait_gone(*prefixes(name, 1))
    daemon.start()
    for route in routes:
        exchange.wide.wait_route(route)
    for prefix in prefixes(name, 1):
        daemon.withdraw(prefix)
    exchange.wide.wait_gone(*prefixes(name, 1))


def test_a_stop_is_announced_and_all_come_back_after_a_restart(exchange: Exchange) -> None:
    routes = [
        daemon.announce(prefix)
        for name, daemon in exchange.daemons.items()
        for prefix in prefixes(name, 2)
    ]
    for route in routes:
        exchange.wide.wait_route(route)
    assert exchange.rs.stop() == 0
    for collector in (exchange.wide, exchange.narrow):
        collector.wait_closed()
        assert collector.notification is not None
        assert collector.notification[:2] == (6, 2), "Cease, Administrative Shutdown (RFC 4486)"
        collector.stop()
    for daemon in exchange.daemons.values():
        daemon.wait(lambda: not daemon.routes(), "drop what it had from rs")  # noqa: B023
    exchange.rs.start()
    exchange.start_collectors()
    for daemon in exchange.daemons.values():
        for address in daemon.neighbors:
            daemon.reconnect(address)
    for collector in (exchange.wide, exchange.narrow):
        for route in routes:
            collector.wait_route(route, timeout=30)
