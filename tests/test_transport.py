"""The transport's reads: who is read first, and when reading stops."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from types import SimpleNamespace

import pytest
import uvloop

from rs.configvalues import Endpoint
from rs.errors import RsError
from rs.transport import HOLDING, READ_BUDGET, READ_LEN, REFUSALS, RETRY, Connection, Transport


class Loop:
    """Takes note of what is scheduled; nothing runs by itself."""

    def __init__(self):
        self.soon = []
        self.later = []
        self.watched = set()

    def call_soon(self, callback):
        self.soon.append(callback)

    def call_later(self, delay, callback):
        timer = (delay, callback)
        self.later.append(timer)
        return SimpleNamespace(cancel=lambda: self.later.remove(timer))

    def add_reader(self, fd, *_):
        self.watched.add(fd)

    def remove_reader(self, fd):
        self.watched.discard(fd)

    def remove_writer(self, fd):
        pass


class Peer:
    """As much of a peer as reading asks for."""

    def __init__(self, session):
        self.session = session


class Bench:
    """A transport whose clock moves by `cost` seconds with every read."""

    def __init__(self, cost=0.0):
        self.now = 100.0
        self.cost = cost
        self.reads = []
        self.loop = Loop()
        router = SimpleNamespace(
            now=lambda: self.now,
            tick=lambda now: None,
            loop=SimpleNamespace(note=lambda seconds: None),
            check_limits=lambda peer: None,
        )
        self.transport = Transport(router, self.loop)
        self.ends = []

    def connection(self, name):
        near, far = socket.socketpair()
        near.setblocking(False)
        self.ends += [near, far]

        def receive(conn, data, now):
            self.reads.append((name, len(data)))
            self.now += self.cost

        session = SimpleNamespace(receive=receive, poll=lambda: (), next_timer=lambda: None)
        conn = Connection(self.transport, Peer(session), near)
        conn.resume_reading()
        return conn, far

    def turn(self, *conns):
        """One turn of the loop in which these are readable; return who was read."""
        self.reads.clear()
        for conn in conns:
            self.transport.on_readable(conn)
        self.loop.soon.clear()
        self.transport._read_all()
        return self.reads


@pytest.fixture
def bench():
    found = Bench()
    yield found
    for end in found.ends:
        end.close()


def test_who_sends_least_is_read_first(bench):
    loader, a = bench.connection("loader")
    member, b = bench.connection("member")
    a.sendall(b"x" * 1000)
    bench.turn(loader)
    a.sendall(b"x" * 1000)
    b.sendall(b"x" * 20)
    assert bench.turn(loader, member) == [("member", 20), ("loader", 1000)]
    b.sendall(b"x" * 20)
    a.sendall(b"x" * 10)
    assert bench.turn(loader, member) == [("member", 20), ("loader", 10)]


def test_what_was_sent_long_ago_does_not_count(bench):
    old, a = bench.connection("old")
    new, b = bench.connection("new")
    a.sendall(b"x" * 2000)
    bench.turn(old)
    bench.now += 60
    b.sendall(b"x" * 20)
    bench.turn(new)
    a.sendall(b"x" * 20)
    b.sendall(b"x" * 20)
    assert [name for name, _ in bench.turn(new, old)] == ["old", "new"]


def test_reading_stops_when_its_time_is_over_and_goes_on_with_the_others(bench):
    bench.cost = READ_BUDGET * 0.51
    conns = [bench.connection(str(i)) for i in range(5)]
    for _, far in conns:
        far.sendall(b"x" * 100)
    readable = [conn for conn, _ in conns]
    assert [name for name, _ in bench.turn(*readable)] == ["0", "1"]
    conns[0][1].sendall(b"x" * 100)
    conns[1][1].sendall(b"x" * 100)
    # The others are in the list still, and have sent less lately.
    assert [name for name, _ in bench.turn(*readable)] == ["2", "3"]
    assert [name for name, _ in bench.turn(*readable)] == ["4", "0"]
    assert [name for name, _ in bench.turn()] == ["1"]


def test_what_is_to_be_read_anyway_is_not_watched(bench):
    bench.cost = READ_BUDGET * 1.1
    first, a = bench.connection("first")
    other, b = bench.connection("other")
    a.sendall(b"x")
    b.sendall(b"x")
    for _ in range(3):
        bench.transport.on_readable(other)
    assert bench.loop.watched == {first.fd}
    bench.transport.on_readable(first)
    assert [name for name, _ in bench.turn()] == ["other"]
    assert bench.loop.watched == {first.fd, other.fd}
    assert [name for name, _ in bench.turn()] == ["first"]


def test_a_parked_connection_is_watched_again_when_reading_resumes(bench):
    conn, far = bench.connection("parked")
    far.sendall(b"x")
    for _ in range(2):
        bench.transport.on_readable(conn)
    conn.pause_reading()
    conn.resume_reading()
    assert bench.loop.watched == {conn.fd}
    assert bench.turn() == [("parked", 1)]
    far.sendall(b"y")
    assert bench.turn(conn) == [("parked", 1)]


def test_a_connection_that_is_paused_meanwhile_is_not_read(bench):
    conn, far = bench.connection("paused")
    far.sendall(b"x")
    bench.transport.on_readable(conn)
    conn.pause_reading()
    bench.loop.soon.pop(0)()
    assert bench.reads == []


def test_one_read_is_one_buffer_at_most(bench):
    conn, far = bench.connection("much")
    far.setblocking(False)
    sent = 0
    while sent < READ_LEN + 1:
        sent += far.send(b"x" * 4096)
    assert bench.turn(conn) == [("much", READ_LEN)]


def test_a_turn_follows_at_once_when_the_members_have_taken_everything(bench):
    scheduler = SimpleNamespace(
        run=lambda deadline, clock, loading: False,
        holding=False,
        waiting=True,
        can_go_on=lambda now: True,
    )
    bench.transport.router.scheduler = scheduler
    bench.transport._turn()
    assert bench.loop.soon == [bench.transport._turn]
    assert not bench.loop.later
    bench.loop.soon.clear()
    scheduler.can_go_on = lambda now: False
    bench.transport._turn()
    assert not bench.loop.soon
    assert [delay for delay, _ in bench.loop.later] == [RETRY]


def test_what_is_held_back_is_looked_at_again_soon(bench):
    scheduler = SimpleNamespace(run=lambda deadline, clock, loading: False, holding=True)
    bench.transport.router.scheduler = scheduler
    bench.transport._turn()
    assert [delay for delay, _ in bench.loop.later] == [HOLDING]


def test_there_is_one_timer_however_many_turns_hold_something_back(bench):
    scheduler = SimpleNamespace(run=lambda deadline, clock, loading: False, holding=True)
    bench.transport.router.scheduler = scheduler
    for _ in range(5):
        bench.transport._turn()
    assert [delay for delay, _ in bench.loop.later] == [HOLDING]


def test_a_fault_with_one_connection_leaves_the_others_their_turn(bench):
    bad, a = bench.connection("bad")
    good, b = bench.connection("good")

    def fail(conn, data, now):
        raise ZeroDivisionError

    bad.peer.session.receive = fail
    a.sendall(b"x")
    b.sendall(b"x")
    bench.transport.on_readable(bad)
    bench.transport.on_readable(good)
    with pytest.raises(ZeroDivisionError):
        bench.transport._read_all()
    assert bench.loop.soon[-1] == bench.transport._read_all
    assert bench.turn() == [("good", 1)]


@pytest.mark.parametrize("start", [0, 5, 39])
@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_sending_comes_to_everybody_once(bench, monkeypatch, at_once, start):
    """However many the pump comes to, and wherever the round begins; late, it goes on there."""
    seen = []

    def pump(batch, room, most):
        now = batch[:at_once]
        seen.extend(now)
        bench.now += 1.0
        return len(now), [], [], []

    monkeypatch.setattr("rs.transport.pump", pump)
    bench.transport._outboxes = list(range(40))
    everybody = [*range(start, 40), *range(start)]
    bench.transport._next_send = start
    assert not bench.transport._send(deadline=1000.0)
    assert seen == everybody
    seen.clear()
    while len(seen) < 40:
        assert bench.transport._send(deadline=0.0)
    assert seen[:40] == everybody


def reset(sock):
    """Close a TCP connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    near.setblocking(False)
    return near, far


