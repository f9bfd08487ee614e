"""Replay: plans, sessions against a speaker made of Session, the command line, real daemons."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs._fastpath.play import Sink
from rs.cli import cli
from rs.errors import MrtError
from rs.iana import HEADER_LEN, AddPathMode, Family, MessageType
from rs.messages import RouteRefresh, decode_notification, encode_route_refresh
from rs.mrt import open_mrt
from rs.replay import Replay
from rs.replay_cli import parse_stay, parse_target
from rs.replay_plan import Options, PlanError, Target, end_of_rib, make_plans
from rs.session import Session
from rs.session_types import Close, Down, Send, SessionConfig, Up
from tests.mrtfiles import (
    attr,
    attrs,
    bgp4mp,
    data_file,
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


@pytest.fixture
def write(tmp_path):
    def write(data: bytes, name: str = "file.mrt"):
        file = tmp_path / name
        file.write_bytes(data)
        return file

    return write


# ------------------------------------------------------------------------------- the other side


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


# -------------------------------------------------------------------------------------- RIB files


def test_every_peer_of_a_table_in_a_session_of_its_own(write):
    speaker = Speaker()
    result = replay(write(TABLE), speaker, local_prefix="127.0.9.0/24")
    assert result.ok
    assert not result.interrupted
    assert [(o.routes, o.skipped, o.complete) for o in result.outcomes] == [
        (200, 0, True),
        (200, 0, True),
        (50, 0, True),
    ]
    assert result.routes == 450
    first, second, third = (speaker.by_source[f"127.0.9.{i}"] for i in (1, 2, 3))
    assert [s.agreed.peer_asn for s in (first, second, third)] == [65001, 65002, 65003]
    assert [s.agreed.peer_router_id for s in (first, second)] == ["10.0.0.1", "10.0.0.2"]
    assert first.routes() == {
        (f"10.{i}.0.0/16", 0): {
            "origin": 0,
            "as_path": ((2, (65001, i % 5 + 1)),),
            "next_hop": "192.0.2.1",
        }
        for i in range(200)
    }
    assert len(first.updates()) == 5 + 1
    assert (len(second.routes()), len(second.updates())) == (200, 1 + 1)
    assert third.routes()["2001:db8:1::/48", 0]["next_hop"] == "2001:db8::3"
    assert [s.ends_of_rib() for s in (first, second, third)] == [[V4], [V4], [V6]]
    assert all("Administrative Shutdown" in s.down for s in (first, second, third))
    assert all("replay ended" in s.down for s in (first, second, third))


def test_into_two_speakers_at_once(write):
    one, two = Speaker(), Speaker(asn=65001)
    result = replay(write(TABLE), one, two, peers=("0",), asn=65001)
    assert result.ok
    assert one.sides[0].routes().keys() == two.sides[0].routes().keys()
    assert not one.sides[0].agreed.ibgp
    assert two.sides[0].agreed.ibgp
    assert {a.get("local_pref") for a in one.sides[0].routes().values()} == {None}
    assert {a.get("local_pref") for a in two.sides[0].routes().values()} == {100}


def test_choosing_peers_and_families(write):
    block = attrs(65001, hop="192.0.2.1", more=mp_short("2001:db8::1"))
    file = write(TABLE + rib("2001:db8:99::/48", (0, block)))
    speaker = Speaker()
    assert replay(file, speaker, peers=("10.0.0.1",)).ok
    assert speaker.sides[0].agreed.families == (V4, V6)
    assert len(speaker.sides[0].routes()) == 201
    assert speaker.sides[0].ends_of_rib() == [V4, V6]
    speaker = Speaker()
    assert replay(file, speaker, peers=("0",), families=(V6,)).ok
    assert speaker.sides[0].routes().keys() == {("2001:db8:99::/48", 0)}
    speaker = Speaker(families=(V4,))
    assert replay(file, speaker, peers=("0",)).ok
    assert len(speaker.sides[0].routes()) == 200
    speaker = Speaker()
    result = replay(file, speaker, families=(V6,), local_prefix="127.0.9.0/24")
    assert [o.plan.peer.index for o in result.outcomes] == [0, 2]


def test_own_as_own_next_hop_own_identifier(write):
    speaker = Speaker()
    replay(
        write(TABLE),
        speaker,
        peers=("0",),
        asn=400_000,
        prepend=True,
        next_hops=("self",),
        local_address="127.0.9.7",
        router_id="10.7.7.7",
        hold_time=33,
    )
    (side,) = speaker.sides
    assert side.source == "127.0.9.7"
    assert (side.agreed.peer_asn, side.agreed.peer_router_id) == (400_000, "10.7.7.7")
    assert side.agreed.hold_time == 33
    route = side.routes()["10.1.0.0/16", 0]
    assert route["as_path"] == ((2, (400_000, 65001, 2)),)
    assert route["next_hop"] == "127.0.9.7"


def test_next_hops_by_address(write):
    file = write(TABLE + rib("10.250.0.0/16", (2, attrs(65003))))
    speaker = Speaker()
    replay(file, speaker, peers=("2",), next_hops=("192.0.2.77", "2001:db8::77"))
    routes = speaker.sides[0].routes()
    assert routes["2001:db8:1::/48", 0]["next_hop"] == "2001:db8::77"
    assert routes["10.250.0.0/16", 0]["next_hop"] == "192.0.2.77"


def test_an_old_speaker_gets_narrow_as_numbers(write):
    file = write(PEERS + rib("10.0.0.0/8", (0, attrs(65001, 400_000))))
    speaker = Speaker(four_octet_as=False, extended_message=False)
    assert replay(file, speaker, peers=("0",)).ok
    (side,) = speaker.sides
    assert not side.agreed.four_octet_as
    assert side.routes()["10.0.0.0/8", 0]["as_path"] == ((2, (65001, 400_000)),)
    assert b"\x40\x02\x06\x02\x02\xfd\xe9\x5b\xa0" in bytes(side.keeper.data)


def test_path_identifiers_where_both_sides_want_them(write):
    file = write(PEERS + rib("10.0.0.0/8", (0, attrs(65001, 1), 8), (0, attrs(65001, 2), 9)))
    speaker = Speaker(addpath={V4: AddPathMode.RECEIVE})
    assert replay(file, speaker, peers=("0",)).ok
    assert speaker.sides[0].routes().keys() == {("10.0.0.0/8", 8), ("10.0.0.0/8", 9)}
    speaker = Speaker()
    assert replay(file, speaker, peers=("0",)).ok
    assert speaker.sides[0].routes().keys() == {("10.0.0.0/8", 0)}


def test_a_large_table_is_written_whole(write):
    """More than sockets and buffers hold, to a reader that starts late."""
    more = attr(8, bytes(400), 0xC0)
    file = write(
        PEERS
        + b"".join(
            rib(
                f"{10 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24",
                (0, attrs(65001, i + 1, more=more)),
            )
            for i in range(40_000)
        )
    )

    def late(side):
        side.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.5, side.transport.resume_reading)

    speaker = Speaker()
    result = replay(file, speaker, peers=("0",), on_up=late)
    (outcome,) = result.outcomes
    assert outcome.complete
    assert (outcome.routes, outcome.updates) == (40_000, 40_001)
    assert outcome.octets > 16_000_000
    assert outcome.seconds > 0.4
    assert speaker.sides[0].keeper.sink.updates == 40_001


def test_valid_routes_only(write):
    file = write(PEERS + rib("10.0.0.0/8", (0, attrs(65001, 0))) + rib("11.0.0.0/8", (0, attrs(1))))
    speaker = Speaker()
    (outcome,) = replay(file, speaker, peers=("0",), valid_only=True).outcomes
    assert (outcome.routes, outcome.skipped) == (1, 1)
    assert speaker.sides[0].routes().keys() == {("11.0.0.0/8", 0)}


def test_rate_in_updates_per_second(write):
    file = write(PEERS + b"".join(rib(f"10.{i}.0.0/16", (0, attrs(1, i + 1))) for i in range(20)))
    speaker = Speaker()
    (outcome,) = replay(file, speaker, peers=("0",), rate=50.0).outcomes
    assert outcome.updates == 21
    assert 0.35 < outcome.seconds < 2


def test_route_refresh_brings_the_routes_again(write):
    def ask(side):
        loop = asyncio.get_running_loop()
        request = encode_route_refresh(RouteRefresh(1, 1))
        loop.call_later(0.2, side.transport.write, request)

    speaker = Speaker()
    assert replay(write(TABLE), speaker, peers=("0",), stay=0.6, on_up=ask).ok
    assert speaker.sides[0].ends_of_rib() == [V4, V4]
    assert sum(len(u["announced"]) for u in speaker.sides[0].updates()) == 400


def test_staying_and_looping_until_interrupted(write):
    async def interrupt(playing):
        await asyncio.sleep(0.5)
        playing.interrupt()

    speaker = Speaker()
    result = replay(write(TABLE), speaker, peers=("0",), stay=math.inf, during=interrupt)
    assert (result.ok, result.interrupted) == (True, True)
    assert "Administrative Shutdown" in speaker.sides[0].down
    speaker = Speaker()
    result = replay(write(TABLE), speaker, peers=("0",), loop=True, rate=100.0, during=interrupt)
    assert (result.ok, result.interrupted) == (True, True)
    assert len(speaker.sides[0].ends_of_rib()) > 2
    assert result.outcomes[0].routes >= 400


# -------------------------------------------------------------------------------- files of updates


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


def test_recorded_updates_of_every_peer_in_order(write):
    speaker = Speaker()
    result = replay(write(recorded()), speaker, local_prefix="127.0.9.0/24")
    assert result.ok
    first, second = speaker.by_source["127.0.9.1"], speaker.by_source["127.0.9.2"]
    assert first.agreed.peer_router_id == "10.3.2.1"
    assert [(o.routes, o.withdrawn, o.updates) for o in result.outcomes] == [(2, 1, 4), (2, 1, 2)]
    kinds = [(u["announced"], u["withdrawn"]) for u in first.updates()]
    assert kinds == [
        ([("10.1.0.0/16", 0)], []),
        ([("10.2.0.0/16", 0)], []),
        ([], [("10.1.0.0/16", 0)]),
        ([], []),
    ]
    assert first.updates()[0]["attrs"]["as_path"] == ((2, (65001, 400_000)),)
    assert first.updates()[1]["attrs"]["as_path"] == ((2, (65001,)),)
    assert second.routes().keys() == {("2001:db8:2::/48", 0)}
    assert all("Administrative Shutdown" in s.down for s in (first, second))


def test_recorded_time(write):
    speaker = Speaker()
    started = time.monotonic()
    assert replay(write(recorded()), speaker, peers=("0",), speed=8.0).ok
    assert 0.35 < time.monotonic() - started < 3  # 3 s of recording at least, 8 times as fast


def test_rate_of_a_file_of_updates(write):
    speaker = Speaker()
    result = replay(write(recorded()), speaker, local_prefix="127.0.9.0/24", rate=20.0)
    assert result.ok
    assert 0.2 < result.seconds < 3


def test_looping_over_a_file_of_updates(write):
    async def interrupt(playing):
        await asyncio.sleep(0.4)
        playing.interrupt()

    speaker = Speaker()
    result = replay(write(recorded()), speaker, peers=("0",), loop=True, during=interrupt)
    assert result.interrupted
    assert result.outcomes[0].updates > 8
    assert speaker.sides[0].routes().keys() == {("10.2.0.0/16", 0)}


def test_one_peer_that_does_not_read_holds_up_a_file_of_updates(write):
    """And memory stays bounded: nothing is read ahead."""
    more = attr(8, bytes(800), 0xC0)
    raw = update(block=attrs(1, more=more), announced=nlri("10.1.0.0/16"))
    file = write(bgp4mp(raw) * 40_000 + bgp4mp(raw, peer="10.0.0.2"))

    def late(side):
        if side.source == "127.0.9.1":
            side.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.5, side.transport.resume_reading)

    held = []

    async def watch(playing):
        await asyncio.sleep(0.4)
        held.extend(p.octets for p in playing.players)

    speaker = Speaker()
    result = replay(file, speaker, local_prefix="127.0.9.0/24", on_up=late, during=watch)
    assert result.ok
    assert held[0] < 20_000_000
    assert held[1] == 0
    assert [o.updates for o in result.outcomes] == [40_000, 1]


# ----------------------------------------------------------------------------------------- errors


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_connection_refused(write):
    result = replay(write(TABLE), targets=(Target("127.0.0.1", free_port()),), peers=("0",))
    assert not result.ok
    assert "refused; is a BGP speaker listening there?" in result.outcomes[0].error
    assert not result.outcomes[0].established


def test_an_address_that_is_not_ours(write):
    target = Target("127.0.0.1", free_port())
    result = replay(write(TABLE), targets=(target,), peers=("0",), local_address="192.0.2.99")
    assert "cannot connect from 192.0.2.99: " in result.outcomes[0].error


def test_waiting_for_a_speaker_that_starts_later(write):
    port = free_port()
    speaker = Speaker()

    async def listen(playing):
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        speaker.server = await loop.create_server(lambda: Side(speaker), "127.0.0.1", port)

    target = Target("127.0.0.1", port)
    assert replay(write(TABLE), targets=(target,), peers=("0",), wait=10.0, during=listen).ok
    assert len(speaker.sides[0].routes()) == 200


def test_a_wrong_as_is_told_with_the_notification(write):
    speaker = Speaker(peer_asn=65500)
    (outcome,) = replay(write(TABLE), speaker, peers=("0",)).outcomes
    assert "Bad Peer AS (2/2)" in outcome.error
    assert "we are AS65001" in outcome.error
    assert not outcome.established


def test_one_session_that_fails_leaves_the_others_alone(write):
    def refuse(side):
        if side.source == "127.0.9.2":
            side.session.stop(time.monotonic(), 4, "not you")
            side.carry_out()

    speaker = Speaker()
    result = replay(write(TABLE), speaker, local_prefix="127.0.9.0/24", stay=0.2, on_up=refuse)
    assert not result.ok
    errors = [o.error for o in result.outcomes]
    assert errors[0] is errors[2] is None
    assert "NOTIFICATION Cease/Administrative Reset (6/4)" in errors[1]
    assert "not you" in errors[1]
    assert len(speaker.by_source["127.0.9.1"].routes()) == 200


def test_a_speaker_that_goes_away_without_a_word(write):
    def leave(side):
        side.transport.abort()

    speaker = Speaker()
    (outcome,) = replay(write(TABLE), speaker, peers=("0",), stay=5.0, on_up=leave).outcomes
    assert outcome.error is not None
    assert not outcome.complete or "TCP" in outcome.error


def test_a_cut_off_file_is_played_as_far_as_it_goes(write):
    packed = gzip.compress(TABLE)
    speaker = Speaker()
    result = replay(write(packed[: len(packed) * 2 // 3]), speaker, local_prefix="127.0.9.0/24")
    assert result.ok
    assert "gzip data are cut off" in result.warnings[0]
    assert 0 < result.outcomes[0].routes < 200


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "3 peers are to be played: each needs an address of its own"),
        ({"local_prefix": "127.0.9.0/31"}, "has 2 addresses, but 3 peers"),
        ({"local_prefix": "127.0.9.1/24"}, "--local-prefix: 127.0.9.1/24 has host bits set"),
        ({"peers": ("9",)}, "--peer 9: .* has no such peer; they are numbered 0 to 2"),
        ({"peers": ("3",), "silent": True}, "--peer 3: the file has nothing of it"),
        ({"peers": ("0",), "families": (V6,)}, "--peer 0: the file has nothing of it"),
        ({"peers": ("0",), "next_hops": ("me",)}, "--next-hop me: neither keep, self nor"),
        ({"peers": ("0",), "speed": 1.0}, "--speed needs a file of updates"),
        ({"router_id": "10.0.0.1", "local_prefix": "127.0.9.0/24"}, "--router-id names one peer"),
    ],
)
def test_options_that_cannot_be(write, options, text):
    data = TABLE
    if options.pop("silent", False):
        data = peer_index_table(*[("10.0.0.1", 1)] * 4) + rib("10.0.0.0/8", (0, attrs(1)))
    with open_mrt(write(data)) as mrt, pytest.raises(PlanError, match=text):
        make_plans(mrt.summary(), Options(targets=(Target("127.0.0.1", 1),), **options))


def test_a_peer_without_a_recorded_as_needs_one(write):
    file = write(peer_index_table(("10.0.0.1", 0)) + rib("10.0.0.0/8", (0, attrs(1))))
    target = (Target("127.0.0.1", 1),)
    with open_mrt(file) as mrt:
        summary = mrt.summary()
    with pytest.raises(PlanError, match="peer 0 has no recorded AS number"):
        make_plans(summary, Options(targets=target))
    assert make_plans(summary, Options(targets=target, asn=5))[0].asn == 5


def test_identifiers_differ_between_sessions_of_one_as(write):
    with open_mrt(write(TABLE)) as mrt:
        summary = mrt.summary()
    target = (Target("127.0.0.1", 1),)
    by_address = make_plans(summary, Options(targets=target, asn=5, local_prefix="127.0.9.0/24"))
    assert [p.router_id for p in by_address] == ["127.0.9.1", "127.0.9.2", "127.0.9.3"]
    ipv6 = make_plans(summary, Options(targets=target, asn=5, local_prefix="2001:db8::/64"))
    assert [p.router_id for p in ipv6] == ["10.0.0.1", "10.0.0.2", "10.255.0.3"]


def test_end_of_rib_is_what_the_decoder_takes_for_it():
    decoder = Decoder(AttrTable())
    for family in Family:
        assert decoder.decode(end_of_rib(family)[HEADER_LEN:])["eor"] == family


# ------------------------------------------------------------------------------- the command line


def run(*arguments: object):
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)])


def test_info(write):
    done = run(write(gzip.compress(TABLE)), "--info")
    assert done.exit_code == 0
    assert "compression: gzip" in done.output
    assert "200 ipv4-unicast, 50 ipv6-unicast" in done.output
    assert re.search(r"2 +65003 +2001:db8::3 +10\.0\.0\.3 +0 +50", done.output)
    done = run(write(recorded()), "--info")
    assert "announced  2 ipv4-unicast, 2 ipv6-unicast" in done.output
    assert "1970-01-01 00:01:40 UTC to 1970-01-01 00:01:44 UTC" in done.output


def test_info_as_json(write):
    data = json.loads(run(write(TABLE), "--info", "--json").output)
    assert data["routes"] == {"ipv4-unicast": 400, "ipv6-unicast": 50}
    assert data["peers"][2]["entries"] == {"ipv6-unicast": 50}
    assert data["truncated"] is False


def test_info_of_a_cut_off_file(write):
    file = write(TABLE[:-3])
    done = run(file, "--info")
    assert done.exit_code == 0
    assert "warning: the file ends within record 251 at offset" in done.output
    done = run(file, "--info", "--strict")
    assert done.exit_code == 1
    assert f"rs: {file}: the file ends within record 251" in done.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "nowhere to play to"),
        (("--to", "127.0.0.1:1"), "give either --asn or --as-peer"),
        (("--to", "127.0.0.1:1", "--asn", "1", "--as-peer"), "give either --asn or --as-peer"),
        (("--to", "127.0.0.1:x", "--asn", "1"), "'127.0.0.1:x' is not HOST:PORT"),
        (("--to", "a:1", "--asn", "1", "--stay", "long"), "'long' is neither seconds nor forever"),
        (("--to", "a:1", "--asn", "1", "--families", "ipv5"), "'ipv5'; there are ipv4-unicast"),
        (("--to", "a:1", "--asn", "1", "--hold-time", "2"), "--hold-time is 0 or at least 3"),
        (("--to", "a:1", "--asn", "1"), "3 peers are to be played"),
        (
            ("--to", "a:1", "--asn", "1", "--local-address", "a", "--local-prefix", "b"),
            "--local-address or --local-prefix, not both",
        ),
    ],
)
def test_arguments_that_cannot_be(write, arguments, text):
    done = run(write(TABLE), *arguments)
    assert done.exit_code == 2
    assert text in done.output


def test_a_file_that_is_none(write, tmp_path):
    done = run(tmp_path / "missing", "--info")
    assert done.exit_code == 1
    assert f"rs: {tmp_path / 'missing'}: No such file" in done.output
    done = run(write(b"these are not the routes"), "--info")
    assert done.exit_code == 1
    assert "not an MRT file" in done.output


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.0.2.1:1790", Target("192.0.2.1", 1790)),
        ("[2001:db8::1]:1790", Target("2001:db8::1", 1790)),
        ("2001:db8::1", Target("2001:db8::1", 179)),
        ("[2001:db8::1]", Target("2001:db8::1", 179)),
        ("router.example.net", Target("router.example.net", 179)),
    ],
)
def test_targets(text, target):
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


def test_stay():
    assert (parse_stay("2.5"), parse_stay("forever")) == (2.5, math.inf)


def test_ctrl_c_ends_with_cease(write):
    """The whole command in a process of its own, as a user has it."""
    speaker = Speaker()

    async def main():
        async with speaker:
            up = asyncio.Event()
            speaker.on_up = lambda side: up.set()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rs", "replay", str(write(TABLE)),
                "--to", str(speaker.target), "--as-peer", "--peer", "0", "--stay", "forever",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(20):
                await up.wait()
                await until(speaker.sides[0].ends_of_rib)
                process.send_signal(signal.SIGINT)
                out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

    code, out, err = asyncio.run(main())
    assert code == 0, err
    assert "200" in out
    assert "interrupted" in out
    assert "up with AS64999" in err
    assert "Traceback" not in out + err
    found = decode_notification(bytes(speaker.sides[0].keeper.data[-2 - 1 - len("replay ended") :]))
    assert (found.code, found.subcode, found.communication) == (6, 2, "replay ended")


def test_result_as_json(write):
    target = f"127.0.0.1:{free_port()}"
    done = run(write(TABLE), "--to", target, "--as-peer", "--peer", 1, "--json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert data["ok"] is False
    assert data["sessions"][0]["to"] == target
    assert "refused" in data["sessions"][0]["error"]


@pytest.mark.data
def test_the_real_session():
    speaker = Speaker(asn=3856)
    result = replay(data_file("session.full-table.2015.mrt.gz"), speaker, asn=3856)
    (outcome,) = result.outcomes
    assert outcome.complete
    assert (outcome.routes, outcome.updates) == (577_737, 89_679)
    assert speaker.sides[0].keeper.sink.updates == 89_679


@pytest.mark.data
def test_a_strict_reading_of_a_real_cut_off_file():
    with (
        open_mrt(data_file("rib.20140523.0600_firstMB.bz2"), tolerant=False) as mrt,
        pytest.raises(MrtError, match="bzip2 data are cut off"),
    ):
        mrt.summary()


# ----------------------------------------------------------------------------------- real daemons


@contextlib.contextmanager
def daemon(*command: str, cwd):
    """A daemon of ours on loopback; ended by its process id."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def eventually(check, seconds: float = 20.0):
    """Return what `check` returns once it is true."""
    until = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
    return found


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout


