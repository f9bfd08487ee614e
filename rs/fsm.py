"""The BGP finite state machine as a pure table.

In: a state, an event, and the guards that hold. Out: the actions to take, in order, and the next
state. Nothing is kept and nothing is done here: `session` carries the actions out. There is one
machine per TCP connection (RFC 4271 8.2.1.2); the session runs up to two beside each other.

RFC 4271 8 (all 28 events, all six states, the optional attributes DelayOpen, DampPeerOscillations,
PassiveTcpEstablishment and SendNOTIFICATIONwithoutOPEN) and RFC 6608 (FSM Error subcodes). A pair
that is not in the table is RFC 4271's "any other event" of its state; see `UNEXPECTED`.

Three rows differ from the letter of section 8, each for the sake of another section:
* NotifMsg in OpenSent ends the connection in silence, as in OpenConfirm: a NOTIFICATION is never
  answered by one (6.4).
* BGPHeaderErr in Established sends the header error itself, not an FSM error (6.1).
* BGPOpen in OpenConfirm and Established is an FSM error (RFC 6608 4). What section 8 says there is
  about the OPEN of a second connection, which has a machine of its own here.

`python -m rs.fsm` prints the table as Markdown and the diagram in Mermaid.
"""

from __future__ import annotations

from enum import Enum, Flag, IntEnum, auto
from typing import NamedTuple


class State(IntEnum):
    """The six states; numbers as in BGP4-MIB (RFC 4273), so that further along is larger."""

    IDLE = 1
    CONNECT = 2
    ACTIVE = 3
    OPEN_SENT = 4
    OPEN_CONFIRM = 5
    ESTABLISHED = 6

    @property
    def label(self) -> str:
        """RFC 4271's spelling, such as `OpenSent`."""
        return self.name.title().replace("_", "")


class Event(Enum):
    """The events of RFC 4271 8.1; `number` and `label` are the RFC's."""

    MANUAL_START = 1, "ManualStart"
    MANUAL_STOP = 2, "ManualStop"
    AUTOMATIC_START = 3, "AutomaticStart"
    MANUAL_START_PASSIVE = 4, "ManualStart_with_PassiveTcpEstablishment"
    AUTOMATIC_START_PASSIVE = 5, "AutomaticStart_with_PassiveTcpEstablishment"
    AUTOMATIC_START_DAMPED = 6, "AutomaticStart_with_DampPeerOscillations"
    AUTOMATIC_START_DAMPED_PASSIVE = (
        7,
        "AutomaticStart_with_DampPeerOscillations_and_PassiveTcpEstablishment",
    )
    AUTOMATIC_STOP = 8, "AutomaticStop"
    CONNECT_RETRY_TIMER_EXPIRES = 9, "ConnectRetryTimer_Expires"
    HOLD_TIMER_EXPIRES = 10, "HoldTimer_Expires"
    KEEPALIVE_TIMER_EXPIRES = 11, "KeepaliveTimer_Expires"
    DELAY_OPEN_TIMER_EXPIRES = 12, "DelayOpenTimer_Expires"
    IDLE_HOLD_TIMER_EXPIRES = 13, "IdleHoldTimer_Expires"
    TCP_CONNECTION_VALID = 14, "TcpConnection_Valid"
    TCP_CR_INVALID = 15, "Tcp_CR_Invalid"
    TCP_CR_ACKED = 16, "Tcp_CR_Acked"
    TCP_CONNECTION_CONFIRMED = 17, "TcpConnectionConfirmed"
    TCP_CONNECTION_FAILS = 18, "TcpConnectionFails"
    BGP_OPEN = 19, "BGPOpen"
    BGP_OPEN_DELAYED = 20, "BGPOpen with DelayOpenTimer running"
    BGP_HEADER_ERR = 21, "BGPHeaderErr"
    BGP_OPEN_MSG_ERR = 22, "BGPOpenMsgErr"
    OPEN_COLLISION_DUMP = 23, "OpenCollisionDump"
    NOTIF_MSG_VER_ERR = 24, "NotifMsgVerErr"
    NOTIF_MSG = 25, "NotifMsg"
    KEEPALIVE_MSG = 26, "KeepAliveMsg"
    UPDATE_MSG = 27, "UpdateMsg"
    """Any message that is right only in Established: RFC 6608 4 counts ROUTE-REFRESH in."""
    UPDATE_MSG_ERR = 28, "UpdateMsgErr"

    def __init__(self, number: int, label: str) -> None:
        self.number = number
        self.label = label


