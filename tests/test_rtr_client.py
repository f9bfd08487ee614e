"""The client against scripted caches on loopback: preference, fallback, expiry, and caches that lie."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from rs import rtr, sockopts
from rs.rtr_client import READ_LEN, CacheConfig, Pace, RtrClient

from . import rtrkit as kit
from .rtrcache import LIMITS, FakeCache, Rig, rig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

A = ("192.0.2.0/24", 24, 64496)
B = ("198.51.100.0/24", 28, 64497)
C = ("2001:db8::/32", 48, 64498)
D = ("203.0.113.0/24", 24, 64499)
KEY = {
    A: (0, bytes((192, 0, 2, 0)), 24),
    B: (0, bytes((198, 51, 100, 0)), 24),
    C: (1, bytes.fromhex("20010db8") + bytes(12), 32),
    D: (0, bytes((203, 0, 113, 0)), 24),
}


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request) -> Callable[[Coroutine], None]:
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def runner(coroutine: Coroutine) -> None:
        with asyncio.Runner(loop_factory=factory) as r:
            r.run(asyncio.wait_for(coroutine, 60))

    return runner


def changed(*vrps) -> tuple:
    return (sorted(KEY[v] for v in vrps), set(), True)


ALL = (None, set(), True)
NOTHING = (None, set(), False)


def test_a_load_then_changes(run):
    async def main() -> None:
        cache = await FakeCache([A, B]).start()
        async with rig() as r:
            r.start(cache.config())
            await r.until(lambda: r.calls)
            assert r.take() == [ALL]
            assert r.vrps() == {A, B}
            cache.update([B, C])
            await r.has(B, C)
            assert r.take() == [changed(A, C)]
            (row,) = r.client.status()
            assert (row["state"], row["serial"], row["session_id"], row["vrps"]) == (
                "in sync",
                2,
                7,
                2,
            )
            assert row["version"] == 2
        await cache.stop()
        assert r.vrps() == {B, C}

    run(main())


def test_aspas(run):
    async def main() -> None:
        cache = await FakeCache([A]).start()
        cache.extra = kit.aspa(64496, [64497])
        async with rig() as r:
            r.start(cache.config())
            await r.until(lambda: r.calls)
            assert r.take() == [ALL]
            assert r.aspas.providers(64496) == (64497,)
            cache.extra = kit.aspa(64496, [64498])
            cache.reborn([A], 8)
            await cache.stop()
            await cache.start()
            await r.until(lambda: r.calls)
            assert r.take() == [([], {64496}, True)]
            assert r.aspas.providers(64496) == (64498,)
        await cache.stop()

    run(main())


def test_a_cache_restarted_with_a_new_session(run):
    async def main() -> None:
        cache = await FakeCache([A, B]).start()
        async with rig() as r:
            r.start(cache.config())
            await r.has(A, B)
            await r.until(lambda: r.calls)
            r.take()
            await cache.stop()
            cache.reborn([A, D], 99)
            await asyncio.sleep(0.2)
            assert r.vrps() == {A, B}
            await cache.start()
            await r.has(A, D)
            assert r.take() == [changed(B, D)]
            assert cache.queries[-2:] == [kit.serial_query(2, 7, 1), kit.reset_query(2)]
        await cache.stop()

    run(main())


def test_a_connection_lost_is_taken_up(run):
    async def main() -> None:
        cache = await FakeCache([A, B]).start()
        async with rig() as r:
            r.start(cache.config())
            await r.has(A, B)
            await cache.stop()
            cache.update([A])
            await cache.start()
            await r.has(A)
            assert cache.queries[-1] == kit.serial_query(2, 7, 1)
        await cache.stop()

    run(main())


def test_an_old_cache(run):
    async def main() -> None:
        cache = await FakeCache([A], version=0).start()
        async with rig() as r:
            r.start(cache.config())
            await r.has(A)
            assert r.client.status()[0]["version"] == 0
        await cache.stop()

    run(main())


def test_caches_of_one_preference_make_a_union(run):
    async def main() -> None:
        one = await FakeCache([A, B]).start()
        two = await FakeCache([B, C]).start()
        async with rig() as r:
            r.start(one.config(expire=1), two.config())
            await r.has(A, B, C)
            await r.until(lambda: r.calls)
            r.take()
            one.update([A])
            await r.until(lambda: r.client.status()[0]["serial"] == 2)
            two.update([C])
            await r.has(A, C)
            assert r.take() == [changed(B)]
            # One of them lost keeps its data until they expire, and the other goes on.
            await one.stop()
            await asyncio.sleep(0.2)
            assert r.vrps() == {A, C}
            await r.has(C)
            assert r.take() == [changed(A)]
        await two.stop()

    run(main())


def test_fallback_and_back(run):
    async def main() -> None:
        first = FakeCache([A, B])
        await first.start()
        await first.stop()
        second = await FakeCache([B, C]).start()
        async with rig() as r:
            r.start(first.config(preference=1), second.config(preference=2))
            await r.has(B, C)
            await r.until(lambda: r.calls)
            assert r.take() == [ALL]
            assert second.connections == 1
            await first.start()
            await r.has(A, B)
            # One change: the new set was there before the old one went.
            assert sorted(key for call in r.take() for key in call[0]) == changed(A, C)[0]
            await r.until(lambda: r.client.status()[1]["state"] == "not needed")
            # And once more, now with data in use: they stay until the other one has all of its own.
            await first.stop()
            await asyncio.sleep(0.1)
            assert r.vrps() == {A, B}
            await r.has(B, C)
        await second.stop()

    run(main())


def test_the_preferred_cache_alone_is_asked(run):
    async def main() -> None:
        first = await FakeCache([A]).start()
        second = await FakeCache([B]).start()
        async with rig() as r:
            r.start(second.config(preference=2), first.config(preference=1))
            await r.has(A)
            await asyncio.sleep(0.5)
            assert second.connections == 0
        await first.stop()
        await second.stop()

    run(main())


def test_a_cache_without_data_makes_room_for_the_next(run):
    async def main() -> None:
        first = await FakeCache([A]).start()
        first.no_data = True
        second = await FakeCache([B]).start()
        async with rig() as r:
            r.start(first.config(preference=1), second.config(preference=2))
            await r.has(B)
            assert r.client.status()[0]["last_error"] == "no data available"
        await first.stop()
        await second.stop()

    run(main())


def test_expiry(run, caplog):
    async def main() -> None:
        cache = await FakeCache([A]).start()
        async with rig() as r:
            r.start(cache.config(expire=1))
            await r.has(A)
            await r.until(lambda: r.calls)
            await cache.stop()
            assert r.vrps() == {A}
            await r.has()
            await r.until(lambda: len(r.calls) == 2)
            assert r.take() == [ALL, NOTHING]
            assert "expired after 1 s without an update" in caplog.text
            assert "no RPKI data left" in caplog.text
            cache.update([B])
            await cache.start()
            await r.has(B)
            await r.until(lambda: r.calls)
            assert r.take() == [ALL]
            assert cache.queries[-1] == kit.reset_query(2)
        await cache.stop()

    with caplog.at_level(logging.INFO, "rs.rtr"):
        run(main())


def test_a_cache_that_is_polled_does_not_expire(run):
    async def main() -> None:
        cache = await FakeCache([A]).start()
        async with rig() as r:
            r.start(cache.config(expire=1, refresh=0))
            await r.has(A)
            await asyncio.sleep(1.5)
            assert r.vrps() == {A}
            assert r.calls == [ALL]
        await cache.stop()

    limits = LIMITS.query_gap
    try:
        LIMITS.query_gap = 0.3
        run(main())
    finally:
        LIMITS.query_gap = limits


# --- caches that lie ----------------------------------------------------------------------------


async def hang_up(reader, writer) -> None:
    return


async def say_nothing(reader, writer) -> None:
    await reader.read()


async def garbage(reader, writer) -> None:
    writer.write(bytes(range(256)) * 40)
    await reader.read()


async def long_pdu(reader, writer) -> None:
    writer.write(kit.response(2, 1) + kit.pdu(2, 4, 0, bytes(40), length=2**31))
    await reader.read()


async def stall(reader, writer) -> None:
    writer.write(kit.response(2, 1) + kit.prefixes(2, [D]) + b"\2")
    await reader.read()


MANY = kit.prefixes(2, [(f"10.{i >> 8}.{i & 255}.0/24", 24, 1) for i in range(6000)])


async def forever(reader, writer) -> None:
    writer.write(kit.response(2, 1))
    for at in range(0, len(MANY), 2000):
        if writer.is_closing():
            return
        writer.write(MANY[at : at + 2000])
        await asyncio.sleep(0)


async def same_again(reader, writer) -> None:
    writer.write(kit.response(2, 1) + kit.prefixes(2, [D, D]))
    await reader.read()


async def reset_for_ever(reader, writer) -> None:
    while await reader.read(100):
        writer.write(kit.cache_reset(2))


async def notify_for_ever(reader, writer) -> None:
    await reader.read(100)
    writer.write(kit.load(2, 1, 1, []))
    serial = 1
    while not writer.is_closing():
        serial += 1
        writer.write(kit.notify(2, 1, serial) * 50)
        await asyncio.sleep(0)


async def sync_and_go(reader, writer) -> None:
    await reader.read(100)
    writer.write(kit.load(2, 1, 1, []))


async def drip(reader, writer) -> None:
    for octet in kit.load(2, 1, 1, []) * 100:
        writer.write(bytes((octet,)))
        await asyncio.sleep(0.01)


async def no_reader(reader, writer) -> None:
    while not writer.is_closing():
        writer.write(kit.error(2, 0, b"", "x" * 1000))
        await asyncio.sleep(0.01)


async def back_and_forth(reader, writer) -> None:
    version = (await reader.read(100))[:1]
    writer.write(kit.error(version[0], 4))
    await reader.read()


LIARS: list[Callable[..., Awaitable[None]]] = [
    hang_up, say_nothing, garbage, long_pdu, stall, forever, same_again, reset_for_ever,
    notify_for_ever, sync_and_go, drip, no_reader, back_and_forth,
]  # fmt: skip


@pytest.mark.parametrize("run", ["uvloop"], indirect=True)
@pytest.mark.parametrize("liar", LIARS, ids=lambda f: f.__name__)
def test_a_lying_cache_only_loses_itself(run, liar):
    async def main() -> None:
        bad = await FakeCache(script=liar).start()
        good = await FakeCache([A, B]).start()
        async with rig() as r:
            r.start(bad.config(), good.config())
            await r.has(A, B)
            longest = 0.0
            deadline = time.monotonic() + 0.8
            while time.monotonic() < deadline:
                began = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - began)
            assert r.vrps() == {A, B}
            good.update([A, C])
            await r.has(A, C)
            # The scripts run on this loop too, so this bounds more than the client.
            assert longest < 0.05
            assert r.client.status()[0]["vrps"] == 0
            assert bad.connections < 40
        await bad.stop()
        await good.stop()

    run(main())


@pytest.mark.parametrize("run", ["uvloop"], indirect=True)
@pytest.mark.parametrize("liar", [stall, forever, same_again, garbage], ids=lambda f: f.__name__)
def test_a_lying_preferred_cache_makes_room_for_the_next(run, liar):
    async def main() -> None:
        bad = await FakeCache(script=liar).start()
        good = await FakeCache([A, B]).start()
        async with rig() as r:
            r.start(bad.config(preference=1), good.config(preference=2))
            await r.has(A, B)
        await bad.stop()
        await good.stop()

    run(main())


# --- changes in slices --------------------------------------------------------------------------


def test_a_hundred_thousand_records_come_and_go_in_slices():
    vrps = {(f"{1 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24", 24, i) for i in range(100_000)}

    async def main() -> None:
        cache = await FakeCache([A]).start()
        async with rig() as r:
            spent: list[float] = []
            pieces: list[int] = []

            def timed(function):
                def wrapper(*args):
                    began = time.thread_time()
                    result = function(*args)
                    spent.append(time.thread_time() - began)
                    pieces.extend(len(arg) for arg in args if isinstance(arg, bytes))
                    return result

                return wrapper

            gc.collect()
            gc.disable()  # the lists below are the test's own
            r.publisher._pump = timed(r.publisher._pump)
            r.start(cache.config(), limits=rtr.Limits(query_gap=0.01))
            await r.has(A)
            session = r.client._groups[0][0].connection.session
            session.receive = timed(session.receive)
            await r.until(lambda: r.calls)
            r.take()
            cache.update(vrps)
            await r.until(lambda: r.roas.held(0) == len(vrps) and not r.roas.pending_changes)
            assert sum(len(call[0]) for call in r.take()) == len(vrps) + 1
            cache.update([A])
            await r.until(lambda: r.roas.held(0) == 1 and not r.roas.pending_changes)
            calls = r.take()
            assert max(len(call[0]) for call in calls) <= 1000
            assert len({key for call in calls for key in call[0]}) == len(vrps) + 1
            # Its length follows from these: time itself depends on what else the machine does.
            assert max(pieces) <= READ_LEN
            assert len(spent) > 100
            print(f"longest slice {max(spent) * 1000:.2f} ms of {len(spent)}")
        await cache.stop()

    try:
        asyncio.run(main())
    finally:
        gc.enable()


# --- configuration ------------------------------------------------------------------------------


def test_reconfiguration(run):
    async def main() -> None:
        one = await FakeCache([A, B]).start()
        two = await FakeCache([B, C]).start()
        async with rig() as r:
            r.start(one.config())
            await r.has(A, B)
            # The same endpoint keeps its connection.
            r.client.configure([one.config(preference=7, refresh=5)])
            await asyncio.sleep(0.1)
            assert one.connections == 1
            # Data of one that goes stay until the other is there.
            two.no_data = True
            r.client.configure([two.config()])
            await r.until(lambda: two.queries)
            await asyncio.sleep(0.1)
            assert r.vrps() == {A, B}
            assert [row["state"] for row in r.client.status()][-1] == "leaving"
            two.no_data = False
            await two.stop()
            await two.start()
            await r.has(B, C)
            assert len(r.client.status()) == 1
            assert list(r.roas.stats()["sources"].values()) == [2]
            r.client.configure([])
            await r.has()
            assert r.calls[-1] == NOTHING
            r.client.configure([one.config()])
            await r.has(A, B)
        await one.stop()
        await two.stop()

    run(main())


def test_configurations_that_cannot_be():
    r = Rig()
    config = CacheConfig("192.0.2.1", 323)
    with pytest.raises(ValueError, match=r"configured twice: 192.0.2.1:323"):
        RtrClient([config, CacheConfig("192.0.2.1", 323, preference=1)], r.publisher)
    with pytest.raises(ValueError, match=r"no room for RPKI source"):
        RtrClient([CacheConfig("192.0.2.1", port) for port in range(1, 18)], r.publisher)
    assert r.roas.stats()["sources"] == {}
    assert CacheConfig("2001:db8::1").name == "[2001:db8::1]:323"


def test_a_name_and_an_address_to_connect_from(run):
    async def main() -> None:
        cache = await FakeCache([A]).start()
        async with rig() as r:
            r.start(CacheConfig("localhost", cache.port, bind="127.0.0.9"))
            await r.has(A)
            assert cache.peers == ["127.0.0.9"]
        await cache.stop()

    run(main())


def test_a_name_that_does_not_resolve(run):
    async def main() -> None:
        async with rig() as r:
            r.start(CacheConfig("cache.invalid", 323), pace=Pace(first_backoff=60))
            await r.until(lambda: r.client.status()[0]["last_error"])
            assert "cannot connect" in r.client.status()[0]["last_error"]

    run(main())


def test_md5(run):
    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        try:
            sockopts.set_md5(sock, "127.0.0.1", "secret")
        except OSError as error:
            pytest.skip(f"no TCP MD5 here: {error}")
        cache = FakeCache([A])
        server = await asyncio.start_server(cache._serve, sock=sock)
        cache.port = sock.getsockname()[1]
        async with rig() as r:
            r.start(cache.config(password="secret"))
            await r.has(A)
        server.close()
        await cache.stop()

    run(main())


def test_stop_while_connecting(run):
    async def main() -> None:
        # A full backlog: the connection is not accepted.
        async with rig() as r:
            r.start(CacheConfig("192.0.2.1", 323))
            await asyncio.sleep(0.05)

    run(main())


def test_a_consumer_that_fails_stops_nothing(run):
    async def main() -> None:
        cache = await FakeCache([A]).start()
        async with rig() as r:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)

            def fail(*call) -> None:
                r.calls.append(call)
                raise RuntimeError("the consumer's fault")

            r.publisher._on_change = fail
            r.start(cache.config(expire=1))
            await r.has(A)
            cache.update([A, B])
            await r.has(A, B)
            await cache.stop()
            await r.has()
            await cache.start()
            await r.has(A, B)
            await r.until(lambda: r.calls[-1] == ALL)
            assert r.calls == [ALL, changed(B), NOTHING, ALL]
        await cache.stop()

    run(main())