@pytest.mark.interop
def test_into_bird(write, tmp_path):
    port = free_port()
    (tmp_path / "bird.conf").write_text(
        f"""
        log stderr all;
        router id 10.255.0.99;
        protocol device {{}}
        protocol bgp {{
          local 127.0.0.1 port {port} as 64999;
          neighbor range 127.0.9.0/24 external;
          dynamic name "peer"; strict bind; passive; multihop;
          ipv4 {{ import all; export none; }};
          ipv6 {{ import all; export none; }};
        }}
        """
    )
    ctl = str(tmp_path / "ctl")

    async def check(playing):
        def routes():
            return output("birdc", "-s", ctl, "show", "route", "count")

        async with asyncio.timeout(20):
            await until(lambda: "400 of 400 routes for 200 networks in table master4" in routes())
        assert "50 of 50 routes for 50 networks in table master6" in routes()
        text = output("birdc", "-s", ctl, "show", "route", "10.3.0.0/16", "all")
        assert "BGP.as_path: 65001 4" in text
        assert "BGP.next_hop: 192.0.2.1" in text
        playing.interrupt()

    with daemon("bird", "-f", "-c", "bird.conf", "-s", ctl, cwd=tmp_path):
        eventually(lambda: "ready" in output("birdc", "-s", ctl, "show", "status").lower())
        result = replay(
            write(TABLE),
            targets=(Target("127.0.0.1", port),),
            local_prefix="127.0.9.0/24",
            stay=math.inf,
            wait=10.0,
            during=check,
        )
        assert result.ok
        eventually(lambda: "replay ended" in (tmp_path / "log").read_text())


