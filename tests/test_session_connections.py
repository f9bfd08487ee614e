"""Connections of one neighbor that fail, are refused, collide, or come in any order."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs.fsm import State
from rs.iana import MessageType
from rs.messages import (
    KEEPALIVE,
    OpenMessage,
    RouteRefresh,
    decode_open,
    encode_notification,
    encode_route_refresh,
)
from rs.session_types import Close, Connect, Down, Log, Send, Up
from tests.sessions import (
    EMPTY_UPDATE,
    V4,
    V6,
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
