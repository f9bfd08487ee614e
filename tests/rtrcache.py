"""A cache on loopback that keeps the rules, unless it is told otherwise, and a client of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from rs import rtr
from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import RoaTable
from rs.rtr_client import CacheConfig, Pace, Publisher, RtrClient

from . import rtrkit as kit

if TYPE_CHECKING:
    from collections.abc import Callable

FAST = Pace(fallback_cold=0.2, fallback_warm=0.3, first_backoff=0.05, empty_retry=0.2, steady=0.0)
LIMITS = rtr.Limits(
    response_timeout=0.3, transfer_timeout=2.0, query_gap=0.02, vrps=5000, aspas=100
)
WAIT = 10.0


class FakeCache:
    """A cache that keeps the rules, unless `script` takes its place."""

    def __init__(self, vrps=(), *, version: int = 2, session: int = 7, script=None) -> None:
        self.vrps = set(vrps)
        self.version = version
        self.session = session
        self.serial = 1
        self.script = script
        self.extra = b""
        self.history: dict[int, set] = {1: set(vrps)}
        self.no_data = False
        self.connections = 0
        self.peers: list[str] = []
        self.queries: list[bytes] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> FakeCache:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    def config(self, **more) -> CacheConfig:
        return CacheConfig("127.0.0.1", self.port, **more)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.peers.append(writer.get_extra_info("peername")[0])
        self._writers.add(writer)
        try:
            if self.script is not None:
                await self.script(reader, writer)
                return
            while True:
                head = await reader.readexactly(8)
                body = await reader.readexactly(int.from_bytes(head[4:8], "big") - 8)
                self.queries.append(head + body)
                writer.write(self.answer(head + body))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def answer(self, query: bytes) -> bytes:
        version = query[0]
        if version > self.version:
            return kit.error(self.version, 4)
        if self.no_data:
            return kit.error(version, 2)
        if query[1] == 2:
            return kit.load(version, self.session, self.serial, self.vrps, self.extra)
        session = int.from_bytes(query[2:4], "big")
        serial = int.from_bytes(query[8:12], "big")
        if session != self.session or serial not in self.history:
            return kit.cache_reset(version)
        old = self.history[serial]
        return kit.delta(version, session, self.serial, self.vrps - old, old - self.vrps)

    def update(self, vrps) -> None:
        self.vrps = set(vrps)
        self.serial += 1
        self.history[self.serial] = set(vrps)
        for writer in self._writers:
            writer.write(kit.notify(self.version, self.session, self.serial))

    def reborn(self, vrps, session: int) -> None:
        self.vrps = set(vrps)
        self.session = session
        self.serial = 1
        self.history = {1: set(vrps)}


class Rig:
    """Tables, publisher and what it said."""

    def __init__(self) -> None:
        self.roas = RoaTable()
        self.aspas = AspaTable()
        self.calls: list = []
        self.publisher = Publisher(self.roas, self.aspas, lambda *call: self.calls.append(call))
        self.client: RtrClient

    def start(self, *caches: CacheConfig, pace: Pace = FAST, limits: rtr.Limits = LIMITS) -> Rig:
        self.client = RtrClient(caches, self.publisher, limits=limits, pace=pace)
        self.client.start()
        return self

    def vrps(self) -> set:
        return set(self.roas.snapshot())

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{what or 'it'} did not come: {self.client.status()} {self.calls[-5:]}"
                )
            await asyncio.sleep(0.005)

    async def has(self, *vrps) -> None:
        await self.until(
            lambda: self.vrps() == set(vrps) and not self.roas.pending_changes, f"{vrps}"
        )

    def take(self) -> list:
        calls, self.calls = self.calls, []
        return calls


@contextlib.asynccontextmanager
async def rig():
    """A rig, ended with nothing left running."""
    r = Rig()
    before = asyncio.all_tasks()
    try:
        yield r
    finally:
        await r.client.stop()
        await asyncio.sleep(0.01)
        names = [t for t in asyncio.all_tasks() - before if "_keep" in repr(t)]
        assert not names
