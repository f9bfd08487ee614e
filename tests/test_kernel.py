"""The netlink side on an event loop, with a kernel made of socket pairs, and with the real one.

What cannot be had from the real one on demand is played: changes lost, dumps that are not
consistent, errors, sockets that cannot be opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from rs import kernel
from rs.kernel import KernelWatch
from rs.kernelroutes import KernelRoutes
from tests.interop.daemons import lan as lan_module
from tests.interop.daemons.lan import Lan, ip
from tests.test_kernelroutes import (
    DELETE,
    GATEWAY,
    MULTIPATH,
    OIF,
    PRIORITY,
    attr,
    link,
    message,
    number,
    route,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
DONE = message(3, struct.pack("=i", 0))
UP = 0x41


class NextHops:
    """What the watcher tells of changes."""

    def __init__(self, table: int = 254) -> None:
        self.kernel: KernelRoutes | None = KernelRoutes(table)
        self.resolved = 0
        self.busy = False

    def resolve(self) -> None:
        self.resolved += 1


def way(prefix: str, metric: int, **how) -> bytes:
    gateway = attr(GATEWAY, bytes([10, 0, 0, 9]))
    return route(prefix, number(OIF, 2), gateway, number(PRIORITY, metric), **how)


class FakeKernel:
    """Answers dumps with what it has, and tells of changes when asked to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes = [way("10.1.0.0/16", 5)]
        self.sockets: list[socket.socket] = []
        """Our ends, in the order of opening: changes, then a dump at a time."""
        self.fails: list[OSError] = []
        self.error: bytes | None = None
        self.dumps = 0
        self.flags = 0
        monkeypatch.setattr(kernel, "_netlink_socket", self.open)
        monkeypatch.setattr(kernel, "_join", lambda _sock, _group: None)
        monkeypatch.setattr(kernel, "RETRY", 0.05)
        monkeypatch.setattr(kernel, "DUMP_PAUSE", 0.01)
        monkeypatch.setattr(kernel, "SETTLE", 0.01)

    def open(self) -> socket.socket:
        if self.fails:
            raise self.fails.pop(0)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (ours, theirs):
            sock.setblocking(False)
        self.sockets.append(ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self.answer, ours)
        return theirs

    def answer(self, sock: socket.socket) -> None:
        try:
            request = sock.recv(4096)
        except OSError:
            request = b""
        if not request:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
            self.sockets.remove(sock)
            return
        _, kind, _, seq, _ = struct.unpack_from("=IHHII", request)
        if kind == 18:
            self.dumps += 1
            sock.send(link(2, UP))
        elif seq == 2:
            for one in self.routes:
                sock.send(one)
        if self.error is not None:
            sock.send(self.error)
        else:
            sock.send(message(3, struct.pack("=i", 0), self.flags))
        self.flags = 0

    def tell(self, *messages: bytes) -> None:
        for one in messages:
            self.sockets[0].send(one)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a condition of several parties
            await asyncio.sleep(0.002)


def play(monkeypatch: pytest.MonkeyPatch, scene) -> None:
    """Run a scene: a coroutine of the fake kernel, the watcher and the table."""

    async def main() -> None:
        fake = FakeKernel(monkeypatch)
        hops = NextHops()
        watch = KernelWatch(hops, asyncio.get_running_loop())
        try:
            await scene(fake, watch, hops)
        finally:
            watch.close()
            await until(lambda: not fake.sockets)

    uvloop.run(main())


def test_a_dump_then_changes(monkeypatch):
    async def scene(fake, watch, hops):
        await watch.start(5)
        assert hops.kernel.in_step
        assert hops.kernel.find("10.1.0.1") == 5
        await until(lambda: hops.resolved == 1)
        for metric in range(100):  # a burst is one round, or two
            fake.tell(way("10.2.0.0/16", metric), way("10.2.0.0/16", metric, kind=DELETE))
        fake.tell(way("10.2.0.0/16", 7))
        await until(lambda: hops.kernel.find("10.2.0.1") == 7)
        await until(lambda: hops.resolved >= 2)
        assert hops.resolved <= 4
        assert fake.dumps == 1

    play(monkeypatch, scene)


