"""One state machine of a session, and the TCP connection it has, if any.

In: events with their causes. Out: commands and counts in the Context that all machines of a session
share. `fsm` says what is to be done, and here it is done: timers, OPEN, KEEPALIVE, NOTIFICATION.
What concerns more than one machine (collisions, restarts, coming up) is left to `session`.

RFC 4271 8 and 10 (timers and their jitter), 6608 (FSM errors), 8538 3 (hard reset), 8654 (size of
a NOTIFICATION).
"""
# ruff: noqa: ARG002 - the actions share one signature

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from rs.errors import NotifyError
from rs.fsm import Action, Event, Guard, State, step
from rs.iana import (
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    CeaseSubcode,
    FsmSubcode,
    MessageType,
    NotifyCode,
    OpenSubcode,
)
from rs.messages import KEEPALIVE, Notification, encode_notification, encode_open, notify_name
from rs.session_types import Close, Command, Connect, Counters, Log, Send, SessionConfig

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    from rs.capabilities import Negotiated, Offer

LARGE_HOLD_TIME = 240.0
"""Seconds to wait for the peer's OPEN (RFC 4271 8.2.2 suggests 4 minutes)."""
JITTER = (0.75, 1.0)
"""Random factor of ConnectRetryTimer, KeepaliveTimer and restarts (RFC 4271 10)."""
COLLISION = (NotifyCode.CEASE, CeaseSubcode.COLLISION)
"""Part of coming up, so no error worth showing, unless it ends an Established session."""

HARD = {
    CeaseSubcode.MAX_PREFIXES,
    CeaseSubcode.ADMIN_SHUTDOWN,
    CeaseSubcode.PEER_DECONFIGURED,
    CeaseSubcode.ADMIN_RESET,
    CeaseSubcode.OTHER_CONFIG_CHANGE,
}
"""Cease subcodes after which neither side shall keep the other's routes (RFC 8538 3.1)."""

_FSM_SUBCODES = {
    State.OPEN_SENT: FsmSubcode.IN_OPEN_SENT,
    State.OPEN_CONFIRM: FsmSubcode.IN_OPEN_CONFIRM,
    State.ESTABLISHED: FsmSubcode.IN_ESTABLISHED,
}


@dataclass(slots=True)
class Context:
    """What the machines of one session share."""

    config: SessionConfig
    rng: random.Random
    counters: Counters = field(default_factory=Counters)
    commands: list[Command] = field(default_factory=list)
    last_error: str = ""
    plain: bool = False
    """The next OPEN goes without optional parameters, once (RFC 5492 3)."""
    slow: bool = False
    """The next restart is not to be hurried: it is unlikely to help."""

    def jitter(self, seconds: float) -> float:
        """Return a duration that is up to a quarter shorter."""
        return seconds * self.rng.uniform(*JITTER)

    def log(self, level: str, text: str) -> None:
        """Add a line for the log."""
        self.commands.append(Log(level, text))

    def offer(self) -> Offer:
        """Return what the next OPEN says."""
        plain, self.plain = self.plain, False
        return self.config.offer(plain=plain)


@dataclass(slots=True)
class Cause:
    """Why an event happens: what a NOTIFICATION or a Down then says. Filled in on the way."""

    fault: NotifyError | None = None
    """What SEND_ERROR and SEND_CEASE tell the peer."""
    message: MessageType | None = None
    """The message that caused the event."""
    conn: Hashable | None = None
    reason: str = ""
    notification: bytes = b""
    """The NOTIFICATION sent or received, whole."""
    sent: bool = False


