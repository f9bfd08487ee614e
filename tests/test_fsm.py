"""The table of the state machine: complete, closed, and as RFC 4271 8 and RFC 6608 say."""

from __future__ import annotations

import runpy
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs.fsm import TABLE, UNEXPECTED, Action, Event, Guard, State, as_markdown, as_mermaid, step

STARTS = {1, 3, 4, 5, 6, 7}
OPENED = (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
guards = st.integers(0, 7).map(Guard)


@given(st.sampled_from(State), st.sampled_from(Event), guards)
def test_every_pair_is_defined(state, event, guard):
    actions, following = step(state, event, guard)
    assert isinstance(following, State)
    assert all(isinstance(a, Action) for a in actions)
    if following is State.IDLE and state is not State.IDLE:
        # Whatever ends a machine leaves no timer, no connection and no resources behind.
        assert Action.RELEASE in actions
        if event is not Event.TCP_CONNECTION_FAILS:
            assert Action.DROP_TCP in actions
            assert Action.STOP_CONNECT_RETRY in actions
    if state is State.ESTABLISHED and following is not State.ESTABLISHED:
        assert Action.DELETE_ROUTES in actions
    sends = [a for a in actions if a.name.startswith("SEND_")]
    if Action.DROP_TCP in actions and sends:
        assert actions.index(sends[-1]) < actions.index(Action.DROP_TCP)


@given(st.lists(st.tuples(st.sampled_from(Event), guards), max_size=60))
def test_walks_reach_established_only_through_open_confirm(events):
    state = State.IDLE
    for event, guard in events:
        _, following = step(state, event, guard)
        if following is State.ESTABLISHED and state is not State.ESTABLISHED:
            assert (state, event) == (State.OPEN_CONFIRM, Event.KEEPALIVE_MSG)
        state = following


def test_events_are_the_28_of_the_rfc():
    assert [e.number for e in Event] == list(range(1, 29))
    assert len({e.label for e in Event}) == 28


def test_every_pair_ends_in_a_row_without_guard():
    for pair, rows in TABLE.items():
        assert [r.guard for r in rows].count(Guard.NONE) == 1, pair
        assert rows[-1].guard is Guard.NONE, pair
    assert set(UNEXPECTED) == set(State)


@pytest.mark.parametrize("state", [s for s in State if s is not State.IDLE])
def test_start_events_are_ignored_once_started(state):
    for event in Event:
        if event.number in STARTS:
            assert step(state, event) == ((), state)


@pytest.mark.parametrize("event", [e for e in Event if e.number not in STARTS | {13}])
def test_idle_ignores_what_is_not_a_start(event):
    assert step(State.IDLE, event) == ((), State.IDLE)


# Event numbers that RFC 4271 8.2.2 puts under "any other event", less those that other sections
# decide (see the header of rs/fsm.py), and with BGPOpen where RFC 6608 makes it an error.
@pytest.mark.parametrize(
    ("state", "numbers"),
    [
        (State.OPEN_SENT, {9, 11, 12, 13, 20, 26, 27, 28}),
        (State.OPEN_CONFIRM, {9, 12, 13, 19, 20, 27, 28}),
        (State.ESTABLISHED, {9, 12, 13, 19, 20, 22}),
    ],
)
def test_unexpected_events_are_fsm_errors(state, numbers):
    found = {e.number for e in Event if Action.SEND_FSM_ERROR in step(state, e)[0]}
    assert found == numbers


@pytest.mark.parametrize("state", [State.CONNECT, State.ACTIVE])
def test_unexpected_events_before_open_end_in_silence(state):
    for event in Event:
        if event.number in {8, 10, 11, 13, 19, 23, 25, 26, 27, 28}:
            actions, following = step(state, event)
            assert following is State.IDLE
            assert Action.COUNT_RETRY in actions
            assert not [a for a in actions if a.name.startswith("SEND_")]


# (state, event, guard) -> next state: RFC 4271 8.2.2, the paths that lead up.
@pytest.mark.parametrize(
    ("state", "event", "guard", "following"),
    [
        (State.IDLE, Event.MANUAL_START, Guard.NONE, State.CONNECT),
        (State.IDLE, Event.MANUAL_START_PASSIVE, Guard.NONE, State.ACTIVE),
        (State.IDLE, Event.AUTOMATIC_START_DAMPED, Guard.NONE, State.CONNECT),
        (State.IDLE, Event.IDLE_HOLD_TIMER_EXPIRES, Guard.NONE, State.CONNECT),
        (State.IDLE, Event.IDLE_HOLD_TIMER_EXPIRES, Guard.PASSIVE, State.ACTIVE),
        (State.CONNECT, Event.TCP_CR_ACKED, Guard.NONE, State.OPEN_SENT),
        (State.CONNECT, Event.TCP_CR_ACKED, Guard.DELAY_OPEN, State.CONNECT),
        (State.CONNECT, Event.CONNECT_RETRY_TIMER_EXPIRES, Guard.NONE, State.CONNECT),
        (State.CONNECT, Event.TCP_CONNECTION_FAILS, Guard.NONE, State.IDLE),
        (State.CONNECT, Event.TCP_CONNECTION_FAILS, Guard.DELAY_OPEN_RUNNING, State.ACTIVE),
        (State.ACTIVE, Event.CONNECT_RETRY_TIMER_EXPIRES, Guard.NONE, State.CONNECT),
        (State.ACTIVE, Event.TCP_CONNECTION_CONFIRMED, Guard.NONE, State.OPEN_SENT),
        (State.ACTIVE, Event.DELAY_OPEN_TIMER_EXPIRES, Guard.NONE, State.OPEN_SENT),
        (State.ACTIVE, Event.BGP_OPEN_DELAYED, Guard.DELAY_OPEN, State.OPEN_CONFIRM),
        (State.OPEN_SENT, Event.TCP_CONNECTION_FAILS, Guard.NONE, State.ACTIVE),
        (State.OPEN_SENT, Event.BGP_OPEN, Guard.NONE, State.OPEN_CONFIRM),
        (State.OPEN_CONFIRM, Event.KEEPALIVE_MSG, Guard.NONE, State.ESTABLISHED),
        (State.ESTABLISHED, Event.UPDATE_MSG, Guard.NONE, State.ESTABLISHED),
    ],
)
def test_transitions_of_the_rfc(state, event, guard, following):
    assert step(state, event, guard)[1] is following


@pytest.mark.parametrize("state", OPENED)
@pytest.mark.parametrize("event", [Event.NOTIF_MSG, Event.NOTIF_MSG_VER_ERR])
def test_a_notification_is_never_answered(state, event):
    actions, following = step(state, event)
    assert following is State.IDLE
    assert not [a for a in actions if a.name.startswith("SEND_")]


@pytest.mark.parametrize("state", OPENED)
def test_stop_by_hand_sends_cease_and_clears_the_counter(state):
    actions, following = step(state, Event.MANUAL_STOP)
    assert following is State.IDLE
    assert actions[0] is Action.SEND_CEASE
    assert Action.CLEAR_RETRY_COUNTER in actions
    assert Action.DAMP not in actions


def test_delay_open_holds_our_open_back():
    for state in (State.CONNECT, State.ACTIVE):
        for event in (Event.TCP_CR_ACKED, Event.TCP_CONNECTION_CONFIRMED):
            actions, _ = step(state, event, Guard.DELAY_OPEN)
            assert Action.SEND_OPEN not in actions
            assert Action.START_DELAY_OPEN in actions
        actions, _ = step(state, Event.BGP_OPEN_DELAYED)
        assert actions.index(Action.SEND_OPEN) < actions.index(Action.SEND_KEEPALIVE)


def test_markdown_has_every_row():
    text = as_markdown()
    rows = sum(len(rows) for rows in TABLE.values()) + len(UNEXPECTED)
    heads = [line for line in text.splitlines() if line.startswith(("| event |", "|---"))]
    assert sum(line.startswith("|") for line in text.splitlines()) - len(heads) == rows
    for state in State:
        assert f"### {state.label}\n" in text
    assert "| 18 TcpConnectionFails | delay open running |" in text
    assert "| any other |  | none | Idle |" in text


def test_mermaid_has_the_edges():
    text = as_mermaid()
    assert text.startswith("stateDiagram-v2\n    [*] --> Idle\n")
    assert "    OpenConfirm --> Established: 26\n" in text
    assert "    Idle --> Connect: 1, 3, 6, 13\n" in text
    assert "    OpenSent --> Active: 18\n" in text


def test_module_prints_both(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "rs.fsm")
    runpy.run_module("rs.fsm", run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.startswith("### Idle\n")
    assert "```mermaid\nstateDiagram-v2\n" in printed