def test_what_the_kernel_drops_silently_is_asked_for_again(monkeypatch):
    async def scene(fake, watch, hops):
        await watch.start(5)
        fake.routes = []
        fake.tell(link(2, 1))  # carrier lost, or taken down: who knows
        await until(lambda: hops.kernel.find("10.1.0.1") is None)
        await until(lambda: fake.dumps == 2 and watch._dump is None)
        fake.routes = [way("10.1.0.0/16", 9)]
        fake.tell(message(21, bytes(8)))  # an address is gone
        await until(lambda: fake.dumps == 3 and watch._dump is None)
        assert hops.kernel.find("10.1.0.1") == 9
        # One that was interrupted by changes is not consistent.
        fake.flags = 0x10
        fake.tell(message(105, bytes(8)))
        await until(lambda: fake.dumps == 5 and watch._dump is None)
        assert not watch._dump_again

    play(monkeypatch, scene)


def test_changes_that_were_lost(monkeypatch):
    async def scene(fake, watch, hops):
        await watch.start(5)
        real = watch._events

        class Full:
            """The socket once the kernel had no room."""

            def recvmsg(self, _n):
                watch._events = real
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        fake.routes = [way("10.3.0.0/16", 3)]
        watch._events = Full()
        watch._on_events(watch._events)
        assert hops.kernel.find("10.1.0.1") == 5  # as it was
        await until(lambda: hops.kernel.find("10.3.0.1") == 3)
        assert hops.kernel.find("10.1.0.1") is None
        assert fake.dumps == 2

    play(monkeypatch, scene)


def test_a_message_larger_than_a_read(monkeypatch):
    """A route with hundreds of hops: lost once, and from then on more is read at a time."""
    hop = struct.pack("=HBBi", 16, 0, 0, 2) + attr(GATEWAY, bytes([10, 0, 0, 9]))
    large = route("10.4.0.0/16", number(PRIORITY, 4), attr(MULTIPATH, hop * 1000))

    async def scene(fake, watch, hops):
        await watch.start(5)
        fake.routes.append(large)
        fake.tell(large)
        await until(lambda: hops.kernel.find("10.4.0.1") == 4)
        assert hops.kernel.in_step
        assert len(hops.kernel.way("10.4.0.1").route.hops) == 1000
        # The kernel itself refuses to dump what does not fit, and is asked again with more room.
        watch._recv_len = kernel.RECV_LEN
        fake.error = message(3, struct.pack("=i", -errno.EMSGSIZE))
        fake.tell(message(21, bytes(8)))
        await until(lambda: not hops.kernel.in_step)
        fake.error = None
        await until(lambda: hops.kernel.in_step)
        assert watch._recv_len == kernel.RECV_MOST

    play(monkeypatch, scene)


def test_netlink_lost_and_found(monkeypatch, caplog):
    """Whatever is said, the last table stays in use, and it is tried again."""

    async def scene(fake, watch, hops):
        await watch.start(5)
        for broken in (b"nonsense", struct.pack("=IHHII", 9999, 24, 0, 1, 0)):
            dumps = fake.dumps
            fake.routes.append(way("10.9.0.0/16", 1))
            fake.tell(broken)
            await until(lambda: not hops.kernel.in_step)
            assert hops.kernel.find("10.1.0.1") == 5
            fake.fails = [OSError(errno.EMFILE, "too many open files")] * 2
            await until(lambda: hops.kernel.in_step)
            assert fake.dumps == dumps + 1
            assert hops.kernel.find("10.9.0.1") == 1
        # The kernel refuses a dump.
        fake.error = message(2, struct.pack("=i", -errno.EPERM) + bytes(16))
        fake.tell(message(21, bytes(8)))
        await until(lambda: not hops.kernel.in_step)
        fake.error = None
        await until(lambda: hops.kernel.in_step)

    play(monkeypatch, scene)
    lost = [r.getMessage() for r in caplog.records if "no routes from the kernel" in r.getMessage()]
    assert len(lost) == 3  # said once each time, not with every try
    assert all("routes as they were stay in use" in words for words in lost)


def test_without_netlink_next_hops_count_as_reachable(monkeypatch, caplog):
    async def scene(fake, watch, hops):
        fake.fails = [OSError(errno.EPERM, "not permitted")]
        await watch.start(5)
        assert not hops.kernel.ready
        await until(lambda: hops.kernel.ready)

    play(monkeypatch, scene)
    assert any("next hops count as reachable" in r.getMessage() for r in caplog.records)


def test_a_system_without_netlink(monkeypatch):
    monkeypatch.delattr(socket, "AF_NETLINK")
    with pytest.raises(OSError, match="no netlink"):
        kernel._netlink_socket()


