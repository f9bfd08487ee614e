"""The RTR client against StayRTR: load, delta, another session, and data that expire."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import uvloop

from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import RoaTable
from rs.rtr_client import CacheConfig, Pace, Publisher, RtrClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

WAIT = 20.0
A = ("192.0.2.0/24", 24, 64496)
B = ("198.51.100.0/24", 28, 64497)
C = ("2001:db8::/32", 48, 64498)
D = ("203.0.113.0/24", 24, 0)
PACE = Pace(fallback_cold=0.5, first_backoff=0.1, empty_retry=0.5, steady=0.0)
KEY = {
    "asn": 15562,
    "ski": "5D4250E2D81D4448D8A29EFCE91D29FF075EC9E2",
    "pubkey": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgFcjQ/g//LAQerAH2Mpp+GucoDAGBbhIqD33wNPsXxnAGb+mtZ7X"
    "QrVO9DQ6UlAShtig5+QfEKpTtFgiqfiAFQ==",
    "ta": "test",
    "expires": 4102444800,
}


class StayRtr:
    """A StayRTR on loopback that serves one file."""

    def __init__(self, where: Path, binary: str) -> None:
        self._binary = binary
        self._file = where / "vrps.json"
        self._log = where / "stayrtr.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]

    def serve(self, vrps, aspas=None) -> None:
        """Write the file; StayRTR looks at it every second."""
        new = self._file.with_suffix(".new")
        rows = [
            {"prefix": p, "maxLength": m, "asn": a, "ta": "test", "expires": 4102444800}
            for p, m, a in vrps
        ]
        families = {
            family: [
                {"customer_asid": c, "providers": list(p), "expires": 4102444800}
                for c, p in (aspas or {}).items()
            ]
            for family in ("ipv4", "ipv6")
        }
        new.write_text(
            json.dumps(
                {
                    "metadata": {"buildtime": "2026-01-01T00:00:00Z"},
                    "roas": rows,
                    "bgpsec_keys": [KEY],
                    "provider_authorizations": families,
                }
            )
        )
        new.replace(self._file)

    def start(self, *options: str) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    *("-bind", f"127.0.0.1:{self.port}"),
                    *("-metrics.addr", "127.0.0.1:0"),
                    *("-cache", str(self._file)),
                    *("-export.path", ""),
                    *("-checktime=false", "-refresh", "1"),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"StayRTR did not start: {self._log.read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def stayrtr(tmp_path: Path) -> Iterator[StayRtr]:
    binary = shutil.which("stayrtr")
    if binary is None:
        pytest.skip("stayrtr is not installed")
    server = StayRtr(tmp_path, binary)
    try:
        yield server
    finally:
        server.stop()


class Router:
    """The tables and what was told of them."""

    def __init__(self, *caches: CacheConfig) -> None:
        self.roas = RoaTable()
        self.aspas = AspaTable()
        self.calls: list = []
        self.publisher = Publisher(self.roas, self.aspas, lambda *call: self.calls.append(call))
        self.client = RtrClient(caches, self.publisher, pace=PACE)

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, self.client.status()
            await asyncio.sleep(0.01)

    async def has(self, *vrps) -> None:
        await self.until(
            lambda: set(self.roas.snapshot()) == set(vrps) and not self.roas.pending_changes
        )

    def changed(self) -> set[tuple[bytes, int]]:
        calls, self.calls = self.calls, []
        return {(addr, plen) for call in calls for _, addr, plen in call[0]}


def run(main: Coroutine) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main, 90))


@pytest.mark.parametrize("version", [0, 1, 2])
def test_load_delta_and_restart(stayrtr, version):
    stayrtr.serve([A, B, C], {64500: [64501, 64502], 64510: [0]})
    stayrtr.start()

    async def main() -> None:
        router = Router(CacheConfig("127.0.0.1", stayrtr.port, max_version=version))
        router.client.start()
        await router.has(A, B, C)
        await router.until(lambda: router.calls == [(None, set(), True)])
        router.calls.clear()
        (row,) = router.client.status()
        assert (row["version"], row["vrps"], row["last_error"]) == (version, 3, "")
        assert router.aspas.providers(64500) == ((64501, 64502) if version == 2 else None)
        assert router.aspas.providers(64510) == (() if version == 2 else None)
        session = row["session_id"]

        # Another file: a notification, and the difference.
        stayrtr.serve([A, C, D], {64500: [64502], 64520: [64501]})
        await router.has(A, C, D)
        assert router.changed() == {
            (bytes((198, 51, 100, 0)), 24),
            (bytes((203, 0, 113, 0)), 24),
        }
        (row,) = router.client.status()
        assert row["session_id"] == session
        assert row["last_error"] == ""
        if version == 2:
            await router.until(lambda: router.aspas.providers(64510) is None)
            assert router.aspas.providers(64500) == (64502,)
            assert router.aspas.providers(64520) == (64501,)

        # The cache is restarted, and so has another session; the data stay in use meanwhile.
        stayrtr.stop()
        stayrtr.serve([A, B, D])
        await asyncio.sleep(0.3)
        assert set(router.roas.snapshot()) == {A, C, D}
        await asyncio.to_thread(stayrtr.start)
        await router.has(A, B, D)
        assert router.changed() == {
            (bytes((198, 51, 100, 0)), 24),
            (bytes.fromhex("20010db8") + bytes(12), 32),
        }
        (row,) = router.client.status()
        assert row["version"] == version
        await router.client.stop()

    run(main())


@pytest.mark.parametrize("version", [0, 1])
def test_a_cache_of_an_older_version(stayrtr, version):
    stayrtr.serve([A, B])
    stayrtr.start("-protocol", str(version))

    async def main() -> None:
        router = Router(CacheConfig("127.0.0.1", stayrtr.port))
        router.client.start()
        await router.has(A, B)
        assert router.client.status()[0]["version"] == version
        await router.client.stop()

    run(main())


def test_data_expire_when_the_cache_is_gone(stayrtr):
    stayrtr.serve([A])
    stayrtr.start("-rtr.expire", "600")

    async def main() -> None:
        router = Router(CacheConfig("127.0.0.1", stayrtr.port, expire=2))
        router.client.start()
        await router.has(A)
        await router.until(lambda: router.calls)
        stayrtr.stop()
        assert router.roas.validate("192.0.2.0/24", 64496) == "valid"
        await router.has()
        assert router.calls == [(None, set(), True), (None, set(), False)]
        await asyncio.to_thread(stayrtr.start)
        await router.has(A)
        await router.until(lambda: len(router.calls) == 3)
        await router.client.stop()

    run(main())


def test_the_intervals_that_the_cache_says(stayrtr):
    stayrtr.serve([A])
    stayrtr.start("-rtr.refresh", "100", "-rtr.retry", "50", "-rtr.expire", "1000")

    async def main() -> None:
        router = Router(CacheConfig("127.0.0.1", stayrtr.port))
        router.client.start()
        await router.has(A)
        await router.until(lambda: router.calls)
        expires = router.client.status()[0]["expires_s"]
        assert isinstance(expires, float)
        assert 990 < expires <= 1000
        await router.client.stop()

    run(main())


def test_a_preferred_cache_comes_and_goes(stayrtr, tmp_path):
    (tmp_path / "second").mkdir()
    second = StayRtr(tmp_path / "second", stayrtr._binary)
    second.serve([B, C])
    second.start()
    stayrtr.serve([A, B])

    async def main() -> None:
        router = Router(
            CacheConfig("127.0.0.1", stayrtr.port, preference=1, refresh=1),
            CacheConfig("127.0.0.1", second.port, preference=2),
        )
        router.client.start()
        await router.has(B, C)
        await asyncio.to_thread(stayrtr.start)
        await router.has(A, B)
        await router.until(lambda: router.client.status()[1]["state"] == "not needed")
        await router.client.stop()

    try:
        run(main())
    finally:
        second.stop()


def test_two_hundred_thousand_vrps(stayrtr):
    vrps = [(f"{1 + (i >> 15)}.{i >> 7 & 255}.{i << 1 & 254}.0/24", 24, i) for i in range(150_000)]
    vrps += [(f"2001:{i >> 16:x}:{i & 0xFFFF:x}::/48", 48, i) for i in range(50_000)]
    stayrtr.serve(vrps)
    stayrtr.start()

    async def main() -> None:
        router = Router(CacheConfig("127.0.0.1", stayrtr.port))
        began = time.monotonic()
        router.client.start()
        await router.until(lambda: router.calls)
        print(f"{len(vrps)} VRPs in {time.monotonic() - began:.2f} s")
        assert router.client.status()[0]["vrps"] == len(vrps)
        stayrtr.serve(vrps[1000:])
        router.calls.clear()
        await router.until(lambda: router.roas.held(0) == len(vrps) - 1000)
        await router.until(lambda: not router.roas.pending_changes)
        assert len(router.changed()) == 1000
        await router.client.stop()

    run(main())