def watched_transport(events):
    """A transport on the running loop, and a peer that takes note of what its session is told."""
    loop = asyncio.get_running_loop()
    scheduler = SimpleNamespace(
        run=lambda deadline, clock, loading: False,
        holding=False,
        waiting=False,
        can_go_on=lambda now: False,
    )
    router = SimpleNamespace(
        now=loop.time,
        tick=lambda now: None,
        loop=SimpleNamespace(note=lambda seconds: None),
        check_limits=lambda peer: None,
        scheduler=scheduler,
        exporter=SimpleNamespace(faults=0),
        housekeeping=lambda now: None,
    )
    session = SimpleNamespace(
        receive=lambda conn, data, now: events.append(len(data)),
        closed=lambda conn, now, reason: events.append(reason),
        poll=lambda: (),
        next_timer=lambda: None,
    )
    peer = Peer(session)
    peer.dynamic = False
    return Transport(router, loop), peer


@pytest.mark.parametrize("n", [100, READ_LEN + 100])
def test_a_reset_behind_data_is_noticed(n):
    """The loop names such a connection once, and then watches it no more."""
    events = []

    async def main():
        transport, peer = watched_transport(events)
        near, far = tcp_pair()
        conn = Connection(transport, peer, near)
        transport._connections.add(conn)
        conn.resume_reading()
        far.setblocking(False)
        sent = 0
        while sent < n:
            sent += far.send(b"x" * (n - sent))
        reset(far)
        await asyncio.sleep(0.05)
        assert events[0] == min(n, READ_LEN)
        transport._housekeeping()
        await asyncio.sleep(0)
        transport.close()

    uvloop.run(main())
    assert events[-1] == "Connection reset by peer"
    assert sum(events[:-1]) == n