class Guard(Flag):
    """Session attributes that a row may ask for (RFC 4271 8.1.1)."""

    NONE = 0
    PASSIVE = auto()
    """PassiveTcpEstablishment is set: we listen, and never connect."""
    DELAY_OPEN = auto()
    """DelayOpen is set: wait for the peer's OPEN before sending ours."""
    DELAY_OPEN_RUNNING = auto()
    """The DelayOpenTimer runs: the TCP connection is up and our OPEN is still held back."""


class Action(Enum):
    """What the session does for a transition; the value says it in RFC 4271's words."""

    INITIALIZE = "initialize all BGP resources"
    LISTEN = "listen for a connection of the peer"
    CONNECT = "initiate a TCP connection"
    TRACK = "track the second TCP connection"
    REJECT_TCP = "reject the TCP connection"
    DROP_TCP = "drop the TCP connection"
    RELEASE = "release all BGP resources"
    DELETE_ROUTES = "delete all routes of this connection"
    CLEAR_RETRY_COUNTER = "set ConnectRetryCounter to zero"
    COUNT_RETRY = "increment ConnectRetryCounter by 1"
    DAMP = "damp peer oscillation"
    START_CONNECT_RETRY = "start ConnectRetryTimer"
    STOP_CONNECT_RETRY = "stop ConnectRetryTimer"
    START_DELAY_OPEN = "start DelayOpenTimer"
    STOP_DELAY_OPEN = "stop DelayOpenTimer"
    START_LARGE_HOLD = "set HoldTimer to a large value"
    START_HOLD = "set HoldTimer to the negotiated value"
    START_KEEPALIVE = "start KeepaliveTimer"
    SEND_OPEN = "send OPEN"
    SEND_KEEPALIVE = "send KEEPALIVE"
    SEND_CEASE = "send NOTIFICATION Cease"
    SEND_CEASE_IF_DELAYED = "send NOTIFICATION Cease if the DelayOpenTimer runs"
    SEND_HOLD_EXPIRED = "send NOTIFICATION Hold Timer Expired"
    SEND_ERROR = "send NOTIFICATION with the error found"
    SEND_FSM_ERROR = "send NOTIFICATION Finite State Machine Error"
    PROCESS_UPDATE = "process the UPDATE"


class Row(NamedTuple):
    """One row of the table: applies when `guard` is empty or holds."""

    guard: Guard
    actions: tuple[Action, ...]
    state: State


_A = Action
_E = Event
_S = State

_NOTHING: tuple[Action, ...] = ()
_FAIL = (_A.STOP_CONNECT_RETRY, _A.RELEASE, _A.DROP_TCP, _A.COUNT_RETRY, _A.DAMP)
_FAIL_EARLY = (_A.STOP_CONNECT_RETRY, _A.STOP_DELAY_OPEN, *_FAIL[1:])
_FAIL_UP = (_A.STOP_CONNECT_RETRY, _A.DELETE_ROUTES, *_FAIL[1:])
_STOP = (_A.STOP_CONNECT_RETRY, _A.RELEASE, _A.DROP_TCP, _A.CLEAR_RETRY_COUNTER)
_VERSION = (_A.STOP_CONNECT_RETRY, _A.RELEASE, _A.DROP_TCP)
_START = (_A.INITIALIZE, _A.CLEAR_RETRY_COUNTER, _A.START_CONNECT_RETRY, _A.CONNECT, _A.LISTEN)
_START_PASSIVE = (_A.INITIALIZE, _A.CLEAR_RETRY_COUNTER, _A.START_CONNECT_RETRY, _A.LISTEN)
# With damping, the counter is what the damping goes by.
_DAMPED = (_A.INITIALIZE, _A.START_CONNECT_RETRY, _A.CONNECT, _A.LISTEN)
_DAMPED_PASSIVE = (_A.INITIALIZE, _A.START_CONNECT_RETRY, _A.LISTEN)
_OPEN = (_A.STOP_CONNECT_RETRY, _A.INITIALIZE, _A.SEND_OPEN, _A.START_LARGE_HOLD)
_DELAY = (_A.STOP_CONNECT_RETRY, _A.START_DELAY_OPEN)
_DELAY_ENDS = (_A.STOP_CONNECT_RETRY, _A.STOP_DELAY_OPEN, *_OPEN[1:])
_DELAYED_OPEN = (
    _A.STOP_CONNECT_RETRY,
    _A.STOP_DELAY_OPEN,
    _A.INITIALIZE,
    _A.SEND_OPEN,
    _A.SEND_KEEPALIVE,
    _A.START_KEEPALIVE,
    _A.START_HOLD,
)


