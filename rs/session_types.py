"""What stands around a session: its configuration, its commands, its counters, the routing side.

In and out: plain values. SessionConfig goes in, `Session.poll()` gives the commands, and Ingest is
what the routing side has to offer for an Established session. No behavior of the protocol is here;
see `session`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rs.capabilities import Negotiated, Offer
from rs.errors import NotifyError
from rs.iana import (
    HEADER_LEN,
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    AddPathMode,
    BgpRole,
    Family,
    FsmSubcode,
    MessageType,
    NotifyCode,
    RefreshSubtype,
)
from rs.messages import decode_notification, decode_route_refresh, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rs.fsm import Event
    from rs.restart_caps import GracefulRestart

_N_TYPES = max(MessageType) + 1


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What the operator says about one neighbor, as far as the session needs it. Times in s."""

    local_asn: int
    local_router_id: str
    peer_asn: int | None
    """None accepts any AS number, for neighbors by prefix range."""
    families: tuple[Family, ...]
    hold_time: int = 90
    """0, or at least 3."""
    min_hold_time: int = 3
    """Shortest hold time that the peer may propose, besides 0."""
    passive: bool = False
    """Never connect, only accept."""
    connect_retry: float = 120.0
    idle_hold: float = 1.0
    """Pause before the first restart; doubles with every failure in a row."""
    idle_hold_max: float = 60.0
    """Longest such pause. A session that lasted this long clears the count of failures."""
    delay_open: float = 0.0
    """DelayOpenTime of RFC 4271 8.1.1; 0 = DelayOpen is off."""
    addpath: Mapping[Family, AddPathMode] = field(default_factory=dict)
    paths_limit: Mapping[Family, int] = field(default_factory=dict)
    """Paths of a prefix that we take at most, where we receive several."""
    extended_message: bool = True
    extended_next_hop: bool = False
    route_refresh: bool = True
    enhanced_route_refresh: bool = True
    four_octet_as: bool = True
    hostname: str = ""
    domain: str = ""
    role: BgpRole | None = None
    """What we are to the peer (RFC 9234)."""
    strict_role: bool = False
    """The peer must say its role; implies `strict`."""
    graceful_restart: GracefulRestart | None = None
    """None does without it."""
    strict: bool = False
    """Never retry without capabilities when the peer refuses them (RFC 5492 3)."""

    def offer(self, *, plain: bool = False) -> Offer:
        """Return what our OPEN says; `plain` leaves out all optional parameters."""
        return Offer(
            asn=self.local_asn,
            router_id=self.local_router_id,
            hold_time=self.hold_time,
            families=self.families,
            four_octet_as=self.four_octet_as,
            route_refresh=self.route_refresh,
            enhanced_route_refresh=self.enhanced_route_refresh,
            extended_message=self.extended_message,
            extended_next_hop=self.extended_next_hop,
            addpath=self.addpath,
            paths_limit=self.paths_limit,
            graceful_restart=self.graceful_restart,
            hostname=self.hostname,
            domain=self.domain,
            role=self.role,
            strict_role=self.strict_role,
            plain=plain,
        )


# --- commands ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection to the peer; a pending attempt of ours is given up for it."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write `data` to the connection."""

    conn: Hashable
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection once everything sent before is written; report nothing more of it."""

    conn: Hashable


@dataclass(frozen=True, slots=True)
class Up:
    """The session is Established; `on_up` has been called just before."""

    conn: Hashable
    negotiated: Negotiated


@dataclass(frozen=True, slots=True)
class Down:
    """The session is no longer Established: the peer's routes go, or are kept (RFC 4724)."""

    conn: Hashable
    reason: str
    """In words, as in `last_error`."""
    event: Event
    """The FSM event that ended it."""
    notification: bytes = b""
    """The NOTIFICATION that ended it, whole; empty where the connection just went away."""
    sent: bool = False
    """That NOTIFICATION was ours."""