def test_whoever_connects_again_and_again_fills_no_log(bench, caplog):
    caplog.set_level("INFO", logger="rs.session")
    bench.transport.router.accept = lambda host: (None, "no neighbor has this address")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    bench.ends.append(listener)

    def connect(n):
        caplog.clear()
        for _ in range(n):
            bench.ends.append(socket.create_connection(listener.getsockname()))
        bench.transport._on_accept(listener)
        return [record.getMessage() for record in caplog.records]

    line = "connection from 127.0.0.1 refused: no neighbor has this address"
    assert connect(5) == [line]
    bench.now += REFUSALS - 1
    assert connect(1) == []
    bench.now += 1
    assert connect(1) == [f"{line}; so were 5 more before it"]


@pytest.mark.parametrize(("host", "starts"), [("::", True), ("2001:db8::1", False)])
def test_a_machine_without_ipv6_listens_on_what_it_has(bench, monkeypatch, caplog, host, starts):
    def listener(host, port):
        if ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        sock = socket.create_server(("127.0.0.1", 0))
        bench.ends.append(sock)
        return sock

    monkeypatch.setattr("rs.sockopts.listener", listener)
    endpoints = (Endpoint("0.0.0.0", 179), Endpoint(host, 179))
    bench.transport.router.config = SimpleNamespace(
        router=SimpleNamespace(listen=endpoints), neighbors=()
    )
    if starts:
        bench.transport.listen()
        assert caplog.messages == ["router.listen: [::]:179: this machine has no IPv6"]
        assert len(bench.transport.addresses) == 1
    else:
        with pytest.raises(RsError, match="Address family not supported"):
            bench.transport.listen()