def _rows(
    actions: tuple[Action, ...], state: State, *guarded: tuple[Guard, tuple[Action, ...], State]
) -> tuple[Row, ...]:
    return (*(Row(*row) for row in guarded), Row(Guard.NONE, actions, state))


def _opening(state: State) -> dict[tuple[State, Event], tuple[Row, ...]]:
    """Rows that Connect and Active share: the TCP connection is being made, or OPEN is delayed."""
    delayed_version = (_A.STOP_CONNECT_RETRY, _A.STOP_DELAY_OPEN, *_VERSION[1:])
    connected = _rows(_OPEN, _S.OPEN_SENT, (Guard.DELAY_OPEN, _DELAY, state))
    return {
        (state, _E.DELAY_OPEN_TIMER_EXPIRES): _rows(_DELAY_ENDS, _S.OPEN_SENT),
        (state, _E.TCP_CONNECTION_VALID): _rows(_NOTHING, state),
        (state, _E.TCP_CR_INVALID): _rows((_A.REJECT_TCP,), state),
        (state, _E.TCP_CR_ACKED): connected,
        (state, _E.TCP_CONNECTION_CONFIRMED): connected,
        (state, _E.BGP_OPEN_DELAYED): _rows(_DELAYED_OPEN, _S.OPEN_CONFIRM),
        (state, _E.BGP_HEADER_ERR): _rows((_A.SEND_ERROR, *_FAIL_EARLY), _S.IDLE),
        (state, _E.BGP_OPEN_MSG_ERR): _rows((_A.SEND_ERROR, *_FAIL_EARLY), _S.IDLE),
        (state, _E.NOTIF_MSG_VER_ERR): _rows(
            _FAIL, _S.IDLE, (Guard.DELAY_OPEN_RUNNING, delayed_version, _S.IDLE)
        ),
    }


def _open(state: State, fail: tuple[Action, ...]) -> dict[tuple[State, Event], tuple[Row, ...]]:
    """Rows that OpenSent, OpenConfirm and Established share: our OPEN is out."""
    return {
        (state, _E.MANUAL_STOP): _rows(
            (_A.SEND_CEASE, *fail[:-2], _A.CLEAR_RETRY_COUNTER), _S.IDLE
        ),
        (state, _E.AUTOMATIC_STOP): _rows((_A.SEND_CEASE, *fail), _S.IDLE),
        (state, _E.HOLD_TIMER_EXPIRES): _rows((_A.SEND_HOLD_EXPIRED, *fail), _S.IDLE),
        (state, _E.TCP_CONNECTION_VALID): _rows((_A.TRACK,), state),
        (state, _E.TCP_CR_INVALID): _rows(_NOTHING, state),
        (state, _E.TCP_CR_ACKED): _rows((_A.TRACK,), state),
        (state, _E.TCP_CONNECTION_CONFIRMED): _rows((_A.TRACK,), state),
        (state, _E.BGP_HEADER_ERR): _rows((_A.SEND_ERROR, *fail), _S.IDLE),
        (state, _E.OPEN_COLLISION_DUMP): _rows((_A.SEND_CEASE, *fail), _S.IDLE),
        (state, _E.NOTIF_MSG): _rows(fail, _S.IDLE),
    }


_STARTS = (
    _E.MANUAL_START,
    _E.AUTOMATIC_START,
    _E.MANUAL_START_PASSIVE,
    _E.AUTOMATIC_START_PASSIVE,
    _E.AUTOMATIC_START_DAMPED,
    _E.AUTOMATIC_START_DAMPED_PASSIVE,
)

