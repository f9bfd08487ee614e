"""Sockets: listening, connecting, reading into the sessions, writing out of the outboxes.

In: readiness from the event loop. Out: bytes to sessions, commands of sessions carried out. This is
the only file with BGP sockets. uvloop gives readiness; reads go into one shared buffer and writes
come straight from the logs.

Nothing waits behind routing work: in one turn of the loop reads stop after READ_BUDGET seconds in
all (those who have sent least lately come first, those passed over in the next turn), routing work
gets WORK_BUDGET, sending gets SEND_BUDGET, and between turns connections are accepted and timers
run.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import select
import socket
from typing import TYPE_CHECKING

from rs import sockopts
from rs._fastpath.outbox import Outbox, pump
from rs.errors import RsError
from rs.iana import NotifyCode
from rs.session_types import Close, Connect, Down, EndOfRib, Log, RefreshReceived, Send, Up

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from rs.config import Config, Neighbor
    from rs.configvalues import Endpoint
    from rs.peer import Peer
    from rs.router import Router

READ_LEN = 65536
"""Octets a read: about 3,000 prefixes, half a millisecond of work."""
READ_BUDGET = 0.004
WORK_BUDGET = 0.003
SEND_BUDGET = 0.004
"""Seconds of each turn of the loop."""
SEND_LEN = 262144
"""Octets handed to one socket before the next one's turn."""
SEND_BATCH = 16
SEND_MOST = 524288
"""Sockets written to, and octets written, between two looks at the clock: these are an eighth of a
millisecond, but five where the kernel signs every segment (TCP MD5)."""
ACCEPT_BUDGET = 0.004
"""Seconds of accepting; a new session takes about 0.2 ms."""
REFUSALS = 60.0
"""Seconds in which connections refused to one address make one line in the log."""
MAX_REFUSED = 4096
"""Addresses that this is remembered of."""
ACCEPT_PAUSE = 1.0
"""Seconds without accepting after the system refused a connection."""
LINGER = 1.0
"""Seconds that a closed connection is read on, so that our NOTIFICATION is not lost to a reset."""
RETRY = 0.25
"""Seconds after which work that waits for members to read looks whether they do."""
BULK = 16384
"""Octets of one read that say that its peer is sending a table."""
HOLDING = 0.01
"""Seconds without such a read after which the scheduler holds nothing back any more."""
HOUSEKEEPING = 1.0
"""Seconds between looks at send-hold timers, and for connections that are dead unnoticed."""

log = logging.getLogger("rs.session")


class Connection:
    """One TCP connection with a neighbor."""

    __slots__ = (
        "_transport",
        "closing",
        "connecting",
        "fd",
        "last_sent",
        "local_address",
        "outbox",
        "parked",
        "peer",
        "progress",
        "queued",
        "read_at",
        "read_lately",
        "reading",
        "sock",
    )

    def __init__(self, transport: Transport, peer: Peer, sock: socket.socket) -> None:
        self._transport = transport
        self.peer = peer
        self.sock = sock
        self.fd = sock.fileno()
        self.outbox = Outbox(self.fd)
        self.local_address = ""
        self.reading = False
        self.connecting = False
        self.closing = False
        self.progress = 0.0
        """When the socket last took something, or had nothing to take."""
        self.last_sent = 0
        self.queued = False
        """Whether it stands in the transport's list of connections to be read."""
        self.parked = False
        """Whether the loop has been told not to watch it until it has been read."""
        self.read_at = 0.0
        self.read_lately = 0.0
        """See `lately`, as of `read_at`."""

    def rtt(self) -> int | None:
        """Return the round-trip time in ms, None if it is not known."""
        return sockopts.round_trip_time(self.sock)

    def lately(self, now: float) -> float:
        """Return the octets read, those of a second ago counted half."""
        return self.read_lately * math.exp2(self.read_at - now)

    def pause_reading(self) -> None:
        """Read nothing from this connection for now."""
        if self.reading:
            self.reading = self.parked = False
            self._transport.loop.remove_reader(self.fd)

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self.reading and not self.closing:
            self.reading = True
            self._transport.loop.add_reader(self.fd, self._transport.on_readable, self)


