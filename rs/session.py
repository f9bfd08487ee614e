"""One neighbor's BGP conversation, without I/O: both directions, up to two TCP connections.

In: what the transport saw (connections made and lost, bytes, time) and what operator or routing
side want. Out: commands, drained with `poll()` after every call. Time is `now`, seconds of a
monotonic clock. Nothing here blocks, reads a clock or touches a socket.

Each connection has a state machine (`fsm`), and the session carries its actions out. The *primary*
machine is the one that seeks: it also lives in Idle, Connect and Active. A *second* one exists
only while a second TCP connection does, until collision detection has chosen (RFC 4271 6.8).

Outside Established messages are cut and decoded here. In Established each read is handed on as it
is, by one call to the routing side's `Ingest`, which keeps partial messages itself; the read buffer
stays the transport's, so neither may hold on to it.

RFC 4271 6, 8 and 10; 4486, 6608, 8538 and 9003 (NOTIFICATION); 5492 (retry without capabilities);
6286 (identifiers in collisions); 2918 and 7313 (route refresh); 4724 4.2 (a peer that restarts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs import collision
from rs.capabilities import Negotiated, negotiate
from rs.errors import NotifyError
from rs.fsm import Event, State
from rs.iana import (
    HEADER_LEN,
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    CeaseSubcode,
    Family,
    MessageType,
    NotifyCode,
    OpenSubcode,
    RefreshSubtype,
)
from rs.machine import COLLISION, Cause, Context, Machine
from rs.messages import (
    Notification,
    RouteRefresh,
    decode_notification,
    decode_open,
    encode_communication,
    encode_notification,
    encode_route_refresh,
    read_header,
)
from rs.session_types import (
    Close,
    Command,
    Counters,
    CountingIngest,
    Down,
    EndOfRib,
    Ingest,
    Log,
    OnUp,
    RefreshReceived,
    Send,
    SessionConfig,
    Up,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

_GAVE_UP = (NotifyCode.CEASE, CeaseSubcode.OUT_OF_RESOURCES)
MAX_ACCEPT_DELAY = 1.0
"""Seconds that a peer which fails again and again is kept waiting when it connects to us."""

COMPLAINTS = 5
"""Lines in the log, of one session, about messages that were ignored."""


class Session:
    """One neighbor: timers, both connections, collision detection, NOTIFICATIONs.

    `on_up(conn, negotiated)` returns the routing side's Ingest for a session that has come up;
    without it messages are counted and dropped. `rng` gives the jitter, so that tests are exact.
    """

    def __init__(
        self, config: SessionConfig, rng: random.Random, on_up: OnUp | None = None
    ) -> None:
        self.config = config
        self._context = Context(config, rng)
        self._counters = self._context.counters
        self._counted = (0, 0)  # UPDATEs and KEEPALIVEs of the ingest that are in the counters
        self.ingest: Ingest | None = None
        self._on_up = on_up
        self._primary = Machine(self._context)
        self._second: Machine | None = None
        self._machines: dict[Hashable, Machine] = {}
        self._parked: Hashable | None = None
        self._parked_data = bytearray()
        self._accept_at = 0.0
        self._enabled = False
        self._failures = 0
        self._wake: float | None = None
        self._shown = State.IDLE
        self._complaints = 0
        self._told = ""  # the last error of an attempt that is in the log

    # --- what others may look at

    @property
    def state(self) -> State:
        """State of the connection that is furthest along."""
        return self._furthest().state

    @property
    def negotiated(self) -> Negotiated | None:
        """What both sides agreed on; None before both OPENs have been seen."""
        return self._furthest().negotiated

    @property
    def local_open(self) -> bytes:
        """Our OPEN as sent on the connection furthest along, header included."""
        return self._furthest().local_open

    @property
    def remote_open(self) -> bytes:
        """The peer's OPEN as received on the connection furthest along, header included."""
        return self._furthest().remote_open

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        if self.ingest is not None:
            self._count_messages(self.ingest)
        return self._counters

    @property
    def last_error(self) -> str:
        """Last NOTIFICATION sent or received, or TCP error, in words; empty when there was none."""
        return self._context.last_error

    @property
    def enabled(self) -> bool:
        """Started, and not stopped since."""
        return self._enabled

    @property
    def connected_at_all(self) -> bool:
        """Whether it has a TCP connection, in whatever state, or keeps one waiting."""
        return bool(self._machines) or self._parked is not None

    def reconfigure(self, config: SessionConfig) -> None:
        """Use another configuration from the next connection on; timers that run are kept."""
        self.config = config
        self._context.config = config

    def _furthest(self) -> Machine:
        second = self._second
        if second is not None and second.state > self._primary.state:
            return second
        return self._primary

    # --- operator

    def start(self, now: float) -> None:
        """Start seeking the peer (RFC 4271 8.1.2 ManualStart); nothing when started already."""
        if self._enabled:
            return
        self._enabled = True
        self._fresh()
        event = Event.MANUAL_START_PASSIVE if self.config.passive else Event.MANUAL_START
        self._event(self._primary, event, now)
        self._settle_timers()

    def stop(
        self,
        now: float,
        subcode: int = CeaseSubcode.ADMIN_SHUTDOWN,
        communication: str = "",
        *,
        data: bytes = b"",
        reason: str = "",
    ) -> None:
        """Close everything by Cease and stay in Idle (ManualStop).

        `communication` goes to the peer with Administrative Shutdown and Reset (RFC 9003), `data`
        with other subcodes; `reason` is for us.
        """
        self._enabled = False
        self._stop_all(now, subcode, communication, data, reason)
        self._settle_timers()

    def reset(
        self,
        now: float,
        subcode: int = CeaseSubcode.ADMIN_RESET,
        communication: str = "",
    ) -> None:
        """Close everything by Cease, then start again after the shortest pause, if started."""
        self._fresh()
        self._stop_all(now, subcode, communication)
        self._settle_timers()

    def _fresh(self) -> None:
        self._context.plain = False
        self._failures = 0
        self._context.slow = False
        self._accept_at = 0.0

    def _stop_all(
        self, now: float, subcode: int, communication: str, data: bytes = b"", reason: str = ""
    ) -> None:
        if subcode in {CeaseSubcode.ADMIN_SHUTDOWN, CeaseSubcode.ADMIN_RESET}:
            data = encode_communication(communication)
        fault = NotifyError(NotifyCode.CEASE, subcode, data, reason)
        self._reject_parked(fault)
        machines = [m for m in (self._second, self._primary) if m is not None]
        for machine in machines:
            self._event(machine, Event.MANUAL_STOP, now, Cause(fault=fault))
        # In Idle the event changes nothing, but the ConnectRetryTimer may run (RFC 4271 8.2.2).
        self._primary.stop_seeking()
        if self._enabled:
            self._restart(self._primary, now)

    # --- transport

    def connected(self, conn: Hashable, now: float, outbound: bool) -> None:
        """Take note of a new TCP connection, ours (`outbound`) or the peer's."""
        if outbound:
            machine = self._primary
            if (
                machine.conn is not None
                or machine.state not in {State.CONNECT, State.ACTIVE}
                or self.config.passive
            ):
                # Overtaken: stopped, or the peer's connection came up in the meantime.
                self._emit(Close(conn))
                return
            machine.outbound = True
            self._take(machine, conn, Event.TCP_CR_ACKED, now)
        elif not self._enabled:
            # RFC 4486 4: refused after the transport had accepted.
            self._reject(conn, NotifyError(NotifyCode.CEASE, CeaseSubcode.CONNECTION_REJECTED))
        elif now < self._accept_at:
            self._reject_parked(NotifyError(NotifyCode.CEASE, CeaseSubcode.COLLISION))
            self._parked = conn
        else:
            self._accept(conn, now)
        self._settle_timers()

    def connect_failed(self, now: float, reason: str) -> None:
        """Our attempt to connect has failed."""
        machine = self._primary
        if machine.state is State.CONNECT and machine.conn is None:
            self._context.last_error = f"connect: {reason}"
            self._event(machine, Event.TCP_CONNECTION_FAILS, now, Cause(reason=self.last_error))
            self._settle_timers()

    def receive(self, conn: Hashable, data: bytes | memoryview, now: float) -> None:
        """Take one read. `data` is not kept: in Established it goes on as it is."""
        machine = self._machines.get(conn)
        if machine is not None and machine.state is State.ESTABLISHED:
            ingest = self.ingest
            assert ingest is not None
            done = ingest.feed(data)
            if done > 0:
                # The deadline moves; the wake-up stays and finds that there is nothing to do.
                machine.hold = now + machine.hold_time if machine.hold_time else None
            if done < 0 or ingest.pending_events:
                self._ingest_events(machine, ingest, now)
                self._settle_timers()
            if done < 0 and machine.state is State.ESTABLISHED:
                self.notify(now, *_GAVE_UP, reason="the routing side gave up without a reason")
            return
        if machine is None:
            if conn == self._parked:
                self._parked_data += data[: MAX_MESSAGE_LEN - len(self._parked_data)]
            return
        machine.buffer += data
        self._messages(machine, now)
        self._settle_timers()

    def closed(self, conn: Hashable, now: float, reason: str) -> None:
        """Take note that the connection is gone: closed by the peer, or broken."""
        if conn == self._parked:
            self._parked = None
            self._parked_data.clear()
        machine = self._machines.pop(conn, None)
        if machine is not None:
            machine.conn = None
            self._context.last_error = f"TCP: {reason}"
            cause = Cause(conn=conn, reason=self.last_error)
            self._event(machine, Event.TCP_CONNECTION_FAILS, now, cause)
        self._settle_timers()

    def next_timer(self) -> float | None:
        """Time at which `handle_timer` wants to be called; None when nothing is due ever."""
        return self._wake

    def handle_timer(self, now: float) -> None:
        """Do what is due. Calling it early, late or twice is harmless."""
        if self._parked is not None and self._accept_at <= now:
            conn, data = self._parked, bytes(self._parked_data)
            self._parked = None
            self._parked_data.clear()
            self._accept(conn, now)
            self.receive(conn, data, now)
        for machine in (self._primary, self._second):
            if machine is not None:
                while (event := machine.due(now)) is not None:
                    self._event(machine, event, now)
        self._settle_timers()

    def poll(self) -> list[Command]:
        """Return the commands since the last call, in the order to carry them out."""
        commands = self._context.commands
        if not commands:
            return []
        self._context.commands = []
        return commands

    # --- routing side

    def log(self, level: str, text: str) -> None:
        """Have the transport log something about this neighbor."""
        self._log(level, text)

    def complain(self, text: str) -> None:
        """Have the transport log a message that was ignored, a few times a session."""
        self._complaints += 1
        if self._complaints <= COMPLAINTS:
            last = self._complaints == COMPLAINTS
            self._log("warning", f"{text}; more of this session is not told" if last else text)

    def notify(
        self, now: float, code: int, subcode: int, data: bytes = b"", reason: str = ""
    ) -> None:
        """End the connection furthest along by this NOTIFICATION; it is sought again later."""
        machine = self._furthest()
        if machine.conn is not None:
            fault = NotifyError(code, subcode, data, reason)
            up = machine.state is State.ESTABLISHED
            event = _event_of(fault) if up else Event.AUTOMATIC_STOP
            self._event(machine, event, now, Cause(fault=fault))
        self._settle_timers()

    def send_refresh(self, family: Family, subtype: RefreshSubtype, now: float) -> bool:  # noqa: ARG002
        """Send ROUTE-REFRESH if the session is up and has agreed to it; tell whether it did."""
        machine = self._furthest()
        agreed = machine.negotiated
        if (
            machine.state is not State.ESTABLISHED
            or agreed is None
            or family not in agreed.families
        ):
            return False
        if subtype == RefreshSubtype.REQUEST:
            allowed = agreed.route_refresh
        else:
            allowed = agreed.enhanced_route_refresh
        if allowed:
            message = RouteRefresh(family.afi, family.safi, subtype)
            machine.send(MessageType.ROUTE_REFRESH, encode_route_refresh(message))
        return allowed

    # --- connections

    def _take(self, machine: Machine, conn: Hashable, event: Event, now: float) -> None:
        machine.conn = conn
        machine.opened = now
        machine.buffer.clear()
        self._machines[conn] = machine
        self._event(machine, event, now)

    def _accept(self, conn: Hashable, now: float) -> None:
        """Give the peer's connection a machine."""
        primary, second = self._primary, self._second
        older = next(
            (
                m
                for m in (primary, second)
                if m is not None and m.conn is not None and not m.outbound
                if m.state is not State.ESTABLISHED
            ),
            None,
        )
        if older is not None:
            # Two connections of the peer's: it has given the older one up, or it would not try.
            self._dump(older, now, "replaced by a newer connection of the peer")
            primary = self._primary
        if primary.state is State.IDLE:
            # Enabled, and only pausing before it connects by itself.
            self._event(primary, Event.AUTOMATIC_START_DAMPED_PASSIVE, now)
        if primary.state is State.ACTIVE and primary.conn is None:
            machine = primary
        else:
            machine = self._second = Machine(self._context, State.ACTIVE)
        machine.outbound = False
        self._take(machine, conn, Event.TCP_CONNECTION_CONFIRMED, now)

    def _dump(self, machine: Machine, now: float, reason: str) -> None:
        fault = NotifyError(NotifyCode.CEASE, CeaseSubcode.COLLISION, reason=reason)
        self._event(machine, Event.OPEN_COLLISION_DUMP, now, Cause(fault=fault))

    def _reject(self, conn: Hashable, fault: NotifyError) -> None:
        notification = encode_notification(fault.code, fault.subcode, fault.data)
        self._counters.sent[MessageType.NOTIFICATION] += 1
        self._context.commands += [Send(conn, notification), Close(conn)]

    def _reject_parked(self, fault: NotifyError) -> None:
        if self._parked is not None:
            self._reject(self._parked, fault)
            self._parked = None
            self._parked_data.clear()

    # --- messages outside Established

    def _messages(self, machine: Machine, now: float) -> None:
        """Cut messages from the machine's buffer until it is empty, up, or gone."""
        buffer, conn = machine.buffer, machine.conn
        limit = MAX_EXTENDED_MESSAGE_LEN if self.config.extended_message else MAX_MESSAGE_LEN
        if machine.offer is not None and machine.offer.plain:
            limit = MAX_MESSAGE_LEN
        while (
            len(buffer) >= HEADER_LEN
            and machine.conn == conn
            and machine.state is not State.ESTABLISHED
        ):
            try:
                length, kind = read_header(buffer, 0, limit)
            except NotifyError as fault:
                self._event(machine, Event.BGP_HEADER_ERR, now, Cause(fault=fault))
                return
            if len(buffer) < length:
                return
            message = bytes(buffer[:length])
            del buffer[:length]
            self._counters.received[kind] += 1
            self._message(machine, kind, message, now)
        if buffer and machine.state is State.ESTABLISHED and conn is not None:
            rest = bytes(buffer)
            buffer.clear()
            self.receive(conn, rest, now)

    def _message(self, machine: Machine, kind: MessageType, message: bytes, now: float) -> None:
        match kind:
            case MessageType.OPEN:
                self._open(machine, message, now)
            case MessageType.KEEPALIVE:
                self._event(machine, Event.KEEPALIVE_MSG, now, Cause(message=kind))
            case MessageType.NOTIFICATION:
                self._notification(machine, decode_notification(message[HEADER_LEN:]), now)
            case _:
                self._event(machine, Event.UPDATE_MSG, now, Cause(message=kind))

    def _open(self, machine: Machine, message: bytes, now: float) -> None:
        cause = Cause(message=MessageType.OPEN)
        delayed = machine.delay_open is not None
        if not delayed and machine.state is not State.OPEN_SENT:
            self._event(machine, Event.BGP_OPEN, now, cause)
            return
        machine.remote_open = message
        offer = machine.offer
        if offer is None:
            offer = machine.offer = self._context.offer()
        try:
            machine.negotiated = negotiate(
                offer,
                decode_open(message[HEADER_LEN:]),
                peer_asn=self.config.peer_asn,
                min_hold_time=self.config.min_hold_time,
            )
        except NotifyError as fault:
            cause.fault = fault
            self._event(machine, Event.BGP_OPEN_MSG_ERR, now, cause)
            return
        other = self._second if machine is self._primary else self._primary
        loser = collision.loser(machine, other, self.config)
        if loser is machine and other is not None and collision.has_restarted(machine, other):
            # The old connection ends silently: its peer has forgotten it (RFC 4724 4.2).
            ghost = Cause(reason=collision.RESTARTED)
            self._context.last_error = collision.RESTARTED
            self._event(other, Event.TCP_CONNECTION_FAILS, now, ghost)
            loser = None
        if loser is not None:
            self._dump(loser, now, "")
        if loser is not machine:
            self._event(machine, Event.BGP_OPEN_DELAYED if delayed else Event.BGP_OPEN, now, cause)

    def _notification(self, machine: Machine, found: Notification, now: float) -> None:
        up = machine.state is State.ESTABLISHED
        reason = f"received NOTIFICATION {found.describe()}"
        if up or (found.code, found.subcode) != COLLISION:
            self._context.last_error = reason
        cause = Cause(
            reason=reason,
            notification=encode_notification(
                found.code, found.subcode, found.data, MAX_EXTENDED_MESSAGE_LEN
            ),
        )
        event = Event.NOTIF_MSG
        if found.code == NotifyCode.OPEN_MESSAGE:
            if found.subcode == OpenSubcode.UNSUPPORTED_VERSION:
                event = Event.NOTIF_MSG_VER_ERR
            if not up:
                self._refused(machine, found.subcode)
        self._event(machine, event, now, cause)

    def _refused(self, machine: Machine, subcode: int) -> None:
        """Decide how the next OPEN looks after the peer has refused this one (RFC 5492 3).

        One OPEN goes without capabilities; if that leads nowhere, the one after it has them again.
        """
        capabilities = subcode in {
            OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER,
            OpenSubcode.UNSUPPORTED_CAPABILITY,
        }
        was_plain = machine.offer is None or machine.offer.plain
        self._context.plain = (
            capabilities
            and not was_plain
            and not (self.config.strict or self.config.strict_role)
            and Family.IPV4_UNICAST in self.config.families
        )
        if self._context.plain:
            self._log("warning", "peer refuses our capabilities; the next OPEN goes without")
        elif capabilities:
            self._context.slow = True

    # --- Established

    def _count_messages(self, ingest: Ingest) -> None:
        """Take over what the ingest has counted since the last time."""
        received, seen = self._counters.received, self._counted
        self._counted = (ingest.updates, ingest.keepalives)
        received[MessageType.UPDATE] += self._counted[0] - seen[0]
        received[MessageType.KEEPALIVE] += self._counted[1] - seen[1]

    def _ingest_events(self, machine: Machine, ingest: Ingest, now: float) -> None:
        received = self._counters.received
        for name, *values in ingest.take_events():
            match name, values:
                case "keepalive", _:
                    pass  # counted already
                case "refresh", [int(afi), int(safi), int(subtype)]:
                    received[MessageType.ROUTE_REFRESH] += 1
                    self._refresh(machine, afi, safi, subtype)
                case "eor", [int(family)]:
                    self._emit(EndOfRib(Family(family)))
                case "notification", [int(code), int(subcode), bytes(data)]:
                    received[MessageType.NOTIFICATION] += 1
                    self._notification(machine, Notification(code, subcode, data), now)
                case "error", [int(code), int(subcode), bytes(data), str(reason)]:
                    fault = NotifyError(code, subcode, data, reason)
                    self._event(machine, _event_of(fault), now, Cause(fault=fault))
                case _:
                    raise ValueError(f"ingest event {name!r} with {values!r}")
            if machine.state is not State.ESTABLISHED:
                return

    def _refresh(self, machine: Machine, afi: int, safi: int, subtype: int) -> None:
        """Pass a ROUTE-REFRESH on, or ignore it as RFC 2918 4 and RFC 7313 5 want."""
        agreed = machine.negotiated
        assert agreed is not None
        family = Family.from_wire(afi, safi)
        if family is None or family not in agreed.families or not agreed.route_refresh:
            self.complain(f"ROUTE-REFRESH for {afi}/{safi} ignored: not negotiated")
        elif subtype == RefreshSubtype.REQUEST or (
            agreed.enhanced_route_refresh and subtype in {RefreshSubtype.BORR, RefreshSubtype.EORR}
        ):
            self._emit(RefreshReceived(family, RefreshSubtype(subtype)))
        else:
            self.complain(f"ROUTE-REFRESH of subtype {subtype} ignored: not negotiated")

    # --- timers

    def _settle_timers(self) -> None:
        due = [self._primary.deadline()]
        if self._second is not None:
            due.append(self._second.deadline())
        if self._parked is not None:
            due.append(self._accept_at)
        self._wake = min((t for t in due if t is not None), default=None)

    # --- the state machine

    def _emit(self, command: Command) -> None:
        self._context.commands.append(command)

    def _log(self, level: str, text: str) -> None:
        self._emit(Log(level, text))

    def _event(
        self, machine: Machine, event: Event, now: float, cause: Cause | None = None
    ) -> None:
        """Step one machine, carry its actions out, and follow up on the new state."""
        if cause is None:
            cause = Cause()
        before = machine.step(event, now, cause)
        state = machine.state
        if machine.conn is None and cause.conn is not None:
            self._machines.pop(cause.conn, None)
        if state is not before:
            if before is State.ESTABLISHED:
                self._went_down(event, cause)
            if state is State.ESTABLISHED:
                self._came_up(machine, now)
            if state is State.IDLE or (state is State.ACTIVE and before > State.ACTIVE):
                self._ended(machine, event, before, now)
        if self.state is not self._shown:
            self._shown = self.state
            self._counters.last_change = now

    def _came_up(self, machine: Machine, now: float) -> None:
        agreed = machine.negotiated
        assert agreed is not None
        assert machine.conn is not None
        if machine is self._second:
            self._second = self._primary
            self._primary = machine
        if self._second is not None and self._second.conn is None:
            self._second = None  # it was only seeking
        machine.stop_seeking()
        machine.up_since = now
        self._complaints = 0
        self._context.slow = False
        self._counters.established += 1
        self._counted = (0, 0)
        if self._on_up is not None:
            self.ingest = self._on_up(machine.conn, agreed)
        else:
            self.ingest = CountingIngest(agreed)
        self._emit(Up(machine.conn, agreed))
        families = ", ".join(family.label for family in agreed.families)
        who = f"AS{agreed.peer_asn} ({agreed.peer_router_id})"
        self._log("info", f"established with {who}: {families or 'no family in common'}")
        self._told = ""

    def _went_down(self, event: Event, cause: Cause) -> None:
        self._counters.flaps += 1
        assert self.ingest is not None
        self._count_messages(self.ingest)
        self.ingest = None
        reason = cause.reason or event.label
        self._emit(Down(cause.conn, reason, event, cause.notification, cause.sent))
        self._log("warning", f"down: {reason}")

    def _ended(self, machine: Machine, event: Event, before: State, now: float) -> None:
        """Follow up on a machine that has lost its connection, or its attempt to get one."""
        other = self._second if machine is self._primary else self._primary
        settled = other is not None and other.state >= State.OPEN_CONFIRM
        counts = event not in {Event.MANUAL_STOP, Event.OPEN_COLLISION_DUMP} and not settled
        if counts and before is not State.CONNECT:
            self._count_failure(machine, before, now)
        if counts and before is not State.ESTABLISHED and self._told != self.last_error:
            self._told = self.last_error  # once, however often it is tried again
            level = "warning" if before > State.ACTIVE else "info"
            self._log(level, f"no session: {self._told}")
        if machine is self._second:
            self._second = None
            return
        if machine.state is State.ACTIVE:
            return  # it goes on seeking
        if self._second is not None:
            machine.stop_seeking()
            self._primary, self._second = self._second, None
        elif not self._enabled:
            machine.stop_seeking()
        elif event is Event.TCP_CONNECTION_FAILS and before is State.CONNECT:
            # Nobody there: listen until the ConnectRetryTimer says to try again.
            self._event(machine, Event.AUTOMATIC_START_DAMPED_PASSIVE, now)
        elif event is not Event.MANUAL_STOP:
            self._restart(machine, now)

    def _count_failure(self, machine: Machine, before: State, now: float) -> None:
        config = self.config
        if before is State.ESTABLISHED and now - machine.up_since >= config.idle_hold_max:
            self._failures = 0
        self._failures += 1
        if self._failures > 1:
            # A peer that fails and comes back at once, without end, gets one try a second.
            self._accept_at = now + min(config.idle_hold, MAX_ACCEPT_DELAY)

    def _restart(self, machine: Machine, now: float) -> None:
        """Start the IdleHoldTimer: oscillation damping (RFC 4271 8.1.1 DampPeerOscillations)."""
        config = self.config
        pause = config.idle_hold * 2.0 ** min(max(self._failures - 1, 0), 30)
        if self._context.slow:
            # RFC 5492 3: what two sides cannot agree on does not heal by itself.
            pause, self._context.slow = config.idle_hold_max, False
        machine.idle_hold = now + self._context.jitter(min(pause, config.idle_hold_max))


def _event_of(fault: NotifyError) -> Event:
    """Return the event that a fault met by the routing side is in the state machine."""
    if fault.code == NotifyCode.UPDATE_MESSAGE:
        return Event.UPDATE_MSG_ERR
    if fault.code == NotifyCode.MESSAGE_HEADER:
        return Event.BGP_HEADER_ERR
    return Event.AUTOMATIC_STOP