TABLE: dict[tuple[State, Event], tuple[Row, ...]] = {
    # Idle: refuses connections until it is started.
    (_S.IDLE, _E.MANUAL_START): _rows(_START, _S.CONNECT),
    (_S.IDLE, _E.AUTOMATIC_START): _rows(_START, _S.CONNECT),
    (_S.IDLE, _E.MANUAL_START_PASSIVE): _rows(_START_PASSIVE, _S.ACTIVE),
    (_S.IDLE, _E.AUTOMATIC_START_PASSIVE): _rows(_START_PASSIVE, _S.ACTIVE),
    (_S.IDLE, _E.AUTOMATIC_START_DAMPED): _rows(_DAMPED, _S.CONNECT),
    (_S.IDLE, _E.AUTOMATIC_START_DAMPED_PASSIVE): _rows(_DAMPED_PASSIVE, _S.ACTIVE),
    (_S.IDLE, _E.IDLE_HOLD_TIMER_EXPIRES): _rows(
        _DAMPED, _S.CONNECT, (Guard.PASSIVE, _DAMPED_PASSIVE, _S.ACTIVE)
    ),
    # A start event means nothing to a machine that runs.
    **{
        (state, start): _rows(_NOTHING, state)
        for state in State
        if state is not _S.IDLE
        for start in _STARTS
    },
    # Connect: waits for the TCP connection that we have asked for.
    **_opening(_S.CONNECT),
    (_S.CONNECT, _E.MANUAL_STOP): _rows((_A.STOP_DELAY_OPEN, *_STOP), _S.IDLE),
    (_S.CONNECT, _E.CONNECT_RETRY_TIMER_EXPIRES): _rows(
        (_A.DROP_TCP, _A.START_CONNECT_RETRY, _A.STOP_DELAY_OPEN, _A.CONNECT, _A.LISTEN),
        _S.CONNECT,
    ),
    (_S.CONNECT, _E.TCP_CONNECTION_FAILS): _rows(
        (_A.STOP_CONNECT_RETRY, _A.DROP_TCP, _A.RELEASE),
        _S.IDLE,
        (
            Guard.DELAY_OPEN_RUNNING,
            (_A.START_CONNECT_RETRY, _A.STOP_DELAY_OPEN, _A.LISTEN),
            _S.ACTIVE,
        ),
    ),
    # Active: waits for the peer to connect, or for the ConnectRetryTimer.
    **_opening(_S.ACTIVE),
    (_S.ACTIVE, _E.MANUAL_STOP): _rows(
        (_A.SEND_CEASE_IF_DELAYED, _A.STOP_DELAY_OPEN, *_STOP), _S.IDLE
    ),
    (_S.ACTIVE, _E.CONNECT_RETRY_TIMER_EXPIRES): _rows(
        (_A.START_CONNECT_RETRY, _A.CONNECT, _A.LISTEN), _S.CONNECT
    ),
    (_S.ACTIVE, _E.TCP_CONNECTION_FAILS): _rows(
        (_A.START_CONNECT_RETRY, _A.STOP_DELAY_OPEN, _A.RELEASE, _A.COUNT_RETRY, _A.DAMP),
        _S.IDLE,
    ),
    # OpenSent: waits for the peer's OPEN.
    **_open(_S.OPEN_SENT, _FAIL),
    (_S.OPEN_SENT, _E.TCP_CONNECTION_FAILS): _rows(
        (_A.DROP_TCP, _A.START_CONNECT_RETRY, _A.LISTEN), _S.ACTIVE
    ),
    (_S.OPEN_SENT, _E.BGP_OPEN): _rows(
        (
            _A.STOP_DELAY_OPEN,
            _A.STOP_CONNECT_RETRY,
            _A.SEND_KEEPALIVE,
            _A.START_KEEPALIVE,
            _A.START_HOLD,
        ),
        _S.OPEN_CONFIRM,
    ),
    (_S.OPEN_SENT, _E.BGP_OPEN_MSG_ERR): _rows((_A.SEND_ERROR, *_FAIL), _S.IDLE),
    (_S.OPEN_SENT, _E.NOTIF_MSG_VER_ERR): _rows(_VERSION, _S.IDLE),
    # OpenConfirm: waits for KEEPALIVE or NOTIFICATION.
    **_open(_S.OPEN_CONFIRM, _FAIL),
    (_S.OPEN_CONFIRM, _E.KEEPALIVE_TIMER_EXPIRES): _rows(
        (_A.SEND_KEEPALIVE, _A.START_KEEPALIVE), _S.OPEN_CONFIRM
    ),
    (_S.OPEN_CONFIRM, _E.TCP_CONNECTION_FAILS): _rows(_FAIL, _S.IDLE),
    (_S.OPEN_CONFIRM, _E.BGP_OPEN_MSG_ERR): _rows((_A.SEND_ERROR, *_FAIL), _S.IDLE),
    (_S.OPEN_CONFIRM, _E.NOTIF_MSG_VER_ERR): _rows(_VERSION, _S.IDLE),
    (_S.OPEN_CONFIRM, _E.KEEPALIVE_MSG): _rows((_A.START_HOLD,), _S.ESTABLISHED),
    # Established: routes are exchanged.
    **_open(_S.ESTABLISHED, _FAIL_UP),
    (_S.ESTABLISHED, _E.KEEPALIVE_TIMER_EXPIRES): _rows(
        (_A.SEND_KEEPALIVE, _A.START_KEEPALIVE), _S.ESTABLISHED
    ),
    # RFC 4271 leaves damping out of this one row.
    (_S.ESTABLISHED, _E.TCP_CONNECTION_FAILS): _rows(_FAIL_UP[:-1], _S.IDLE),
    (_S.ESTABLISHED, _E.NOTIF_MSG_VER_ERR): _rows(_FAIL_UP[:-1], _S.IDLE),
    (_S.ESTABLISHED, _E.NOTIF_MSG): _rows(_FAIL_UP[:-1], _S.IDLE),
    (_S.ESTABLISHED, _E.KEEPALIVE_MSG): _rows((_A.START_HOLD,), _S.ESTABLISHED),
    (_S.ESTABLISHED, _E.UPDATE_MSG): _rows((_A.PROCESS_UPDATE, _A.START_HOLD), _S.ESTABLISHED),
    (_S.ESTABLISHED, _E.UPDATE_MSG_ERR): _rows((_A.SEND_ERROR, *_FAIL_UP), _S.IDLE),
}
"""Rows of a pair in the order they are tried; the last one of a pair has no guard."""