class Transport:
    """Every BGP socket of the daemon, on one event loop."""

    def __init__(self, router: Router, loop: asyncio.AbstractEventLoop) -> None:
        self.router = router
        self.loop = loop
        self._listeners: dict[Endpoint, socket.socket] = {}
        self._buffer = bytearray(READ_LEN)
        self._view = memoryview(self._buffer)
        self._connections: set[Connection] = set()
        self._outboxes: list[Outbox] = []
        self._owner: dict[Outbox, Connection] = {}
        self._readable: list[Connection] = []
        """Connections that the loop has found readable and that have not been read yet."""
        self._news = False
        """Whether there are such that nobody has looked at yet."""
        self._turn_scheduled = False
        self._loaded_at = 0.0
        """When a read last brought so much that somebody must be sending a table."""
        self._put_off = False
        """Whether the turn that is scheduled has been put off once."""
        self._retry: asyncio.TimerHandle | None = None
        self._timers: dict[Peer, tuple[float, asyncio.TimerHandle]] = {}
        self._next_send = 0
        self._refused: dict[str, tuple[float, int]] = {}
        """Until when refusals to an address are only counted, and how many they are."""
        self._closed = False
        self._faults_told = 0
        router.on_wake = self._schedule_turn
        router.on_commands = self._after

    # --- starting and stopping

    def listen(self) -> None:
        """Open every listening socket; RsError names the one that cannot be had, and why."""
        self._open_listeners(self.router.config, self.router.config.router.listen)

    def relisten(self, config: Config) -> None:
        """Change the listening sockets to those of another configuration.

        RsError as in listen, and then everything is as it was.
        """
        wanted = set(config.router.listen)
        before = set(self._listeners)
        try:
            self._open_listeners(config, [e for e in config.router.listen if e not in before])
        except RsError:
            for endpoint in [e for e in self._listeners if e not in before]:
                self._close_listener(endpoint)
            raise
        for endpoint in [e for e in self._listeners if e not in wanted]:
            self._close_listener(endpoint)

    def _open_listeners(self, config: Config, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            try:
                sock = sockopts.listener(endpoint.host, endpoint.port)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT and endpoint.host == "::":
                    # It stands in the default, and means: whatever there is.
                    log.warning("router.listen: %s: this machine has no IPv6", endpoint)
                    continue
                raise RsError(_why_not(str(endpoint), endpoint.port, error)) from error
            self._listeners[endpoint] = sock
            self.loop.add_reader(sock.fileno(), self._on_accept, sock)
        self._set_passwords(config)

    def _set_passwords(self, config: Config) -> None:
        for neighbor in config.neighbors:
            for sock in self._listeners.values():
                if neighbor.password and neighbor.is_ipv6 is (sock.family == socket.AF_INET6):
                    self._set_md5(sock, neighbor)

    def _close_listener(self, endpoint: Endpoint) -> None:
        sock = self._listeners.pop(endpoint)
        self.loop.remove_reader(sock.fileno())
        sock.close()

    def settle(self) -> None:
        """Carry out what sessions want after the router has been given another configuration."""
        self._set_passwords(self.router.config)
        for peer in list(self.router.peers.values()):
            self._after(peer)

    def _set_md5(self, sock: socket.socket, neighbor: Neighbor) -> None:
        try:
            sockopts.set_md5(sock, neighbor.name, neighbor.password or "")
        except OSError as error:
            hint = " (raise net.core.optmem_max)" if error.errno == errno.ENOMEM else ""
            raise RsError(
                f"neighbor {neighbor.name}: password: the kernel refuses it: {error.strerror}{hint}"
            ) from error

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, as the kernel tells: (host, port)."""
        return [sock.getsockname()[:2] for sock in self._listeners.values()]

    def start(self) -> None:
        """Start every session."""
        self.router.start()
        for peer in list(self.router.peers.values()):
            self._after(peer)
        self.loop.call_later(HOUSEKEEPING, self._housekeeping)

    def stop(self, communication: str = "", *, graceful: bool = False) -> None:
        """End every session with a NOTIFICATION and close the listening sockets.

        With `graceful` the connections of neighbors that keep our routes are closed without one.
        """
        for endpoint in list(self._listeners):
            self._close_listener(endpoint)
        if graceful:
            for conn in list(self._connections):
                if conn.peer.keeps_ours:
                    self._lost(conn, "closed by us for a restart")
        self.router.stop(communication)
        for peer in list(self.router.peers.values()):
            self._after(peer)

    @property
    def busy(self) -> bool:
        """Whether connections are still being closed."""
        return bool(self._connections)

    def close(self) -> None:
        """Drop whatever is left."""
        self._closed = True
        for conn in list(self._connections):
            self._drop(conn)
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    # --- connections

    def _on_accept(self, listener: socket.socket) -> None:
        begun = self.router.now()
        while self.router.now() < begun + ACCEPT_BUDGET:
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors, most likely: what waits stays in the backlog for a while.
                log.error("accept on %s: %s", listener.getsockname()[:2], error.strerror)
                self.loop.remove_reader(listener.fileno())
                self.loop.call_later(ACCEPT_PAUSE, self._accept_again, listener)
                return
            host = address[0].partition("%")[0]
            peer, why = self.router.accept(host)
            if peer is None:
                self._refuse(sock, host, why)
                continue
            if peer.session.connected_at_all:
                # Who was reset comes back at once, and must not collide with its former self.
                self._read_out(c for c in self._connections if c.peer is peer)
            local = peer.neighbor.local_address
            if local is not None and sock.getsockname()[0] != local:
                self._refuse(sock, host, f"it is not to {local}")
                continue
            conn = self._adopt(peer, sock)
            if conn is not None:
                self._opened(conn, outbound=False)

    def _refuse(self, sock: socket.socket, host: str, why: str) -> None:
        """Close a connection that nobody has been configured for; whoever scans fills no log."""
        sock.close()
        now = self.router.now()
        until, n = self._refused.get(host, (0.0, 0))
        if now < until:
            self._refused[host] = (until, n + 1)
            return
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[host] = (now + REFUSALS, 0)
        more = f"; so were {n} more before it" if n else ""
        log.info("connection from %s refused: %s%s", host, why, more)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self.loop.add_reader(listener.fileno(), self._on_accept, listener)

    def _adopt(self, peer: Peer, sock: socket.socket) -> Connection | None:
        try:
            sockopts.prepare(sock, peer.neighbor)
        except OSError as error:
            log.warning("%s: socket options: %s", peer.address, error.strerror)
            sock.close()
            return None
        conn = Connection(self, peer, sock)
        self._connections.add(conn)
        self._owner[conn.outbox] = conn
        return conn

    def _opened(self, conn: Connection, *, outbound: bool) -> None:
        now = self.router.now()
        conn.local_address = conn.sock.getsockname()[0].partition("%")[0]
        conn.progress = now
        self._outboxes.append(conn.outbox)
        conn.resume_reading()
        conn.peer.session.connected(conn, now, outbound)
        self._after(conn.peer)

    def _connect(self, peer: Peer) -> None:
        neighbor = peer.neighbor
        sock = socket.socket(sockopts.family_of(peer.address), socket.SOCK_STREAM)
        conn = self._adopt(peer, sock)
        if conn is None:
            self._connect_failed(peer, "socket options are refused")
            return
        try:
            if neighbor.password:
                sockopts.set_md5(sock, peer.address, neighbor.password)
            if neighbor.local_address:
                sock.bind((neighbor.local_address, 0))
            error = sock.connect_ex((peer.address, neighbor.port))
        except OSError as problem:
            self._drop(conn)
            self._connect_failed(peer, problem.strerror or str(problem))
            return
        if error not in {0, errno.EINPROGRESS}:
            self._drop(conn)
            self._connect_failed(peer, os.strerror(error))
            return
        for other in self._connections:
            if other.peer is peer and other.connecting:
                self._drop(other)
                break
        conn.connecting = True
        self.loop.add_writer(conn.fd, self._on_connected, conn)

    def _on_connected(self, conn: Connection) -> None:
        self.loop.remove_writer(conn.fd)
        conn.connecting = False
        error = conn.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._drop(conn)
            self._connect_failed(conn.peer, os.strerror(error))
            return
        self._opened(conn, outbound=True)

    def _connect_failed(self, peer: Peer, reason: str) -> None:
        log.debug("%s: connect: %s", peer.address, reason)
        peer.session.connect_failed(self.router.now(), reason)
        self._after(peer)

    def _drop(self, conn: Connection) -> None:
        """Close a connection's socket; the session is not told."""
        if conn not in self._connections:
            return
        self._connections.discard(conn)
        self._owner.pop(conn.outbox, None)
        if conn.outbox in self._outboxes:
            self._outboxes.remove(conn.outbox)
        conn.pause_reading()
        conn.closing = True
        self.loop.remove_writer(conn.fd)
        conn.outbox.close()
        conn.sock.close()
        if conn.peer.dynamic and all(c.peer is not conn.peer for c in self._connections):
            self.router.forget(conn.peer)

    def _close(self, conn: Connection) -> None:
        """Close a connection after what is queued, and read on for a while.

        Otherwise the kernel may reset it before the peer has read our NOTIFICATION.
        """
        if conn not in self._connections or conn.closing:
            return
        conn.outbox.send()
        conn.pause_reading()
        conn.closing = True
        if conn.outbox in self._outboxes:
            self._outboxes.remove(conn.outbox)
        self.loop.remove_writer(conn.fd)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        self.loop.add_reader(conn.fd, self._drain, conn)
        self.loop.call_later(LINGER, self._finish, conn)

    def _drain(self, conn: Connection) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            try:
                if conn.sock.recv_into(self._buffer):
                    return
            except ConnectionError:
                pass
            self._finish(conn)

    def _finish(self, conn: Connection) -> None:
        if conn in self._connections:
            self.loop.remove_reader(conn.fd)
            self._drop(conn)

    def _lost(self, conn: Connection, reason: str) -> None:
        """Tell the session that its connection is gone."""
        peer = conn.peer
        self._drop(conn)
        peer.session.closed(conn, self.router.now(), reason)
        self._after(peer)

    # --- reading

    def on_readable(self, conn: Connection) -> None:
        """Take note that a connection has something to read; all of them are read together.

        One that the loop names a second time before its turn is not watched until then: with a
        thousand of them the loop would do nothing but name them again and again.
        """
        if conn.queued:
            if not conn.parked:
                conn.parked = True
                self.loop.remove_reader(conn.fd)
            return
        conn.queued = self._news = True
        if not self._readable:
            self.loop.call_soon(self._read_all)
        self._readable.append(conn)

    def _read_all(self) -> None:
        """Read once from each readable connection, until READ_BUDGET is used up.

        Those who have sent least lately come first. A change that one peer sends does not wait for
        another's full table; and of several who load the same table none runs ahead, so that the
        best path is there before it is chosen, and is sent once. Who was passed over stays in the
        list.
        """
        readable, self._readable = self._readable, []
        self._news = False
        if self._closed:
            return
        now = begun = self.router.now()
        deadline = now + READ_BUDGET
        self.router.tick(now)
        self._schedule_turn()
        if len(readable) > 1:
            readable.sort(key=lambda conn: conn.lately(begun))
        done = 0
        try:
            while done < len(readable) and now < deadline:
                conn = readable[done]
                done += 1
                conn.queued = False
                if not conn.reading:
                    continue
                if conn.parked:
                    conn.parked = False
                    self.loop.add_reader(conn.fd, self.on_readable, conn)
                self._read(conn, now)
                now = self.router.now()
        finally:
            # Also after a bug of ours with one of them.
            if done < len(readable):
                self._readable = readable[done:]
                self.loop.call_soon(self._read_all)
        self.router.loop.note(now - begun)

    def _read(self, conn: Connection, now: float) -> None:
        """Read once and hand the bytes to the session."""
        try:
            n = conn.sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(conn, error.strerror or "connection failed")
            return
        if n == 0:
            self._lost(conn, "closed by the peer")
            return
        conn.read_lately = conn.lately(now) + n
        conn.read_at = now
        if n >= BULK:
            self._loaded_at = now
        conn.peer.session.receive(conn, self._view[:n], now)
        self.router.check_limits(conn.peer)
        self._after(conn.peer)

    def _read_out(self, connections: Iterable[Connection]) -> None:
        """Read those to their end that were reset with something left to read.

        libuv names a reset connection once and watches it no more, and one read may bring nothing
        but what came before the reset. This asks the kernel: call it from time to time.
        """
        poll = select.poll()
        found = {c.fd: c for c in connections if c.reading}
        for fd in found:
            poll.register(fd, 0)  # errors are told unasked
        until = self.router.now() + READ_BUDGET
        for fd, _ in poll.poll(0):
            conn = found[fd]
            while conn.reading and (now := self.router.now()) < until:
                self._read(conn, now)

    def _after(self, peer: Peer) -> None:
        """Carry out what the session wants after something has happened to it."""
        session = peer.session
        while commands := session.poll():
            for command in commands:
                self._carry_out(peer, command)
        due = session.next_timer()
        known = self._timers.get(peer)
        if known is not None:
            if due is not None and known[0] <= due:
                return  # fires early and finds out
            known[1].cancel()
            del self._timers[peer]
        if due is not None and not self._closed:
            delay = max(0.0, due - self.router.now())
            self._timers[peer] = (due, self.loop.call_later(delay, self._on_timer, peer))

    def _on_timer(self, peer: Peer) -> None:
        del self._timers[peer]
        peer.session.handle_timer(self.router.now())
        self._after(peer)

    def _carry_out(self, peer: Peer, command: object) -> None:
        match command:
            case Send(Connection() as conn, data):
                if conn in self._connections and not conn.closing:
                    conn.outbox.push(data)
                    self._schedule_turn()
            case Connect():
                self._connect(peer)
            case Close(Connection() as conn):
                self._close(conn)
            case Up():
                pass  # the session's own line says it
            case Down() as down:
                self.router.on_down(peer, down)
            case RefreshReceived(family, subtype):
                self.router.on_refresh(peer, family, subtype)
            case EndOfRib(family):
                self.router.on_end_of_rib(peer, family)
            case Log(level, text):
                log.log(getattr(logging, level.upper()), "%s: %s", peer.address, text)
            case _:
                raise AssertionError(command)

    # --- the turn: routing work, then sending

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled and not self._closed:
            self._turn_scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._news and not self._put_off:
            # What has come meanwhile is read first, and goes out now instead of a turn later.
            self._put_off = True
            self._schedule_turn()
            return
        self._put_off = False
        if self._closed:
            return
        now = begun = self.router.now()
        try:
            more = self.router.scheduler.run(
                now + WORK_BUDGET, self.router.now, loading=now - self._loaded_at < HOLDING
            )
        except Exception:
            # A bug of ours; sessions and what is encoded already must go on all the same.
            log.exception("routing work")
            more = True
        now = self.router.now()
        more = self._send(now + SEND_BUDGET) or more
        if more:
            self._schedule_turn()
        elif self.router.scheduler.holding:
            self._run_in(HOLDING)
        elif self.router.scheduler.can_go_on(self.router.now()):
            self._schedule_turn()
        elif self.router.scheduler.waiting and self._retry is None:
            self._run_in(RETRY)
        self.router.loop.note(self.router.now() - begun)

    def _run_in(self, delay: float) -> None:
        """Have another turn after a delay, instead of at the time that was set before."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self.loop.call_later(delay, self._run_again)

    def _run_again(self) -> None:
        self._retry = None
        self._schedule_turn()

    def _send(self, deadline: float) -> bool:
        """Write to every socket that takes something, in turn; return whether any wants more."""
        outboxes = self._outboxes
        n = len(outboxes)
        if n == 0:
            return False
        more = False
        start = self._next_send % n
        at = 0
        while at < n:
            first = (start + at) % n
            batch = outboxes[first : first + min(SEND_BATCH, n - at)]
            seen, busy, blocked, broken = pump(batch, SEND_LEN, SEND_MOST)
            at += seen
            for outbox in blocked:
                conn = self._owner[outbox]
                conn.progress = self.router.now()
                self.loop.add_writer(conn.fd, self._on_writable, conn)
            for outbox, code in broken:
                self._lost(self._owner[outbox], os.strerror(code))
            if busy:
                more = True
            if broken:
                return True  # the list has changed
            if self.router.now() > deadline and at < n:
                self._next_send = first + seen
                return True
        return more

    def _on_writable(self, conn: Connection) -> None:
        self.loop.remove_writer(conn.fd)
        conn.outbox.blocked = False
        conn.progress = self.router.now()
        self._schedule_turn()

    def _housekeeping(self) -> None:
        """End sessions with peers that read nothing for too long (RFC 9687); run slow timers."""
        if self._closed:
            return
        self.loop.call_later(HOUSEKEEPING, self._housekeeping)
        now = self.router.now()
        exporter = self.router.exporter
        if exporter.faults != self._faults_told:
            self._faults_told = exporter.faults
            log.error("export: %d prefixes failed, last %s", exporter.faults, exporter.last_fault)
        self.router.housekeeping(now)
        self._read_out(self._connections)
        for conn in list(self._connections):
            if not conn.outbox.blocked:
                conn.progress = now
                continue
            peer = conn.peer
            agreed = peer.session.negotiated
            limit = peer.neighbor.send_hold_for(agreed.hold_time) if agreed is not None else 0
            if limit and now - conn.progress > limit:
                reason = f"nothing read for {limit:.0f} s"
                peer.session.notify(now, NotifyCode.SEND_HOLD_TIMER_EXPIRED, 0, reason=reason)
                # It reads nothing, so there is nothing to wait for.
                self._after(peer)
                self._drop(conn)


def _why_not(where: str, port: int, error: OSError) -> str:
    """Say why a listening socket cannot be had, and what would help."""
    if error.errno == errno.EADDRINUSE:
        return f"router.listen: {where}: the port is in use by another process"
    if error.errno == errno.EACCES:
        return (
            f"router.listen: {where}: no permission for port {port}: run with "
            f"CAP_NET_BIND_SERVICE, as the systemd unit does, or use a port above 1023"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"router.listen: {where}: this machine has no such address"
    return f"router.listen: {where}: {error.strerror}"