@pytest.mark.interop
def test_into_gobgp(write, tmp_path):
    port, api = free_port(), free_port()
    (tmp_path / "gobgpd.toml").write_text(
        f"""
        [global.config]
          as = 64999
          router-id = "10.255.0.98"
          port = {port}
          local-address-list = ["127.0.0.1"]
        [[peer-groups]]
          [peer-groups.config]
            peer-group-name = "replay"
            peer-as = 65001
          [[peer-groups.afi-safis]]
            [peer-groups.afi-safis.config]
              afi-safi-name = "ipv4-unicast"
          [peer-groups.ebgp-multihop.config]
            enabled = true
            multihop-ttl = 8
        [[dynamic-neighbors]]
          [dynamic-neighbors.config]
            prefix = "127.0.9.0/24"
            peer-group = "replay"
        """
    )

    def gobgp(*command: str) -> str:
        return output("gobgp", "-p", str(api), *command)

    async def check(playing):
        async with asyncio.timeout(20):
            await until(lambda: re.search(r"Destination: 201\b", gobgp("global", "rib", "summary")))
        routes = json.loads(gobgp("global", "rib", "10.3.0.0/16", "-j"))
        kinds = {a["type"]: a for a in next(iter(routes.values()))[0]["attrs"]}
        assert kinds[2]["as_paths"][0]["asns"] == [65001, 4]
        assert kinds[3]["nexthop"] == "192.0.2.1"
        playing.interrupt()

    more = rib("10.250.0.0/16", (0, attrs(65001, 400_000)))
    with daemon("gobgpd", "-f", "gobgpd.toml", "--api-hosts", f"127.0.0.1:{api}", cwd=tmp_path):
        eventually(lambda: gobgp("global"))
        result = replay(
            write(TABLE + more),
            targets=(Target("127.0.0.1", port),),
            peers=("0",),
            local_address="127.0.9.1",
            stay=math.inf,
            wait=10.0,
            during=check,
        )
        assert result.ok
