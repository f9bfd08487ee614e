"""What tests of `rs replay` play, and the speakers that it is played into."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs._fastpath.play import Sink
from rs.iana import HEADER_LEN, Family, MessageType
from rs.mrt import open_mrt
from rs.replay import Replay
from rs.replay_plan import Options, Target
from rs.session import Session
from rs.session_types import Close, Down, Send, SessionConfig, Up
from tests.mrtfiles import (
    attrs,
    bgp4mp,
    message,
    mp_full,
    mp_short,
    mp_unreach,
    nlri,
    peer_index_table,
    rib,
    update,
)

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
PEERS = peer_index_table(("10.0.0.1", 65001), ("10.0.0.2", 65002), ("2001:db8::3", 65003))
V6_BLOCK = attrs(65003, hop=None, more=mp_short("2001:db8::3"))
ROUTES = [
    rib(f"10.{i}.0.0/16", (0, attrs(65001, i % 5 + 1)), (1, attrs(65002))) for i in range(200)
]
ROUTES += [rib(f"2001:db8:{i:x}::/48", (2, V6_BLOCK)) for i in range(1, 51)]
TABLE = b"".join([PEERS, *ROUTES])


def recorded() -> bytes:
    v6 = attrs(65002, hop=None, more=mp_full("2001:db8::2", "2001:db8:1::/48", "2001:db8:2::/48"))
    second = {"peer": "10.0.0.2", "asn": 65002}
    opening = bytes([4]) + (65001).to_bytes(2) + bytes(2) + b"\x0a\x03\x02\x01\0"
    return b"".join(
        [
            bgp4mp(b"\0\5\0\6", 5, time=100),
            bgp4mp(message(1, opening), time=100),
            bgp4mp(message(4), time=100),
            bgp4mp(update(block=attrs(65001, 400_000), announced=nlri("10.1.0.0/16")), time=100),
            bgp4mp(update(block=v6), time=101, **second),
            bgp4mp(update(block=attrs(65001, width=2), announced=nlri("10.2.0.0/16")), 1, time=102),
            bgp4mp(update(block=attrs(9), announced=nlri("10.9.0.0/16")), 7, time=102),
            bgp4mp(update(nlri("10.1.0.0/16")), time=103),
            bgp4mp(update(block=mp_unreach("2001:db8:1::/48")), time=104, **second),
            bgp4mp(update(), time=104),
            bgp4mp(message(3, b"\6\2"), time=104),
        ]
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Keeper:
    """An Ingest that keeps what it gets."""

    def __init__(self) -> None:
        self.sink = Sink(65535)
        self.data = bytearray()

    @property
    def pending_events(self) -> int:
        return self.sink.pending_events

    @property
    def updates(self) -> int:
        return self.sink.updates

    @property
    def keepalives(self) -> int:
        return self.sink.keepalives

    def feed(self, data) -> int:
        self.data += data
        return self.sink.feed(bytes(data))

    def take_events(self):
        return self.sink.take_events()


class Side(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.keeper = Keeper()
        self.down = ""
        self.agreed = None
        self.ended = asyncio.Event()
        self.session = Session(speaker.config, random.Random(1), on_up=lambda *_: self.keeper)

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.source = transport.get_extra_info("peername")[0]
        self.speaker.sides.append(self)
        self.session.start(time.monotonic())
        self.session.connected(self, time.monotonic(), outbound=False)
        self.carry_out()

    def data_received(self, data) -> None:
        self.session.receive(self, data, time.monotonic())
        self.carry_out()

    def connection_lost(self, exc) -> None:
        self.session.closed(self, time.monotonic(), "lost")
        self.carry_out()
        self.ended.set()

    def carry_out(self) -> None:
        for command in self.session.poll():
            match command:
                case Send(_, data):
                    self.transport.write(data)
                case Close():
                    self.transport.close()
                case Up(_, agreed):
                    self.agreed = agreed
                    self.speaker.came_up(self)
                case Down(_, reason):
                    self.down = reason

    def updates(self) -> list[dict]:
        """Every UPDATE received, decoded; none may have a fault."""
        decoder = Decoder(
            AttrTable(),
            as4=self.agreed.four_octet_as,
            ibgp=self.agreed.ibgp,
            families=3,
            addpath=sum(1 << f for f in self.agreed.addpath_receive),
            ext_next_hop=True,
        )
        found, data = [], bytes(self.keeper.data)
        while data:
            length = int.from_bytes(data[16:18])
            if data[18] == MessageType.UPDATE:
                found.append(decoder.decode(data[HEADER_LEN:length]))
            data = data[length:]
        assert all(u["outcome"] == 0 for u in found)
        return found

    def routes(self) -> dict:
        """Prefix (and path identifier) -> attributes of what is announced and not withdrawn."""
        table = {}
        for u in self.updates():
            for prefix in u["withdrawn"] + [p[1:] for p in u["unreach"]]:
                table.pop(prefix, None)
            table |= dict.fromkeys(u["announced"], u["attrs"])
            table |= dict.fromkeys([p[1:] for p in u["reach"]], u["mp_attrs"])
        return table

    def ends_of_rib(self) -> list[Family]:
        return [u["eor"] for u in self.updates() if u["eor"] is not None]


class Speaker:
    """A BGP speaker that accepts everybody."""

    def __init__(self, asn: int = 64999, **config) -> None:
        values = {
            "local_asn": asn,
            "local_router_id": "10.255.255.255",
            "peer_asn": None,
            "families": (V4, V6),
            "passive": True,
        }
        self.config = SessionConfig(**{**values, **config})
        self.sides: list[Side] = []
        self.on_up = lambda side: None

    def came_up(self, side: Side) -> None:
        self.on_up(side)

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Side(self), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.target = Target("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*(side.ended.wait() for side in self.sides))

    @property
    def by_source(self) -> dict[str, Side]:
        return {side.source: side for side in self.sides}


class Quiet:
    """A watcher that keeps what it sees."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def session(self, player, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


async def until(check) -> None:
    """Wait until `check` is true; the caller sets the time limit."""
    while True:
        if check():
            return
        await asyncio.sleep(0.05)


def replay(file, *speakers: Speaker, during=None, on_up=None, **options):
    """Play a file into speakers; return the result."""

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            for speaker in speakers:
                await stack.enter_async_context(speaker)
                if on_up is not None:
                    speaker.on_up = on_up
            if "targets" not in options:
                options["targets"] = tuple(s.target for s in speakers)
            with open_mrt(file) as mrt:
                playing = Replay(mrt, Options(**options), Quiet())
                plans = playing.load()
                helper = asyncio.create_task(during(playing)) if during else None
                async with asyncio.timeout(30):
                    result = await playing.run(plans)
                if helper is not None:
                    await helper
                return result

    return asyncio.run(main())
