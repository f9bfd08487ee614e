"""Sessions in memory: a fake clock, a fake network, and one or two Session objects.

`Network` moves bytes between two sessions with a delay and keeps their timers; `Solo` drives one
session by hand, so that a test can play any peer, however odd.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rs.fsm import State
from rs.iana import HEADER_LEN, MAX_EXTENDED_MESSAGE_LEN, Family, MessageType
from rs.messages import (
    KEEPALIVE,
    Notification,
    OpenMessage,
    decode_notification,
    encode_open,
    split_messages,
)
from rs.session import Session
from rs.session_types import (
    Close,
    Connect,
    CountingIngest,
    Down,
    Log,
    RefreshReceived,
    Send,
    SessionConfig,
    Up,
)

if TYPE_CHECKING:
    from collections.abc import Callable

V4, V6 = BOTH = (Family.IPV4_UNICAST, Family.IPV6_UNICAST)
A = {"asn": 64500, "router_id": "10.0.0.1"}
B = {"asn": 64501, "router_id": "10.0.0.2"}
"""The two ends of a `pair`."""
EMPTY_UPDATE = b"\xff" * 16 + b"\x00\x17\x02" + bytes(4)
"""An UPDATE without anything: End-of-RIB for IPv4 unicast."""


def config(asn: int = 64500, router_id: str = "10.0.0.1", **changes) -> SessionConfig:
    values = {"peer_asn": None, "families": BOTH, **changes}
    return SessionConfig(local_asn=asn, local_router_id=router_id, **values)


@dataclass
class Side:
    """One session with what it has been seen to do."""

    name: str
    session: Session
    other: Side | None = None
    reachable: bool = True
    ups: list[Up] = field(default_factory=list)
    downs: list[Down] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    refreshes: list[RefreshReceived] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    sent: list[tuple[float, object, bytes]] = field(default_factory=list)
    closes: list[object] = field(default_factory=list)
    open_conns: set = field(default_factory=set)
    ingests: list[CountingIngest] = field(default_factory=list)

    def on_up(self, conn, negotiated) -> CountingIngest:
        self.ingests.append(CountingIngest(negotiated))
        return self.ingests[-1]

    def notifications(self) -> list[Notification]:
        """Every NOTIFICATION this side has sent."""
        return [
            decode_notification(data[HEADER_LEN:])
            for _, _, data in self.sent
            if data[18] == MessageType.NOTIFICATION
        ]


class Network:
    """Two sessions `a` and `b`, the TCP connections between them, and the time."""

    def __init__(
        self,
        a: SessionConfig,
        b: SessionConfig,
        *,
        seed: int = 1,
        delay: float | Callable[[], float] = 0.01,
        chunk: int = MAX_EXTENDED_MESSAGE_LEN,
    ) -> None:
        self.now = 1000.0
        self.delay = delay if callable(delay) else lambda: delay
        self.chunk = chunk
        self.cut = False
        """True swallows everything sent, as a broken link does."""
        self._queue: list = []
        self._order = itertools.count()
        self._busy: dict = {}
        self._attempts = {"a": 0, "b": 0}
        self.sides = []
        for name, cfg in (("a", a), ("b", b)):
            side = Side(name, None)
            side.session = Session(cfg, random.Random(f"{seed}{name}"), side.on_up)
            self.sides.append(side)
        self.a, self.b = self.sides
        self.a.other, self.b.other = self.b, self.a

    def call(self, side: Side, what: Callable[[Session], object]) -> object:
        """Call a session and carry out what it wants."""
        result = what(side.session)
        for command in side.session.poll():
            self._do(side, command)
        return result

    def start(self, *sides: Side) -> None:
        for side in sides or self.sides:
            self.call(side, lambda s: s.start(self.now))

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for _ in range(100_000):
            times = [(t, s) for s in self.sides if (t := s.session.next_timer()) is not None]
            timer, side = min(times, key=lambda x: x[0], default=(float("inf"), None))
            event = self._queue[0][0] if self._queue else float("inf")
            if min(timer, event) > end:
                self.now = end
                return
            if event <= timer:
                self.now = max(self.now, event)
                heapq.heappop(self._queue)[2]()
            else:
                self.now = max(self.now, timer)
                self.call(side, lambda s: s.handle_timer(self.now))
        raise AssertionError(f"no progress at {self.now}")

    def both_up(self) -> bool:
        return all(s.session.state is State.ESTABLISHED for s in self.sides)

    def crash(self, side: Side) -> None:
        """Let a side vanish without a word and come back as a fresh session."""
        side.open_conns.clear()
        config = side.session.config
        side.session = Session(config, random.Random(f"again{side.name}"), side.on_up)

    # --- inside

    def _do(self, side: Side, command) -> None:
        match command:
            case Connect():
                self._connect(side)
            case Send(conn, data):
                assert conn in side.open_conns, f"{side.name} sends on a closed connection"
                side.sent.append((self.now, conn, data))
                if not self.cut:
                    for n in range(0, len(data), self.chunk):
                        self._deliver(side, conn, data[n : n + self.chunk])
            case Close(conn):
                assert conn in side.open_conns, f"{side.name} closes {conn} twice"
                side.closes.append(conn)
                side.open_conns.discard(conn)
                if not self.cut:
                    self._hang_up(side, conn)
            case Up():
                side.ups.append(command)
            case Down():
                side.downs.append(command)
            case Log():
                side.logs.append(command)
            case RefreshReceived():
                side.refreshes.append(command)

    def _arrival(self, side: Side, conn) -> float:
        """Time at which the next thing on this connection arrives; TCP keeps the order."""
        key = (side.name, conn)
        when = max(self.now + self.delay(), self._busy.get(key, 0.0))
        self._busy[key] = when
        return when

    def _connect(self, side: Side) -> None:
        self._attempts[side.name] += 1
        attempt = self._attempts[side.name]
        side.connects.append(self.now)
        conn = f"{side.name}{attempt}"
        there = self.now + self.delay()
        back = there + self.delay()
        self._busy[side.other.name, conn] = back

        def arrive() -> None:
            if not side.other.reachable or self.cut:
                self.at(back, refused)
                return
            self.at(back, made)
            side.other.open_conns.add(conn)
            self.call(side.other, lambda s: s.connected(conn, self.now, False))

        def refused() -> None:
            if self._attempts[side.name] == attempt:
                self.call(side, lambda s: s.connect_failed(self.now, "connection refused"))

        def made() -> None:
            if self._attempts[side.name] == attempt:
                side.open_conns.add(conn)
                self.call(side, lambda s: s.connected(conn, self.now, True))

        self.at(there, arrive)

    def _deliver(self, side: Side, conn, data: bytes) -> None:
        other = side.other

        def arrive() -> None:
            if conn in other.open_conns:
                self.call(other, lambda s: s.receive(conn, data, self.now))

        self.at(self._arrival(side, conn), arrive)

    def _hang_up(self, side: Side, conn) -> None:
        other = side.other

        def arrive() -> None:
            if conn in other.open_conns:
                other.open_conns.discard(conn)
                self.call(other, lambda s: s.closed(conn, self.now, "closed by peer"))

        self.at(self._arrival(side, conn), arrive)


class Solo:
    """One session, and a test that plays everything around it."""

    def __init__(self, cfg: SessionConfig | None = None, *, seed: int = 1, start: bool = True):
        self.now = 1000.0
        self.session = Session(cfg or config(), random.Random(seed))
        self.commands: list = []
        if start:
            self.session.start(self.now)
            self.poll()

    def poll(self) -> list:
        """Return new commands without the log lines."""
        commands = [c for c in self.session.poll() if not isinstance(c, Log)]
        self.commands += commands
        return commands

    def accept(self, conn: object = "in") -> list:
        self.session.connected(conn, self.now, False)
        return self.poll()

    def connect(self, conn: object = "out") -> list:
        self.session.connected(conn, self.now, True)
        return self.poll()

    def receive(self, data: bytes, conn: object = "in") -> list:
        self.session.receive(conn, data, self.now)
        return self.poll()

    def wait(self, seconds: float) -> list:
        """Let time pass, timer by timer; return what came of it."""
        end = self.now + seconds
        found = []
        while (when := self.session.next_timer()) is not None and when <= end:
            self.now = max(self.now, when)
            self.session.handle_timer(self.now)
            found += self.poll()
        self.now = end
        return found

    def open(self, conn: object = "in", **changes) -> list:
        return self.receive(open_message(**changes), conn)

    def establish(self, conn: object = "in", **changes) -> list:
        """Bring the session up over a connection of the peer's."""
        found = self.accept(conn)
        found += self.open(conn, **changes)
        found += self.receive(KEEPALIVE, conn)
        assert self.session.state is State.ESTABLISHED, self.session.last_error
        return found