@dataclass(frozen=True, slots=True)
class RefreshReceived:
    """The peer asks for its routes again, or marks where its own refresh begins or ends."""

    family: Family
    subtype: RefreshSubtype


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The peer has sent all its routes of a family (RFC 4724 2)."""

    family: Family


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log; the transport adds which neighbor it is about."""

    level: str
    """`debug`, `info`, `warning` or `error`."""
    text: str


Command = Connect | Send | Close | Up | Down | RefreshReceived | EndOfRib | Log


# --- the routing side -------------------------------------------------------------------------

IngestEvent = tuple[object, ...]


class Ingest(Protocol):
    """The routing side's end of an Established session."""

    @property
    def pending_events(self) -> object:
        """True, as a condition, when `take_events` has something."""
        ...

    @property
    def updates(self) -> int:
        """How many UPDATEs there were so far."""
        ...

    @property
    def keepalives(self) -> int:
        """How many KEEPALIVEs there were so far."""
        ...

    def feed(self, data: bytes | memoryview) -> int:
        """Take one read; return how many messages it completed, or -1 on an error event."""
        ...

    def take_events(self) -> list[IngestEvent]:
        """Return and forget what happened, in order.

        ("refresh", afi, safi, subtype), ("eor", family), ("notification", code, subcode, data), or
        ("error", code, subcode, data, reason): a fault the session answers by a NOTIFICATION.
        ("keepalive", n) may be told as well and changes nothing.
        """
        ...


OnUp = Callable[[Hashable, Negotiated], Ingest]


class CountingIngest:
    """An Ingest without routes: cuts messages, checks their headers, counts UPDATEs."""

    def __init__(self, negotiated: Negotiated) -> None:
        self.updates = 0
        self.keepalives = 0
        self.pending_events = 0
        self._limit = MAX_EXTENDED_MESSAGE_LEN if negotiated.extended_receive else MAX_MESSAGE_LEN
        self._enhanced = negotiated.enhanced_route_refresh
        self._buffer = bytearray()
        self._events: list[IngestEvent] = []

    def feed(self, data: bytes | memoryview) -> int:
        """See Ingest."""
        self._buffer += data
        done = 0
        try:
            while len(self._buffer) >= HEADER_LEN:
                length, kind = read_header(self._buffer, 0, self._limit)
                if len(self._buffer) < length:
                    break
                body = bytes(self._buffer[HEADER_LEN:length])
                del self._buffer[:length]
                done += 1
                self._message(kind, body)
        except NotifyError as fault:
            self._add("error", fault.code, fault.subcode, fault.data, fault.reason)
            return -1
        return done

    def _message(self, kind: MessageType, body: bytes) -> None:
        match kind:
            case MessageType.UPDATE:
                self.updates += 1
            case MessageType.KEEPALIVE:
                self.keepalives += 1
            case MessageType.ROUTE_REFRESH:
                refresh = decode_route_refresh(body, enhanced=self._enhanced)
                self._add("refresh", refresh.afi, refresh.safi, refresh.subtype)
            case MessageType.NOTIFICATION:
                found = decode_notification(body)
                self._add("notification", found.code, found.subcode, found.data)
            case _:
                reason = f"{kind.name} in Established"
                raise NotifyError(NotifyCode.FSM, FsmSubcode.IN_ESTABLISHED, bytes([kind]), reason)

    def _add(self, *event: object) -> None:
        self._events.append(event)
        self.pending_events = len(self._events)

    def take_events(self) -> list[IngestEvent]:
        """See Ingest."""
        events, self._events = self._events, []
        self.pending_events = 0
        return events


@dataclass(slots=True)
class Counters:
    """What happened on one session since it was made."""

    received: list[int] = field(default_factory=lambda: [0] * _N_TYPES)
    """Messages by MessageType."""
    sent: list[int] = field(default_factory=lambda: [0] * _N_TYPES)
    """Messages by MessageType; whoever sends UPDATEs past the session counts them here."""
    established: int = 0
    """How often the session came up."""
    flaps: int = 0
    """How often it went down again."""
    connect_retries: int = 0
    """ConnectRetryCounter of RFC 4271 8: failures since the last start by hand."""
    last_change: float = 0.0
    """Time of the last change of `Session.state`."""