UNEXPECTED: dict[State, Row] = {
    _S.IDLE: Row(Guard.NONE, _NOTHING, _S.IDLE),
    _S.CONNECT: Row(Guard.NONE, _FAIL_EARLY, _S.IDLE),
    _S.ACTIVE: Row(Guard.NONE, _FAIL_EARLY, _S.IDLE),
    _S.OPEN_SENT: Row(Guard.NONE, (_A.SEND_FSM_ERROR, *_FAIL), _S.IDLE),
    _S.OPEN_CONFIRM: Row(Guard.NONE, (_A.SEND_FSM_ERROR, *_FAIL), _S.IDLE),
    _S.ESTABLISHED: Row(Guard.NONE, (_A.SEND_FSM_ERROR, *_FAIL_UP), _S.IDLE),
}
"""What any event without a row of its own does: ignored in Idle, an FSM error once OPEN is out."""


def step(
    state: State, event: Event, guards: Guard = Guard.NONE
) -> tuple[tuple[Action, ...], State]:
    """Return the actions, in order, and the next state. Defined for every state and event."""
    for guard, actions, following in TABLE.get((state, event), ()):
        if guard in guards:
            return actions, following
    _, actions, following = UNEXPECTED[state]
    return actions, following


def as_markdown() -> str:
    """Render the whole table, one section per state."""
    lines: list[str] = []
    for state in State:
        lines += [
            f"### {state.label}",
            "",
            "| event | when | actions | next state |",
            "|---|---|---|---|",
        ]
        for event in Event:
            for guard, actions, following in TABLE.get((state, event), ()):
                when = (guard.name or "").lower().replace("_", " ") if guard else ""
                lines.append(_row(f"{event.number} {event.label}", when, actions, following))
        _, actions, following = UNEXPECTED[state]
        lines += [_row("any other", "", actions, following), ""]
    return "\n".join(lines)


def _row(event: str, when: str, actions: tuple[Action, ...], state: State) -> str:
    words = "; ".join(action.value for action in actions) or "none"
    return f"| {event} | {when} | {words} | {state.label} |"


def as_mermaid() -> str:
    """Render the changes of state as a Mermaid diagram; edges carry RFC event numbers."""
    edges: dict[tuple[State, State], set[int]] = {}
    for state in State:
        for event in Event:
            rows = TABLE.get((state, event), (UNEXPECTED[state],))
            for following in {row.state for row in rows} - {state}:
                edges.setdefault((state, following), set()).add(event.number)
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.label}"]
    lines += [
        f"    {a.label} --> {b.label}: {_ranges(sorted(numbers))}"
        for (a, b), numbers in sorted(edges.items())
    ]
    return "\n".join(lines) + "\n"


def _ranges(numbers: list[int]) -> str:
    """Write sorted numbers as `1, 3-7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


if __name__ == "__main__":
    print(f"{as_markdown()}\n```mermaid\n{as_mermaid()}```")  # noqa: T201 - this is its purpose