def test_patience_ends(monkeypatch, caplog):
    async def scene(fake, watch, hops):
        monkeypatch.setattr(fake, "answer", lambda sock: None)
        await watch.start(0.02)
        assert not hops.kernel.ready
        for sock in fake.sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        fake.sockets.clear()

    play(monkeypatch, scene)
    assert any("not there after" in r.getMessage() for r in caplog.records)


def test_another_configuration(monkeypatch):
    async def scene(fake, watch, hops):
        await watch.start(5)
        old = hops.kernel
        watch.configure()
        assert fake.dumps == 1
        hops.kernel = KernelRoutes(100)
        watch.configure()
        await until(lambda: hops.kernel.ready)
        assert not old.in_step
        assert hops.kernel.find("10.1.0.1") is None  # the routes are in another table
        hops.kernel = None
        watch.configure()
        await until(lambda: not fake.sockets)
        # A round that is under way is waited for.
        hops.kernel, hops.busy, before = KernelRoutes(254), True, hops.resolved
        watch.configure()
        await until(lambda: hops.kernel.ready)
        await asyncio.sleep(0.03)
        assert hops.resolved == before
        hops.busy = False
        await until(lambda: hops.resolved == before + 1)

    play(monkeypatch, scene)


WITHOUT = """
import asyncio, sys
from pathlib import Path
from rs.app import Daemon
from rs.configfile import load_config

def held():
    return "rs.kernel" in sys.modules, any(m.startswith("pyroute2") for m in sys.modules)

async def main(path):
    daemon = Daemon(load_config(path))
    await daemon.start()
    assert held() == (False, False)
    await daemon.reload()
    assert held() == (False, False)
    path.write_text(path.read_text() + '[next_hops]\\nsource = "kernel"\\n')
    await daemon.reload()
    assert held() == (True, True)
    await daemon.stop()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_who_does_not_ask_the_kernel_does_without_the_library(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "rs.toml").write_text(
        f'[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nlisten = ["127.0.0.1:{port}"]\n'
    )
    subprocess.run(
        [sys.executable, "-c", WITHOUT, tmp_path / "rs.toml"], check=True, timeout=60, cwd=ROOT
    )


# --- the real one ---------------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[lan_module.Host]:
    reason = lan_module.unavailable()
    if reason is not None:
        pytest.skip(reason)
    lan = Lan("kernel")
    try:
        yield lan.host(1)
    finally:
        lan.close()


def fib_metric(namespace: str, address: str) -> int | None:
    """The kernel's own answer: the route by which it would send, and its metric."""
    argv = ["ip", "-n", namespace, "-6" if ":" in address else "-4"]
    done = subprocess.run(
        [*argv, "route", "get", "fibmatch", address], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    if done.returncode or not words or words[0] in {"blackhole", "unreachable", "prohibit"}:
        return None
    if "via" not in words and "kernel" in words:
        return 0
    return int(words[words.index("metric") + 1]) if "metric" in words else 0


def random_command(rng: random.Random) -> str:
    six = rng.random() < 0.4
    nets = (
        ["2001:db8:5::/48", "2001:db8:5:1::/64", "2001:db8:5:1::7/128"]
        if six
        else [*("10.50.0.0/16", "10.50.1.0/24", "10.50.1.7/32")]
    )
    via = [f"2001:db8:{n}::9 dev e{n}" if six else f"10.60.{n}.9 dev e{n}" for n in (1, 2)]
    what = rng.choice(
        [f"via {via[0]}", f"via {via[1]}", "blackhole", "unreachable"]
        + [f"nexthop via {via[0]} nexthop via {via[1]}"] * 2
    )
    refuses = what in {"blackhole", "unreachable"}
    head = f"{what} " if refuses else ""
    tail = "" if refuses else f" {what}"
    if "nexthop" in tail:
        return (
            f"{'-6 ' if six else ''}route {rng.choice(('add', 'replace', 'del'))} "
            f"{rng.choice(nets)} metric {rng.choice((5, 10))}{tail}"
        )
    verb = rng.choice(("add", "add", "replace", "del", "append"))
    metric = rng.choice((5, 10))
    if rng.random() < 0.08:
        return f"link set e{rng.choice((1, 2))} {rng.choice(('up', 'down'))}"
    return f"{'-6 ' if six else ''}route {verb} {head}{rng.choice(nets)}{tail} metric {metric}"


def test_another_table_of_the_real_kernel(host):
    """One that nobody has put a route into is empty, and no fault."""
    ip(
        "-n",
        host.namespace,
        batch="route add 10.1.0.0/16 via 10.99.0.9 table main\n"
        "link add e1 type veth peer name f1\nlink set f1 up\nlink set e1 up\n"
        "address add 10.60.1.1/24 dev e1\n",
    )

    async def main() -> None:
        hops = NextHops(5000)
        assert hops.kernel is not None
        watch = KernelWatch(hops, asyncio.get_running_loop())
        await watch.start(5)
        assert hops.kernel.in_step
        assert len(hops.kernel) == 0
        ip("-n", host.namespace, "route", "add", "10.2.0.0/16", "via", "10.60.1.9", "table", "5000")
        await until(lambda: hops.kernel.find("10.2.0.1") == 0)  # IPv4 says no metric
        assert hops.kernel.find("10.1.0.1") is None
        watch.close()
        again = KernelWatch(hops, asyncio.get_running_loop())
        hops.kernel = KernelRoutes(5000)
        await again.start(5)
        assert list(hops.kernel._routes) == ["10.2.0.0/16"]
        # An address goes, and with it the route, which the kernel does not mention.
        ip("-n", host.namespace, "address", "del", "10.60.1.1/24", "dev", "e1")
        await until(lambda: hops.kernel.find("10.2.0.1") is None)
        again.close()

    with host.entered():
        uvloop.run(main())


@pytest.mark.parametrize(("room", "lost"), [(kernel.RECV_BUFFER, False), (1 << 16, True)])
def test_more_changes_at_once_than_the_kernel_keeps(host, monkeypatch, room, lost):
    """Nobody reads while they are made; what there was no room for is asked for again."""
    monkeypatch.setattr(kernel, "RECV_BUFFER", room)
    monkeypatch.setattr(kernel, "DUMP_PAUSE", 0.05)
    nets = [f"10.{100 + i // 256}.{i % 256}.0/24" for i in range(2000)]

    async def main() -> None:
        hops = NextHops()
        assert hops.kernel is not None
        watch = KernelWatch(hops, asyncio.get_running_loop())
        await watch.start(5)
        base = len(hops.kernel)
        for verb, count in (("add", len(nets)), ("del", 0)):
            dumps = watch.dumps
            batch = "".join(f"route {verb} {net} dev eth0 metric 5\n" for net in nets)
            ip("-n", host.namespace, batch=batch)
            await until(lambda: len(hops.kernel) == base + count)  # noqa: B023
            await until(lambda: watch._dump is None and not watch._timers)
            assert len(hops.kernel) == base + count
            assert (watch.dumps > dumps) is lost
        watch.close()

    with host.entered():
        uvloop.run(main())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_step_with_the_real_kernel(host, seed, monkeypatch):
    """Random changes by iproute2; afterwards each address is asked of both."""
    monkeypatch.setattr(kernel, "DUMP_PAUSE", 0.05)
    rng = random.Random(seed)
    ip(
        "-n",
        host.namespace,
        batch="".join(
            f"link add e{n} type veth peer name f{n}\nlink set f{n} up\nlink set e{n} up\n"
            f"address add 10.60.{n}.1/24 dev e{n}\naddress add 2001:db8:{n}::1/64 dev e{n} nodad\n"
            for n in (1, 2)
        ),
    )
    addresses = ["10.50.1.7", "10.50.1.8", "10.50.2.1", "10.60.1.5", "10.60.2.5", "192.0.2.1"]
    addresses += ["2001:db8:5:1::7", "2001:db8:5:1::8", "2001:db8:5:2::1", "2001:db8:1::5"]

    async def main() -> None:
        hops = NextHops()
        assert hops.kernel is not None
        watch = KernelWatch(hops, asyncio.get_running_loop())
        await watch.start(5)
        assert hops.kernel.ready
        for _ in range(6):
            for _ in range(12):
                # Many make no sense, and are refused.
                with contextlib.suppress(RuntimeError):
                    ip("-n", host.namespace, *random_command(rng).split())
            # Every interface carries packets again: with a dead one the kernel would still send.
            ip("-n", host.namespace, batch="link set e1 up\nlink set e2 up\n")
            want = {address: fib_metric(host.namespace, address) for address in addresses}
            with contextlib.suppress(TimeoutError):
                await until(lambda: {a: hops.kernel.find(a) for a in addresses} == want)  # noqa: B023
            assert {a: hops.kernel.find(a) for a in addresses} == want
        watch.close()

    with host.entered():
        uvloop.run(main())
