"""RPKI caches that lie, loop or stall: BGP sessions of the same daemon must not notice."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import uvloop

from rs.app import Daemon
from rs.configfile import load_config
from rs.iana import MessageType
from rs.messages import KEEPALIVE
from tests import rtrkit
from tests.reference import codec
from tests.reference.update import Context, decode_update
from tests.sessions import open_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

WAIT = 20.0
LONG = 0.5
"""Seconds between two steps of the loop that are too long, on a machine with much else to do."""
MEMBERS = {"127.0.0.11": 65011, "127.0.0.12": 65012}
VRPS = [("192.0.2.0/24", 24, 1), ("2001:db8::/32", 32, 1)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# --- what the caches do


def says(*parts: bytes, then: str = "silence") -> Talk:
    """Return a cache that answers the first query by these octets, then is silent or goes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        for part in parts:
            writer.write(part)
        await writer.drain()
        if then == "silence":
            await reader.read()

    return talk


async def repeats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every query by Cache Reset, so that another one comes."""
    while await reader.read(64):
        writer.write(rtrkit.pdu(1, 8))


async def notifies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send notifications without end, and data for none of them."""
    while True:
        writer.write(b"".join(rtrkit.notify(1, 7, n) for n in range(1000)))
        await writer.drain()
        await asyncio.sleep(0.002)


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send prefixes without end."""
    await reader.readexactly(8)
    writer.write(rtrkit.response(1, 7))
    for block in range(1 << 30):
        base = block << 8 & 0xFFFFFF
        writer.write(
            rtrkit.prefixes(
                1, [(f"{base >> 16}.{base >> 8 & 255}.{i}.0/24", 24, block) for i in range(200)]
            )
        )
        await writer.drain()
        await asyncio.sleep(0.002)


async def dribbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an answer octet by octet."""
    for octet in rtrkit.response(1, 7) + rtrkit.prefixes(1, VRPS * 20):
        writer.write(bytes([octet]))
        await writer.drain()
        await asyncio.sleep(0.005)


WHOLE = rtrkit.response(1, 7) + rtrkit.prefixes(1, VRPS)
CACHES = {
    "a length of 4 GB": says(rtrkit.pdu(1, 4, 0, b"", 0xFFFFFFFF)),
    "a length of 0": says(rtrkit.pdu(1, 4, 0, bytes(12), 0)),
    "a length of 7": says(rtrkit.pdu(1, 3, 7, b"", 7)),
    "a prefix longer than its maximum": says(
        rtrkit.response(1, 7), rtrkit.pdu(1, 4, 0, bytes((1, 24, 8, 0, 8, 0, 0, 0)) + bytes(4))
    ),
    "half a PDU": says(WHOLE[:13]),
    "an answer without an end": says(WHOLE),
    "an answer that breaks off": says(WHOLE, then="gone"),
    "an error report inside an error report": says(
        rtrkit.pdu(1, 10, 0, struct.pack("!I", 0xFFFFFFF0) + bytes(40))
    ),
    "noise": says(bytes(range(256)) * 400),
    "Cache Reset for ever": repeats,
    "notifications for ever": notifies,
    "prefixes for ever": never_ends,
    "one octet at a time": dribbles,
    "not a word": says(),
}


# --- the members


class Member:
    """A member on loopback that keeps its session up and counts what it is sent."""

    def __init__(self, address: str, asn: int) -> None:
        self.address, self.asn = address, asn
        self.prefixes: set[str] = set()
        self.closed = False
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(self.address, 0)
        )
        self._writer.write(
            open_message(self.asn, self.address, hold_time=3, addpath={}, extended_message=False)
        )
        self._writer.write(KEEPALIVE)
        self._tasks = [
            asyncio.create_task(self._read(reader)),
            asyncio.create_task(self._keep_alive()),
        ]

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.send(KEEPALIVE)

    def send(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def announce(self, prefix: str) -> None:
        attrs = {"origin": 0, "as_path": ((2, (self.asn,)),), "next_hop": self.address}
        self.send(codec.update_message(codec.encode_update([prefix], attrs)))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(19)
                body = await reader.readexactly(int.from_bytes(head[16:18], "big") - 19)
                if head[18] == MessageType.UPDATE:
                    routes = decode_update(body, Context()).routes()
                    self.prefixes |= {prefix for (_, prefix, _), _ in routes}
        self.closed = True

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        assert self._writer is not None
        self._writer.close()


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def scenario(folder: Path, talks: list[Talk]) -> None:
    """Run a daemon with these caches; members announce all the while and must be heard."""
    servers = [await asyncio.start_server(talk, "127.0.0.1", 0) for talk in talks]  # type: ignore[arg-type]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    caches = ", ".join(f'{{ host = "127.0.0.1", port = {port} }}' for port in ports)
    port = free_port()
    text = (
        f'[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nlisten = ["127.0.0.1:{port}"]\n'
        f'[filters]\nrpki = "reject"\n[rpki]\ncaches = [{caches}]\n[defaults]\npassive = true\n'
    )
    for address, asn in MEMBERS.items():
        text += f'[[neighbors]]\naddress = "{address}"\nasn = {asn}\nhold_time = 3\n'
    (folder / "rs.toml").write_text(text)
    daemon = Daemon(load_config(folder / "rs.toml"))
    members = [Member(address, asn) for address, asn in MEMBERS.items()]
    await daemon.start()
    try:
        for member in members:
            await member.connect(port)
        peers = daemon.router.peers.values()
        await until(lambda: all(p.established for p in peers), "sessions come up")
        gaps, last = 0.0, time.monotonic()
        for i in range(40):
            members[0].announce(f"198.51.{i}.0/24")
            for _ in range(5):
                await asyncio.sleep(0.01)
                now = time.monotonic()
                gaps, last = max(gaps, now - last), now
        await until(lambda: len(members[1].prefixes) == 40, "routes pass")
        assert all(peer.established for peer in peers)
        assert not any(member.closed for member in members)
        assert all(peer.session.counters.flaps == 0 for peer in peers)
        assert not daemon.router.rules.rpki_ready
        assert daemon.router.loop.longest_slice < LONG
        assert gaps < LONG, f"the loop stood still for {gaps:.3f} s"
        rows, _ = daemon.router.rpki_sources()
        assert [row["vrps"] for row in rows] == [0] * len(talks)
    finally:
        for member in members:
            await member.stop()
        await daemon.stop()
        for server in servers:
            server.close()


def test_caches_of_every_bad_kind_at_once(tmp_path):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario(tmp_path, list(CACHES.values())), 60))
