"""Replay: plans, sessions against a speaker made of Session, the command line, real daemons."""

from __future__ import annotations

import asyncio
import gzip
import math
import time

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs.iana import HEADER_LEN, AddPathMode, Family
from rs.messages import RouteRefresh, encode_route_refresh
from rs.mrt import open_mrt
from rs.replay_plan import Options, PlanError, Target, end_of_rib, make_plans
from tests.mrtfiles import attr, attrs, bgp4mp, mp_short, nlri, peer_index_table, rib, update
from tests.replaykit import PEERS, TABLE, V4, V6, Side, Speaker, free_port, recorded, replay

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
