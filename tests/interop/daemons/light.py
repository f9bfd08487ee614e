"""Many members in one thread: each a router of ours with `rs` as its only neighbor, and no exports.

They help `rs` restart by the same code as any neighbor of ours would, and their tables count what
changes: a route that is withdrawn and comes back, or comes back with other attributes, is a change,
and one that is merely heard again is none.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import uvloop

from rs.config import Config, Neighbor, role_defaults
from rs.config import Router as RouterConfig
from rs.iana import Family
from rs.router import Router
from rs.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from .lan import Host

V4 = Family.IPV4_UNICAST


class Holding(NamedTuple):
    """What one member has."""

    established: bool
    paths: int
    stale: int
    changes: int
    """Announcements and withdrawals so far that changed something."""


class LightMembers:
    """Members on further addresses of one host; `start`, `holdings` as often as wanted, `stop`."""

    def __init__(self, host: Host, first_asn: int, n: int, server: str, server_asn: int) -> None:
        """Give `host` the addresses 10.98.0.1 and on; `server` must have a route to them."""
        self.host = host
        self.members = {f"10.98.0.{i + 1}": first_asn + i for i in range(n)}
        self._server = server
        self._server_asn = server_asn
        self._routers: list[Router] = []
        self._transports: list[Transport] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        for address in self.members:
            host.run(["ip", "address", "add", f"{address}/32", "dev", "eth0"])

    def start(self) -> None:
        """Connect all of them."""
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        with self.host.entered():
            self._loop = uvloop.new_event_loop()
            for address, asn in self.members.items():
                router = Router(
                    self._config(address, asn), clock=time.monotonic, rng=random.Random(asn)
                )
                transport = Transport(router, self._loop)
                self._loop.call_soon(transport.start)
                self._routers.append(router)
                self._transports.append(transport)
            self._loop.call_soon(self._ready.set)
            self._loop.run_forever()
            self._loop.close()

    def _config(self, address: str, asn: int) -> Config:
        router = RouterConfig(asn=asn, router_id=address, listen=())
        defaults = role_defaults(router, internal=False, route_server_client=False)
        neighbor = Neighbor(
            address=self._server,
            asns=(self._server_asn,),
            families=(V4,),
            local_address=address,
            connect_retry=1,
            router=router,
            **{**defaults, "first_as_check": False},
        )
        return Config(router=router, neighbors=(neighbor,))

    def _call(self, function: Callable[[], object]) -> object:
        async def run() -> object:
            return function()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def holdings(self) -> list[Holding]:
        """Return what each has now."""
        found = self._call(lambda: [_holding(router) for router in self._routers])
        assert isinstance(found, list)
        return found

    def stop(self) -> None:
        """End everything at once."""
        if self._loop is None:
            return

        def end() -> None:
            for transport in self._transports:
                transport.close()

        self._call(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _holding(router: Router) -> Holding:
    (peer,) = router.peers.values()
    table = router.rib.tables[V4].stats()
    stale = router.rib.stale(peer.slot, V4)
    return Holding(peer.established, table["paths"], stale, table["changes"])