def open_message(
    asn: int = 64501, router_id: str = "10.0.0.2", hold_time: int = 90, **changes
) -> bytes:
    """Build the peer's OPEN: every capability, or `capabilities=` as (code, value) pairs."""
    if "capabilities" in changes:
        return encode_open(OpenMessage(asn, hold_time, router_id, **changes))
    peer = config(asn, router_id, hold_time=hold_time, **changes)
    return encode_open(peer.offer().message())


def messages_sent(commands: list) -> list[tuple[MessageType, bytes]]:
    """Every message in a list of commands: (type, body) each."""
    data = b"".join(c.data for c in commands if isinstance(c, Send))
    return list(split_messages(data, MAX_EXTENDED_MESSAGE_LEN))


def notification_sent(commands: list) -> Notification | None:
    """Return the only NOTIFICATION in a list of commands, None without one."""
    found = [b for kind, b in messages_sent(commands) if kind is MessageType.NOTIFICATION]
    assert len(found) <= 1, found
    return decode_notification(found[0]) if found else None


# --- what tests of sessions have in common


def pair(a=None, b=None, **kwargs) -> Network:
    """Two sessions that are to meet; `a` and `b` are changes of their configurations."""
    return Network(config(**{**A, **(a or {})}), config(**{**B, **(b or {})}), **kwargs)


def kinds(commands) -> list[MessageType]:
    """Types of the messages in a list of commands."""
    return [kind for kind, _ in messages_sent(commands)]


def told(commands) -> tuple[int, int, bytes] | None:
    """Code, subcode and data of the NOTIFICATION in a list of commands."""
    found = notification_sent(commands)
    return None if found is None else (found.code, found.subcode, found.data)


def logged(side) -> list[Log]:
    return [log for log in side.logs if log.level != "debug"]


def fail(solo, conn="in", **changes):
    """Let the peer connect with an OPEN that we refuse."""
    solo.accept(conn)
    return solo.open(conn, **{"hold_time": 1, **changes})


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
