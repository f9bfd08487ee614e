"""One neighbor against everything a peer and a network can do; all in memory, on a fake clock."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter

import pytest

from rs.fsm import Event, State
from rs.iana import AddPathMode, CeaseSubcode, Family, MessageType, RefreshSubtype
from rs.messages import (
    KEEPALIVE,
    OpenMessage,
    RouteRefresh,
    decode_open,
    encode_communication,
    encode_notification,
    encode_open,
    encode_route_refresh,
)
from rs.session import COMPLAINTS, Session
from rs.session_types import Close, Connect, CountingIngest, Down, Log, RefreshReceived, Send, Up
from tests.sessions import (
    BOTH,
    EMPTY_UPDATE,
    V4,
    V6,
    Script,
    Solo,
    config,
    fail,
    kinds,
    logged,
    messages_sent,
    open_message,
    pair,
    told,
)


def test_a_peer_with_a_wrong_as_number_is_in_the_log_once():
    n = pair({"peer_asn": 64599})
    n.start()
    n.run(300)
    assert not n.a.ups
    text = "no session: sent NOTIFICATION OPEN Message Error/Bad Peer AS (2/2): "
    assert logged(n.a) == [Log("warning", text + "AS number 64501 where 64599 is configured")]
    assert [log.level for log in logged(n.b)] == ["warning"]


# --- coming up


@pytest.mark.parametrize("passive", ["neither", "a", "b"])
@pytest.mark.parametrize("chunk", [1, 7, 65535])
def test_two_sessions_come_up_and_stay(passive, chunk):
    n = pair({"passive": passive == "a"}, {"passive": passive == "b"}, chunk=chunk)
    n.start()
    n.run(600)
    assert n.both_up()
    assert n.a.open_conns == n.b.open_conns
    assert len(n.a.open_conns) == 1
    for side in n.sides:
        assert len(side.ups) == 1
        assert not side.downs
        assert side.session.counters.established == 1
        assert side.session.counters.flaps == 0
        assert side.session.counters.last_change < 1001
    assert n.a.session.negotiated.families == BOTH
    assert n.a.session.local_open == n.b.session.remote_open
    assert n.b.session.local_open == n.a.session.remote_open
    assert decode_open(n.a.session.remote_open[19:]).router_id == "10.0.0.2"


def test_both_passive_wait_for_ever():
    n = pair({"passive": True}, {"passive": True})
    n.start()
    n.run(10_000)
    assert not n.a.connects
    assert not n.b.connects
    assert n.a.session.state is State.ACTIVE
    assert n.a.session.next_timer() is None


def test_order_of_commands_when_coming_up():
    solo = Solo()
    assert solo.commands == [Connect()]
    found = solo.establish(hold_time=30)
    assert kinds(found) == [MessageType.OPEN, MessageType.KEEPALIVE]
    assert isinstance(found[-1], Up)
    assert found[-1].conn == "in"
    assert found[-1].negotiated is solo.session.negotiated
    assert solo.session.negotiated.hold_time == 30
    assert solo.session.last_error == ""


def test_keepalives_are_a_third_of_the_hold_time_less_jitter():
    n = pair({"hold_time": 30})
    n.start()
    n.run(400)
    sent = [t for t, _, data in n.a.sent if data == KEEPALIVE][1:]
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    assert len(gaps) > 30
    assert all(7.499 <= gap <= 10.001 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 20
    assert max(gaps) - min(gaps) > 1


def test_hold_time_zero_means_silence():
    n = pair({"hold_time": 0})
    n.start()
    n.run(5)
    assert n.both_up()
    sent = len(n.a.sent) + len(n.b.sent)
    assert n.a.session.next_timer() is None
    n.run(100_000)
    assert n.both_up()
    assert len(n.a.sent) + len(n.b.sent) == sent


def test_nothing_happens_before_start():
    solo = Solo(start=False)
    assert solo.session.next_timer() is None
    assert not solo.session.enabled
    found = solo.accept()
    assert told(found) == (6, CeaseSubcode.CONNECTION_REJECTED, b"")
    assert found[-1] == Close("in")
    assert solo.connect() == [Close("out")]
    assert solo.session.state is State.IDLE
    assert solo.session.counters.sent[MessageType.NOTIFICATION] == 1


def test_start_twice_is_start_once():
    solo = Solo()
    solo.session.start(solo.now)
    assert solo.poll() == []
    assert solo.session.enabled


def test_spurious_timers_and_unknown_connections_do_nothing():
    solo = Solo()
    solo.session.handle_timer(solo.now)
    solo.session.receive("who", b"\x00" * 100, solo.now)
    solo.session.closed("who", solo.now, "gone")
    solo.session.connect_failed(solo.now, "refused")
    solo.session.connect_failed(solo.now, "refused")
    assert solo.poll() == []
    assert solo.session.state is State.ACTIVE


# --- the peer's OPEN


@pytest.mark.parametrize(
    ("wire", "answer", "words"),
    [
        (open_message(asn=64502), (2, 2, b""), "AS number 64502 where 64501 is configured"),
        (
            encode_open(OpenMessage(64501, 90, "10.0.0.2", version=3)),
            (2, 1, b"\x00\x04"),
            "BGP version 3",
        ),
        (open_message(hold_time=2), (2, 6, b""), "hold time 2 s"),
        (open_message(router_id="0.0.0.0"), (2, 3, b""), "BGP identifier 0.0.0.0"),
        (
            open_message(capabilities=((1, b"\x00\x01\x00\x02"),)),
            (2, 7, bytes.fromhex("01040001000101040002 0001")),
            "no common address family",
        ),
        (open_message(capabilities=((65, b"\x00"),)), (2, 0, b""), "capability FOUR_OCTET_AS"),
        (b"\x00" * 19, (1, 1, b""), "marker"),
        (b"\xff" * 16 + b"\x10\x01\x01", (1, 2, b"\x10\x01"), "OPEN of 4097 octets"),
        (b"\xff" * 16 + b"\x00\x12\x01", (1, 2, b"\x00\x12"), "length 18"),
        (b"\xff" * 16 + b"\x00\x13\x09", (1, 3, b"\x09"), "type 9"),
        (KEEPALIVE, (5, 1, b"\x04"), "unexpected KEEPALIVE in OpenSent"),
        (EMPTY_UPDATE, (5, 1, b"\x02"), "unexpected UPDATE in OpenSent"),
        (encode_route_refresh(RouteRefresh(1, 1)), (5, 1, b"\x05"), "ROUTE_REFRESH in OpenSent"),
    ],
)
@pytest.mark.parametrize("chop", [False, True])
def test_what_open_sent_refuses(wire, answer, words, chop):
    solo = Solo(config(peer_asn=64501))
    solo.accept()
    pieces = [wire[i : i + 1] for i in range(len(wire))] if chop else [wire]
    found = [c for piece in pieces for c in solo.receive(piece)]
    assert told(found) == answer
    assert found[-1] == Close("in")
    assert solo.session.last_error.startswith("sent NOTIFICATION ")
    assert words in solo.session.last_error
    assert f"({answer[0]}/{answer[1]})" in solo.session.last_error


@pytest.mark.parametrize(
    ("wire", "kind"), [(open_message(), 1), (EMPTY_UPDATE, 2), (KEEPALIVE, None)]
)
def test_open_confirm_takes_keepalive_only(wire, kind):
    solo = Solo()
    solo.accept()
    solo.open()
    assert solo.session.state is State.OPEN_CONFIRM
    found = solo.receive(wire)
    if kind is None:
        assert solo.session.state is State.ESTABLISHED
    else:
        assert told(found) == (5, 2, bytes([kind]))
        assert solo.session.state is not State.ESTABLISHED


def test_extended_message_limit_before_established():
    header = b"\xff" * 16 + b"\x20\x00\x03"
    solo = Solo()
    solo.accept()
    assert solo.receive(header) == []  # we have offered extended messages: wait for the rest
    found = solo.receive(b"\x06\x02" + bytes(0x2000 - 21))
    assert found == [Close("in")]
    assert solo.session.last_error == "received NOTIFICATION Cease/Administrative Shutdown (6/2)"
    solo = Solo(config(extended_message=False))
    solo.accept()
    assert told(solo.receive(header)) == (1, 2, b"\x20\x00")


def test_two_octet_speaker():
    n = pair({"asn": 100001}, {"four_octet_as": False, "peer_asn": 23456})
    n.start()
    n.run(5)
    assert n.both_up()
    assert not n.a.session.negotiated.four_octet_as
    assert not n.b.session.negotiated.four_octet_as
    assert n.b.session.negotiated.peer_asn == 23456


def test_open_without_parameters_is_ipv4_only():
    solo = Solo()
    solo.establish(capabilities=())
    assert solo.session.negotiated.families == (V4,)
    assert solo.session.negotiated.peer_capabilities == ()


def test_addpath_and_names_get_through():
    n = pair(
        {"addpath": {V4: AddPathMode.BOTH}, "hostname": "rs1", "domain": "example.net"},
        {"addpath": {V4: AddPathMode.RECEIVE}},
    )
    n.start()
    n.run(5)
    assert n.a.session.negotiated.addpath_send == {V4}
    assert n.b.session.negotiated.addpath_receive == {V4}
    assert n.b.session.negotiated.peer_hostname == "rs1"
    assert "fqdn rs1.example.net" in n.b.session.negotiated.peer_capabilities


# --- hold timer


def test_peer_that_never_opens_is_dropped_after_four_minutes():
    solo = Solo()
    solo.accept()
    assert told(solo.wait(239.9)) is None
    found = solo.wait(0.2)
    assert told(found) == (4, 0, b"")
    assert Close("in") in found
    assert solo.session.last_error == "sent NOTIFICATION Hold Timer Expired (4/0)"


def test_hold_timer_in_open_confirm():
    solo = Solo()
    solo.accept()
    solo.open(hold_time=9)
    assert told(solo.wait(8.9)) is None
    assert told(solo.wait(0.2)) == (4, 0, b"")


def test_hold_expiry_in_established():
    n = pair({"hold_time": 9})
    n.start()
    n.run(20)
    assert n.both_up()
    n.cut = True
    n.run(9.5)
    for side in n.sides:
        assert [d.event for d in side.downs] == [Event.HOLD_TIMER_EXPIRES]
        assert side.downs[0].sent
        assert side.downs[0].notification == encode_notification(4)
        assert "Hold Timer Expired" in side.downs[0].reason
    n.cut = False
    n.run(130)
    assert n.both_up()
    assert n.a.session.counters.established == 2
    assert n.a.session.counters.flaps == 1


@pytest.mark.parametrize("message", [KEEPALIVE, EMPTY_UPDATE])
def test_any_message_restarts_the_hold_timer(message):
    solo = Solo()
    solo.establish(hold_time=9)
    for _ in range(20):
        solo.wait(8)
        assert solo.receive(message) == []
    assert solo.session.state is State.ESTABLISHED
    found = solo.wait(9.1)
    assert told(found) == (4, 0, b"")


def test_a_partial_message_does_not():
    solo = Solo()
    solo.establish(hold_time=9)
    solo.wait(5)
    solo.receive(EMPTY_UPDATE[:22])
    assert told(solo.wait(4.1)) == (4, 0, b"")


# --- Established


def test_bytes_behind_the_last_keepalive_reach_the_routing_side():
    solo = Solo()
    solo.accept()
    solo.open()
    solo.receive(KEEPALIVE + EMPTY_UPDATE * 3 + EMPTY_UPDATE[:5])
    assert solo.session.ingest.updates == 3
    solo.receive(memoryview(bytearray(EMPTY_UPDATE[5:])))
    assert solo.session.ingest.updates == 4
    assert solo.session.counters.received[MessageType.UPDATE] == 4


def test_the_whole_conversation_in_one_read():
    solo = Solo()
    solo.accept()
    found = solo.receive(open_message() + KEEPALIVE + EMPTY_UPDATE + KEEPALIVE)
    assert any(isinstance(c, Up) for c in found)
    assert solo.session.ingest.updates == 1
    assert solo.session.counters.received[1:6] == [1, 1, 0, 2, 0]


def test_on_up_gives_the_ingest():
    seen = []

    def on_up(conn, negotiated):
        seen.append((conn, negotiated))
        return ingest

    solo = Solo(start=False)
    solo.session = Session(config(), random.Random(1), on_up)
    ingest = CountingIngest(Solo().session.negotiated or _negotiated())
    solo.session.start(solo.now)
    solo.poll()
    solo.establish()
    assert seen == [("in", solo.session.negotiated)]
    assert solo.session.ingest is ingest


def _negotiated():
    solo = Solo()
    solo.establish()
    return solo.session.negotiated


def test_counters_by_type():
    solo = Solo()
    solo.establish()
    refresh = encode_route_refresh(RouteRefresh(1, 1))
    solo.receive(EMPTY_UPDATE * 5 + KEEPALIVE * 2 + refresh)
    assert solo.session.counters.received[1:6] == [1, 5, 0, 3, 1]
    assert solo.session.counters.sent[1:6] == [1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (b"\x00" * 19, (1, 1, b"")),
        (b"\xff" * 16 + b"\x00\x05\x02", (1, 2, b"\x00\x05")),
        (b"\xff" * 16 + b"\x00\x13\x07", (1, 3, b"\x07")),
        (open_message(), (5, 3, b"\x01")),
        (
            b"\xff" * 16 + bytes.fromhex("0018 05 0001 01 01 00"),
            (7, 1, b"\xff" * 16 + bytes.fromhex("0018 05 0001 01 01 00")),
        ),
    ],
)
def test_what_established_refuses(wire, answer):
    solo = Solo()
    solo.establish()
    found = solo.receive(EMPTY_UPDATE + wire + EMPTY_UPDATE)
    assert told(found) == answer
    assert [type(c) for c in found] == [Send, Close, Down]
    assert found[-1].sent
    assert found[-1].notification == found[0].data
    assert solo.session.ingest is None
    assert solo.session.state is State.IDLE
    assert solo.session.last_error == found[-1].reason


def test_update_error_of_the_routing_side():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(("error", 3, 1, b"\x01", "bad attributes"), done=-1)
    found = solo.receive(b"x")
    assert told(found) == (3, 1, b"\x01")
    assert found[-1].event is Event.UPDATE_MSG_ERR
    assert "Malformed Attribute List (3/1): bad attributes" in found[-1].reason


def test_nothing_after_the_end_counts():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(
        ("error", 3, 1, b"", "first"), ("error", 3, 2, b"", "second"), ("refresh", 1, 1, 0), done=-1
    )
    found = solo.receive(b"x")
    assert told(found) == (3, 1, b"")
    assert not [c for c in found if isinstance(c, RefreshReceived)]


def test_messages_before_an_error_are_told_apart():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(
        ("keepalive", 1), ("refresh", 1, 1, 0), ("notification", 6, 4, b""), done=-1
    )
    found = solo.receive(b"x")
    assert [type(c) for c in found] == [RefreshReceived, Close, Down]
    assert solo.session.counters.received[1:6] == [1, 0, 1, 1, 1]
    solo = Solo()
    solo.establish()
    solo.receive(EMPTY_UPDATE + KEEPALIVE + b"\x00" * 19)
    assert solo.session.counters.received[1:6] == [1, 1, 0, 2, 0]


def test_an_ingest_that_gives_up_ends_the_session():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(done=-1)
    assert told(solo.receive(b"x")) == (6, 8, b"")
    assert solo.session.state is State.IDLE


def test_open_errors_in_established_change_nothing_about_capabilities():
    solo = Solo()
    solo.establish()
    assert [type(c) for c in solo.receive(encode_notification(2, 4))] == [Close, Down]
    assert decode_open(messages_sent(solo.accept("again"))[0][1]).capabilities


def test_an_event_that_does_not_exist_is_a_bug():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(("surprise", 1))
    with pytest.raises(ValueError, match="surprise"):
        solo.receive(b"x")


@pytest.mark.parametrize(
    ("code", "subcode", "event"),
    [
        (6, 1, Event.AUTOMATIC_STOP),
        (3, 5, Event.UPDATE_MSG_ERR),
        (1, 2, Event.BGP_HEADER_ERR),
        (8, 0, Event.AUTOMATIC_STOP),
        (7, 1, Event.AUTOMATIC_STOP),
    ],
)
def test_the_routing_side_ends_the_session(code, subcode, event):
    solo = Solo()
    solo.establish()
    solo.session.notify(solo.now, code, subcode, b"ab", "because")
    found = solo.poll()
    assert told(found) == (code, subcode, b"ab")
    assert found[-1].event is event
    assert "because" in found[-1].reason


def test_notify_without_a_connection_does_nothing():
    solo = Solo()
    solo.session.notify(solo.now, 6, 1)
    assert solo.poll() == []
    assert solo.session.state is State.CONNECT


def test_notify_before_established_ends_the_connection():
    solo = Solo()
    solo.accept()
    solo.session.notify(solo.now, 3, 1)
    found = solo.poll()
    assert told(found) == (3, 1, b"")
    assert not [c for c in found if isinstance(c, Down)]


def test_notification_size_follows_the_peer():
    for extended, size in ((True, 21 + 5000), (False, 4096)):
        solo = Solo()
        solo.establish(extended_message=extended)
        solo.session.notify(solo.now, 3, 1, bytes(5000))
        assert len(solo.poll()[0].data) == size


def test_notification_of_the_peer():
    n = pair({"passive": True})
    n.start()
    n.run(5)
    n.call(n.b, lambda s: s.notify(n.now, 6, CeaseSubcode.OUT_OF_RESOURCES))
    n.run(0.1)
    down = n.a.downs[0]
    assert not down.sent
    assert down.event is Event.NOTIF_MSG
    assert down.notification == encode_notification(6, 8)
    assert down.reason == "received NOTIFICATION Cease/Out of Resources (6/8)"
    assert n.a.session.last_error == down.reason
    assert not n.a.notifications()  # one is never answered by another
    assert n.a.session.counters.received[MessageType.NOTIFICATION] == 1
    n.run(10)
    assert n.both_up()


def test_tcp_loss():
    solo = Solo()
    solo.establish()
    solo.session.closed("in", solo.now, "connection reset by peer")
    (down,) = solo.poll()
    assert down == Down("in", "TCP: connection reset by peer", Event.TCP_CONNECTION_FAILS)
    assert solo.session.last_error == down.reason
    assert solo.session.state is State.IDLE
    assert solo.session.negotiated is None
    solo.session.receive("in", EMPTY_UPDATE, solo.now)
    assert solo.poll() == []


# --- route refresh


@pytest.mark.parametrize("subtype", list(RefreshSubtype))
def test_refresh_there_and_back(subtype):
    n = pair()
    n.start()
    n.run(5)
    assert n.call(n.a, lambda s: s.send_refresh(V6, subtype, n.now))
    n.run(0.1)
    assert n.b.refreshes == [RefreshReceived(V6, subtype)]
    assert n.a.session.counters.sent[MessageType.ROUTE_REFRESH] == 1


def test_refreshes_that_were_not_agreed_on_fill_no_log():
    solo = Solo()
    solo.establish()
    odd = [encode_route_refresh(RouteRefresh(afi, 70)) for afi in range(20, 40)]
    solo.session.receive("in", b"".join(odd) + encode_route_refresh(RouteRefresh(1, 1, 77)), 1.0)
    lines = [c.text for c in solo.session.poll() if isinstance(c, Log)]
    assert len(lines) == COMPLAINTS
    assert lines[0] == "ROUTE-REFRESH for 20/70 ignored: not negotiated"
    assert lines[-1].endswith("; more of this session is not told")
    solo.session.closed("in", solo.now, "gone")
    solo.wait(10)
    solo.establish("next")
    solo.session.receive("next", odd[0], solo.now)
    assert [c.level for c in solo.session.poll() if isinstance(c, Log)] == ["warning"]


def test_refresh_only_where_agreed():
    solo = Solo()
    assert not solo.session.send_refresh(V4, RefreshSubtype.REQUEST, solo.now)
    solo.establish(route_refresh=False)
    assert not solo.session.send_refresh(V4, RefreshSubtype.REQUEST, solo.now)
    solo = Solo()
    solo.establish(enhanced_route_refresh=False, families=(V4,))
    assert solo.session.send_refresh(V4, RefreshSubtype.REQUEST, solo.now)
    assert not solo.session.send_refresh(V4, RefreshSubtype.BORR, solo.now)
    assert not solo.session.send_refresh(V6, RefreshSubtype.REQUEST, solo.now)
    assert [kind for kind, _ in messages_sent(solo.poll())] == [MessageType.ROUTE_REFRESH]


@pytest.mark.parametrize(
    ("peer", "refresh"),
    [
        ({}, RouteRefresh(25, 65)),
        ({}, RouteRefresh(1, 1, 255)),
        ({"families": (V4,)}, RouteRefresh(2, 1)),
        ({"route_refresh": False}, RouteRefresh(1, 1)),
        ({"enhanced_route_refresh": False}, RouteRefresh(1, 1, 1)),
    ],
)
def test_refresh_that_was_not_agreed_is_ignored(peer, refresh):
    solo = Solo()
    solo.establish(**peer)
    solo.session.receive("in", encode_route_refresh(refresh), solo.now)
    (line,) = solo.session.poll()
    assert isinstance(line, Log)
    assert line.level == "warning"
    assert solo.session.state is State.ESTABLISHED


# --- stop and reset


@pytest.mark.parametrize("text", ["", "back at 10:00 ⏰", "x" * 300])
def test_shutdown_communication(text):
    n = pair(b={"passive": True})
    n.start()
    n.run(5)
    n.call(n.a, lambda s: s.stop(n.now, communication=text))
    n.run(600)
    assert n.a.session.state is State.IDLE
    assert n.a.session.next_timer() is None
    assert n.a.notifications()[0].data == encode_communication(text)
    assert n.a.downs[0].event is Event.MANUAL_STOP
    wanted = f': "{text[:255]}"' if text else "(6/2)"
    assert n.b.downs[0].reason.endswith(wanted)
    assert n.b.session.state is not State.ESTABLISHED
    n.call(n.a, lambda s: s.start(n.now))
    n.run(130)
    assert n.both_up()


def test_no_communication_with_other_subcodes():
    solo = Solo()
    solo.establish()
    solo.session.stop(solo.now, CeaseSubcode.PEER_DECONFIGURED, "text")
    assert told(solo.poll()) == (6, 3, b"")


@pytest.mark.parametrize("stage", ["idle", "connect", "open_sent", "open_confirm", "two", "parked"])
def test_stop_in_every_stage(stage):
    solo = Solo()
    if stage in {"open_sent", "open_confirm", "two"}:
        solo.accept()
    if stage == "open_confirm":
        solo.open()
    if stage == "two":
        solo.connect()
    if stage == "parked":
        fail(solo)
        fail(solo)
        solo.accept("late")
    if stage == "idle":
        solo.session.stop(solo.now)
        solo.poll()
    solo.session.stop(solo.now)
    found = solo.poll()
    conns = {"idle": 0, "connect": 0, "two": 2}.get(stage, 1)
    assert kinds(found) == [MessageType.NOTIFICATION] * conns
    assert sum(isinstance(c, Close) for c in found) == conns
    assert solo.session.state is State.IDLE
    assert solo.session.next_timer() is None
    assert solo.connect("stale") == [Close("stale")]
    assert solo.wait(10_000) == []


def test_reset_comes_back():
    n = pair(b={"passive": True})
    n.start()
    n.run(5)
    n.call(n.a, lambda s: s.reset(n.now, communication="new policy"))
    n.run(0.1)
    assert n.b.downs[0].reason.endswith('Cease/Administrative Reset (6/4): "new policy"')
    n.run(5)
    assert n.both_up()
    assert n.a.session.counters.flaps == 1
    assert n.a.session.counters.connect_retries == 0


def test_reset_of_a_stopped_session_leaves_it_stopped():
    solo = Solo(start=False)
    solo.session.reset(solo.now)
    assert solo.poll() == []
    assert solo.session.next_timer() is None


# --- speed


def test_a_read_in_established_costs_next_to_nothing():
    """Counted in calls, which do not depend on what else the machine does."""
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(done=300)
    data = memoryview(bytearray(65536))
    receive, poll, timer = solo.session.receive, solo.session.poll, solo.session.next_timer
    calls = Counter()

    def note(frame, event, _):
        if event == "call":
            calls[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        for _ in range(100):
            receive("in", data, 1001.0)
            poll()
            timer()
    finally:
        sys.setprofile(None)
    assert calls == {"receive": 100, "feed": 100, "poll": 100, "next_timer": 100}
    assert Family.IPV4_UNICAST in solo.session.negotiated.families
