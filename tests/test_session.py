"""One neighbor against everything a peer and a network can do; all in memory, on a fake clock."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from rs.session import Close, Connect, CountingIngest, Down, Log, RefreshReceived, Send, Session, Up
from tests.sessions import (
    BOTH,
    EMPTY_UPDATE,
    Network,
    Solo,
    config,
    messages_sent,
    notification_sent,
    open_message,
)

V4, V6 = BOTH
A = {"asn": 64500, "router_id": "10.0.0.1"}
B = {"asn": 64501, "router_id": "10.0.0.2"}


def pair(a=None, b=None, **kwargs) -> Network:
    return Network(config(**{**A, **(a or {})}), config(**{**B, **(b or {})}), **kwargs)


def kinds(commands) -> list[MessageType]:
    return [kind for kind, _ in messages_sent(commands)]


def told(commands) -> tuple[int, int, bytes] | None:
    found = notification_sent(commands)
    return None if found is None else (found.code, found.subcode, found.data)


def logged(side) -> list[Log]:
    return [log for log in side.logs if log.level != "debug"]


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


class Script:
    """An ingest that reports what a test wants."""

    def __init__(self, *events, done=0):
        self.updates = self.keepalives = 0
        self.events = list(events)
        self.pending_events = len(events)
        self.done = done

    def feed(self, data):
        return self.done

    def take_events(self):
        events, self.events, self.pending_events = self.events, [], 0
        return events


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


# --- retry and damping


def test_connect_retry_with_jitter():
    n = pair({"connect_retry": 100})
    n.b.reachable = False
    n.start(n.a)
    n.run(20_000)
    gaps = [b - a for a, b in itertools.pairwise(n.a.connects)]
    assert len(gaps) > 200
    assert all(75 <= gap <= 100.03 for gap in gaps)
    assert max(gaps) > 98
    assert min(gaps) < 77
    assert n.a.session.state is State.ACTIVE
    assert n.a.session.last_error == "connect: connection refused"
    # However often it was tried.
    assert logged(n.a) == [Log("info", "no session: connect: connection refused")]


def test_connect_that_hangs_is_tried_again():
    solo = Solo(config(connect_retry=100))
    found = solo.wait(1000)
    assert 10 <= found.count(Connect()) <= 13
    assert solo.session.state is State.CONNECT
    assert kinds(solo.connect()) == [MessageType.OPEN]


def test_peer_that_drops_the_connection_unasked():
    # A peer that does not know us accepts and closes: back to Active, not in a hot loop.
    solo = Solo(config(connect_retry=100))
    assert kinds(solo.connect()) == [MessageType.OPEN]
    solo.session.closed("out", solo.now, "closed by peer")
    assert solo.poll() == []
    assert solo.session.state is State.ACTIVE
    assert solo.wait(74.9) == []
    assert solo.wait(25.2) == [Connect()]


def fail(solo, conn="in", **changes):
    """Let the peer connect with an OPEN that we refuse."""
    solo.accept(conn)
    return solo.open(conn, **{"hold_time": 1, **changes})


def test_idle_hold_grows_to_its_limit_and_is_jittered():
    solo = Solo(config(idle_hold=1, idle_hold_max=60))
    pauses = []
    for n in range(10):
        solo.connect(n)
        solo.open(n, hold_time=1)
        assert solo.session.state is State.IDLE
        pauses.append(solo.session.next_timer() - solo.now)
        assert solo.wait(pauses[-1] + 0.001) == [Connect()]
    for pause, base in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert 0.75 * base <= pause <= base
    assert solo.session.counters.connect_retries == 10


def test_a_long_session_clears_the_failures():
    solo = Solo(config(idle_hold=1, idle_hold_max=60))
    for n in range(5):
        solo.connect(n)
        solo.open(n, hold_time=1)
        solo.wait(60)
    solo.connect("up")
    solo.open("up", hold_time=0)
    solo.receive(KEEPALIVE, "up")
    solo.wait(61)
    solo.session.closed("up", solo.now, "reset")
    assert solo.session.next_timer() - solo.now <= 1


def test_passive_neighbor_in_idle_still_accepts():
    solo = Solo(config(passive=True))
    for n in range(8):
        fail(solo, n)
        assert solo.session.state is State.IDLE
        solo.wait(1.0)
    found = solo.establish("good")
    assert kinds(found) == [MessageType.OPEN, MessageType.KEEPALIVE]


def test_a_peer_that_fails_in_a_loop_waits_a_second_at_most():
    solo = Solo(config(passive=True))
    fail(solo, 1)
    assert kinds(fail(solo, 2)) == [MessageType.NOTIFICATION]
    assert solo.accept(3) == []
    assert solo.open(3) == []
    found = solo.wait(1.0)
    assert kinds(found) == [MessageType.OPEN, MessageType.KEEPALIVE]
    assert kinds(solo.receive(KEEPALIVE, 3)) == []
    assert solo.session.state is State.ESTABLISHED


def test_a_waiting_connection_is_replaced_by_a_newer_one_and_may_go():
    solo = Solo(config(passive=True))
    fail(solo, 1)
    fail(solo, 2)
    solo.accept(3)
    solo.open(3)
    found = solo.accept(4)
    assert told(found) == (6, 7, b"")
    assert found[-1] == Close(3)
    solo.session.receive(4, b"\xff" * 100_000, solo.now)
    solo.session.closed(4, solo.now, "gone")
    assert solo.wait(1.0) == []
    assert solo.session.state in {State.IDLE, State.ACTIVE}


def test_first_failure_does_not_keep_the_peer_waiting():
    solo = Solo(config(passive=True))
    solo.establish()
    solo.session.closed("in", solo.now, "restart")
    solo.poll()
    assert kinds(solo.accept("again")) == [MessageType.OPEN]


# --- capabilities refused (RFC 5492 3)


@pytest.mark.parametrize("subcode", [4, 7])
def test_retry_without_capabilities(subcode):
    solo = Solo()
    first = solo.connect(1)
    assert decode_open(messages_sent(first)[0][1]).capabilities
    assert solo.receive(encode_notification(2, subcode), 1) == [Close(1)]
    assert solo.wait(1.0) == [Connect()]
    second = solo.connect(2)
    assert decode_open(messages_sent(second)[0][1]) == OpenMessage(64500, 90, "10.0.0.1")
    solo.open(2, capabilities=())
    solo.receive(KEEPALIVE, 2)
    assert solo.session.negotiated.families == (V4,)
    assert not solo.session.negotiated.four_octet_as
    assert told(solo.receive(b"\xff" * 16 + b"\x10\x01\x02", 2)) == (1, 2, b"\x10\x01")


@pytest.mark.parametrize("changes", [{"strict": True}, {"families": (V6,)}])
def test_no_retry_without_capabilities(changes):
    solo = Solo(config(**changes))
    solo.connect(1)
    solo.receive(encode_notification(2, 4), 1)
    # What does not heal by itself is not hurried.
    assert solo.wait(44.9) == []
    assert solo.wait(15.2) == [Connect()]
    again = solo.connect(2)
    assert decode_open(messages_sent(again)[0][1]).capabilities


def test_the_retry_is_made_once_and_capabilities_come_back():
    solo = Solo()
    solo.connect(1)
    solo.receive(encode_notification(2, 4), 1)
    solo.wait(1)
    solo.connect(2)
    solo.receive(encode_notification(2, 4), 2)
    assert solo.wait(44) == []
    solo.wait(16)
    assert decode_open(messages_sent(solo.connect(3))[0][1]).capabilities


def test_other_open_errors_do_not_drop_capabilities():
    solo = Solo()
    solo.connect(1)
    solo.receive(encode_notification(2, 2), 1)
    solo.wait(1)
    assert decode_open(messages_sent(solo.connect(2))[0][1]).capabilities


def test_no_common_family_is_not_hurried():
    n = pair({"families": (V4,)}, {"families": (V6,)})
    n.start()
    n.run(600)
    assert not n.both_up()
    assert {(x.code, x.subcode) for s in n.sides for x in s.notifications()} <= {(2, 7), (6, 7)}
    assert len(n.a.connects) < 40


def test_version_error_of_the_peer():
    solo = Solo()
    solo.connect(1)
    assert solo.receive(encode_notification(2, 1, b"\x00\x03"), 1) == [Close(1)]
    assert "Unsupported Version Number (2/1), data 0003" in solo.session.last_error
    assert solo.session.counters.connect_retries == 0


# --- collisions (RFC 4271 6.8, RFC 6286)


HIGHER = {"router_id": "10.0.0.9"}
LOWER = {"router_id": "10.0.0.0"}


@pytest.mark.parametrize("first", ["in", "out"])
@pytest.mark.parametrize(
    ("peer", "winner"),
    [
        (HIGHER, "in"),
        (LOWER, "out"),
        ({"router_id": "10.0.0.1", "asn": 64501}, "in"),
        ({"router_id": "10.0.0.1", "asn": 64499}, "out"),
        ({"router_id": "9.255.255.255"}, "out"),
        ({"router_id": "200.0.0.1"}, "in"),
    ],
)
def test_collision_keeps_the_connection_of_the_higher_identifier(first, peer, winner):
    second = "out" if first == "in" else "in"
    loser = "out" if winner == "in" else "in"
    solo = Solo()
    solo.accept()
    solo.connect()
    assert kinds(solo.open(first, **peer)) == [MessageType.KEEPALIVE]
    found = solo.open(second, **peer)
    closed = [c for c in found if isinstance(c, Close)]
    assert closed == [Close(loser)]
    assert told([c for c in found if isinstance(c, Send) and c.conn == loser]) == (6, 7, b"")
    assert solo.session.state is State.OPEN_CONFIRM
    found = solo.receive(KEEPALIVE, winner)
    assert [c.conn for c in found if isinstance(c, Up)] == [winner]
    assert solo.session.last_error == ""
    assert solo.session.counters.connect_retries == 1
    # Nothing is left that would seek another connection.
    solo.receive(KEEPALIVE, winner)
    assert Connect() not in solo.wait(60)


@pytest.mark.parametrize("peer", [HIGHER, LOWER])
@pytest.mark.parametrize(("up", "late"), [("in", "out"), ("out", "in")])
def test_established_wins_over_a_late_open(up, late, peer):
    solo = Solo()
    solo.accept()
    solo.connect()
    solo.open(up, **peer)
    solo.receive(KEEPALIVE, up)
    assert solo.session.state is State.ESTABLISHED
    found = solo.open(late, **peer)
    assert told(found) == (6, 7, b"")
    assert found[-1] == Close(late)
    assert solo.session.state is State.ESTABLISHED
    assert solo.session.last_error == ""
    assert solo.receive(EMPTY_UPDATE, up) == []


def test_second_connection_beside_an_established_one():
    solo = Solo()
    solo.establish()
    assert kinds(solo.accept("new")) == [MessageType.OPEN]
    assert solo.session.state is State.ESTABLISHED
    found = solo.open("new")
    assert told(found) == (6, 7, b"")
    assert found[-1] == Close("new")
    assert solo.session.state is State.ESTABLISHED
    assert solo.session.remote_open == open_message()


def test_second_connection_that_stays_silent_is_dropped_alone():
    solo = Solo()
    solo.establish(hold_time=0)
    solo.accept("new")
    found = solo.wait(241)
    assert told(found) == (4, 0, b"")
    assert Close("new") in found
    assert solo.session.state is State.ESTABLISHED


def test_the_peer_may_close_the_losing_connection_itself():
    solo = Solo()
    solo.accept()
    solo.connect()
    solo.open("in", **HIGHER)
    assert solo.receive(encode_notification(6, 7), "out") == [Close("out")]
    assert solo.session.last_error == ""
    solo.receive(KEEPALIVE)
    assert solo.session.state is State.ESTABLISHED
    assert solo.session.counters.flaps == 0


def test_errors_on_one_connection_leave_the_other_be():
    solo = Solo()
    solo.accept()
    solo.connect()
    solo.receive(b"\x00" * 19, "out")
    assert solo.session.state is State.OPEN_SENT
    solo.open("in")
    solo.receive(KEEPALIVE, "in")
    assert solo.session.state is State.ESTABLISHED
    solo.accept("bad")
    solo.receive(b"\x00" * 19, "bad")
    assert solo.session.state is State.ESTABLISHED
    assert solo.receive(EMPTY_UPDATE) == []
    assert solo.session.ingest.updates == 1


def test_inbound_fails_while_outbound_goes_on():
    solo = Solo()
    solo.accept()
    solo.connect()
    solo.session.closed("in", solo.now, "gone")
    solo.poll()
    assert solo.session.state is State.OPEN_SENT
    solo.open("out")
    solo.receive(KEEPALIVE, "out")
    assert solo.session.state is State.ESTABLISHED


def test_newer_connection_of_the_peer_replaces_its_older_one():
    solo = Solo(config(passive=True))
    solo.accept(1)
    found = solo.accept(2)
    assert told([c for c in found if isinstance(c, Send) and c.conn == 1]) == (6, 7, b"")
    assert kinds([c for c in found if isinstance(c, Send) and c.conn == 2]) == [MessageType.OPEN]
    solo.open(2)
    found = solo.accept(3)
    assert Close(2) in found
    solo.open(3)
    solo.receive(KEEPALIVE, 3)
    assert solo.session.state is State.ESTABLISHED
    solo.accept(4)
    found = solo.accept(5)
    assert Close(4) in found
    assert solo.session.state is State.ESTABLISHED


def test_outbound_that_was_overtaken_is_closed():
    solo = Solo()
    solo.establish()
    assert solo.connect() == [Close("out")]
    assert solo.session.state is State.ESTABLISHED
    solo.session.connect_failed(solo.now, "late news")
    assert solo.session.last_error == ""


@pytest.mark.parametrize("swap", [False, True])
def test_collisions_in_every_timing_settle_on_one_connection(swap):
    """Both connect at once, with latencies of all kinds: one connection remains, and the same."""
    downs = 0
    for seed in range(300):
        r = random.Random(seed)
        spread = r.choice([0.001, 0.01, 0.1])
        a, b = (HIGHER, LOWER) if swap else (LOWER, HIGHER)
        n = pair(a, b, seed=seed, delay=lambda r=r, s=spread: r.uniform(0.001, s))
        n.start(n.a)
        n.run(r.uniform(0, 3 * spread))
        n.start(n.b)
        n.run(20)
        assert n.both_up(), seed
        assert n.a.open_conns == n.b.open_conns, seed
        assert len(n.a.open_conns) == 1, seed
        downs += len(n.a.downs)
        n.run(200)
        assert n.both_up(), seed
    # RFC 4271's procedure may close both when the two sides see things in another order.
    assert downs < 30


def test_equal_latency_never_goes_down():
    for steps in range(60):
        n = pair()
        n.start(n.a)
        n.run(steps * 0.001)
        n.start(n.b)
        n.run(10)
        assert n.both_up()
        assert not n.a.downs
        assert not n.b.downs


# --- restart of the peer


@pytest.mark.parametrize("passive", [False, True])
def test_peer_restart_with_a_word(passive):
    n = pair({"passive": passive})
    n.start()
    n.run(100)
    for _ in range(3):
        n.call(n.b, lambda s: s.stop(n.now))
        n.run(1)
        n.call(n.b, lambda s: s.start(n.now))
        n.run(10)
        assert n.both_up()


def test_peer_crash_without_a_word_heals_after_the_hold_time():
    n = pair({"passive": True, "hold_time": 30}, {"connect_retry": 5})
    n.start()
    n.run(100)
    n.crash(n.b)
    n.start(n.b)
    n.run(15)
    # The old session still stands, so the new connection loses (RFC 4271 6.8).
    assert n.a.session.state is State.ESTABLISHED
    assert (6, 7) in {(x.code, x.subcode) for x in n.a.notifications()}
    n.run(60)
    assert n.both_up()
    assert n.a.session.counters.flaps == 1


# --- DelayOpen


def test_delay_open_sends_open_when_the_timer_expires():
    solo = Solo(config(delay_open=5))
    assert solo.connect() == []
    assert solo.session.state is State.CONNECT
    assert solo.wait(4.9) == []
    assert kinds(solo.wait(0.2)) == [MessageType.OPEN]
    assert solo.session.state is State.OPEN_SENT


@pytest.mark.parametrize("conn", ["in", "out"])
def test_delay_open_answers_the_peers_open(conn):
    solo = Solo(config(delay_open=5, passive=conn == "in"))
    assert (solo.accept() if conn == "in" else solo.connect()) == []
    assert kinds(solo.open(conn)) == [MessageType.OPEN, MessageType.KEEPALIVE]
    solo.receive(KEEPALIVE, conn)
    assert solo.session.state is State.ESTABLISHED
    assert solo.session.remote_open == open_message()


def test_delay_open_and_a_bad_open():
    solo = Solo(config(delay_open=5))
    solo.connect()
    found = solo.open("out", hold_time=1)
    assert kinds(found) == [MessageType.NOTIFICATION]
    assert told(found) == (2, 6, b"")


def test_delay_open_connection_lost_or_stopped_or_unexpected():
    solo = Solo(config(delay_open=5))
    solo.connect()
    solo.session.closed("out", solo.now, "gone")
    assert solo.poll() == []
    assert solo.session.state is State.ACTIVE
    solo.accept()
    assert solo.session.state is State.ACTIVE
    assert solo.connect("other") == [Close("other")]
    solo.session.stop(solo.now)
    found = solo.poll()
    assert told(found) == (6, 2, b"")
    assert found[-1] == Close("in")
    solo.session.start(solo.now)
    solo.poll()
    solo.connect("x")
    assert solo.receive(KEEPALIVE, "x") == [Close("x")]


def test_delay_open_lost_in_active():
    solo = Solo(config(delay_open=5, passive=True))
    solo.accept()
    solo.session.closed("in", solo.now, "gone")
    assert solo.session.state is State.IDLE
    solo.wait(1)
    assert solo.session.state is State.ACTIVE


def test_two_delayed_sessions_meet():
    n = pair({"delay_open": 1.0}, {"delay_open": 3.0})
    n.start()
    n.run(30)
    assert n.both_up()


# --- anything at all


CONNS = ["c1", "c2", "c3"]
PIECES = [
    open_message(),
    open_message(router_id="10.0.0.0"),
    open_message(capabilities=()),
    open_message(hold_time=0),
    open_message(hold_time=2),
    KEEPALIVE,
    KEEPALIVE + EMPTY_UPDATE,
    EMPTY_UPDATE,
    encode_notification(6, 7),
    encode_notification(2, 4),
    encode_notification(2, 1),
    encode_route_refresh(RouteRefresh(1, 1)),
    open_message()[:25],
    b"\x00" * 19,
    b"\xff" * 16 + b"\xff\xff\x02",
]
STEPS = st.one_of(
    st.tuples(st.just("connected"), st.sampled_from(CONNS), st.booleans()),
    st.tuples(st.just("closed"), st.sampled_from(CONNS)),
    st.tuples(st.just("receive"), st.sampled_from(CONNS), st.sampled_from(PIECES)),
    st.tuples(st.just("receive"), st.sampled_from(CONNS), st.sampled_from(PIECES)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.5, 1.0, 30.0, 100.0, 250.0])),
    st.tuples(st.sampled_from(["start", "stop", "reset", "notify", "refused"])),
)


def test_stop_in_idle_stops_the_timers_too():
    """A connection lost while DelayOpen runs leaves the ConnectRetryTimer running in Idle."""
    solo = Solo(config(delay_open=2.0))
    solo.session.reset(solo.now)
    solo.accept()
    solo.session.closed("in", solo.now, "gone")
    solo.session.stop(solo.now)
    assert solo.session.next_timer() is None


@settings(max_examples=400, deadline=None)
@given(
    st.lists(STEPS, max_size=40),
    st.booleans(),
    st.sampled_from([0.0, 2.0]),
    st.integers(0, 1000),
)
def test_no_sequence_breaks_a_session(steps, passive, delay_open, seed):
    """Whatever happens, commands make sense: no word on a closed connection, Up and Down in turn."""
    solo = Solo(config(passive=passive, delay_open=delay_open), seed=seed)
    alive: set = set()
    up = None
    for step in steps:
        match step:
            case ("connected", conn, outbound) if conn not in alive:
                alive.add(conn)
                solo.session.connected(conn, solo.now, outbound)
            case ("closed", conn) if conn in alive:
                alive.discard(conn)
                solo.session.closed(conn, solo.now, "gone")
            case ("receive", conn, data) if conn in alive:
                solo.session.receive(conn, data, solo.now)
            case ("wait", seconds):
                solo.now += seconds
                solo.session.handle_timer(solo.now)
            case ("start",):
                solo.session.start(solo.now)
            case ("stop",):
                solo.session.stop(solo.now)
            case ("reset",):
                solo.session.reset(solo.now)
            case ("notify",):
                solo.session.notify(solo.now, 6, 1)
            case ("refused",):
                solo.session.connect_failed(solo.now, "refused")
        for command in solo.poll():
            match command:
                case Send(conn, _):
                    assert conn in alive
                case Close(conn):
                    assert conn in alive
                    alive.discard(conn)
                case Up(conn, _):
                    assert up is None
                    up = conn
                case Down(conn, _, _, _, _):
                    assert up == conn
                    up = None
                case Connect():
                    assert not passive
        session = solo.session
        assert (session.state is State.ESTABLISHED) == (up is not None)
        assert (session.ingest is not None) == (up is not None)
        assert session.state is State.IDLE or session.enabled
        assert set(session._machines) | ({session._parked} - {None}) == alive
        when = session.next_timer()
        if session.enabled and session.state is not State.ESTABLISHED:
            # A session that is wanted always has something that gets it on.
            assert when is not None or (passive and session.state is State.ACTIVE)
        if not session.enabled:
            assert when is None
            assert not alive


# --- speed


def test_a_read_in_established_costs_next_to_nothing():
    solo = Solo()
    solo.establish()
    solo.session.ingest = Script(done=300)
    data = memoryview(bytearray(65536))
    receive, poll, timer = solo.session.receive, solo.session.poll, solo.session.next_timer
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(10_000):
            receive("in", data, 1001.0)
            poll()
            timer()
        best = min(best, (time.perf_counter() - start) / 10_000)
    assert best < 5e-6
    assert Family.IPV4_UNICAST in solo.session.negotiated.families