class Machine:
    """One state machine. Timers are deadlines, None when they do not run."""

    __slots__ = (
        "buffer",
        "conn",
        "connect_retry",
        "context",
        "delay_open",
        "hold",
        "hold_time",
        "idle_hold",
        "keepalive",
        "local_open",
        "negotiated",
        "offer",
        "opened",
        "outbound",
        "remote_open",
        "state",
        "up_since",
    )

    def __init__(self, context: Context, state: State = State.IDLE) -> None:
        self.context = context
        self.state = state
        self.conn: Hashable | None = None
        self.outbound = True
        self.buffer = bytearray()
        self.offer: Offer | None = None
        self.local_open = b""
        self.remote_open = b""
        self.negotiated: Negotiated | None = None
        self.opened = 0.0
        """Time at which the connection was made."""
        self.up_since = 0.0
        self.hold_time = 0.0
        self.hold: float | None = None
        self.keepalive: float | None = None
        self.connect_retry: float | None = None
        self.delay_open: float | None = None
        self.idle_hold: float | None = None

    def step(self, event: Event, now: float, cause: Cause) -> State:
        """Carry out what the table says; return the state there was before."""
        before = self.state
        if self.conn is not None:
            cause.conn = self.conn
        config = self.context.config
        guards = Guard.NONE
        if config.passive:
            guards |= Guard.PASSIVE
        if config.delay_open:
            guards |= Guard.DELAY_OPEN
        if self.delay_open is not None:
            guards |= Guard.DELAY_OPEN_RUNNING
        actions, following = step(before, event, guards)
        for action in actions:
            do = self.ACTIONS.get(action)
            if do is not None:
                do(self, now, cause)
        self.state = following
        if following is not before:
            self.idle_hold = None
            text = f"{before.label} to {following.label} by {event.label}"
            self.context.log("debug", text)
        return before

    def deadline(self) -> float | None:
        """Time at which the next of the timers expires."""
        timers = (self.hold, self.keepalive, self.connect_retry, self.delay_open, self.idle_hold)
        return min((t for t in timers if t is not None), default=None)

    def due(self, now: float) -> Event | None:
        """Return the event of a timer that has expired, None without one; it stops that timer."""
        for name, event in _TIMERS:
            when = getattr(self, name)
            if when is not None and when <= now:
                setattr(self, name, None)
                return event
        return None

    def stop_seeking(self) -> None:
        """Stop the timers that would start a connection."""
        self.connect_retry = self.idle_hold = None

    def send(self, kind: MessageType, data: bytes) -> None:
        """Send one message; there is a connection."""
        assert self.conn is not None
        self.context.counters.sent[kind] += 1
        self.context.commands.append(Send(self.conn, data))

    def notify(self, fault: NotifyError, cause: Cause) -> None:
        """Send a NOTIFICATION and note what it says as the cause of what follows."""
        if self.conn is None:
            return
        agreed = self.negotiated
        extended = agreed is not None and agreed.extended_message
        limit = MAX_EXTENDED_MESSAGE_LEN if extended else MAX_MESSAGE_LEN
        found = Notification(fault.code, fault.subcode, fault.data)
        if (
            agreed is not None
            and agreed.notification_restart
            and found.code == NotifyCode.CEASE
            and found.subcode in HARD
        ):
            # Left as it is, the peer would keep our routes.
            inner = bytes([found.code, found.subcode]) + found.data
            found = Notification(NotifyCode.CEASE, CeaseSubcode.HARD_RESET, inner)
        cause.notification = encode_notification(found.code, found.subcode, found.data, limit)
        cause.sent = True
        if fault.reason:
            text = f"{notify_name(fault.code, fault.subcode)}: {fault.reason}"
        else:
            text = found.describe()
        cause.reason = f"sent NOTIFICATION {text}"
        pair = (fault.code, fault.subcode)
        if self.state is State.ESTABLISHED or pair != COLLISION:
            self.context.last_error = cause.reason
        if pair == (NotifyCode.OPEN_MESSAGE, OpenSubcode.UNSUPPORTED_CAPABILITY):
            self.context.slow = True
        self.send(MessageType.NOTIFICATION, cause.notification)

    # --- actions

    def _connect(self, now: float, cause: Cause) -> None:
        self.outbound = True
        self.context.commands.append(Connect())

    def _drop_tcp(self, now: float, cause: Cause) -> None:
        if self.conn is not None:
            self.context.commands.append(Close(self.conn))
            self.conn = None
        self._release(now, cause)

    def _release(self, now: float, cause: Cause) -> None:
        # The connection itself stays: DROP_TCP comes after and closes it.
        self.offer = None
        self.negotiated = None
        self.buffer.clear()
        self.hold = self.keepalive = self.delay_open = None
        self.hold_time = 0.0

    def _clear_retry_counter(self, now: float, cause: Cause) -> None:
        self.context.counters.connect_retries = 0

    def _count_retry(self, now: float, cause: Cause) -> None:
        self.context.counters.connect_retries += 1

    def _start_connect_retry(self, now: float, cause: Cause) -> None:
        if not self.context.config.passive:  # who never connects has nothing to retry
            self.connect_retry = now + self.context.jitter(self.context.config.connect_retry)

    def _stop_connect_retry(self, now: float, cause: Cause) -> None:
        self.connect_retry = None

    def _start_delay_open(self, now: float, cause: Cause) -> None:
        self.delay_open = now + self.context.config.delay_open

    def _stop_delay_open(self, now: float, cause: Cause) -> None:
        self.delay_open = None

    def _start_large_hold(self, now: float, cause: Cause) -> None:
        self.hold = now + LARGE_HOLD_TIME

    def _start_hold(self, now: float, cause: Cause) -> None:
        agreed = self.negotiated
        assert agreed is not None
        self.hold_time = float(agreed.hold_time)
        if self.hold_time:
            self.hold = now + self.hold_time
        elif self.state >= State.OPEN_CONFIRM:
            self.hold = None
        else:
            # Without a hold time RFC 4271 would wait for ever in OpenConfirm for a peer that has
            # died there, and take no connection in its place.
            self.hold = now + LARGE_HOLD_TIME

    def _start_keepalive(self, now: float, cause: Cause) -> None:
        agreed = self.negotiated
        assert agreed is not None
        every = agreed.keepalive
        self.keepalive = now + self.context.jitter(every) if every else None

    def _send_open(self, now: float, cause: Cause) -> None:
        if self.offer is None:
            self.offer = self.context.offer()
        if self.negotiated is None:
            self.remote_open = b""
        self.local_open = encode_open(self.offer.message())
        self.send(MessageType.OPEN, self.local_open)

    def _send_keepalive(self, now: float, cause: Cause) -> None:
        self.send(MessageType.KEEPALIVE, KEEPALIVE)

    def _send_fault(self, now: float, cause: Cause) -> None:
        assert cause.fault is not None
        self.notify(cause.fault, cause)

    def _send_hold_expired(self, now: float, cause: Cause) -> None:
        self.notify(NotifyError(NotifyCode.HOLD_TIMER_EXPIRED), cause)

    def _send_fsm_error(self, now: float, cause: Cause) -> None:
        # RFC 6608 4: the data is the type of the message that should not have come.
        data = b"" if cause.message is None else bytes([cause.message])
        what = "event" if cause.message is None else cause.message.name
        subcode = _FSM_SUBCODES.get(self.state, FsmSubcode.UNSPECIFIED)
        reason = f"unexpected {what} in {self.state.label}"
        self.notify(NotifyError(NotifyCode.FSM, subcode, data, reason), cause)

    ACTIONS: ClassVar[dict[Action, Callable[[Machine, float, Cause], None]]] = {
        # Actions that are not here need no call: the transport listens anyway, routes go with the
        # Down command, and damping is part of every restart.
        Action.CONNECT: _connect,
        Action.DROP_TCP: _drop_tcp,
        Action.RELEASE: _release,
        Action.CLEAR_RETRY_COUNTER: _clear_retry_counter,
        Action.COUNT_RETRY: _count_retry,
        Action.START_CONNECT_RETRY: _start_connect_retry,
        Action.STOP_CONNECT_RETRY: _stop_connect_retry,
        Action.START_DELAY_OPEN: _start_delay_open,
        Action.STOP_DELAY_OPEN: _stop_delay_open,
        Action.START_LARGE_HOLD: _start_large_hold,
        Action.START_HOLD: _start_hold,
        Action.START_KEEPALIVE: _start_keepalive,
        Action.SEND_OPEN: _send_open,
        Action.SEND_KEEPALIVE: _send_keepalive,
        Action.SEND_CEASE: _send_fault,
        Action.SEND_CEASE_IF_DELAYED: _send_fault,
        Action.SEND_HOLD_EXPIRED: _send_hold_expired,
        Action.SEND_ERROR: _send_fault,
        Action.SEND_FSM_ERROR: _send_fsm_error,
    }


_TIMERS = (
    ("hold", Event.HOLD_TIMER_EXPIRES),
    ("keepalive", Event.KEEPALIVE_TIMER_EXPIRES),
    ("connect_retry", Event.CONNECT_RETRY_TIMER_EXPIRES),
    ("delay_open", Event.DELAY_OPEN_TIMER_EXPIRES),
    ("idle_hold", Event.IDLE_HOLD_TIMER_EXPIRES),
)
